//! What a Job does next, and what its status says. Pure.
//!
//! A pod that ended is counted exactly once: its finalizer keeps it until its UID stands in the
//! status as not yet counted; then the finalizer goes, and then the number goes up.
//! (Kubernetes `pkg/controller/job/job_controller.go`, KEP-2307)

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base::clock::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::indexes;
use super::policy::{self, Verdict};
use crate::common::owner::{annotation, uid};
use crate::common::pods;

/// Keeps a pod until it is counted.
pub(crate) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// How often the index of a pod failed before.
pub(crate) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const BACKOFF_FIRST: i64 = 10;
const BACKOFF_MAX: i64 = 600;
/// No more pods than this are created or deleted in one go.
const BURST: usize = 500;

/// A pod to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewPod {
    /// Its index, for Indexed Jobs.
    pub(crate) index: Option<i32>,
    /// How often the index failed before.
    pub(crate) failures: i32,
}

/// What is to be done: first the status is written, then finalizers go, then the rest.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) status: JobStatus,
    /// Pods that stand in the status as not yet counted, and still have their finalizer.
    pub(crate) release: Vec<Arc<Pod>>,
    pub(crate) create: Vec<NewPod>,
    pub(crate) delete: Vec<Arc<Pod>>,
    pub(crate) again: Option<Duration>,
}

/// A Job and its pods, as far as the cache shows.
pub(crate) struct Snapshot<'a> {
    pub(crate) job: &'a Job,
    pub(crate) pods: &'a [Arc<Pod>],
    /// Pods whose finalizer was taken away, though the cache does not show it yet.
    pub(crate) released: &'a HashSet<String>,
    /// Whether creations and deletions made before have been seen.
    pub(crate) settled: bool,
    pub(crate) now: Timestamp,
}

/// Whether a Job is over.
pub(crate) fn is_finished(job: &Job) -> bool {
    ["Complete", "Failed"].iter().any(|kind| has(job, kind).is_some())
}

fn has<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether a pod still has the finalizer.
pub(crate) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

struct Work<'a> {
    snapshot: &'a Snapshot<'a>,
    parallelism: i32,
    completions: Option<i32>,
    indexed: bool,
    suspended: bool,
    /// Whether only pods that have ended are replaced, not those that are ending.
    only_ended: bool,
    per_index: Option<i32>,
    active: Vec<Arc<Pod>>,
    terminating: usize,
    succeeded: i32,
    failed: i32,
    completed: BTreeSet<i32>,
    failed_indexes: BTreeSet<i32>,
    fail_job: Option<String>,
}

/// Decides.
pub(crate) fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let mut work = Work::of(snapshot);
    let mut plan =
        Plan { status: snapshot.job.status.clone().unwrap_or_default(), ..Plan::default() };
    work.count(&mut plan);
    work.start(&mut plan.status);
    let target = work.outcome(&plan.status);
    if snapshot.job.metadata.deletion_timestamp.is_some() {
        // Nothing is made or taken for it any more; who deletes the pods must not wait for a count.
        plan.release = work.tracked().cloned().collect();
    } else if let Some((failed, reason, message)) = target {
        plan.delete.clone_from(&work.active);
        work.finish(&mut plan, failed, reason, message);
    } else if work.suspended {
        plan.delete.clone_from(&work.active);
    } else {
        work.manage(&mut plan);
    }
    if !snapshot.settled {
        plan.create.clear();
        plan.delete.clear();
    }
    plan.delete.truncate(BURST);
    work.conclude(&mut plan);
    plan
}

