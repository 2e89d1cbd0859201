//! Hands pods to their workers: starts one for each pod of this node, tells it of changes, wakes it
//! when something happened to its containers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base::drain::Drain;
use container_runtime::{ContainerFilter, PodSandbox, PodSandboxFilter};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use parking_lot::Mutex;
use reconcile::Key;
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

use crate::config::labels;
use crate::context::NodeContext;
use crate::pod::{self, PodRef};
use crate::static_pods;
use crate::status::Verdict;
use crate::worker::{Desired, Handle, Worker};

/// The index of pods by the node that they are bound to.
const BY_NODE: &str = "spec.nodeName";
/// The wait before the runtime's event stream is asked for again.
const RECONNECT: std::time::Duration = std::time::Duration::from_secs(1);

/// The node's workers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dispatch(Arc<Inner>);

struct Inner {
    node: Arc<NodeContext>,
    workers: Mutex<HashMap<String, Running>>,
    /// Pods that have left, until the API forgets them too.
    left: Mutex<HashSet<String>>,
    /// Names of pods at which something changed.
    dirty: Mutex<HashSet<Key>>,
    changed: Notify,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Running {
    id: PodRef,
    handle: Handle,
}

impl Dispatch {
    /// Without workers yet.
    pub(crate) fn new(node: Arc<NodeContext>) -> Self {
        Self(Arc::new(Inner {
            node,
            workers: Mutex::default(),
            left: Mutex::default(),
            dirty: Mutex::default(),
            changed: Notify::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Works until the drain fires, and all workers have returned.
    pub(crate) async fn run(&self, drain: &Drain) {
        let node = &self.0.node;
        let name = node.options.node_name.clone();
        node.objects.pods.add_index(BY_NODE, |pod, emit| {
            if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
                emit(node);
            }
        });
        self.adopt(drain).await;
        let inner = Arc::downgrade(&self.0);
        node.objects.pods.subscribe(move |event| {
            let pod = event.object();
            let Some(inner) = inner.upgrade() else { return };
            if pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name.as_str()) {
                inner.dirty.lock().insert(Key::of(&pod.metadata));
                inner.changed.notify_one();
            }
        });
        let events = self.clone();
        let events_drain = drain.clone();
        self.0.tasks.spawn(async move { events.follow_runtime(&events_drain).await });
        while !drain.is_cancelled() {
            let dirty = std::mem::take(&mut *self.0.dirty.lock());
            // What went leaves its room to what came.
            for key in &dirty {
                self.let_go(key);
            }
            for key in &dirty {
                self.reconcile(key, drain);
            }
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = drain.cancelled() => break,
            }
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Pods of this node in the cache.
    fn known(&self) -> Vec<Arc<Pod>> {
        let mut pods = self.0.node.objects.pods.by_index(BY_NODE, &self.0.node.options.node_name);
        pods.retain(|pod| !pod::is_mirror(pod));
        pods
    }

    /// Takes over what an earlier kubelet left: pods that it had let in first, then the others by
    /// age; what runs for no pod is stopped.
    async fn adopt(&self, drain: &Drain) {
        let mut pods = self.known();
        pods.sort_by_key(|pod| {
            let started = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
            (!started, pod.metadata.creation_timestamp.clone())
        });
        let options = &self.0.node.options;
        let manifests = options.static_pod_dir.iter();
        let manifests: Vec<Pod> = manifests
            .flat_map(|folder| static_pods::read_all(folder, &options.node_name))
            .collect();
        let all = pods.iter().map(|pod| &**pod).chain(&manifests);
        let known: HashSet<String> = all.map(|pod| pod::uid(pod).to_owned()).collect();
        for pod in &pods {
            self.reconcile(&Key::of(&pod.metadata), drain);
        }
        let runtime = &self.0.node.runtime;
        let sandboxes =
            runtime.list_pod_sandbox(&PodSandboxFilter::default()).await.unwrap_or_default();
        let mut orphans = BTreeMap::new();
        for sandbox in &sandboxes {
            let owner = labels::owner(sandbox);
            let is_ours = sandbox.labels.contains_key(labels::POD_UID);
            if is_ours && !known.contains(&owner.uid) {
                orphans.insert(owner.uid.clone(), owner);
            }
        }
        for owner in orphans.into_values() {
            tracing::info!(pod = %owner, "stopping what runs for a pod that is no more");
            let pod = self.remains(&owner).await;
            self.spawn(Desired { pod: Arc::new(pod), gone: true, rejected: None }, drain);
        }
        self.remove_stale_folders(&known, &sandboxes);
    }

    /// A pod as far as the runtime remembers it: enough to stop it.
    async fn remains(&self, owner: &PodRef) -> Pod {
        let label_selector = [(labels::POD_UID.to_owned(), owner.uid.clone())].into();
        let filter = ContainerFilter { label_selector, ..ContainerFilter::default() };
        let containers = self.0.node.runtime.list_containers(&filter).await.unwrap_or_default();
        let grace =
            containers.iter().find_map(|one| one.annotations.get(labels::POD_GRACE)?.parse().ok());
        let names: HashSet<_> = containers.iter().map(|one| one.metadata.name.clone()).collect();
        let containers = names.into_iter().map(|name| Container { name, ..Container::default() });
        let mut pod = Pod {
            spec: Some(PodSpec {
                containers: containers.collect(),
                termination_grace_period_seconds: grace,
                ..PodSpec::default()
            }),
            ..Pod::default()
        };
        pod.metadata.name = Some(owner.name.clone());
        pod.metadata.namespace = Some(owner.namespace.clone());
        pod.metadata.uid = Some(owner.uid.clone());
        pod
    }

    /// Folders of pods that neither the API nor the runtime knows.
    fn remove_stale_folders(&self, known: &HashSet<String>, sandboxes: &[PodSandbox]) {
        let node = &self.0.node;
        let folders =
            std::fs::read_dir(node.options.data_dir.join("pods")).into_iter().flatten().flatten();
        for folder in folders {
            let uid = folder.file_name().to_string_lossy().into_owned();
            let runs = sandboxes.iter().any(|sandbox| sandbox.metadata.uid == uid);
            if runs || known.contains(&uid) || self.0.workers.lock().contains_key(&uid) {
                continue;
            }
            let (path, may_mount) = (folder.path(), node.may_mount);
            self.0.tasks.spawn(async move {
                if let Err(error) = crate::volumes::tear_down(path, may_mount).await {
                    tracing::warn!(%error, "the folder of a pod that is no more was not removed");
                }
            });
        }
    }

    /// The pod of a name as it shall run here, and the workers of that name.
    fn of_name(&self, key: &Key) -> (Option<Arc<Pod>>, Vec<Running>) {
        let node = &self.0.node;
        let here = |pod: &Arc<Pod>| {
            let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            bound == Some(node.options.node_name.as_str()) && !pod::is_mirror(pod)
        };
        let pod = node.objects.pods.get_key(key).filter(here);
        let workers = self.0.workers.lock();
        let same_name = workers
            .values()
            .filter(|one| one.id.name == *key.name && one.id.namespace == *key.namespace)
            // A static pod has its mirror's name; the API server has no say in it.
            .filter(|one| !pod::is_static(&one.handle.desired.borrow().pod))
            .cloned()
            .collect();
        (pod, same_name)
    }

    /// Stops the workers of a name whose pod is no more. It takes nothing from now on, though its
    /// containers may still be on their way out: who deletes by force has said so.
    fn let_go(&self, key: &Key) {
        let (pod, same_name) = self.of_name(key);
        let uid = pod.as_ref().map(|pod| pod::uid(pod)).unwrap_or_default();
        for worker in same_name.iter().filter(|worker| worker.id.uid != uid) {
            worker.handle.desired.send_modify(|desired| desired.gone = true);
            self.0.node.release(&worker.id.uid, false);
        }
    }

    /// Brings the workers of one name in line with the cache.
    fn reconcile(&self, key: &Key, drain: &Drain) {
        self.let_go(key);
        let (pod, same_name) = self.of_name(key);
        let Some(pod) = pod else { return };
        let uid = pod::uid(&pod).to_owned();
        if let Some(worker) = same_name.iter().find(|worker| worker.id.uid == uid) {
            worker.handle.desired.send_modify(|desired| desired.pod = pod);
            return;
        }
        if self.0.left.lock().contains(&uid) {
            return;
        }
        let rejected = self.judge(&pod);
        self.spawn(Desired { pod, gone: false, rejected }, drain);
    }

    /// Admission at the node. What was let in once stays in.
    fn judge(&self, pod: &Arc<Pod>) -> Option<Verdict> {
        let started = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if started || pod::is_terminal(pod) || pod::is_deleting(pod) {
            return None;
        }
        let context = &self.0.node;
        let verdict = context.judge(pod, &context.allocations.taken())?;
        let events = crate::events::PodEvents::new(&context.recorder, pod);
        events.warning(
            &verdict.reason,
            verdict.message.trim_start_matches("Pod was rejected: ").to_owned(),
        );
        Some(verdict)
    }

    fn spawn(&self, desired: Desired, drain: &Drain) {
        let id = PodRef::of(&desired.pod);
        let (worker, handle) = Worker::new(self.0.node.clone(), desired);
        self.0.workers.lock().insert(id.uid.clone(), Running { id: id.clone(), handle });
        let (dispatch, drain) = (self.clone(), drain.clone());
        self.0.tasks.spawn(async move {
            let ran = base::task::contain("pod worker", worker.run(drain.clone())).await;
            let inner = &dispatch.0;
            inner.workers.lock().remove(&id.uid);
            inner.node.release(&id.uid, true);
            if drain.is_cancelled() {
                return;
            }
            let key = Key::new(&id.namespace, &id.name);
            let still_known = inner.node.objects.pods.get_key(&key);
            let still_known = still_known.is_some_and(|pod| pod::uid(&pod) == id.uid);
            let mut left = inner.left.lock();
            left.retain(|uid| uid != &id.uid);
            if still_known && ran.is_ok() {
                left.insert(id.uid.clone());
            } else if ran.is_err() {
                // A worker that broke begins anew, from what the runtime says.
                inner.dirty.lock().insert(key);
                inner.changed.notify_one();
            }
            dispatch.forget_left(&mut left);
        });
    }

    /// Brings the workers of static pods in line with the manifests; the new ones, with where their
    /// status is told.
    pub(crate) fn set_static(
        &self,
        pods: Vec<Pod>,
        drain: &Drain,
    ) -> Vec<(Arc<Pod>, watch::Receiver<Option<PodStatus>>)> {
        let wanted: HashSet<String> = pods.iter().map(|pod| pod::uid(pod).to_owned()).collect();
        let running: HashMap<String, Handle> = {
            let workers = self.0.workers.lock();
            let all = workers.iter().map(|(uid, one)| (uid.clone(), one.handle.clone()));
            all.filter(|(_, handle)| pod::is_static(&handle.desired.borrow().pod)).collect()
        };
        for (_, handle) in running.iter().filter(|(uid, _)| !wanted.contains(*uid)) {
            handle.desired.send_modify(|desired| desired.gone = true);
        }
        let mut new = Vec::new();
        for pod in pods {
            let uid = pod::uid(&pod).to_owned();
            if running.contains_key(&uid) {
                continue;
            }
            let pod = Arc::new(pod);
            self.spawn(Desired { pod: pod.clone(), gone: false, rejected: None }, drain);
            let status = self.0.workers.lock().get(&uid).map(|one| one.handle.status.clone());
            new.extend(status.map(|status| (pod, status)));
        }
        new
    }

    /// What the API no longer has need not be remembered.
    fn forget_left(&self, left: &mut HashSet<String>) {
        let known: HashSet<String> =
            self.known().iter().map(|pod| pod::uid(pod).to_owned()).collect();
        left.retain(|uid| known.contains(uid));
    }

    /// Wakes workers when the runtime says that something happened to their containers.
    async fn follow_runtime(&self, drain: &Drain) {
        loop {
            if let Ok(mut events) = self.0.node.runtime.get_container_events().await {
                // What happened before the stream began is not told: everyone looks once.
                self.wake_all();
                loop {
                    let event = tokio::select! {
                        event = events.next() => event,
                        () = drain.cancelled() => return,
                    };
                    let Some(event) = event else { break };
                    let sandbox = event.pod_sandbox_status.as_ref();
                    let uid = sandbox.and_then(|one| one.labels.get(labels::POD_UID));
                    let uid = uid
                        .or_else(|| event.containers_statuses.first()?.labels.get(labels::POD_UID));
                    match uid {
                        Some(uid) => self.wake(uid),
                        None => self.wake_all(),
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT) => {}
                () = drain.cancelled() => return,
            }
        }
    }

    fn wake(&self, uid: &str) {
        if let Some(worker) = self.0.workers.lock().get(uid) {
            worker.handle.wake.notify_one();
        }
    }

    fn wake_all(&self) {
        self.0.workers.lock().values().for_each(|worker| worker.handle.wake.notify_one());
    }

    /// The pods that this node runs, with the status that their workers generated last.
    pub(crate) fn pods(&self) -> Vec<Pod> {
        let workers = self.0.workers.lock();
        workers
            .values()
            .map(|one| {
                let mut pod = Pod::clone(&one.handle.desired.borrow().pod);
                if let Some(status) = one.handle.status.borrow().clone() {
                    pod.status = Some(status);
                }
                pod
            })
            .collect()
    }

    /// One of them, by namespace and name.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<Pod> {
        self.pods()
            .into_iter()
            .find(|pod| pod::namespace(pod) == namespace && pod::name(pod) == name)
    }
}
