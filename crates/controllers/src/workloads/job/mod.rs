//! Job: runs pods until enough of them have succeeded.
//!
//! (Kubernetes `pkg/controller/job`)

mod indexes;
mod plan;
mod policy;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use parking_lot::Mutex;
use reconcile::{
    Action, Cache, Class, Ctx, Error, Event, Expectations, Failure, Key, Patch, Reconciler,
    Watches, or_gone,
};
use serde_json::json;

use self::plan::{FINALIZER, INDEX_FAILURES, NewPod, Plan, Snapshot, is_tracked};
use super::replicaset::manage::{create_pod, delete_pod};
use crate::common::batch::slow_start;
use crate::common::owner::{controller_of, controller_ref, name, namespace, uid};
use crate::common::watch::{PodOwners, owner_key, refers_to};
use crate::common::{claim, pods, selector};
use crate::deps::Deps;

/// Who manages a Job, when not this controller.
const MANAGER: &str = "kubernetes.io/job-controller";
/// Keys of pods whose Job is gone carry this before their namespace.
const STRAY: &str = "pods:";

/// The controller.
pub(crate) struct Controller {
    jobs: Cache<Job>,
    pods: Cache<Pod>,
    expectations: Arc<Expectations>,
    /// Pods whose finalizer was taken away, until the cache shows it.
    released: Arc<Mutex<HashMap<Key, HashSet<String>>>>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        jobs: deps.caches.of(),
        pods: deps.caches.of(),
        expectations: Arc::default(),
        released: Arc::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        // Before the pods' own watch, so that a reconcile never sees a finalizer gone twice.
        let (jobs, released) = (self.jobs.clone(), self.released.clone());
        watches.on(&self.pods, move |event, queue| {
            let pod = event.object();
            if (matches!(event, Event::Deleted(_)) || !is_tracked(pod))
                && let Some(key) = owner_key(&jobs, &**pod)
                && let Some(released) = released.lock().get_mut(&key)
            {
                released.remove(uid(&pod.metadata));
            }
            if is_tracked(pod) && is_stray(&jobs, pod) {
                queue.add(stray(pod));
            }
        });
        let (pods, released) = (self.pods.clone(), self.released.clone());
        watches.on(&self.jobs, move |event, queue| {
            if let Event::Deleted(job) = event {
                released.lock().remove(&Key::of(&job.metadata));
                let left = pods::controlled_by(&pods, uid(&job.metadata));
                left.iter().filter(|pod| is_tracked(pod)).for_each(|pod| queue.add(stray(pod)));
            }
        });
        PodOwners {
            owners: self.jobs.clone(),
            pods: self.pods.clone(),
            expectations: self.expectations.clone(),
            selects,
        }
        .watch(watches);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        if let Some(namespace) = key.namespace.strip_prefix(STRAY) {
            return self.release_stray(ctx, &Key::new(namespace, &key.name)).await;
        }
        let Some(job) = self.jobs.get_key(key) else { return Ok(Action::Await) };
        let managed = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
        if managed.is_some_and(|by| by != MANAGER) || plan::is_finished(&job) {
            return Ok(Action::Await);
        }
        let settled = self.expectations.fulfilled(key);
        let candidates = pods::candidates(&self.pods, &job.metadata);
        let claims = claim::sort(&job.metadata, candidates, |pod| selects(&job, pod));
        let owned = claim::settle(ctx, &*job, &controller_ref(&*job), claims).await?;
        let released = self.released.lock().get(key).cloned().unwrap_or_default();
        let snapshot = Snapshot {
            job: &job,
            pods: &owned,
            released: &released,
            settled,
            now: ctx.clock.now(),
        };
        let planned = plan::plan(&snapshot);
        let again = planned.again;
        self.carry_out(ctx, key, &job, planned).await?;
        Ok(again.map_or(Action::Await, Action::After))
    }
}

impl Controller {
    async fn carry_out(&self, ctx: &Ctx, key: &Key, job: &Job, plan: Plan) -> Result<(), Error> {
        let current = write_status(ctx, job, plan.status).await?;
        // Only what stands in a status that was written may be let go.
        for pod in &plan.release {
            remove_finalizer(ctx, pod).await?;
            let mut released = self.released.lock();
            released.entry(key.clone()).or_default().insert(uid(&pod.metadata).to_owned());
        }
        if !plan.release.is_empty() {
            // The numbers go up now; what the cache shows later changes nothing any more.
            ctx.queue.add(key.clone());
        }
        let deleted = self.delete(ctx, key, job, &plan.delete).await;
        self.create(ctx, key, &current, plan.create).await?;
        deleted?;
        Ok(())
    }

