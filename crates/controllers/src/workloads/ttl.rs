//! TTL after finished: deletes Jobs some time after they ended, when they say so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use reconcile::{Action, Cache, Ctx, Delete, Error, Event, Key, Reconciler, Watches, or_gone};

use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    jobs: Cache<Job>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { jobs: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.on(&self.jobs, |event, queue| {
            if !matches!(event, Event::Deleted(_)) && expiry(event.object()).is_some() {
                queue.add(Key::of(&event.object().metadata));
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(expiry) = self.jobs.get_key(key).and_then(|job| expiry(&job)) else {
            return Ok(Action::Await);
        };
        let left = Duration::try_from(expiry.duration_since(ctx.clock.now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Action::After(left));
        }
        // The TTL may just have been raised; what is deleted does not come back.
        let Some(live) = or_gone(ctx.writer.get::<Job>(key).await)? else {
            return Ok(Action::Await);
        };
        if self::expiry(&live) != Some(expiry) {
            return Ok(Action::Await);
        }
        let how =
            Delete { propagation: Some("Foreground"), ..Delete::uid(live.metadata.uid.as_deref()) };
        or_gone(ctx.writer.delete::<Job>(key, how).await)?;
        Ok(Action::Await)
    }
}

/// When a Job is to go.
fn expiry(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = conditions.iter().find(|condition| {
        ["Complete", "Failed"].contains(&condition.type_.as_str()) && condition.status == "True"
    })?;
    let at = ended.last_transition_time.as_ref()?.0;
    at.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finished_jobs_expire() {
        let check = |status: &str, expected: Option<&str>| {
            let job: Job = serde_json::from_str(&format!(
                r#"{{"spec":{{"template":{{}},"ttlSecondsAfterFinished":60}},"status":{status}}}"#
            ))
            .unwrap();
            assert_eq!(expiry(&job).map(base::clock::rfc3339_seconds).as_deref(), expected);
        };
        check("{}", None);
        check(
            r#"{"conditions":[{"type":"Complete","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#,
            Some("2026-01-01T00:01:00Z"),
        );
    }
}
