//! Messages about containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image::ImageSpec;
use crate::sandbox::{IdMapping, NamespaceOption};

/// What identifies a container within its sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerMetadata {
    /// The container's name in the pod.
    pub name: String,
    /// How often it was made anew.
    pub attempt: u32,
}

/// Everything needed to create a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// Identity.
    pub metadata: ContainerMetadata,
    /// The image; `image` of it is what `pull_image` or `image_status` answered, or a name.
    pub image: ImageSpec,
    /// Replaces the image's entrypoint when not empty.
    pub command: Vec<String>,
    /// Replaces the image's command when not empty.
    pub args: Vec<String>,
    /// Working directory; empty for the image's.
    pub working_dir: String,
    /// Environment, after the image's own.
    pub envs: Vec<KeyValue>,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Labels, for filters.
    pub labels: BTreeMap<String, String>,
    /// Annotations, kept unread.
    pub annotations: BTreeMap<String, String>,
    /// Path of the log below the sandbox's `log_directory`; empty for no log.
    pub log_path: String,
    /// Whether the container keeps a standard input.
    pub stdin: bool,
    /// Whether standard input is closed after the first attach.
    pub stdin_once: bool,
    /// Whether the container gets a terminal.
    pub tty: bool,
    /// The Linux part.
    pub linux: LinuxContainerConfig,
    /// The signal that stops it, as `SIGTERM`; empty for the image's, else SIGTERM.
    pub stop_signal: String,
}

/// One environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    /// Name.
    pub key: String,
    /// Value.
    pub value: String,
}

/// How mounts pass between host and container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountPropagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host into the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// One mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Path inside.
    pub container_path: String,
    /// Path on the host; empty for an image mount.
    pub host_path: String,
    /// Whether it is read-only.
    pub readonly: bool,
    /// Whether to relabel for SELinux.
    pub selinux_relabel: bool,
    /// Propagation.
    pub propagation: MountPropagation,
    /// User ids of an id-mapped mount.
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of an id-mapped mount.
    pub gid_mappings: Vec<IdMapping>,
    /// Whether submounts are read-only too.
    pub recursive_read_only: bool,
    /// The image to mount instead of a host path.
    pub image: Option<ImageSpec>,
    /// The folder of that image.
    pub image_sub_path: String,
}

/// A device of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Path inside.
    pub container_path: String,
    /// Path on the host.
    pub host_path: String,
    /// Some of `r`, `w`, `m`.
    pub permissions: String,
}

/// The Linux part of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxContainerConfig {
    /// Limits.
    pub resources: LinuxContainerResources,
    /// Users, capabilities, profiles.
    pub security_context: LinuxContainerSecurityContext,
}

/// Limits of a container; 0 means "not given".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxContainerResources {
    /// CFS period, µs.
    pub cpu_period: i64,
    /// CFS quota, µs; negative for none.
    pub cpu_quota: i64,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: i64,
    /// Memory limit.
    pub memory_limit_in_bytes: i64,
    /// The kernel's preference to kill, -1000 to 1000.
    pub oom_score_adj: i64,
    /// CPUs, as `0-1,3`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Huge pages.
    pub hugepage_limits: Vec<HugepageLimit>,
    /// cgroup v2 files, written as given.
    pub unified: BTreeMap<String, String>,
    /// Memory and swap together.
    pub memory_swap_limit_in_bytes: i64,
}

/// A limit for one size of huge page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HugepageLimit {
    /// As `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// Security of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxContainerSecurityContext {
    /// Changes to the default set of capabilities.
    pub capabilities: Capability,
    /// Everything allowed.
    pub privileged: bool,
    /// Namespaces.
    pub namespace_options: NamespaceOption,
    /// SELinux label.
    pub selinux_options: Option<SeLinuxOption>,
    /// User id; before `run_as_username` and the image's user.
    pub run_as_user: Option<i64>,
    /// Group id; needs a user.
    pub run_as_group: Option<i64>,
    /// User by name or `uid[:gid]`, looked up in the image's own passwd.
    pub run_as_username: String,
    /// Whether the root is read-only.
    pub readonly_rootfs: bool,
    /// Supplemental groups, in addition to those of the image's /etc/group under `Merge`.
    pub supplemental_groups: Vec<i64>,
    /// Whether /etc/group counts.
    pub supplemental_groups_policy: SupplementalGroupsPolicy,
    /// Whether exec may not gain privileges.
    pub no_new_privs: bool,
    /// Paths that are hidden. None stands for the usual ones; a single empty path for none at
    /// all, which is what `procMount: Unmasked` asks for.
    pub masked_paths: Vec<String>,
    /// Paths that are read-only; none and an empty path mean what they mean for `masked_paths`.
    pub readonly_paths: Vec<String>,
    /// Seccomp; none means unconfined.
    pub seccomp: Option<SecurityProfile>,
    /// AppArmor.
    pub apparmor: Option<SecurityProfile>,
}

