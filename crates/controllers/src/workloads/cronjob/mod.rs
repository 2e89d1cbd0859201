//! CronJob: makes Jobs at the times of a schedule.
//!
//! (Kubernetes `pkg/controller/cronjob`)

mod schedule;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::{SignedDuration, Timestamp};
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use reconcile::{
    Action, Cache, Class, Ctx, Delete, Error, Failure, Key, Reconciler, Watches, or_gone,
};

use self::schedule::Schedule;
use crate::common::owner::{controller_ref, is_controlled_by, name, namespace, uid};
use crate::common::watch::owner_key;
use crate::deps::Deps;

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// So many missed times are worth a warning: a clock was wrong, or nobody was there.
const MISSED_MAX: usize = 100;

/// The controller.
pub(crate) struct Controller {
    cronjobs: Cache<CronJob>,
    jobs: Cache<Job>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { cronjobs: deps.caches.of(), jobs: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.cronjobs);
        let cronjobs = self.cronjobs.clone();
        watches.on(&self.jobs, move |event, queue| {
            if let Some(key) = owner_key(&cronjobs, &**event.object()) {
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(cronjob) = self.cronjobs.get_key(key) else { return Ok(Action::Await) };
        let mut owned: Vec<_> = self
            .jobs
            .list_in(&key.namespace)
            .into_iter()
            .filter(|job| is_controlled_by(&job.metadata, uid(&cronjob.metadata)))
            .collect();
        owned.sort_by_key(|job| job.metadata.creation_timestamp.as_ref().map(|time| time.0));
        clean(ctx, &cronjob, &owned).await?;
        let mut updated = (*cronjob).clone();
        account(ctx, &mut updated, &owned);
        let next = self.schedule(ctx, &mut updated, &owned).await;
        if updated.status.clone().unwrap_or_default() != cronjob.status.clone().unwrap_or_default()
        {
            or_gone(ctx.writer.update_status(&updated).await)?;
        }
        Ok(next?.map_or(Action::Await, Action::After))
    }
}

impl Controller {
    /// Makes the Job that is due, if one is; says when to look again.
    async fn schedule(
        &self,
        ctx: &Ctx,
        cronjob: &mut CronJob,
        owned: &[Arc<Job>],
    ) -> Result<Option<Duration>, Error> {
        let spec = cronjob.spec.clone();
        if cronjob.metadata.deletion_timestamp.is_some() || spec.suspend == Some(true) {
            return Ok(None);
        }
        let zone = match schedule::zone(spec.time_zone.as_deref()) {
            Ok(zone) => zone,
            Err(why) => {
                let name = spec.time_zone.unwrap_or_default();
                let text = format!("invalid timeZone: {name:?}: {why}");
                ctx.recorder.warning(cronjob, "UnknownTimeZone", text);
                return Ok(None);
            }
        };
        let times = match Schedule::parse(&spec.schedule) {
            Ok(times) => times,
            Err(why) => {
                let text = format!("unparseable schedule: {:?} : {why}", spec.schedule);
                ctx.recorder.warning(cronjob, "UnparseableSchedule", text);
                return Ok(None);
            }
        };
        let now = ctx.clock.now();
        let due = due(cronjob, &times, &zone, now);
        if due.at.is_none() && due.next.is_none() {
            // The 31st of February.
            let text = format!(
                "invalid schedule: {} : time difference between two schedules is less than 1 second",
                spec.schedule
            );
            ctx.recorder.warning(cronjob, "InvalidSchedule", text);
            return Ok(None);
        }
        if due.missed > MISSED_MAX {
            let text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            ctx.recorder.warning(cronjob, "TooManyMissedTimes", text);
        }
        let again =
            due.next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
        let Some(at) = due.at else { return Ok(again) };
        let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        if deadline.is_some_and(|deadline| now.duration_since(at) > deadline) {
            let text = format!(
                "Missed scheduled time to start a job: {}",
                base::clock::rfc3339_seconds(at)
            );
            ctx.recorder.warning(cronjob, "MissSchedule", text);
            return Ok(again);
        }
        let active = cronjob.status.as_ref().and_then(|status| status.active.clone());
        let active = active.unwrap_or_default();
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !active.is_empty() => {
                let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
                ctx.recorder.normal(cronjob, "JobAlreadyActive", text);
                return Ok(again);
            }
            Some("Replace") => {
                for reference in &active {
                    replace(ctx, cronjob, owned, reference).await?;
                }
                cronjob.status.get_or_insert_default().active = None;
            }
            _ => {}
        }
        start(ctx, cronjob, at, &zone).await?;
        Ok(again)
    }
}

/// What is due, what comes next, and how much was missed.
struct Due {
    at: Option<Timestamp>,
    next: Option<Timestamp>,
    missed: usize,
}

/// The latest time since the last one that has come, and the one after it.
fn due(cronjob: &CronJob, times: &Schedule, zone: &TimeZone, now: Timestamp) -> Due {
    let last = cronjob.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let made = cronjob.metadata.creation_timestamp.as_ref();
    let mut from = last.or(made).map_or(now, |time| time.0);
    let deadline = cronjob.spec.starting_deadline_seconds;
    if let Some(seconds) = deadline
        && let Ok(earliest) = now.checked_sub(SignedDuration::from_secs(seconds))
    {
        from = from.max(earliest);
    }
    let mut due = Due { at: None, next: None, missed: 0 };
    let mut at = times.next(from, zone);
    while let Some(time) = at {
        if time > now {
            break;
        }
        due.at = Some(time);
        due.missed += 1;
        // Far behind, the times in between do not matter: jump near the present.
        let near = now.checked_sub(SignedDuration::from_hours(24 * 32)).unwrap_or(now);
        let from = if due.missed > MISSED_MAX && time < near { near } else { time };
        at = times.next(from, zone);
    }
    due.next = at;
    due
}

/// Brings the list of active Jobs up to date.
fn account(ctx: &Ctx, cronjob: &mut CronJob, owned: &[Arc<Job>]) {
    let subject = cronjob.clone();
    let status = cronjob.status.get_or_insert_default();
    let mut active = status.active.take().unwrap_or_default();
    for job in owned {
        let at = active.iter().position(|one| one.uid.as_deref() == Some(uid(&job.metadata)));
        match (at, finished(job)) {
            (Some(at), Some(kind)) => {
                active.remove(at);
                let text = format!("Saw completed job: {}, condition: {kind}", name(&job.metadata));
                ctx.recorder.normal(&subject, "SawCompletedJob", text);
                let done = job.status.as_ref().and_then(|status| status.completion_time.clone());
                if kind == "Complete" && done > status.last_successful_time {
                    status.last_successful_time = done;
                }
            }
            (None, None) if job.metadata.deletion_timestamp.is_none() => {
                active.push(reference(job));
            }
            _ => {}
        }
    }
    active.retain(|one| {
        let found = owned.iter().any(|job| one.uid.as_deref() == Some(uid(&job.metadata)));
        if !found {
            let text =
                format!("Active job went missing: {}", one.name.as_deref().unwrap_or_default());
            ctx.recorder.normal(&subject, "MissingJob", text);
        }
        found
    });
    status.active = (!active.is_empty()).then_some(active);
}

fn finished(job: &Job) -> Option<&'static str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    ["Complete", "Failed"].into_iter().find(|kind| {
        conditions.iter().any(|condition| condition.type_ == *kind && condition.status == "True")
    })
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        name: job.metadata.name.clone(),
        namespace: job.metadata.namespace.clone(),
        uid: job.metadata.uid.clone(),
        resource_version: job.metadata.resource_version.clone(),
        field_path: None,
    }
}

