//! `/livez`, `/readyz`, `/healthz`: the checks, one a line, under upstream's names; and what has
//! come of them, `/metrics/slis`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use base::metrics::Text;
use parking_lot::Mutex;

use crate::request::{Query, RequestInfo};
use crate::response;
use crate::server::Core;

const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];
/// How long the store may take to say where it is.
const STORE_MAX: Duration = Duration::from_secs(2);

/// What of this server's start a step of upstream's is a part of.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The caches are full: what follows objects knows them.
    Caches,
    /// The objects that every cluster has are there.
    Objects,
}

impl Step {
    /// The part of the process's readiness that says so.
    fn part(self) -> &'static str {
        match self {
            Self::Caches => "informer-sync",
            Self::Objects => "poststarthook/bootstrap",
        }
    }
}

/// The steps of upstream's start that monitoring asks for by name.
const STEPS: [(&str, Step); 32] = {
    use Step::{Caches, Objects};
    [
        ("poststarthook/start-apiserver-admission-initializer", Caches),
        ("poststarthook/generic-apiserver-start-informers", Caches),
        ("poststarthook/priority-and-fairness-config-consumer", Caches),
        ("poststarthook/priority-and-fairness-filter", Caches),
        ("poststarthook/storage-object-count-tracker-hook", Caches),
        ("poststarthook/start-apiextensions-informers", Caches),
        ("poststarthook/start-apiextensions-controllers", Caches),
        ("poststarthook/crd-informer-synced", Caches),
        ("poststarthook/start-system-namespaces-controller", Objects),
        ("poststarthook/peer-endpoint-reconciler-controller", Objects),
        ("poststarthook/start-cluster-authentication-info-controller", Objects),
        ("poststarthook/start-kube-apiserver-identity-lease-controller", Objects),
        ("poststarthook/start-kube-apiserver-identity-lease-garbage-collector", Objects),
        ("poststarthook/storage-readiness", Caches),
        ("poststarthook/start-legacy-token-tracking-controller", Caches),
        ("poststarthook/start-service-ip-repair-controllers", Caches),
        ("poststarthook/rbac/bootstrap-roles", Objects),
        ("poststarthook/scheduling/bootstrap-system-priority-classes", Objects),
        ("poststarthook/priority-and-fairness-config-producer", Objects),
        ("poststarthook/bootstrap-controller", Objects),
        ("poststarthook/start-kubernetes-service-cidr-controller", Objects),
        ("poststarthook/start-kube-aggregator-informers", Caches),
        ("poststarthook/apiservice-status-local-available-controller", Caches),
        ("poststarthook/apiservice-status-remote-available-controller", Caches),
        ("poststarthook/apiservice-registration-controller", Caches),
        ("poststarthook/apiservice-wait-for-first-sync", Caches),
        ("poststarthook/apiservice-discovery-controller", Caches),
        ("poststarthook/kube-apiserver-autoregistration", Objects),
        ("autoregister-completion", Objects),
        ("poststarthook/apiservice-openapi-controller", Caches),
        ("poststarthook/apiservice-openapiv3-controller", Caches),
        ("loopback-serving-certificate", Caches),
    ]
};

type Check = (String, Result<(), String>);

/// Answers a health path; `None` when it is none.
pub(crate) async fn serve(core: &Core, info: &RequestInfo, query: &Query<'_>) -> Option<Response> {
    let rest = info.path.trim_start_matches('/');
    let (endpoint, check) = rest.split_once('/').unwrap_or((rest, ""));
    let endpoint = ENDPOINTS.into_iter().find(|known| *known == endpoint)?;
    let mut checks = checks(core, endpoint).await;
    let check = check.trim_end_matches('/');
    if !check.is_empty() {
        checks.retain(|(name, _)| name == check);
        core.metrics.health.note(endpoint, &checks);
        return Some(match &checks.first()?.1 {
            Ok(()) => response::text(200, "ok"),
            Err(why) => response::text(500, format!("internal server error: {why}\n")),
        });
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let ran = checks.iter().filter(|(name, _)| !excluded.contains(&name.as_str()));
    core.metrics.health.note(endpoint, ran);
    Some(report(endpoint, &checks, &excluded, query.get("verbose").is_some()))
}

/// The paths under which single checks are answered.
pub(crate) fn paths(core: &Core) -> impl Iterator<Item = String> {
    let parts: Vec<String> = core.readiness.report().into_iter().map(|(name, _)| name).collect();
    ENDPOINTS.into_iter().flat_map(move |endpoint| {
        let own: &[&str] =
            if endpoint == "readyz" { &["ping", "log"] } else { &["ping", "log", "etcd"] };
        let parts = parts.iter().filter(|_| endpoint == "readyz").map(String::as_str);
        let steps = STEPS.iter().map(|(name, _)| *name);
        let names: Vec<String> =
            own.iter().copied().chain(steps).chain(parts).map(str::to_owned).collect();
        names.into_iter().map(move |name| format!("/{endpoint}/{name}"))
    })
}

async fn checks(core: &Core, endpoint: &str) -> Vec<Check> {
    let parts = core.readiness.report();
    let step = |step: Step| {
        let part = parts.iter().find(|(name, _)| name == step.part());
        part.map_or(Ok(()), |(_, state)| state.clone())
    };
    let mut checks: Vec<Check> = vec![("ping".to_owned(), Ok(())), ("log".to_owned(), Ok(()))];
    if endpoint != "readyz" {
        checks.push(("etcd".to_owned(), store(core).await));
    }
    checks.extend(STEPS.iter().map(|(name, of)| ((*name).to_owned(), step(*of))));
    if endpoint == "readyz" {
        checks.extend(parts);
    }
    checks
}

/// Whether the store answers. The name is upstream's, whichever store it is.
async fn store(core: &Core) -> Result<(), String> {
    match tokio::time::timeout(STORE_MAX, core.storage.store.revision()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("the store does not answer: {error}")),
        Err(_) => Err(format!("the store did not answer within {} s", STORE_MAX.as_secs())),
    }
}

