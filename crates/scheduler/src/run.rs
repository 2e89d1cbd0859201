//! The scheduler at work: news in, bindings out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Node, Pod};
use api::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use base::clock::SharedClock;
use base::drain::Drain;
use base::readiness::Part;
use base::rng::SharedRng;
use parking_lot::Mutex;
use reconcile::{Cache, Caches, Event, Recorder, Writer};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::cluster::{Cluster, key_of};
use crate::cycle::{Cycle, Decision, Unschedulable};
use crate::framework::{ClusterEvent, Nominated, Nomination, PodInfo, World};
use crate::queue::Queue;
use crate::{binding, preempt};

/// Bindings on their way at once.
const BINDINGS_MAX: usize = 64;

/// What the scheduler needs to know.
pub struct SchedulerOptions {
    /// The name that pods ask for, `default-scheduler`.
    pub name: String,
    /// Wall time.
    pub clock: SharedClock,
    /// Randomness, for ties.
    pub rng: SharedRng,
    /// Told when it knows the cluster and decides.
    pub ready: Part,
}

struct Scheduler {
    name: String,
    state: Mutex<State>,
    wake: Notify,
    helps: HashMap<&'static str, &'static [ClusterEvent]>,
    budgets: Cache<PodDisruptionBudget>,
}

struct State {
    cluster: Cluster,
    queue: Queue,
    cycle: Cycle,
    nominated: Nominated,
}

/// Runs the scheduler under a client's identity until the drain fires.
pub async fn run(options: SchedulerOptions, caches: Caches, client: kube::Client, drain: Drain) {
    let writer = Writer::new(client, "kube-scheduler");
    let recorder =
        Recorder::start(writer.clone(), &options.name, "", options.clock.clone(), drain.clone());
    let plugins = crate::plugins::all();
    let helps = plugins.iter().map(|plugin| (plugin.name(), plugin.events())).collect();
    let scheduler = Arc::new(Scheduler {
        name: options.name,
        state: Mutex::new(State {
            cluster: Cluster::default(),
            queue: Queue::default(),
            cycle: Cycle::new(plugins, options.rng),
            nominated: Nominated::default(),
        }),
        wake: Notify::new(),
        helps,
        budgets: caches.of(),
    });
    let (pods, nodes) = (caches.of::<Pod>(), caches.of::<Node>());
    nodes.subscribe({
        let scheduler = scheduler.clone();
        move |event| scheduler.node_news(&event)
    });
    pods.subscribe({
        let scheduler = scheduler.clone();
        move |event| scheduler.pod_news(&event)
    });
    nodes.synced().await;
    pods.synced().await;
    scheduler.budgets.synced().await;
    options.ready.ready();
    let executor = Executor {
        scheduler,
        writer,
        recorder,
        clock: options.clock,
        slots: Arc::new(Semaphore::new(BINDINGS_MAX)),
    };
    tokio::select! {
        () = drain.cancelled() => {}
        () = executor.run() => {}
    }
    options.ready.unready("stopped");
}

impl Scheduler {
    fn node_news(&self, event: &Event<Node>) {
        let mut state = self.state.lock();
        let events = match event {
            Event::Added(node) | Event::Updated { new: node, .. } => {
                state.cluster.node_set(node.clone())
            }
            Event::Deleted(node) => {
                state.cluster.node_removed(node.metadata.name.as_deref().unwrap_or_default());
                Vec::new()
            }
        };
        self.moved(&mut state, events);
    }

    fn pod_news(&self, event: &Event<Pod>) {
        let mut state = self.state.lock();
        let pod = event.object();
        let key = key_of(pod);
        let spec = pod.spec.as_ref();
        let has_node =
            spec.and_then(|spec| spec.node_name.as_deref()).is_some_and(|name| !name.is_empty());
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
        let is_gone = matches!(event, Event::Deleted(_));
        let kept = nominate(&mut state.nominated, event, has_node || has_ended || is_gone);
        let moved = if has_node {
            state.queue.remove(&key);
            if is_gone || has_ended {
                state.cluster.pod_removed(pod).into_iter().collect()
            } else {
                state.cluster.pod_bound(pod)
            }
        } else {
            // A pod of the same name that was assumed before is another one, and gone.
            let waits = !is_gone && !has_ended && self.is_mine(pod);
            if waits {
                state.queue.set(pod, Instant::now());
            } else {
                state.queue.remove(&key);
            }
            // Room that was promised to it is there for others, too.
            let freed = (is_gone && state.cluster.forget(&key)) || !kept;
            freed.then_some(ClusterEvent::PodDeleted).into_iter().collect()
        };
        self.moved(&mut state, moved);
    }

