//! Resizes in place: what containers run with follows what their pod was given.
//!
//! The rules are upstream's (KEP-1287; kubelet `computePodResizeAction`, `doPodResizeAction`): what
//! grows, grows from the pod inwards, what shrinks, from the containers outwards; a limit on memory
//! is not put below what is in use. The first half of this file is pure.

use std::collections::BTreeMap;
use std::time::Duration;

use container_runtime::{LinuxContainerResources, PodSandboxStats};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::Serialize;

use super::Worker;
use super::view::PodView;
use crate::allocation::Resources;
use crate::config::resources;
use crate::{pod, quantity};

/// The wait before a resize that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What of a container's resources can be resized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    memory_limit: i64,
    memory_request: i64,
    cpu_limit: i64,
    cpu_request: i64,
}

impl Amounts {
    /// A container's; limits that it does not set are the pod's.
    fn of(of_pod: Option<&ResourceRequirements>, own: &ResourceRequirements) -> Self {
        let limit = |name, read| match resources::amount(Some(own), name, true, read) {
            0 => resources::amount(of_pod, name, true, read),
            own => own,
        };
        Self {
            memory_limit: limit("memory", quantity::value),
            memory_request: resources::amount(Some(own), "memory", false, quantity::value),
            cpu_limit: limit("cpu", quantity::milli),
            cpu_request: resources::amount(Some(own), "cpu", false, quantity::milli),
        }
    }

    fn memory(self) -> (i64, i64) {
        (self.memory_limit, self.memory_request)
    }

    fn cpu(self) -> (i64, i64) {
        (self.cpu_limit, self.cpu_request)
    }
}

/// A running container whose resources are to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// Its id.
    pub(crate) id: String,
    /// Its name in the pod.
    pub(crate) name: String,
    from: Amounts,
    to: Amounts,
}

/// What a container needs to run with what it was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// A change while it runs.
    Update(Update),
    /// To be started anew: its `resizePolicy` says so.
    Restart,
}

/// What a running container needs. One of which it is not known what it runs with needs nothing.
pub(super) fn need(pod: &Pod, container: &Container, id: &str, in_force: &Resources) -> Need {
    let Some(old) = in_force.containers.get(&container.name) else { return Need::Nothing };
    let own = container.resources.clone().unwrap_or_default();
    let spec = pod::spec(pod);
    let from = Amounts::of(in_force.pod.as_ref(), old);
    let to = Amounts::of(spec.resources.as_ref(), &own);
    if from == to {
        return Need::Nothing;
    }
    let restarts = |resource: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies
            .any(|one| one.resource_name == resource && one.restart_policy == "RestartContainer")
    };
    if (from.memory() != to.memory() && restarts("memory"))
        || (from.cpu() != to.cpu() && restarts("cpu"))
    {
        return Need::Restart;
    }
    Need::Update(Update { id: id.to_owned(), name: container.name.clone(), from, to })
}

/// Whether the pod as a whole runs with something else than it was given.
pub(super) fn pod_differs(pod: &Pod, in_force: &Resources) -> bool {
    let spec = pod::spec(pod);
    let (Some(given), Some(old)) = (&spec.resources, &in_force.pod) else { return false };
    Amounts::of(None, given) != Amounts::of(None, old)
}

/// Whether something that runs does not run with what it was given yet.
pub(super) fn in_progress(pod: &Pod, view: &PodView, in_force: &Resources) -> bool {
    let running = view.running().filter_map(|status| {
        let name = crate::config::labels::container_name(status);
        pod::container(pod, name)
            .filter(|_| view.latest(name).is_some_and(|one| one.id == status.id))
    });
    let mut running = running.map(|(_, container)| need(pod, &container, "", in_force));
    running.any(|need| need != Need::Nothing) || pod_differs(pod, in_force)
}

/// One step of a resize.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Limits of the pod as a whole.
    Pod(LinuxContainerResources),
    /// Memory of a container.
    Memory(usize),
    /// CPU of a container.
    Cpu(usize),
}

