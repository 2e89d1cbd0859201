//! After a restart: who still runs, how the others ended, what lies about.

use std::fs;

use container_runtime::{ContainerEventType, ContainerState, PodSandboxState, Result};

use super::client::shim_is;
use super::records::{self, ContainerRecord, SandboxRecord};
use super::sandboxes::{remove_folder, unmount};
use super::{NativeRuntime, blocking, internal};
use crate::shim::protocol::Known;

impl NativeRuntime {
    /// Reads the records, takes over the shims that live, and clears up after those that do not.
    pub(super) async fn recover(&self) -> Result<()> {
        let runtime = self.shared();
        blocking(move || runtime.load_records()).await?;
        let sandboxes: Vec<SandboxRecord> = self.state.lock().sandboxes.values().cloned().collect();
        let mut kept = Vec::new();
        for record in sandboxes {
            let id = &record.id;
            let shim = record.shim.filter(|shim| shim_is(*shim));
            let watched = match shim {
                Some(shim) if record.state == PodSandboxState::Ready => {
                    self.watch(id, shim).await.is_ok()
                }
                _ => false,
            };
            if watched {
                kept.push(id.clone());
                continue;
            }
            // Stopped before, half made, or its shim died while nobody looked.
            self.change_sandbox(id, |record| {
                record.state = PodSandboxState::NotReady;
                record.ips.clear();
            });
            self.tear_down(id).await;
        }
        let kept = self.options.network.retain(&kept).await;
        kept.map_err(|why| internal("take the pods' network over", why))?;
        let store = self.images.clone();
        let containers = self.dir.clone();
        tokio::spawn(async move {
            let swept =
                blocking(move || store.collect_garbage(&containers).map_err(super::image_error));
            if let Err(error) = swept.await {
                tracing::warn!(%error, "images could not be swept");
            }
        });
        Ok(())
    }

    fn load_records(&self) -> Result<()> {
        let fail = |e: std::io::Error| internal("read the containers' folder", e);
        for entry in fs::read_dir(&self.dir).map_err(fail)?.flatten() {
            let dir = entry.path();
            let Ok(sandbox) = records::load::<SandboxRecord>(&dir.join("sandbox.json")) else {
                // Nothing runs without a record; this was never finished or a crash tore it.
                unmount(&dir.join("shm"));
                remove_folder(&dir);
                continue;
            };
            for entry in fs::read_dir(dir.join("c")).into_iter().flatten().flatten() {
                match records::load::<ContainerRecord>(&entry.path().join("container.json")) {
                    Ok(container) => {
                        self.state.lock().containers.insert(container.id.clone(), container);
                    }
                    Err(_) => remove_folder(&entry.path()),
                }
            }
            self.state.lock().sandboxes.insert(sandbox.id.clone(), sandbox);
        }
        Ok(())
    }

    /// Brings what is known of a sandbox's containers to what its shim says.
    pub(super) fn take_over(&self, sandbox: &str, containers: &[Known]) {
        for known in containers {
            self.take_one(known);
        }
        // What we think runs and the shim does not know was lost with a start that failed.
        let unknown: Vec<String> = {
            let state = self.state.lock();
            let of = state.containers.values().filter(|c| {
                c.sandbox == sandbox
                    && c.state == ContainerState::Running
                    && !containers.iter().any(|known| known.id == c.id)
            });
            of.map(|container| container.id.clone()).collect()
        };
        for id in unknown {
            self.container_ended(&id, 137, self.now());
            self.announce(ContainerEventType::ContainerStoppedEvent, &id, sandbox);
        }
    }

    /// Brings what is known of one container to what its shim says.
    pub(super) fn take_one(&self, known: &Known) {
        let record = self.change_container(&known.id, |record| {
            if record.state == ContainerState::Created {
                // It was started, but the word of it did not reach us.
                record.state = ContainerState::Running;
                record.started_at = known.started_at;
            }
            if record.state == ContainerState::Running {
                record.pid = known.pid;
                record.user = record.user.take().or_else(|| known.user.clone());
            }
        });
        if let (Some(_), Some(exit)) = (record, known.exit) {
            self.container_ended(&known.id, exit.code, exit.at);
        }
    }
}