async fn start(
    ctx: &Ctx,
    cronjob: &mut CronJob,
    at: Timestamp,
    zone: &TimeZone,
) -> Result<(), Error> {
    let job = job_for(cronjob, at, zone);
    let made = match ctx.writer.create(&job).await {
        Ok(made) => made,
        Err(failure) if failure.class == Class::NamespaceTerminating => return Ok(()),
        Err(failure) if failure.is_already_exists() => {
            let live: Job = ctx.writer.get(&Key::of(&job.metadata)).await?;
            if !is_controlled_by(&live.metadata, uid(&cronjob.metadata)) {
                return Err(failure.into());
            }
            live
        }
        Err(failure) => {
            let text = format!("Error creating job: {}", failure.message);
            ctx.recorder.warning(cronjob, "FailedCreate", text);
            return Err(failure.into());
        }
    };
    let text = format!("Created job {}", name(&made.metadata));
    ctx.recorder.normal(cronjob, "SuccessfulCreate", text);
    let status = cronjob.status.get_or_insert_default();
    status.last_schedule_time = Some(Time(schedule::whole(at)));
    let active = status.active.get_or_insert_default();
    if finished(&made).is_none() && !active.iter().any(|one| one.uid == made.metadata.uid) {
        active.push(reference(&made));
    }
    Ok(())
}