/// The steps, in order. `old`, `new`: the limits of the pod as a whole.
fn steps(
    updates: &[Update],
    old: &LinuxContainerResources,
    new: &LinuxContainerResources,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let memory = LinuxContainerResources {
        memory_limit_in_bytes: new.memory_limit_in_bytes,
        ..LinuxContainerResources::default()
    };
    let quota = LinuxContainerResources {
        cpu_period: new.cpu_period,
        cpu_quota: new.cpu_quota,
        ..LinuxContainerResources::default()
    };
    let shares = LinuxContainerResources {
        cpu_shares: new.cpu_shares,
        ..LinuxContainerResources::default()
    };
    // No limit is more than any limit; one that a pod no longer has is left as it is.
    let direction = |old: i64, new: i64| match (old, new) {
        (_, 0) => std::cmp::Ordering::Equal,
        (0, _) => std::cmp::Ordering::Less,
        (old, new) => new.cmp(&old),
    };
    let mut around = |grows: Vec<(i64, i64, &LinuxContainerResources)>, inner: Vec<Step>| {
        for (old, new, limits) in &grows {
            if direction(*old, *new).is_gt() {
                steps.push(Step::Pod((*limits).clone()));
            }
        }
        steps.extend(inner);
        // Requests go down before limits, so that they are never above them.
        for (old, new, limits) in grows.iter().rev() {
            if direction(*old, *new).is_lt() {
                steps.push(Step::Pod((*limits).clone()));
            }
        }
    };
    around(
        vec![(old.memory_limit_in_bytes, new.memory_limit_in_bytes, &memory)],
        ordered(updates, Amounts::memory).into_iter().map(Step::Memory).collect(),
    );
    around(
        vec![(old.cpu_quota, new.cpu_quota, &quota), (old.cpu_shares, new.cpu_shares, &shares)],
        ordered(updates, Amounts::cpu).into_iter().map(Step::Cpu).collect(),
    );
    steps
}

/// The updates that change something of one resource: what shrinks first, it makes the room.
fn ordered(updates: &[Update], of: fn(Amounts) -> (i64, i64)) -> Vec<usize> {
    let changed = updates.iter().enumerate().filter(|(_, one)| of(one.from) != of(one.to));
    let (grow, shrink): (Vec<_>, Vec<_>) = changed
        .map(|(index, _)| index)
        .partition(|index| of(updates[*index].to) > of(updates[*index].from));
    shrink.into_iter().chain(grow).collect()
}

/// Whether a limit on memory goes down, or is new.
fn shrinks(old: i64, new: i64) -> bool {
    new != 0 && (old == 0 || new < old)
}

fn less_memory(
    updates: &[Update],
    old: &LinuxContainerResources,
    new: &LinuxContainerResources,
) -> bool {
    shrinks(old.memory_limit_in_bytes, new.memory_limit_in_bytes)
        || updates.iter().any(|one| shrinks(one.from.memory_limit, one.to.memory_limit))
}

/// Why memory cannot go down to what is asked for, if it cannot.
fn too_little(
    updates: &[Update],
    old: &LinuxContainerResources,
    new: &LinuxContainerResources,
    usage: &PodSandboxStats,
) -> Option<String> {
    let mut errors = Vec::new();
    let limit = new.memory_limit_in_bytes;
    if shrinks(old.memory_limit_in_bytes, limit) {
        match usage.memory.as_ref().and_then(|memory| memory.usage_bytes) {
            None => errors.push("missing pod memory usage".to_owned()),
            Some(used) if used >= limit.unsigned_abs() => errors.push(format!(
                "attempting to set pod memory limit ({limit}) below current usage ({used})"
            )),
            Some(_) => {}
        }
    }
    for update in updates {
        let (limit, name) = (update.to.memory_limit, &update.name);
        if !shrinks(update.from.memory_limit, limit) {
            continue;
        }
        let own = usage.containers.iter().find(|one| one.attributes.id == update.id);
        let Some(own) = own else { continue };
        match own.memory.as_ref().and_then(|memory| memory.usage_bytes) {
            None => errors.push(format!("missing container \"{name}\" memory usage")),
            Some(used) if used >= limit.unsigned_abs() => errors.push(format!(
                "attempting to set container \"{name}\" memory limit ({limit}) below current usage ({used})"
            )),
            Some(_) => {}
        }
    }
    let all = match errors.as_slice() {
        [] => return None,
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    };
    Some(format!("cannot decrease memory limits: {all}"))
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(rename = "initContainers", skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Named<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Named<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    resources: BTreeMap<
        &'a str,
        &'a BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    >,
}

/// `Pod resize started: {…}`: what a resize asks for, as events show it.
pub(super) fn said(prefix: &str, pod: &Pod, generation: i64, error: &str) -> String {
    let spec = pod::spec(pod);
    let named = |container: &'_ Container| -> (String, ResourceRequirements) {
        (container.name.clone(), container.resources.clone().unwrap_or_default())
    };
    let init: Vec<_> = spec.init_containers.iter().flatten().map(named).collect();
    let apps: Vec<_> = spec.containers.iter().map(named).collect();
    fn show((name, own): &(String, ResourceRequirements)) -> Named<'_> {
        let lists = [("limits", &own.limits), ("requests", &own.requests)];
        let resources = lists.into_iter().filter_map(|(key, list)| Some((key, list.as_ref()?)));
        Named { name, resources: resources.collect() }
    }
    let summary = Summary {
        init_containers: init.iter().map(show).collect(),
        containers: apps.iter().map(show).collect(),
        generation,
        error,
    };
    match serde_json::to_string(&summary) {
        Ok(text) => format!("{prefix}: {text}"),
        Err(_) => prefix.to_owned(),
    }
}