impl<'a> Work<'a> {
    fn of(snapshot: &'a Snapshot<'a>) -> Self {
        let spec = snapshot.job.spec.as_ref();
        let indexed = spec.and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed");
        let completions = spec.and_then(|spec| spec.completions);
        let old = snapshot.job.status.as_ref();
        let end = completions.unwrap_or_default();
        let parse =
            |text: Option<&String>| text.map(|text| indexes::parse(text, end)).unwrap_or_default();
        let replacement = spec.and_then(|spec| spec.pod_replacement_policy.as_deref());
        let alive: Vec<_> =
            snapshot.pods.iter().filter(|pod| !pods::is_terminal(pod)).cloned().collect();
        let (ending, active): (Vec<_>, Vec<_>) =
            alive.into_iter().partition(|pod| pods::is_deleting(pod));
        Self {
            snapshot,
            parallelism: spec.and_then(|spec| spec.parallelism).unwrap_or(1),
            completions,
            indexed,
            suspended: spec.and_then(|spec| spec.suspend).unwrap_or_default(),
            only_ended: replacement == Some("Failed")
                || spec.is_some_and(|spec| spec.pod_failure_policy.is_some()),
            per_index: spec.and_then(|spec| spec.backoff_limit_per_index),
            active,
            terminating: ending.len(),
            succeeded: 0,
            failed: 0,
            completed: parse(old.and_then(|status| status.completed_indexes.as_ref())),
            failed_indexes: parse(old.and_then(|status| status.failed_indexes.as_ref())),
            fail_job: None,
        }
    }

    fn is_failed(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Failed"
            || (pods::is_deleting(pod) && pods::phase(pod) != "Succeeded" && !self.only_ended)
    }