fn job_for(cronjob: &CronJob, at: Timestamp, zone: &TimeZone) -> Job {
    let template = cronjob.spec.job_template.clone();
    let given = template.metadata.unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    let local = at.to_zoned(zone.clone());
    let text = if *zone == TimeZone::UTC {
        base::clock::rfc3339_seconds(at)
    } else {
        local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    };
    annotations.insert(SCHEDULED_AT.to_owned(), text);
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", name(&cronjob.metadata), at.as_second() / 60)),
            namespace: Some(namespace(&cronjob.metadata).to_owned()),
            labels: given.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_ref(cronjob)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

async fn replace(
    ctx: &Ctx,
    cronjob: &CronJob,
    owned: &[Arc<Job>],
    reference: &ObjectReference,
) -> Result<(), Failure> {
    let found = owned.iter().find(|job| job.metadata.uid == reference.uid);
    if let Some(job) = found {
        delete(ctx, cronjob, job).await?;
    }
    Ok(())
}

async fn delete(ctx: &Ctx, cronjob: &CronJob, job: &Job) -> Result<(), Failure> {
    let how =
        Delete { propagation: Some("Background"), ..Delete::uid(job.metadata.uid.as_deref()) };
    let job_name = name(&job.metadata);
    match or_gone(ctx.writer.delete::<Job>(&Key::of(&job.metadata), how).await) {
        Ok(None) => Ok(()),
        Ok(Some(())) => {
            let text = format!("Deleted job {job_name}");
            ctx.recorder.normal(cronjob, "SuccessfulDelete", text);
            Ok(())
        }
        Err(failure) => {
            let text = format!("Deleted job: {}", failure.message);
            ctx.recorder.warning(cronjob, "FailedDelete", text);
            Err(failure)
        }
    }
}

/// Deletes the oldest finished Jobs beyond what the history keeps.
async fn clean(ctx: &Ctx, cronjob: &CronJob, owned: &[Arc<Job>]) -> Result<(), Failure> {
    let limits = [
        ("Complete", cronjob.spec.successful_jobs_history_limit),
        ("Failed", cronjob.spec.failed_jobs_history_limit),
    ];
    for (kind, limit) in limits {
        let Some(limit) = limit else { continue };
        let ended: Vec<_> = owned
            .iter()
            .filter(|job| finished(job) == Some(kind) && job.metadata.deletion_timestamp.is_none())
            .collect();
        let excess = ended.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        for job in ended.into_iter().take(excess) {
            delete(ctx, cronjob, job).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cronjob(json: &str) -> CronJob {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_latest_missed_time_is_due() {
        let check = |status: &str, deadline: &str, now: &str, at: Option<&str>, next: &str| {
            let cronjob = cronjob(&format!(
                r#"{{"metadata":{{"creationTimestamp":"2026-01-01T00:00:30Z"}},
                    "spec":{{"schedule":"","jobTemplate":{{}}{deadline}}},"status":{status}}}"#
            ));
            let times = Schedule::parse("*/10 * * * *").unwrap();
            let due = due(&cronjob, &times, &TimeZone::UTC, now.parse().unwrap());
            assert_eq!(due.at.map(base::clock::rfc3339_seconds).as_deref(), at, "{now}");
            assert_eq!(due.next.map(base::clock::rfc3339_seconds).as_deref(), Some(next));
        };
        check("{}", "", "2026-01-01T00:05:00Z", None, "2026-01-01T00:10:00Z");
        check(
            "{}",
            "",
            "2026-01-01T00:10:00Z",
            Some("2026-01-01T00:10:00Z"),
            "2026-01-01T00:20:00Z",
        );
        check(
            "{}",
            "",
            "2026-01-01T00:35:00Z",
            Some("2026-01-01T00:30:00Z"),
            "2026-01-01T00:40:00Z",
        );
        let last = r#"{"lastScheduleTime":"2026-01-01T00:30:00Z"}"#;
        check(last, "", "2026-01-01T00:35:00Z", None, "2026-01-01T00:40:00Z");
        let deadline = r#","startingDeadlineSeconds":60"#;
        check("{}", deadline, "2026-01-01T00:35:00Z", None, "2026-01-01T00:40:00Z");
        check(
            "{}",
            "",
            "2026-03-01T00:05:00Z",
            Some("2026-03-01T00:00:00Z"),
            "2026-03-01T00:10:00Z",
        );
    }

    #[test]
    fn a_job_is_named_after_its_minute() {
        let cronjob = cronjob(
            r#"{"metadata":{"name":"c","namespace":"n","uid":"u"},
                "spec":{"schedule":"","jobTemplate":{"metadata":{"labels":{"a":"b"}}}}}"#,
        );
        let job = job_for(&cronjob, "2026-01-01T00:10:00Z".parse().unwrap(), &TimeZone::UTC);
        assert_eq!(job.metadata.name.as_deref(), Some("c-29453770"));
        assert_eq!(job.metadata.annotations.unwrap()[SCHEDULED_AT], "2026-01-01T00:10:00Z");
        assert_eq!(job.metadata.labels.unwrap()["a"], "b");
    }
}