    /// Whether this scheduler is to find a node for a pod now: not for pods that are going, and not
    /// while scheduling gates hold them back.
    fn is_mine(&self, pod: &Pod) -> bool {
        pod.metadata.deletion_timestamp.is_none()
            && pod.spec.as_ref().is_some_and(|spec| {
                spec.scheduler_name.as_deref().unwrap_or("default-scheduler") == self.name
                    && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
            })
    }

    fn moved(&self, state: &mut State, events: impl IntoIterator<Item = ClusterEvent>) {
        for event in events {
            state.queue.moved(
                event,
                &|plugins, event| self.may_help(plugins, event),
                Instant::now(),
            );
        }
        self.wake.notify_one();
    }

    /// Whether a change may help a pod that these plugins refused. Nobody refused a pod that came
    /// before the first node: any change may help it.
    fn may_help(&self, plugins: &BTreeSet<&'static str>, event: ClusterEvent) -> bool {
        plugins.is_empty()
            || plugins
                .iter()
                .any(|plugin| self.helps.get(plugin).is_none_or(|events| events.contains(&event)))
    }

    /// A pod that was refused waits for something that may help it.
    fn put_back(&self, queue: &mut Queue, key: &str, refused: &Unschedulable) {
        let helps = |plugins: &BTreeSet<&'static str>, event| self.may_help(plugins, event);
        queue.unschedulable(key, refused.plugins.clone(), &helps, Instant::now());
    }

    /// Decides for the pod whose turn it is, and assumes the decision.
    fn decide(&self) -> Option<(Arc<PodInfo>, Decision)> {
        let mut state = self.state.lock();
        let State { cluster, queue, cycle, nominated } = &mut *state;
        loop {
            let pod = queue.pop(Instant::now())?;
            if cluster.is_placed(&pod.key) {
                // Its binding is on the way, or its namesake has not been seen to go.
                queue.retry(&pod.key, Instant::now());
                continue;
            }
            let world =
                World { nodes: cluster.nodes(), nominated, budgets: &|| self.budgets.list() };
            let decision = cycle.schedule(&pod, &world);
            match &decision {
                Ok(node) => {
                    cluster.assume(&pod, node);
                    nominated.remove(&pod.key);
                }
                Err(refused) => {
                    match &refused.nomination {
                        Nomination::Keep => {}
                        Nomination::Clear => drop(nominated.remove(&pod.key)),
                        // Its turn is not over before the others were told to go.
                        Nomination::Node { node, .. } => {
                            nominated.set(pod.clone(), node);
                            return Some((pod, decision));
                        }
                    }
                    self.put_back(queue, &pod.key, refused);
                }
            }
            return Some((pod, decision));
        }
    }
}

#[derive(Clone)]
struct Executor {
    scheduler: Arc<Scheduler>,
    writer: Writer,
    recorder: Recorder,
    clock: SharedClock,
    slots: Arc<Semaphore>,
}

impl Executor {
    async fn run(&self) {
        loop {
            let woken = self.scheduler.wake.notified();
            while let Some((pod, decision)) = self.scheduler.decide() {
                let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
                let executor = self.clone();
                tokio::spawn(async move {
                    let carried_out = executor.carry_out(&pod, decision);
                    if base::task::contain("scheduler binding", carried_out).await.is_err() {
                        executor.give_back(&pod);
                    }
                    drop(slot);
                });
            }
            let deadline = self.scheduler.state.lock().queue.next_deadline();
            match deadline {
                Some(at) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => woken.await,
            }
        }
    }

    /// A pod whose binding ended in a panic is tried again after its back-off.
    fn give_back(&self, pod: &PodInfo) {
        let mut state = self.scheduler.state.lock();
        let forgotten = state.cluster.forget(&pod.key);
        state.queue.retry(&pod.key, Instant::now());
        self.scheduler.moved(&mut state, forgotten.then_some(ClusterEvent::PodDeleted));
    }