impl Worker {
    /// Brings what runs to what the pod was given; whether anything was done.
    pub(super) async fn resize(&mut self, pod: &Pod, view: &PodView, updates: &[Update]) -> bool {
        let Some(sandbox) = view.ready_sandbox() else { return false };
        let mut before = pod.clone();
        self.standing.record.in_force.put_into(&mut before);
        let new = resources::of_pod(pod);
        let old = self.pod_limits.clone().unwrap_or_else(|| resources::of_pod(&before));
        let mut merged = old.clone();
        merged.merge(&new);
        if updates.is_empty() && merged == old && !pod_differs(pod, &self.standing.record.in_force)
        {
            return false;
        }
        if let Err(error) = self.try_resize(pod, &sandbox.id, updates, (&old, &new)).await {
            tracing::info!(pod = %self.id, error, "a pod was not resized");
            let generation = pod.metadata.generation.unwrap_or_default();
            let now = self.node.clock.now();
            if let Some(generation) = self.resizing.failed(&error, generation, now) {
                let text = said("Pod resize error", pod, generation, &error);
                self.events.warning("ResizeError", text);
            }
            self.wake_in(RETRY);
        }
        true
    }

    async fn try_resize(
        &mut self,
        pod: &Pod,
        sandbox: &str,
        updates: &[Update],
        (old, new): (&LinuxContainerResources, &LinuxContainerResources),
    ) -> Result<(), String> {
        let runtime = self.node.runtime.clone();
        if less_memory(updates, old, new) {
            let usage = runtime.pod_sandbox_stats(sandbox).await;
            let usage = usage.map_err(|error| {
                format!("unable to read memory usage for pod \"{}\": {error}", self.id)
            })?;
            if let Some(error) = too_little(updates, old, new, &usage) {
                return Err(error);
            }
        }
        let mut reached = old.clone();
        for step in steps(updates, old, new) {
            match step {
                Step::Pod(limits) => {
                    let set = runtime.update_pod_sandbox_resources(sandbox, None, Some(&limits));
                    set.await.map_err(|error| error.to_string())?;
                    reached.merge(&limits);
                    self.pod_limits = Some(reached.clone());
                }
                Step::Memory(index) => {
                    let Update { id, name, to, .. } = &updates[index];
                    let limits = LinuxContainerResources {
                        memory_limit_in_bytes: to.memory_limit,
                        ..LinuxContainerResources::default()
                    };
                    runtime
                        .update_container_resources(id, &limits)
                        .await
                        .map_err(|e| e.to_string())?;
                    self.reached(pod, name, "memory");
                }
                Step::Cpu(index) => {
                    let Update { id, name, to, .. } = &updates[index];
                    let limits = LinuxContainerResources {
                        cpu_period: resources::PERIOD_US,
                        cpu_quota: resources::quota(to.cpu_limit),
                        cpu_shares: resources::shares(to.cpu_request_or_limit()),
                        ..LinuxContainerResources::default()
                    };
                    runtime
                        .update_container_resources(id, &limits)
                        .await
                        .map_err(|e| e.to_string())?;
                    self.reached(pod, name, "cpu");
                }
            }
        }
        let of_pod = pod::spec(pod).resources.clone();
        self.note(|in_force| in_force.pod.clone_from(&of_pod));
        Ok(())
    }

    /// Notes that a container has what it was given of one resource.
    fn reached(&mut self, pod: &Pod, name: &str, resource: &str) {
        let Some((_, container)) = pod::container(pod, name) else { return };
        let given = container.resources.clone().unwrap_or_default();
        self.note(|in_force| {
            let own = in_force.containers.entry(name.to_owned()).or_default();
            let lists = [(&given.limits, &mut own.limits), (&given.requests, &mut own.requests)];
            for (given, own) in lists {
                match given.as_ref().and_then(|all| all.get(resource)) {
                    Some(amount) => {
                        own.get_or_insert_default().insert(resource.to_owned(), amount.clone());
                    }
                    None => drop(own.as_mut().and_then(|all| all.remove(resource))),
                }
            }
        });
    }

    /// Notes what is in force now, here and for the next kubelet.
    pub(super) fn note(&mut self, change: impl Fn(&mut Resources)) {
        change(&mut self.standing.record.in_force);
        self.node.allocations.in_force(&self.id.uid, change);
    }
}

impl Amounts {
    fn cpu_request_or_limit(self) -> i64 {
        if self.cpu_request == 0 { self.cpu_limit } else { self.cpu_request }
    }
}

#[cfg(test)]
#[path = "resize_tests.rs"]
mod tests;
