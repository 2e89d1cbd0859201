//! The seam to whatever gives pods their addresses.
//!
//! The runtime makes the network namespace (the shim is in it, with loopback up) and asks a
//! [`Network`] to attach it; which links, routes and rules that takes is not the runtime's affair.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use container_runtime::{PodSandboxMetadata, PortMapping};

/// A sandbox that wants addresses.
#[derive(Debug, Clone)]
pub struct Attach {
    /// The sandbox.
    pub sandbox_id: String,
    /// Its network namespace, as a path that `setns` takes. It lives as long as the sandbox.
    pub netns: PathBuf,
    /// The pod.
    pub metadata: PodSandboxMetadata,
    /// Host ports that lead to it.
    pub port_mappings: Vec<PortMapping>,
}

/// Gives sandboxes their addresses.
#[async_trait]
pub trait Network: Send + Sync + std::fmt::Debug {
    /// Connects a namespace; answers its addresses, the most preferred first. Asked again for a
    /// sandbox that is attached, it answers the same.
    async fn attach(&self, request: &Attach) -> Result<Vec<IpAddr>, String>;

    /// Waits until what the processes in a namespace sent before they ended has arrived, within
    /// reason: called before the namespace goes.
    async fn settle(&self, netns: &Path);

    /// Gives a sandbox's addresses back. The namespace may be gone already. Idempotent.
    async fn detach(&self, sandbox_id: &str) -> Result<(), String>;

    /// Keeps what these sandboxes have, gives back what all others had. Called once after a
    /// restart, with what still runs.
    async fn retain(&self, sandbox_ids: &[String]) -> Result<(), String>;

    /// Why pods cannot be attached now, if so.
    async fn status(&self) -> Result<(), String>;
}

/// No network beyond each sandbox's own loopback.
#[derive(Debug, Default, Clone, Copy)]
pub struct LoopbackOnly;

#[async_trait]
impl Network for LoopbackOnly {
    async fn attach(&self, _request: &Attach) -> Result<Vec<IpAddr>, String> {
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }

    async fn settle(&self, _netns: &Path) {}

    async fn detach(&self, _sandbox_id: &str) -> Result<(), String> {
        Ok(())
    }

    async fn retain(&self, _sandbox_ids: &[String]) -> Result<(), String> {
        Ok(())
    }

    async fn status(&self) -> Result<(), String> {
        Ok(())
    }
}