    /// Pods that still have the finalizer.
    fn tracked(&self) -> impl Iterator<Item = &'a Arc<Pod>> {
        let Snapshot { pods, released, .. } = self.snapshot;
        pods.iter().filter(|pod| is_tracked(pod) && !released.contains(uid(&pod.metadata)))
    }

    /// Moves pods that ended into the status, and numbers of those whose finalizer is gone up.
    fn count(&mut self, plan: &mut Plan) {
        let status = &mut plan.status;
        let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
        let mut succeeded = uncounted.succeeded.take().unwrap_or_default();
        let mut failed = uncounted.failed.take().unwrap_or_default();
        let by_uid: BTreeMap<&str, &Arc<Pod>> =
            self.snapshot.pods.iter().map(|pod| (uid(&pod.metadata), pod)).collect();
        let still = |id: &String| {
            by_uid.get(id.as_str()).is_some_and(|pod| is_tracked(pod))
                && !self.snapshot.released.contains(id)
        };
        let (kept, done): (Vec<_>, Vec<_>) = succeeded.into_iter().partition(still);
        status.succeeded = added(status.succeeded, done.len());
        succeeded = kept;
        let (kept, done): (Vec<_>, Vec<_>) = failed.into_iter().partition(still);
        status.failed = added(status.failed, done.len());
        failed = kept;
        let counted: HashSet<String> = succeeded.iter().chain(&failed).cloned().collect();
        for pod in self.snapshot.pods.iter().filter(|pod| is_tracked(pod)) {
            let id = uid(&pod.metadata);
            if counted.contains(id) || self.snapshot.released.contains(id) {
                continue;
            }
            if pods::phase(pod) == "Succeeded" {
                self.success(pod, &mut succeeded, &mut plan.release);
            } else if self.is_failed(pod) {
                self.failure(pod, &mut failed, &mut plan.release);
            }
        }
        let still = succeeded.iter().chain(&failed).filter(|id| counted.contains(*id));
        plan.release
            .extend(still.filter_map(|id| by_uid.get(id.as_str()).map(|pod| (*pod).clone())));
        self.succeeded = added(status.succeeded, succeeded.len()).unwrap_or_default();
        self.failed = added(status.failed, failed.len()).unwrap_or_default();
        if self.indexed {
            self.succeeded = i32::try_from(self.completed.len()).unwrap_or(i32::MAX);
            status.completed_indexes =
                (!self.completed.is_empty()).then(|| indexes::render(&self.completed));
            if self.per_index.is_some() {
                status.failed_indexes = Some(indexes::render(&self.failed_indexes));
            }
        }
        uncounted.succeeded = (!succeeded.is_empty()).then_some(succeeded);
        uncounted.failed = (!failed.is_empty()).then_some(failed);
    }

    fn success(&mut self, pod: &Arc<Pod>, list: &mut Vec<String>, release: &mut Vec<Arc<Pod>>) {
        release.push(pod.clone());
        if self.indexed {
            let Some(index) = indexes::of(pod) else { return };
            let wanted = index < self.completions.unwrap_or_default();
            if !wanted || self.failed_indexes.contains(&index) || !self.completed.insert(index) {
                return;
            }
        }
        list.push(uid(&pod.metadata).to_owned());
    }

    fn failure(&mut self, pod: &Arc<Pod>, list: &mut Vec<String>, release: &mut Vec<Arc<Pod>>) {
        release.push(pod.clone());
        let verdict = policy::judge(self.snapshot.job, pod);
        if verdict == Verdict::Ignore {
            return;
        }
        list.push(uid(&pod.metadata).to_owned());
        // What is taken away because the Job is over, or waits, says nothing of its index.
        let own_doing = pods::is_deleting(pod) && pods::phase(pod) != "Failed";
        if let (Some(limit), Some(index), false) = (self.per_index, indexes::of(pod), own_doing)
            && !self.completed.contains(&index)
            && (verdict == Verdict::FailIndex || index_failures(pod) >= limit)
            && has(self.snapshot.job, "FailureTarget").is_none()
        {
            self.failed_indexes.insert(index);
        }
        if let Verdict::FailJob(why) = verdict {
            self.fail_job.get_or_insert(why);
        }
    }

    fn start(&self, status: &mut JobStatus) {
        let now = self.snapshot.now;
        let was = has(self.snapshot.job, "Suspended").is_some();
        if self.suspended && !was && !is_finished(self.snapshot.job) {
            set(status, "Suspended", "True", "JobSuspended", "Job suspended".to_owned(), now);
            status.start_time = None;
        } else if !self.suspended {
            if was {
                set(status, "Suspended", "False", "JobResumed", "Job resumed".to_owned(), now);
                status.start_time = Some(Time(now));
            }
            status.start_time.get_or_insert(Time(now));
        }
    }

    /// Whether the Job is over: failed or not, why, and in words.
    fn outcome(&self, status: &JobStatus) -> Option<(bool, String, String)> {
        let job = self.snapshot.job;
        for (kind, failed) in [("FailureTarget", true), ("SuccessCriteriaMet", false)] {
            if let Some(condition) = has(job, kind) {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                return Some((failed, text(&condition.reason), text(&condition.message)));
            }
        }
        let failed =
            |reason: &str, message: &str| Some((true, reason.to_owned(), message.to_owned()));
        if let Some(why) = &self.fail_job {
            return failed("PodFailurePolicy", why);
        }
        if let Some(why) = policy::succeeded(job, &self.completed).filter(|_| self.indexed) {
            return Some((false, "SuccessPolicy".to_owned(), why));
        }
        let spec = job.spec.as_ref()?;
        let default = if self.per_index.is_some() { i32::MAX } else { 6 };
        let limit = spec.backoff_limit.unwrap_or(default);
        if self.failed > limit || self.restarts() > limit {
            return failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        if self.deadline(status).is_some_and(|left| left.is_zero()) {
            let text = "Job was active longer than specified deadline";
            return failed("DeadlineExceeded", text);
        }
        let failed_indexes = i32::try_from(self.failed_indexes.len()).unwrap_or(i32::MAX);
        if spec.max_failed_indexes.is_some_and(|max| failed_indexes > max) {
            let text = "Job has exceeded the specified maximal number of failed indexes";
            return failed("MaxFailedIndexesExceeded", text);
        }
        let completed = match self.completions {
            None => self.succeeded > 0 && self.active.is_empty() && self.terminating == 0,
            Some(wanted) if self.failed_indexes.is_empty() => self.succeeded >= wanted,
            Some(wanted) if self.succeeded + failed_indexes >= wanted => {
                return failed("FailedIndexes", "Job has failed indexes");
            }
            Some(_) => false,
        };
        completed.then(|| {
            let text = "Reached expected number of succeeded pods".to_owned();
            (false, "CompletionsReached".to_owned(), text)
        })
    }

    /// The restarts of containers that count as failures, since their pods restart in place.
    fn restarts(&self) -> i32 {
        let spec = self.snapshot.job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        if spec.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
            return 0;
        }
        let statuses = |pod: &Arc<Pod>| -> i32 {
            let status = pod.status.as_ref();
            let init = status.into_iter().flat_map(|s| s.init_container_statuses.iter().flatten());
            let main = status.into_iter().flat_map(|s| s.container_statuses.iter().flatten());
            init.chain(main).map(|container| container.restart_count).sum()
        };
        self.active.iter().map(statuses).sum()
    }

    /// How long the Job may go on.
    fn deadline(&self, status: &JobStatus) -> Option<Duration> {
        let seconds = self.snapshot.job.spec.as_ref()?.active_deadline_seconds?;
        let started = status.start_time.as_ref().filter(|_| !self.suspended)?.0;
        let left = SignedDuration::from_secs(seconds) - self.snapshot.now.duration_since(started);
        Some(Duration::try_from(left).unwrap_or_default())
    }

    fn finish(&self, plan: &mut Plan, failed: bool, reason: String, message: String) {
        let now = self.snapshot.now;
        let target = if failed { "FailureTarget" } else { "SuccessCriteriaMet" };
        set(&mut plan.status, target, "True", &reason, message.clone(), now);
        let uncounted = plan.status.uncounted_terminated_pods.as_ref();
        let waiting = uncounted
            .is_some_and(|uncounted| uncounted.succeeded.is_some() || uncounted.failed.is_some());
        let tracked = self.tracked().next().is_some();
        if waiting || tracked || !self.active.is_empty() || self.terminating > 0 {
            return;
        }
        let kind = if failed { "Failed" } else { "Complete" };
        set(&mut plan.status, kind, "True", &reason, message, now);
        if !failed {
            plan.status.completion_time = Some(Time(now));
        }
    }

    /// Creates what is missing, deletes what is too much.
    fn manage(&self, plan: &mut Plan) {
        let active = i32::try_from(self.active.len()).unwrap_or(i32::MAX);
        let wanted = match self.completions {
            None if self.succeeded > 0 => active.min(self.parallelism),
            None => self.parallelism,
            Some(completions) => {
                let lost = i32::try_from(self.failed_indexes.len()).unwrap_or_default();
                (completions - self.succeeded - lost).max(0).min(self.parallelism)
            }
        };
        self.drop_doubles(plan);
        if active > wanted {
            let mut active = self.active.clone();
            pods::sort_for_deletion(&mut active, &self.active, self.snapshot.now);
            let excess = active.len() - usize::try_from(wanted).unwrap_or_default();
            plan.delete.extend(active.into_iter().take(excess));
            return;
        }
        let ending =
            if self.only_ended { i32::try_from(self.terminating).unwrap_or_default() } else { 0 };
        let missing = usize::try_from(wanted - active - ending).unwrap_or_default().min(BURST);
        let deadline = self.deadline(&plan.status);
        plan.again = deadline.filter(|left| !left.is_zero());
        if missing == 0 {
            return;
        }
        if self.per_index.is_none()
            && let Some(left) = self.backoff(None)
        {
            plan.again = Some(plan.again.map_or(left, |other| other.min(left)));
            return;
        }
        if self.indexed {
            self.missing_indexes(plan, missing);
        } else {
            plan.create = vec![NewPod { index: None, failures: 0 }; missing];
        }
    }

    /// Two pods of one index, or one of an index that is not wanted, are too many.
    fn drop_doubles(&self, plan: &mut Plan) {
        if !self.indexed {
            return;
        }
        let end = self.completions.unwrap_or_default();
        let mut seen = BTreeSet::new();
        for pod in &self.active {
            let wanted = indexes::of(pod).is_some_and(|index| index < end && seen.insert(index));
            if !wanted {
                plan.delete.push(pod.clone());
            }
        }
    }

    fn missing_indexes(&self, plan: &mut Plan, missing: usize) {
        let mut taken: BTreeSet<i32> =
            self.active.iter().filter_map(|pod| indexes::of(pod)).collect();
        if self.only_ended {
            let ending = self.snapshot.pods.iter().filter(|pod| !pods::is_terminal(pod));
            taken.extend(ending.filter_map(|pod| indexes::of(pod)));
        }
        for index in 0..self.completions.unwrap_or_default() {
            if plan.create.len() == missing {
                break;
            }
            if taken.contains(&index)
                || self.completed.contains(&index)
                || self.failed_indexes.contains(&index)
            {
                continue;
            }
            if self.per_index.is_some()
                && let Some(left) = self.backoff(Some(index))
            {
                plan.again = Some(plan.again.map_or(left, |other| other.min(left)));
                continue;
            }
            let failed = self.failed_pods(Some(index));
            let failures = failed.map(|pod| index_failures(pod) + 1).max().unwrap_or_default();
            plan.create.push(NewPod { index: Some(index), failures });
        }
    }

    fn failed_pods(&self, index: Option<i32>) -> impl Iterator<Item = &Arc<Pod>> {
        self.snapshot.pods.iter().filter(move |pod| {
            self.is_failed(pod) && (index.is_none() || indexes::of(pod) == index)
        })
    }

    /// How long to wait before the next pod, after failures since the last success.
    fn backoff(&self, index: Option<i32>) -> Option<Duration> {
        let ended = |pod: &Pod| ended_at(pod).unwrap_or(self.snapshot.now);
        let success = self
            .snapshot
            .pods
            .iter()
            .filter(|pod| pods::phase(pod) == "Succeeded")
            .filter(|pod| index.is_none() || indexes::of(pod) == index)
            .map(|pod| ended(pod))
            .max();
        let failures: Vec<Timestamp> = self
            .failed_pods(index)
            .map(|pod| ended(pod))
            .filter(|at| success.is_none_or(|success| *at > success))
            .collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
        let seconds = (BACKOFF_FIRST << doublings).min(BACKOFF_MAX);
        let left = SignedDuration::from_secs(seconds) - self.snapshot.now.duration_since(*last);
        Duration::try_from(left).ok().filter(|left| !left.is_zero())
    }

    fn conclude(&self, plan: &mut Plan) {
        let count = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
        let status = &mut plan.status;
        status.active = count(self.active.len());
        status.ready = count(self.active.iter().filter(|pod| pods::is_ready(pod)).count());
        status.terminating = count(self.terminating);
    }
}

fn index_failures(pod: &Pod) -> i32 {
    annotation(&pod.metadata, INDEX_FAILURES).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// When the last container of a pod ended.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let ended = containers
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref())
        .map(|time| time.0)
        .max();
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let unready = pods::condition(pod, "Ready")
        .and_then(|condition| condition.last_transition_time.as_ref().map(|time| time.0));
    ended.or(deleted).or(unready)
}

fn added(count: Option<i32>, more: usize) -> Option<i32> {
    let sum = count.unwrap_or_default().saturating_add(i32::try_from(more).unwrap_or(i32::MAX));
    (sum > 0).then_some(sum)
}

fn set(
    status: &mut JobStatus,
    kind: &str,
    state: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let found = conditions.iter_mut().find(|condition| condition.type_ == kind);
    if found.as_ref().is_some_and(|found| found.status == state) {
        return;
    }
    let condition = JobCondition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match found {
        Some(slot) => *slot = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
