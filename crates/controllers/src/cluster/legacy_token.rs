//! Legacy tokens that nobody has used for a year are marked void, and deleted another year later.
//!
//! Only those that the cluster made for an account by itself, in its older days; a token that
//! somebody asked for by hand stays.
//! (Kubernetes `pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go`)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::{SignedDuration, Timestamp, rfc3339_seconds};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use reconcile::{Action, Cache, Ctx, Delete, Error, Key, Patch, Reconciler, Watches, or_gone};
use serde_json::json;

use super::token::legacy_secrets;
use crate::common::owner::{annotation, name, namespace};
use crate::deps::Deps;

const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
/// How long a token may be unused, and how long it then stays. (`--legacy-service-account-token-clean-up-period`)
const PERIOD: SignedDuration = SignedDuration::from_hours(365 * 24);
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// The controller.
pub(crate) struct Controller {
    secrets: Cache<Secret>,
    accounts: Cache<ServiceAccount>,
    pods: Cache<Pod>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        secrets: legacy_secrets(&deps.caches),
        accounts: deps.caches.of(),
        pods: deps.caches.of(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "legacy-serviceaccount-token-cleaner-controller"
    }

    fn workers(&self) -> usize {
        1
    }

    fn watches(&self, watches: &mut Watches) {
        watches.reads(&self.secrets);
        watches.reads(&self.accounts);
        watches.reads(&self.pods);
        watches.once(Key::new("kube-system", TRACKING));
    }

    /// Once a day: what is about days needs no events.
    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let now = ctx.clock.now();
        let tracking = or_gone(ctx.writer.get::<ConfigMap>(key).await)?;
        let since = tracking.and_then(|map| date(map.data?.get("since")?));
        // Uses are noted since then only; a year must have passed before silence says anything.
        if since.is_none_or(|since| now.duration_since(since) < PERIOD) {
            return Ok(Action::After(EVERY));
        }
        for secret in self.secrets.list() {
            let made_by_cluster = self.account_lists(&secret) && !self.is_mounted(&secret);
            if !made_by_cluster {
                continue;
            }
            let own = Key::of(&secret.metadata);
            match verdict(&secret, now) {
                Verdict::Keep => {}
                Verdict::Mark => {
                    let today = &rfc3339_seconds(now)[..10];
                    let labels = json!({"metadata": {"uid": secret.metadata.uid,
                        "labels": {INVALID_SINCE: today}}});
                    let patch = Patch::Merge(labels);
                    or_gone(ctx.writer.patch::<Secret>(&own, "", patch).await)?;
                }
                Verdict::Delete => {
                    let how = Delete {
                        resource_version: secret.metadata.resource_version.clone(),
                        ..Delete::uid(secret.metadata.uid.as_deref())
                    };
                    or_gone(ctx.writer.delete::<Secret>(&own, how).await)?;
                }
            }
        }
        Ok(Action::After(EVERY))
    }
}

impl Controller {
    /// Whether the account's `secrets` name it: so it was made by the cluster itself.
    fn account_lists(&self, secret: &Secret) -> bool {
        let Some(account) = annotation(&secret.metadata, ACCOUNT) else { return false };
        let account = self.accounts.get(namespace(&secret.metadata), account);
        account.is_some_and(|account| {
            let listed = account.secrets.iter().flatten();
            listed.into_iter().any(|one| one.name.as_deref() == Some(name(&secret.metadata)))
        })
    }

    fn is_mounted(&self, secret: &Secret) -> bool {
        self.pods.list_in(namespace(&secret.metadata)).iter().any(|pod| {
            let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
            volumes
                .filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref())
                .any(|mounted| mounted == name(&secret.metadata))
        })
    }
}

/// What becomes of a token.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing.
    Keep,
    /// It is void from now on, and can be brought back by taking the label off.
    Mark,
    /// It goes.
    Delete,
}

fn verdict(secret: &Secret, now: Timestamp) -> Verdict {
    let Ok(limit) = now.checked_sub(PERIOD) else { return Verdict::Keep };
    let meta = &secret.metadata;
    let label = |key: &str| meta.labels.as_ref()?.get(key).and_then(|text| date(text));
    if meta.creation_timestamp.as_ref().is_none_or(|made| made.0 >= limit) {
        return Verdict::Keep;
    }
    if label(LAST_USED).is_some_and(|used| used >= limit) {
        return Verdict::Keep;
    }
    match label(INVALID_SINCE) {
        None => Verdict::Mark,
        Some(since) if since < limit => Verdict::Delete,
        Some(_) => Verdict::Keep,
    }
}

/// A date, as its midnight.
fn date(text: &str) -> Option<Timestamp> {
    format!("{text}T00:00:00Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_silence_marks_and_another_deletes() {
        let check = |made: &str, labels: serde_json::Value, expected: Verdict| {
            let secret = serde_json::from_value(json!({"metadata": {
                "creationTimestamp": format!("{made}T00:00:00Z"), "labels": labels}}))
            .unwrap();
            let now = "2026-06-01T12:00:00Z".parse().unwrap();
            assert_eq!(verdict(&secret, now), expected, "{made} {labels}");
        };
        check("2026-01-01", json!({}), Verdict::Keep);
        check("2024-01-01", json!({}), Verdict::Mark);
        check("2024-01-01", json!({LAST_USED: "2026-05-01"}), Verdict::Keep);
        check("2024-01-01", json!({LAST_USED: "2025-01-01"}), Verdict::Mark);
        check("2022-01-01", json!({INVALID_SINCE: "2026-01-01"}), Verdict::Keep);
        check("2022-01-01", json!({INVALID_SINCE: "2025-01-01"}), Verdict::Delete);
    }
}