    async fn delete(
        &self,
        ctx: &Ctx,
        key: &Key,
        job: &Job,
        pods: &[Arc<Pod>],
    ) -> Result<(), Failure> {
        self.expectations
            .expect_deletions(key, pods.iter().map(|pod| uid(&pod.metadata).to_owned()));
        let results = join_all(pods.iter().map(|pod| async move {
            let deleted = delete_pod(ctx, job, pod).await;
            if !matches!(deleted, Ok(true)) {
                self.expectations.deletion_seen(key, uid(&pod.metadata));
            }
            deleted
        }))
        .await;
        results.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    async fn create(
        &self,
        ctx: &Ctx,
        key: &Key,
        job: &Job,
        wanted: Vec<NewPod>,
    ) -> Result<(), Failure> {
        self.expectations.expect_creations(key, wanted.len());
        let mut next = wanted.iter();
        let outcome = slow_start(wanted.len(), || {
            let new = next.next().copied().unwrap_or(NewPod { index: None, failures: 0 });
            let pod = pod_for(job, new);
            async move { create_pod(ctx, job, &pod).await }.boxed()
        })
        .await;
        for _ in outcome.done..wanted.len() {
            self.expectations.creation_seen(key);
        }
        match outcome.failure {
            Some(failure) if failure.class != Class::NamespaceTerminating => Err(failure),
            _ => Ok(()),
        }
    }

    async fn release_stray(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        if let Some(pod) = self.pods.get_key(key)
            && is_tracked(&pod)
            && is_stray(&self.jobs, &pod)
        {
            remove_finalizer(ctx, &pod).await?;
        }
        Ok(Action::Await)
    }
}

fn stray(pod: &Pod) -> Key {
    Key::new(&format!("{STRAY}{}", namespace(&pod.metadata)), name(&pod.metadata))
}

/// Whether a pod has the finalizer of a Job that it has not, or no more.
fn is_stray(jobs: &Cache<Job>, pod: &Pod) -> bool {
    // Until the Jobs are known, none is missing.
    jobs.has_synced()
        && match controller_of(&pod.metadata) {
            // A Job that adopts it gives it the finalizer again.
            None => true,
            Some(owner) => !refers_to::<Job>(owner) || owner_key(jobs, pod).is_none(),
        }
}

async fn remove_finalizer(ctx: &Ctx, pod: &Pod) -> Result<(), Failure> {
    let patch = json!({"metadata": {
        "uid": pod.metadata.uid,
        "$deleteFromPrimitiveList/finalizers": [FINALIZER],
    }});
    let key = Key::of(&pod.metadata);
    or_gone(ctx.writer.patch::<Pod>(&key, "", Patch::Strategic(patch)).await)?;
    Ok(())
}

fn selects(job: &Job, pod: &Pod) -> bool {
    job.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|wanted| {
        !selector::is_empty(wanted) && selector::matches(wanted, pod.metadata.labels.as_ref())
    })
}

/// The pod of a Job, with its index where it has one.
fn pod_for(job: &Job, new: NewPod) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = pods::from_template(&template, &job.metadata, controller_ref(job));
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    let Some(index) = new.index else { return pod };
    let text = index.to_string();
    let base = format!("{}-{index}", name(&job.metadata));
    pod.metadata.generate_name = Some(format!("{base}-"));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(indexes::INDEX.to_owned(), text.clone());
    if job.spec.as_ref().is_some_and(|spec| spec.backoff_limit_per_index.is_some()) {
        annotations.insert(INDEX_FAILURES.to_owned(), new.failures.to_string());
    }
    pod.metadata.labels.get_or_insert_default().insert(indexes::INDEX.to_owned(), text);
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(base);
    let init = spec.init_containers.iter_mut().flatten();
    spec.containers.iter_mut().chain(init).for_each(add_index);
    pod
}

fn add_index(container: &mut Container) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let env = container.env.get_or_insert_default();
    if env.iter().any(|one| one.name == NAME) {
        return;
    }
    let path = format!("metadata.labels['{}']", indexes::INDEX);
    let source = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
    let value_from = serde_json::from_value(source).ok();
    env.push(EnvVar { name: NAME.to_owned(), value: None, value_from });
}

/// Writes the status when it changed, and tells what is news.
async fn write_status(ctx: &Ctx, job: &Job, status: JobStatus) -> Result<Job, Error> {
    let mut updated = job.clone();
    updated.status = Some(status);
    if same(job.status.as_ref(), updated.status.as_ref()) {
        return Ok(updated);
    }
    let written = ctx.writer.update_status(&updated).await?;
    let before =
        job.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let after = written.status.iter().flat_map(|status| status.conditions.iter().flatten());
    for condition in after {
        let old = before.iter().find(|old| old.type_ == condition.type_);
        if old.is_some_and(|old| old.status == condition.status) {
            continue;
        }
        let message = condition.message.clone().unwrap_or_default();
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("Complete", "True") => ctx.recorder.normal(job, "Completed", "Job completed"),
            ("Failed", "True") => {
                ctx.recorder.warning(job, condition.reason.as_deref().unwrap_or("Failed"), message);
            }
            ("Suspended", "True") => ctx.recorder.normal(job, "Suspended", "Job suspended"),
            ("Suspended", "False") => ctx.recorder.normal(job, "Resumed", "Job resumed"),
            _ => {}
        }
    }
    Ok(written)
}

/// Whether two statuses say the same; absent and empty do.
fn same(a: Option<&JobStatus>, b: Option<&JobStatus>) -> bool {
    let key = |status: Option<&JobStatus>| {
        let status = status.cloned().unwrap_or_default();
        let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
        let counts =
            [status.active, status.ready, status.terminating, status.succeeded, status.failed];
        (
            counts.map(Option::unwrap_or_default),
            [status.completed_indexes, status.failed_indexes].map(Option::unwrap_or_default),
            [uncounted.succeeded, uncounted.failed].map(Option::unwrap_or_default),
            status.conditions.unwrap_or_default(),
            [status.start_time, status.completion_time],
        )
    };
    key(a) == key(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_indexed_pod_knows_its_index() {
        let job: Job = serde_json::from_value(json!({
            "metadata": {"name": "j", "namespace": "n", "uid": "u"},
            "spec": {"backoffLimitPerIndex": 1,
                     "template": {"spec": {"containers": [{"name": "c"}]}}},
        }))
        .unwrap();
        let pod = pod_for(&job, NewPod { index: Some(3), failures: 1 });
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("j-3-"));
        assert!(is_tracked(&pod));
        assert_eq!(pod.metadata.annotations.as_ref().unwrap()[INDEX_FAILURES], "1");
        let spec = pod.spec.unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("j-3"));
        assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].name, "JOB_COMPLETION_INDEX");
    }
}
