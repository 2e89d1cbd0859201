//! The counters as Prometheus text.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::metrics::{Histogram, Text};

use super::key::{AsKey as _, Key};
use super::requests::RequestSeries;
use super::{Checks, Metrics};
use crate::registry::{Entry, Snapshot};
use crate::server::Core;
use crate::version::VersionInfo;

const REQUESTS: &str = "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.";
const TIMES: &str = "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.";
const WORKED: &str = "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.";
const SIZES: &str = "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.";
const LASTING: &str = "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.";

/// The features behind gates that this server has.
const FEATURES: [(&str, &str); 2] = [("SizeBasedListCostEstimate", "BETA"), ("WatchList", "BETA")];

/// What no release is called.
const NOT_DEPRECATED: &str = "-";

/// The release that a deprecation's warning says a version is gone in; empty when it says none.
fn removed_release(warning: &str) -> &str {
    let rest = warning.split_once("unavailable in v").map_or("", |(_, rest)| rest);
    rest.split('+').next().unwrap_or_default()
}

type Series<'a> = [(&'a Key, &'a Arc<RequestSeries>)];

impl Core {
    /// Everything that the server itself counts.
    pub(crate) fn metrics_text(&self) -> String {
        let mut text = Text::default();
        build_info(&self.version, &mut text);
        self.metrics.render(&mut text);
        let snapshot = self.registry.snapshot();
        self.metrics.deprecated(&snapshot, &mut text);
        let mut entries: Vec<&Arc<Entry>> = snapshot
            .entries()
            .iter()
            .filter(|entry| entry.resource.virtual_handler().is_none())
            .collect();
        entries.sort_by_key(|entry| (entry.gr.resource.clone(), entry.gr.group.clone()));
        objects(&entries, &mut text);
        store_times(&entries, &mut text);
        text.finish()
    }
}

fn build_info(version: &VersionInfo, text: &mut Text) {
    const NAME: &str = "kubernetes_build_info";
    text.family(
        NAME,
        "gauge",
        "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
    );
    let labels = [
        ("build_date", version.build_date.as_str()),
        ("compiler", &version.compiler),
        ("git_commit", &version.git_commit),
        ("git_tree_state", &version.git_tree_state),
        ("git_version", &version.git_version),
        ("go_version", &version.go_version),
        ("major", &version.major),
        ("minor", &version.minor),
        ("platform", &version.platform),
    ];
    text.sample(NAME, &labels, 1);
    const ENABLED: &str = "kubernetes_feature_enabled";
    text.family(
        ENABLED,
        "gauge",
        "This metric records the data about the stage and enablement of a k8s feature.",
    );
    for (name, stage) in FEATURES {
        text.sample(ENABLED, &[("name", name), ("stage", stage)], 1);
    }
}

impl Metrics {
    fn render(&self, text: &mut Text) {
        let requests = self.requests.read();
        let mut all: Vec<_> = requests.iter().collect();
        all.sort_by_key(|(key, _)| {
            let key = key.key();
            (
                key.group,
                key.resource,
                key.subresource,
                key.verb,
                key.version,
                key.scope,
                key.dry_run,
            )
        });
        totals(&all, text);
        times(&all, text);
        sizes(&all, text);
        lasting(&all, text);
        self.in_flight(text);
        self.checks(text);
        self.watch_events(text);
        self.admission.render(text);
    }

    /// Who asked for what will be gone, or is gone from upstream: one look shows which clients to
    /// mend before an upgrade.
    fn deprecated(&self, snapshot: &Snapshot, text: &mut Text) {
        const NAME: &str = "apiserver_requested_deprecated_apis";
        let requests = self.requests.read();
        let mut found: BTreeSet<[&str; 5]> = BTreeSet::new();
        let mut removed: Vec<String> = Vec::new();
        let asked: BTreeSet<[&str; 4]> = requests
            .keys()
            .map(|key| key.key())
            .filter(|key| !key.resource.is_empty())
            .map(|key| [key.group, key.version, key.resource, key.subresource])
            .collect();
        for [group, version, resource, _] in &asked {
            let entry = snapshot.find(group, version, resource);
            let warning = entry.and_then(|(entry, version)| {
                Some(removed_release(entry.deprecation_warning(&version)?).to_owned())
            });
            removed.push(warning.unwrap_or_else(|| NOT_DEPRECATED.to_owned()));
        }
        for ([group, version, resource, subresource], release) in asked.iter().zip(&removed) {
            if release != NOT_DEPRECATED {
                found.insert([group, release, resource, subresource, version]);
            }
        }
        if found.is_empty() {
            return;
        }
        text.family(
            NAME,
            "gauge",
            "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.",
        );
        for [group, release, resource, subresource, version] in found {
            let labels = [
                ("group", group),
                ("removed_release", release),
                ("resource", resource),
                ("subresource", subresource),
                ("version", version),
            ];
            text.sample(NAME, &labels, 1);
        }
    }

    fn in_flight(&self, text: &mut Text) {
        const NAME: &str = "apiserver_current_inflight_requests";
        text.family(
            NAME,
            "gauge",
            "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
        );
        for (kind, gauge) in ["readOnly", "mutating"].iter().zip(&self.in_flight) {
            text.sample(NAME, &[("request_kind", kind)], gauge.get());
        }
    }