    async fn carry_out(&self, pod: &PodInfo, decision: Decision) {
        match decision {
            Ok(node) => match binding::bind(&self.writer, pod, &node).await {
                Ok(()) => self.recorder.normal(
                    &*pod.pod,
                    "Scheduled",
                    format!("Successfully assigned {} to {node}", pod.key),
                ),
                Err(failure) => self.binding_failed(pod, &failure),
            },
            Err(refused) => {
                if let Nomination::Node { node, victims } = &refused.nomination {
                    self.make_room(pod, node, victims, &refused).await;
                }
                self.refused(pod, &refused).await;
            }
        }
    }

    /// Has others leave a node for a pod, which then waits for their end.
    async fn make_room(
        &self,
        pod: &PodInfo,
        node: &str,
        victims: &[Arc<PodInfo>],
        refused: &Unschedulable,
    ) {
        let lesser = self.scheduler.state.lock().nominated.after(pod, node);
        for other in lesser {
            // It may find room elsewhere, now.
            self.scheduler.state.lock().nominated.remove(&other.key);
            if let Err(failure) = preempt::clear_nomination(&self.writer, &other).await {
                tracing::debug!(pod = other.key, %failure, "a promise of room was not taken back");
            }
            self.scheduler.state.lock().queue.retry(&other.key, Instant::now());
        }
        let mut failed = false;
        for victim in victims {
            let (writer, now) = (&self.writer, self.clock.now());
            match preempt::preempt(writer, pod, victim, &self.scheduler.name, now).await {
                Ok(false) => {}
                Ok(true) => {
                    let uid = pod.pod.metadata.uid.as_deref().unwrap_or_default();
                    let text = format!("Preempted by pod {uid} on node {node}");
                    self.recorder.normal(&*victim.pod, "Preempted", text);
                }
                Err(failure) => {
                    tracing::warn!(pod = victim.key, %failure, "a pod did not make room");
                    failed = true;
                }
            }
        }
        let mut state = self.scheduler.state.lock();
        if failed {
            state.queue.retry(&pod.key, Instant::now());
        } else {
            self.scheduler.put_back(&mut state.queue, &pod.key, refused);
        }
        self.scheduler.wake.notify_one();
    }

    fn binding_failed(&self, pod: &PodInfo, failure: &reconcile::Failure) {
        let mut state = self.scheduler.state.lock();
        let forgotten = state.cluster.forget(&pod.key);
        if failure.is_not_found() {
            // The pod went meanwhile; so does its turn.
            state.queue.remove(&pod.key);
        } else {
            state.queue.retry(&pod.key, Instant::now());
        }
        self.scheduler.moved(&mut state, forgotten.then_some(ClusterEvent::PodDeleted));
        drop(state);
        if !failure.is_not_found() && !failure.is_conflict() {
            let text = format!("binding rejected: {failure}");
            self.recorder.warning(&*pod.pod, "FailedScheduling", text);
        }
    }

    async fn refused(&self, pod: &PodInfo, refused: &Unschedulable) {
        let message = refused.to_string();
        self.recorder.warning(&*pod.pod, "FailedScheduling", message.clone());
        if binding::is_told(&pod.pod, &message, &refused.nomination) {
            return;
        }
        let now = self.clock.now();
        let nomination = &refused.nomination;
        if let Err(failure) =
            binding::tell_unschedulable(&self.writer, pod, &message, nomination, now).await
            && !failure.is_not_found()
            && !failure.is_conflict()
        {
            tracing::warn!(pod = pod.key, %failure, "cannot say why the pod has no node");
        }
    }
}

/// Keeps promises in line with what the API says of a pod; `false` when one was taken back. What was
/// promised here and is not written there yet, stays.
fn nominate(nominated: &mut Nominated, event: &Event<Pod>, over: bool) -> bool {
    let pod = event.object();
    let key = key_of(pod);
    if over {
        return !nominated.remove(&key);
    }
    let named = |pod: &Arc<Pod>| {
        let status = pod.status.as_ref();
        status.and_then(|status| status.nominated_node_name.clone()).filter(|name| !name.is_empty())
    };
    match (named(pod), event.old().and_then(named)) {
        (Some(node), _) => nominated.set(Arc::new(PodInfo::new(pod.clone())), &node),
        (None, Some(_)) => return !nominated.remove(&key),
        (None, None) => {}
    }
    true
}
