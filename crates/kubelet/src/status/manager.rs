//! Writes a pod's status to the API: the newest one, only when it differs, until it is there.
//!
//! Invariant: one writer a pod; what is reported while a write is under way replaces what waits.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use reconcile::{Cache, Key, Patch, Writer};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::patch;
use crate::pod::PodRef;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Reports the status of one pod.
pub(crate) struct Reporter {
    wanted: watch::Sender<(u64, Option<Arc<PodStatus>>)>,
    done: watch::Receiver<u64>,
    task: Option<AbortHandle>,
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Reporter {
    /// For a pod; without a writer nothing is written.
    pub(crate) fn start(id: PodRef, pods: Cache<Pod>, writer: Option<Writer>) -> Self {
        let (wanted, receiver) = watch::channel((0, None));
        let (acknowledge, done) = watch::channel(0);
        let task = writer.map(|writer| {
            tokio::spawn(run(id, pods, writer, receiver, acknowledge)).abort_handle()
        });
        Self { wanted, done, task }
    }

    /// From now on the status shall be this.
    pub(crate) fn report(&self, status: PodStatus) {
        self.wanted.send_if_modified(|(number, wanted)| {
            if wanted.as_deref() == Some(&status) {
                return false;
            }
            *number += 1;
            *wanted = Some(Arc::new(status));
            true
        });
    }

    /// Compares again: someone else wrote to the pod.
    pub(crate) fn again(&self) {
        self.wanted.send_if_modified(|(number, wanted)| {
            *number += u64::from(wanted.is_some());
            wanted.is_some()
        });
    }

    /// Waits until what was reported last is written, or the pod is gone.
    pub(crate) async fn flush(&mut self) {
        if self.task.is_none() {
            return;
        }
        let number = self.wanted.borrow().0;
        let _closed = self.done.wait_for(|done| *done >= number).await;
    }
}

async fn run(
    id: PodRef,
    pods: Cache<Pod>,
    writer: Writer,
    mut wanted: watch::Receiver<(u64, Option<Arc<PodStatus>>)>,
    acknowledge: watch::Sender<u64>,
) {
    let mut last: Option<Arc<Pod>> = None;
    while wanted.changed().await.is_ok() {
        let mut wait = RETRY_FIRST;
        loop {
            let (number, status) = wanted.borrow_and_update().clone();
            let Some(status) = status else { break };
            match write(&id, &pods, &writer, &mut last, &status).await {
                Ok(()) => {
                    acknowledge.send_replace(number);
                    break;
                }
                Err(failure) => {
                    tracing::warn!(pod = %id, %failure, "a pod's status was not written, trying again");
                    let hint = failure.retry_after.unwrap_or(wait);
                    tokio::time::sleep(hint).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

/// Writes the difference to what the server has, as far as that is known here.
async fn write(
    id: &PodRef,
    pods: &Cache<Pod>,
    writer: &Writer,
    last: &mut Option<Arc<Pod>>,
    status: &PodStatus,
) -> Result<(), reconcile::Failure> {
    let cached =
        pods.get(&id.namespace, &id.name).filter(|pod| pod.metadata.uid.as_ref() == Some(&id.uid));
    // Our own last answer is newer than a cache that has not seen it yet.
    let newest = [cached, last.clone()].into_iter().flatten().max_by_key(|pod| version(pod));
    let empty = PodStatus::default();
    let old = newest.as_ref().and_then(|pod| pod.status.as_ref()).unwrap_or(&empty);
    let Some(patch) = patch::diff(&id.uid, old, status) else { return Ok(()) };
    let key = Key::new(&id.namespace, &id.name);
    match writer.patch::<Pod>(&key, "status", Patch::Strategic(patch)).await {
        Ok(pod) => {
            *last = Some(Arc::new(pod));
            Ok(())
        }
        // Gone: there is nothing to report to.
        Err(failure) if failure.is_not_found() => Ok(()),
        // The UID does not fit: another pod has the name now.
        Err(failure) if failure.is_conflict() && !has_name(pods, id) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Whether the pod still is the one of its name, as far as the cache knows.
fn has_name(pods: &Cache<Pod>, id: &PodRef) -> bool {
    let cached = pods.get(&id.namespace, &id.name);
    cached.is_some_and(|pod| pod.metadata.uid.as_ref() == Some(&id.uid))
}

fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}