/// How supplemental groups are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupplementalGroupsPolicy {
    /// Those given and those of the image's /etc/group.
    #[default]
    Merge,
    /// Only those given.
    Strict,
}

/// Changes to the default capabilities; `ALL` stands for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capability {
    /// Added, with or without `CAP_`.
    pub add_capabilities: Vec<String>,
    /// Dropped.
    pub drop_capabilities: Vec<String>,
    /// Added to the ambient set.
    pub add_ambient_capabilities: Vec<String>,
}

/// The kind of a security profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityProfileType {
    /// The runtime's own.
    #[default]
    RuntimeDefault,
    /// None.
    Unconfined,
    /// A file on the node.
    Localhost,
}

/// A seccomp or AppArmor profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityProfile {
    /// Its kind.
    pub profile_type: SecurityProfileType,
    /// The file or name of a `Localhost` profile.
    pub localhost_ref: String,
}

/// An SELinux label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeLinuxOption {
    /// User.
    pub user: String,
    /// Role.
    pub role: String,
    /// Type (`type` in the message).
    pub type_: String,
    /// Level.
    pub level: String,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process ended.
    Exited,
    /// The runtime cannot tell.
    #[default]
    Unknown,
}

/// A container in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Id.
    pub id: String,
    /// The sandbox it is in.
    pub pod_sandbox_id: String,
    /// Identity.
    pub metadata: ContainerMetadata,
    /// Image as asked for.
    pub image: ImageSpec,
    /// Digest of the image.
    pub image_ref: String,
    /// Id of the image.
    pub image_id: String,
    /// State.
    pub state: ContainerState,
    /// When it was made, nanoseconds since 1970.
    pub created_at: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A container in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// Id.
    pub id: String,
    /// Identity.
    pub metadata: ContainerMetadata,
    /// State.
    pub state: ContainerState,
    /// When it was made, nanoseconds since 1970.
    pub created_at: i64,
    /// When it was started, 0 if not.
    pub started_at: i64,
    /// When it ended, 0 if not.
    pub finished_at: i64,
    /// Exit code; 128 + signal for one that was killed.
    pub exit_code: i32,
    /// Image as asked for.
    pub image: ImageSpec,
    /// Digest of the image, as `name@sha256:…` where there is one.
    pub image_ref: String,
    /// Id of the image.
    pub image_id: String,
    /// `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun`, `StartError` …
    pub reason: String,
    /// What a person can read about the reason.
    pub message: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Mounts as given.
    pub mounts: Vec<Mount>,
    /// Full path of the log.
    pub log_path: String,
    /// Limits in force.
    pub resources: Option<ContainerResources>,
    /// The user it was started as.
    pub user: Option<ContainerUser>,
    /// The signal that stops it, as `SIGTERM`.
    pub stop_signal: String,
}

/// Limits in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerResources {
    /// The Linux part.
    pub linux: LinuxContainerResources,
}

/// The user that a container was started as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerUser {
    /// The Linux part.
    pub linux: LinuxContainerUser,
}

/// Numeric identity of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxContainerUser {
    /// User.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Supplemental groups.
    pub supplemental_groups: Vec<i64>,
}

/// Which containers to list; what is empty does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// Exactly this id.
    pub id: String,
    /// Only this state.
    pub state: Option<ContainerState>,
    /// Only of this sandbox.
    pub pod_sandbox_id: String,
    /// All of these labels.
    pub label_selector: BTreeMap<String, String>,
}

impl ContainerFilter {
    /// Whether a container passes.
    #[must_use]
    pub fn matches(&self, container: &Container) -> bool {
        (self.id.is_empty() || self.id == container.id)
            && self.state.is_none_or(|state| state == container.state)
            && (self.pod_sandbox_id.is_empty() || self.pod_sandbox_id == container.pod_sandbox_id)
            && self
                .label_selector
                .iter()
                .all(|(key, value)| container.labels.get(key) == Some(value))
    }
}

impl LinuxContainerResources {
    /// Takes over what an update gives; what is 0 or empty in it stays.
    pub fn merge(&mut self, update: &LinuxContainerResources) {
        let number = |old: &mut i64, new: i64| {
            if new != 0 {
                *old = new;
            }
        };
        number(&mut self.cpu_period, update.cpu_period);
        number(&mut self.cpu_quota, update.cpu_quota);
        number(&mut self.cpu_shares, update.cpu_shares);
        number(&mut self.memory_limit_in_bytes, update.memory_limit_in_bytes);
        number(&mut self.oom_score_adj, update.oom_score_adj);
        number(&mut self.memory_swap_limit_in_bytes, update.memory_swap_limit_in_bytes);
        if !update.cpuset_cpus.is_empty() {
            self.cpuset_cpus.clone_from(&update.cpuset_cpus);
        }
        if !update.cpuset_mems.is_empty() {
            self.cpuset_mems.clone_from(&update.cpuset_mems);
        }
        if !update.hugepage_limits.is_empty() {
            self.hugepage_limits.clone_from(&update.hugepage_limits);
        }
        self.unified.extend(update.unified.clone());
    }
}
