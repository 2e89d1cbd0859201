//! Takes requests away that nobody waits for any more.
//!
//! (Kubernetes `pkg/controller/certificates/cleaner`)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use reconcile::{Action, Cache, Ctx, Delete, Error, Key, Reconciler, Watches, or_gone};

use super::is_issued;
use crate::deps::Deps;

const PENDING: SignedDuration = SignedDuration::from_hours(24);
const DECIDED: SignedDuration = SignedDuration::from_hours(1);

/// The controller.
pub(crate) struct Controller {
    csrs: Cache<CertificateSigningRequest>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { csrs: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-cleaner-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.csrs);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(csr) = self.csrs.get_key(key) else { return Ok(Action::Await) };
        let Some(expiry) = expiry(&csr) else { return Ok(Action::Await) };
        let left = Duration::try_from(expiry.duration_since(ctx.clock.now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Action::After(left));
        }
        let how = Delete::uid(csr.metadata.uid.as_deref());
        or_gone(ctx.writer.delete::<CertificateSigningRequest>(key, how).await)?;
        Ok(Action::Await)
    }
}

/// When a request goes: an hour after its decision, a day after it was made and nobody decided.
fn expiry(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    let made = csr.metadata.creation_timestamp.as_ref()?.0;
    let decided = |kind: &str| {
        let conditions = csr.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .find(|condition| condition.type_ == kind)
            .map(|condition| condition.last_update_time.as_ref().map_or(made, |time| time.0))
    };
    let (since, limit) = match (decided("Denied").or(decided("Failed")), decided("Approved")) {
        (Some(at), _) => (at, DECIDED),
        (None, Some(at)) if is_issued(csr) => (at, DECIDED),
        _ => (made, PENDING),
    };
    since.checked_add(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decided_requests_go_sooner() {
        let check = |status: &str, expected: &str| {
            let csr: CertificateSigningRequest = serde_json::from_str(&format!(
                r#"{{"metadata":{{"creationTimestamp":"2026-01-01T00:00:00Z"}},
                    "spec":{{"request":"","signerName":"s"}},"status":{status}}}"#
            ))
            .unwrap();
            let at = expiry(&csr).map(base::clock::rfc3339_seconds);
            assert_eq!(at.as_deref(), Some(expected), "{status}");
        };
        let decided = |kind: &str, certificate: &str| {
            format!(
                r#"{{"conditions":[{{"type":"{kind}","status":"True","lastUpdateTime":"2026-01-01T05:00:00Z"}}]{certificate}}}"#
            )
        };
        check("{}", "2026-01-02T00:00:00Z");
        check(&decided("Denied", ""), "2026-01-01T06:00:00Z");
        check(&decided("Approved", ""), "2026-01-02T00:00:00Z");
        check(&decided("Approved", r#","certificate":"Zm9v""#), "2026-01-01T06:00:00Z");
    }
}