fn report(endpoint: &str, checks: &[Check], excluded: &[&str], verbose: bool) -> Response {
    let mut lines = String::new();
    let mut failed = Vec::new();
    for (name, state) in checks {
        match state {
            _ if excluded.contains(&name.as_str()) => {
                lines.push_str(&format!("[+]{name} excluded: ok\n"));
            }
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(_) => {
                failed.push(name.as_str());
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
            }
        }
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !checks.iter().any(|(known, _)| known == *name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            unknown.join(", ")
        ));
    }
    if !failed.is_empty() {
        tracing::debug!(endpoint, failed = failed.join(","), "a health check failed");
        lines.push_str(&format!("{endpoint} check failed\n"));
        return response::text(500, lines);
    }
    if verbose {
        lines.push_str(&format!("{endpoint} check passed\n"));
        return response::text(200, lines);
    }
    response::text(200, "ok")
}

/// What has come of the checks, by name and endpoint.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<BTreeMap<(String, &'static str), Outcome>>);

#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    is_well: bool,
    errors: u64,
    successes: u64,
}

impl Outcomes {
    fn note<'a>(&self, endpoint: &'static str, checks: impl IntoIterator<Item = &'a Check>) {
        let mut known = self.0.lock();
        for (name, state) in checks {
            let outcome = known.entry((name.clone(), endpoint)).or_default();
            outcome.is_well = state.is_ok();
            match state {
                Ok(()) => outcome.successes += 1,
                Err(_) => outcome.errors += 1,
            }
        }
    }

    /// `/metrics/slis`.
    pub(crate) fn text(&self) -> String {
        let known = self.0.lock();
        let mut text = Text::default();
        const LAST: &str = "kubernetes_healthcheck";
        text.family(
            LAST,
            "gauge",
            "[STABLE] This metric records the result of a single healthcheck.",
        );
        for ((name, kind), outcome) in &*known {
            text.sample(LAST, &[("name", name), ("type", kind)], u8::from(outcome.is_well));
        }
        const ALL: &str = "kubernetes_healthchecks_total";
        text.family(ALL, "counter", "[STABLE] This metric records the results of all healthcheck.");
        for ((name, kind), outcome) in &*known {
            for (status, count) in [("error", outcome.errors), ("success", outcome.successes)] {
                if count > 0 {
                    text.sample(ALL, &[("name", name), ("status", status), ("type", kind)], count);
                }
            }
        }
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_by_name_and_endpoint() {
        let outcomes = Outcomes::default();
        let check = |state: Result<(), String>| vec![("etcd".to_owned(), state)];
        outcomes.note("livez", &check(Ok(())));
        outcomes.note("livez", &check(Err("gone".to_owned())));
        outcomes.note("healthz", &check(Ok(())));
        let text = outcomes.text();
        for line in [
            "kubernetes_healthcheck{name=\"etcd\",type=\"livez\"} 0",
            "kubernetes_healthcheck{name=\"etcd\",type=\"healthz\"} 1",
            "kubernetes_healthchecks_total{name=\"etcd\",status=\"error\",type=\"livez\"} 1",
            "kubernetes_healthchecks_total{name=\"etcd\",status=\"success\",type=\"livez\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
    }
}
