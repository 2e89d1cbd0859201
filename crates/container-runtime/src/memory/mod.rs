//! A container runtime in memory, for tests of what stands above the seam.
//!
//! It keeps every rule of [`RuntimeService`](crate::RuntimeService) but runs nothing. A container
//! "runs" by its arguments: `sh -c "exit N"` ends at once with N, everything else runs until it
//! is stopped, unless the test says otherwise with a [`Script`]. Waiting goes through tokio's
//! clock, so paused time works. Containers that ignore their stop signal, failing calls, failing
//! or slow pulls and a dying sandbox can be scripted.

mod image;
mod runtime;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base::clock::SharedClock;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::{ContainerEventResponse, Error, ExecSyncResponse};

/// How a container behaves once started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Ends by itself after this time with this code; none runs until stopped.
    pub exit: Option<(Duration, i32)>,
    /// The text of a start that fails.
    pub start_error: Option<String>,
    /// Whether it ends on its stop signal (with code 0) or has to be killed (with 137).
    pub heeds_stop_signal: bool,
    /// Its exit is reported as an out-of-memory kill.
    pub oom: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self { exit: None, start_error: None, heeds_stop_signal: true, oom: false }
    }
}

impl Script {
    /// Ends after `after` with `code`.
    #[must_use]
    pub fn exits(after: Duration, code: i32) -> Self {
        Self { exit: Some((after, code)), ..Self::default() }
    }
}

/// What comes of pulling an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    /// It arrives after this time.
    Arrives(Duration),
    /// It fails.
    Fails(Error),
}

/// Answers an exec: container name and command in, result out.
pub type ExecScript = Arc<dyn Fn(&str, &[String]) -> ExecSyncResponse + Send + Sync>;

/// The runtime. Clones share one state.
#[derive(Clone)]
pub struct MemoryRuntime {
    clock: SharedClock,
    inner: Arc<Mutex<state::State>>,
    events: broadcast::Sender<ContainerEventResponse>,
    /// Wakes those that wait for a container's end.
    changed: watch::Sender<()>,
}

impl std::fmt::Debug for MemoryRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryRuntime").finish_non_exhaustive()
    }
}

impl MemoryRuntime {
    /// An empty runtime. Images that nobody scripted are pulled at once.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
            events: broadcast::Sender::new(1024),
            changed: watch::Sender::new(()),
        }
    }

    /// Says how containers of this name behave. Several calls queue up: each start takes the
    /// next one, the last stays.
    pub fn script(&self, container_name: &str, script: Script) {
        self.inner.lock().scripts.entry(container_name.to_owned()).or_default().push_back(script);
    }

    /// Says what comes of pulling an image; queues up like [`MemoryRuntime::script`].
    pub fn script_pull(&self, image: &str, pull: Pull) {
        self.inner.lock().pulls.entry(image.to_owned()).or_default().push_back(pull);
    }

    /// Answers execs.
    pub fn script_exec(&self, exec: ExecScript) {
        self.inner.lock().exec = Some(exec);
    }

    /// Makes the next call of this name (as `run_pod_sandbox`) fail.
    pub fn fail_next(&self, call: &'static str, error: Error) {
        self.inner.lock().failures.entry(call).or_default().push_back(error);
    }

    /// Has the node own an image without a pull.
    pub fn add_image(&self, image: &str) {
        self.inner.lock().add_image(image);
    }

    /// Ends a running container from outside, as its own process would.
    pub fn exit_container(&self, container_id: &str, code: i32) {
        self.finish(container_id, code, false);
    }

    /// Ends a sandbox as the death of its shim does: containers with 137, itself not ready.
    pub fn kill_sandbox(&self, pod_sandbox_id: &str) {
        self.end_sandbox(pod_sandbox_id);
    }

    /// The calls so far, as `start_container web`, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.inner.lock().calls.clone()
    }
}

/// Takes the next of a queue whose last element stays.
fn next_of<T: Clone>(queues: &mut BTreeMap<String, VecDeque<T>>, key: &str) -> Option<T> {
    let queue = queues.get_mut(key)?;
    if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
}
