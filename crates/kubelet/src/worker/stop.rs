//! Takes a pod down: hooks, signals, grace, sandbox, volumes, the API object.

use std::net::IpAddr;
use std::time::Duration;

use container_runtime::ContainerStatus;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use reconcile::{Delete, Key};
use tokio::time::Instant;

use super::start::grace_of_spec;
use super::view::PodView;
use super::{Desired, Worker, hooks, observe};
use crate::config::labels;
use crate::pod::{self, ContainerKind};
use crate::seams::GATE_WAIT;
use crate::volumes;

/// A container that was told to stop gets at least this long, however long its hook took.
const GRACE_MIN: Duration = Duration::from_secs(2);
/// The wait after a step of the way down failed.
const RETRY: Duration = Duration::from_secs(1);

/// The grace of a pod that is to stop: what the deletion says, else its own. Never nothing, so
/// that programs get their signal.
pub(crate) fn grace(desired: &Desired) -> Duration {
    let pod = &desired.pod;
    let of_deletion = pod.metadata.deletion_grace_period_seconds.filter(|_| pod::is_deleting(pod));
    let seconds = of_deletion.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or_else(|| grace_of_spec(pod)).max(1))
}

impl Worker {
    /// Everything from "it shall go" to "it is gone".
    pub(super) async fn terminate(&mut self, desired: &Desired) {
        let mut pod = self.with_own_status(&desired.pod);
        self.standing.record.given.put_into(&mut pod);
        let pod = &pod;
        let began = *self.stopping_since.get_or_insert_with(Instant::now);
        if let Ok(view) = observe::observe(&*self.node.runtime, &self.id.uid).await {
            let host = self.pod_host(pod, &view);
            self.probes.follow(pod, &view, host, &self.events, true);
            self.report(pod, &view, false);
            self.wait_for_gate(&view).await;
        }
        self.stop_everything(began).await;
        let desired = self.desired.borrow().clone();
        self.finish_up(&desired).await;
    }

    /// No new connections before the first signal: waits for the data planes, at most a second.
    async fn wait_for_gate(&mut self, view: &PodView) {
        let ips: Vec<IpAddr> = view.ips().iter().filter_map(|ip| ip.parse().ok()).collect();
        if self.gate_passed || ips.is_empty() || view.running().next().is_none() {
            return;
        }
        self.gate_passed = true;
        if tokio::time::timeout(GATE_WAIT, self.node.gate.endpoint_removed(&ips)).await.is_err() {
            tracing::debug!(pod = %self.id, "the data planes did not say in time that they let go of the pod");
        }
    }