    fn checks(&self, text: &mut Text) {
        let mut family = |name: &str, seconds: &str, words: [&str; 2], what: &str, own: &Checks| {
            text.family(name, "counter", &format!("Counter of {what} attempts."));
            for (word, count) in words.iter().zip([&own.passed, &own.failed]) {
                text.sample(name, &[("result", word)], count.get());
            }
            let help = format!("{what} duration in seconds broken out by result.");
            text.family(seconds, "histogram", &help);
            for (word, times) in words.iter().zip([&own.passed_times, &own.failed_times]) {
                text.histogram(seconds, &[("result", word)], times);
            }
        };
        family(
            "authentication_attempts",
            "authentication_duration_seconds",
            ["success", "failure"],
            "Authentication",
            &self.authentication,
        );
        family(
            "authorization_attempts_total",
            "authorization_duration_seconds",
            ["allowed", "denied"],
            "Authorization",
            &self.authorization,
        );
        const USERS: &str = "authenticated_user_requests";
        text.family(USERS, "counter", "Counter of authenticated requests broken out by username.");
        for (word, count) in ["system", "other"].iter().zip(&self.users) {
            text.sample(USERS, &[("username", word)], count.get());
        }
    }

    fn watch_events(&self, text: &mut Text) {
        let watches = self.watches.read();
        let mut all: Vec<_> = watches.iter().collect();
        all.sort_by_key(|(key, _)| *key);
        const EVENTS: &str = "apiserver_watch_events_total";
        const SIZES: &str = "apiserver_watch_events_sizes";
        fn labels(key: &[String; 3]) -> [(&str, &str); 3] {
            [("group", &key[0]), ("resource", &key[2]), ("version", &key[1])]
        }
        text.family(EVENTS, "counter", "Number of events sent in watch clients");
        for (key, series) in &all {
            text.sample(EVENTS, &labels(key), series.events.get());
        }
        text.family(SIZES, "histogram", "Watch event size distribution in bytes");
        for (key, series) in &all {
            text.histogram(SIZES, &labels(key), &series.sizes);
        }
    }
}

/// The labels of a series, of which some families leave out `dry_run`.
fn labels(key: &Key, with_dry_run: bool) -> Vec<(&str, &str)> {
    let key = key.key();
    let mut labels = vec![("component", "apiserver")];
    if with_dry_run {
        labels.push(("dry_run", if key.dry_run { "All" } else { "" }));
    }
    labels.extend([
        ("group", key.group),
        ("resource", key.resource),
        ("scope", key.scope),
        ("subresource", key.subresource),
        ("verb", key.verb),
        ("version", key.version),
    ]);
    labels
}

fn totals(all: &Series<'_>, text: &mut Text) {
    const NAME: &str = "apiserver_request_total";
    text.family(NAME, "counter", REQUESTS);
    for (key, series) in all {
        let own = labels(key, true);
        for (code, count) in series.by_code() {
            let code = code.to_string();
            let mut with_code = vec![("code", code.as_str())];
            with_code.extend(&own);
            text.sample(NAME, &with_code, count);
        }
    }
}

fn times(all: &Series<'_>, text: &mut Text) {
    const NAMES: [(&str, &str, bool); 2] = [
        ("apiserver_request_duration_seconds", TIMES, true),
        ("apiserver_request_sli_duration_seconds", WORKED, false),
    ];
    for (index, (name, help, with_dry_run)) in NAMES.into_iter().enumerate() {
        text.family(name, "histogram", help);
        for (key, series) in all {
            // Dry runs are no promise.
            if let Some(times) = series.times.get().filter(|_| with_dry_run || !key.key().dry_run) {
                text.histogram(name, &labels(key, with_dry_run), &times[index]);
            }
        }
    }
}

fn sizes(all: &Series<'_>, text: &mut Text) {
    const NAME: &str = "apiserver_response_sizes";
    text.family(NAME, "histogram", SIZES);
    for (key, series) in all.iter().filter(|(key, _)| matches!(key.key().verb, "GET" | "LIST")) {
        if let Some(sizes) = series.sizes.get() {
            text.histogram(NAME, &labels(key, false), sizes);
        }
    }
}

fn lasting(all: &Series<'_>, text: &mut Text) {
    const NAME: &str = "apiserver_longrunning_requests";
    text.family(NAME, "gauge", LASTING);
    for (key, series) in all {
        if matches!(key.key().verb, "WATCH" | "CONNECT") || series.lasting.get() > 0 {
            text.sample(NAME, &labels(key, false), series.lasting.get());
        }
    }
}

fn objects(entries: &[&Arc<Entry>], text: &mut Text) {
    const OLD: &str = "apiserver_storage_objects";
    const NEW: &str = "apiserver_resource_objects";
    text.family(
        OLD,
        "gauge",
        "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
    );
    for entry in entries {
        text.sample(OLD, &[("resource", &entry.gr.to_string())], entry.cacher.size().0);
    }
    text.family(NEW, "gauge", "Number of stored objects at the time of last check split by kind.");
    for entry in entries {
        let labels = [("group", &*entry.gr.group), ("resource", &*entry.gr.resource)];
        text.sample(NEW, &labels, entry.cacher.size().0);
    }
}

fn store_times(entries: &[&Arc<Entry>], text: &mut Text) {
    const NAME: &str = "etcd_request_duration_seconds";
    text.family(
        NAME,
        "histogram",
        "Etcd request latency in seconds for each operation and object type.",
    );
    for entry in entries {
        for (operation, times) in entry.cacher.store_times.all() {
            let labels = [
                ("group", &*entry.gr.group),
                ("operation", operation),
                ("resource", &*entry.gr.resource),
            ];
            let times: &Histogram = times;
            text.histogram(NAME, &labels, times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_say_when_a_version_is_gone() {
        let warning = "extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment";
        assert_eq!(removed_release(warning), "1.16");
        assert_eq!(removed_release("d6.io/v0 Bar is deprecated"), "");
    }
}