    /// Stops containers and sandboxes; begins again when a shorter grace is asked for.
    async fn stop_everything(&mut self, began: Instant) {
        loop {
            let desired = self.desired.borrow_and_update().clone();
            let deadline = began + grace(&desired);
            let mut newer = self.desired.clone();
            let shorter = async move {
                while newer.changed().await.is_ok() {
                    let asked = began + grace(&newer.borrow());
                    if asked < deadline {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                stopped = self.stop_once(&desired.pod, deadline) => {
                    if stopped {
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                () = shorter => {}
            }
        }
    }

    /// One try; whether nothing is left running.
    pub(super) async fn stop_once(&mut self, pod: &Pod, deadline: Instant) -> bool {
        let runtime = self.node.runtime.clone();
        let Ok(view) = observe::observe(&*runtime, &self.id.uid).await else { return false };
        if let Err(error) = self.kill_all(pod, &view, deadline).await {
            self.events.warning("FailedKillPod", format!("error killing pod: {error}"));
            return false;
        }
        for sandbox in &view.sandboxes {
            if let Err(error) = runtime.stop_pod_sandbox(&sandbox.id).await {
                self.events.warning(
                    "FailedKillPod",
                    format!("error killing pod: failed to \"KillPodSandbox\": {error}"),
                );
                return false;
            }
        }
        true
    }

    /// All containers that run: apps at once, then sidecars, the last one first.
    async fn kill_all(
        &mut self,
        pod: &Pod,
        view: &PodView,
        deadline: Instant,
    ) -> Result<(), String> {
        let is_sidecar = |status: &ContainerStatus| {
            pod::container(pod, labels::container_name(status))
                .is_some_and(|(kind, _)| kind == ContainerKind::Sidecar)
        };
        let (sidecars, apps): (Vec<_>, Vec<_>) = view.running().cloned().partition(is_sidecar);
        let mut kills = Vec::new();
        for status in &apps {
            kills.push(self.prepare_kill(pod, view, status, deadline));
        }
        for result in join_all(kills.into_iter().map(Kill::run)).await {
            result?;
        }
        let order = |status: &ContainerStatus| {
            let spec = pod::spec(pod);
            let name = labels::container_name(status);
            spec.init_containers.iter().flatten().position(|one| one.name == name)
        };
        let mut sidecars = sidecars;
        sidecars.sort_by_key(|status| std::cmp::Reverse(order(status)));
        for status in &sidecars {
            self.prepare_kill(pod, view, status, deadline).run().await?;
        }
        Ok(())
    }

    /// Stops one container while the pod goes on.
    pub(super) async fn kill_container(
        &mut self,
        pod: &Pod,
        view: &PodView,
        name: &str,
        id: &str,
        why: &str,
        deadline: Instant,
    ) {
        self.events.container_normal(name, "Killing", why);
        let mut kill = self.prepare_kill_of(pod, view, name, id, deadline);
        kill.said = true;
        if let Err(error) = kill.run().await {
            tracing::warn!(pod = %self.id, container = name, error, "a container was not stopped");
        }
    }

    fn prepare_kill(
        &mut self,
        pod: &Pod,
        view: &PodView,
        status: &ContainerStatus,
        deadline: Instant,
    ) -> Kill {
        self.prepare_kill_of(pod, view, labels::container_name(status), &status.id, deadline)
    }

    fn prepare_kill_of(
        &mut self,
        pod: &Pod,
        view: &PodView,
        name: &str,
        id: &str,
        deadline: Instant,
    ) -> Kill {
        // A second, shorter order does not run the hook again.
        let first = self.kills_begun.insert(id.to_owned());
        let container = pod::container(pod, name).map(|(_, container)| container.into_owned());
        Kill {
            runtime: self.node.runtime.clone(),
            events: self.events.clone(),
            agent: self.node.probe_agent(),
            host: self.pod_host(pod, view),
            container: container.filter(|_| first),
            name: name.to_owned(),
            id: id.to_owned(),
            deadline,
            said: !first,
        }
    }

    /// After the last process: final status, volumes, remains in the runtime, the API object.
    async fn finish_up(&mut self, desired: &Desired) {
        let runtime = self.node.runtime.clone();
        let pod = &self.with_own_status(&desired.pod);
        let view = loop {
            match observe::observe(&*runtime, &self.id.uid).await {
                Ok(view) => break view,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        if !desired.gone {
            self.report(pod, &view, true);
            self.reporter.flush().await;
        }
        for sandbox in &view.sandboxes {
            if let Err(error) = runtime.remove_pod_sandbox(&sandbox.id).await {
                tracing::warn!(pod = %self.id, %error, "a sandbox was not removed");
            }
        }
        self.remove_volumes().await;
        self.node.tokens.forget(&self.id.uid);
        self.node.objects.wait_for(&self.id.uid, &std::collections::BTreeSet::new(), &self.wake);
        let logs = crate::config::sandbox::log_folder(&self.id);
        let _gone = std::fs::remove_dir_all(self.node.options.log_dir.join(logs));
        if !desired.gone && pod::is_deleting(pod) {
            self.delete_object().await;
        }
    }

    /// Unmounts and removes the pod's folder, trying until it is gone.
    pub(super) async fn remove_volumes(&mut self) {
        let dir = self.node.pod_dir(&self.id.uid);
        let mut said = false;
        while let Err(error) = volumes::tear_down(dir.clone(), self.node.may_mount).await {
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(pod = %self.id, %error, "a pod's folder was not removed, trying again");
            }
            tokio::time::sleep(RETRY).await;
        }
        self.volumes.clear();
    }

    async fn delete_object(&self) {
        let Some(writer) = &self.node.writer else { return };
        let key = Key::new(&self.id.namespace, &self.id.name);
        let mut wait = Duration::from_millis(100);
        loop {
            let how = Delete { grace_seconds: Some(0), ..Delete::uid(Some(&self.id.uid)) };
            match writer.delete::<Pod>(&key, how).await {
                Ok(()) => return,
                // Gone, or another pod has the name now.
                Err(failure) if failure.is_not_found() || failure.is_conflict() => return,
                Err(failure) => {
                    tracing::warn!(pod = %self.id, %failure, "a pod that ended was not deleted, trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(10));
                }
            }
        }
    }
}

/// One container on its way down.
struct Kill {
    runtime: std::sync::Arc<dyn container_runtime::RuntimeService>,
    events: crate::events::PodEvents,
    agent: String,
    host: IpAddr,
    /// Set when its hook has not been run yet.
    container: Option<k8s_openapi::api::core::v1::Container>,
    name: String,
    id: String,
    deadline: Instant,
    said: bool,
}

impl Kill {
    async fn run(self) -> Result<(), String> {
        if !self.said {
            self.events.container_normal(
                &self.name,
                "Killing",
                format!("Stopping container {}", self.name),
            );
        }
        if let Some(container) = &self.container
            && let Some(hook) =
                container.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref())
        {
            let ran = hooks::run(&*self.runtime, container, &self.id, hook, self.host, &self.agent);
            match tokio::time::timeout_at(self.deadline, ran).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::info!(container = self.name, error, "a preStop hook failed");
                    self.events.container_warning(
                        &self.name,
                        "FailedPreStopHook",
                        "PreStopHook failed",
                    );
                }
                Err(_) => tracing::info!(
                    container = self.name,
                    "a preStop hook took longer than the grace period"
                ),
            }
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = if self.container.is_some() { left.max(GRACE_MIN) } else { left };
        self.runtime.stop_container(&self.id, left).await.map_err(|error| {
            format!(
                "failed to \"KillContainer\" for \"{}\" with KillContainerError: \"{error}\"",
                self.name
            )
        })
    }
}
