//! From what the kubelet asks for to what `libcontainer` runs: pure.

use std::path::PathBuf;

use container_runtime::{
    ContainerConfig, LinuxContainerResources, Mount, MountPropagation, NamespaceMode,
    SupplementalGroupsPolicy,
};
use serde_json::{Value, json};

use crate::image::ProcessConfig;
use crate::security::Security;
use crate::shim::{Create, Groups, Layers, WantedUser};

/// Hidden unless the pod says otherwise, as by other runtimes.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Read-only unless the pod says otherwise.
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Path inside the container.
    pub(crate) path: String,
    /// `c` or `b`.
    pub(crate) kind: char,
    pub(crate) major: u64,
    pub(crate) minor: u64,
    /// Mode bits.
    pub(crate) mode: u32,
    /// Some of `r`, `w`, `m`.
    pub(crate) access: String,
}

/// What a container is made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a ContainerConfig,
    pub(crate) image: &'a ProcessConfig,
    pub(crate) layers: Layers,
    pub(crate) cgroup: &'a str,
    /// What its helper does about them itself (v1); nothing where `libcontainer` does it (v2).
    pub(crate) groups: Groups,
    /// The folder of the sandbox's hosts, hostname and resolv.conf.
    pub(crate) files: PathBuf,
    /// The pod's /dev/shm.
    pub(crate) shm: PathBuf,
    /// The process whose PID namespace is joined, when it is not the container's own.
    pub(crate) pid_of: Option<i32>,
    pub(crate) hostname: &'a str,
    pub(crate) devices: Vec<Node>,
}

/// The program and its arguments: a command of the pod replaces the image's entrypoint and
/// command, arguments of the pod only the image's command.
pub(crate) fn arguments(config: &ContainerConfig, image: &ProcessConfig) -> Vec<String> {
    let (command, args) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (&config.command, &config.args),
        (true, false) => (&image.entrypoint, &config.args),
        (true, true) => (&image.entrypoint, &image.cmd),
    };
    command.iter().chain(args).cloned().collect()
}

/// Image, then runtime, then pod; the last one of a name wins and keeps the first one's place.
fn environment(parts: &Parts<'_>) -> Vec<String> {
    let mut env: Vec<String> = Vec::new();
    let mut set = |entry: String| {
        let name = entry.split('=').next().unwrap_or_default().to_owned() + "=";
        match env.iter_mut().find(|old| old.starts_with(&name)) {
            Some(old) => *old = entry,
            None => env.push(entry),
        }
    };
    set(PATH.to_owned());
    parts.image.env.iter().cloned().for_each(&mut set);
    if parts.config.tty {
        set("TERM=xterm".to_owned());
    }
    set(format!("HOSTNAME={}", parts.hostname));
    for pair in &parts.config.envs {
        set(format!("{}={}", pair.key, pair.value));
    }
    env
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

fn mounts(parts: &Parts<'_>) -> Vec<Value> {
    let privileged = parts.config.linux.security_context.privileged;
    let sys = if privileged { "rw" } else { "ro" };
    let text = |path: PathBuf| path.display().to_string();
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys]),
    ];
    let options = ["nosuid", "noexec", "nodev", "relatime"];
    if parts.groups.folders.is_empty() {
        let options = [&options[..], &[sys]].concat();
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
    } else {
        let options = [&options[..], &["mode=755"]].concat();
        mounts.push(mount("/sys/fs/cgroup", "tmpfs", "tmpfs", &options));
    }
    for (_, place) in &parts.groups.views {
        let name = place.file_name().and_then(|name| name.to_str()?.strip_prefix("cg-"));
        let Some(name) = name else { continue };
        let inside = format!("/sys/fs/cgroup/{name}");
        let options = ["bind", "rprivate", "nosuid", "noexec", "nodev", sys];
        mounts.push(mount(&inside, "bind", &place.display().to_string(), &options));
    }
    let given = |path: &str| {
        let same = |mount: &&Mount| mount.container_path.trim_end_matches('/') == path;
        parts.config.mounts.iter().any(|mount| same(&mount))
    };
    if !given("/dev/shm") {
        let shm = text(parts.shm.clone());
        mounts.push(mount("/dev/shm", "bind", &shm, &["rbind", "rprivate", "rw"]));
    }
    for name in ["hosts", "hostname", "resolv.conf"] {
        let path = format!("/etc/{name}");
        if !given(&path) {
            let source = text(parts.files.join(name));
            let writable =
                if parts.config.linux.security_context.readonly_rootfs { "ro" } else { "rw" };
            mounts.push(mount(&path, "bind", &source, &["rbind", "rprivate", writable]));
        }
    }
    // A mount below another one must come after it.
    let mut asked: Vec<&Mount> = parts.config.mounts.iter().collect();
    asked.sort_by_key(|mount| mount.container_path.trim_end_matches('/').matches('/').count());
    for asked in asked {
        let propagation = match asked.propagation {
            MountPropagation::Private => "rprivate",
            MountPropagation::HostToContainer => "rslave",
            MountPropagation::Bidirectional => "rshared",
        };
        let access = match (asked.readonly, asked.recursive_read_only) {
            (true, true) => "rro",
            (true, false) => "ro",
            (false, _) => "rw",
        };
        let options = ["rbind", propagation, access];
        mounts.push(mount(&asked.container_path, "bind", &asked.host_path, &options));
    }
    mounts
}

fn resources(limits: &LinuxContainerResources, privileged: bool, devices: &[Node]) -> Value {
    let mut rules = vec![json!({"allow": privileged, "access": "rwm"})];
    for node in devices.iter().filter(|_| !privileged) {
        rules.push(json!({"allow": true, "type": node.kind, "major": node.major,
            "minor": node.minor, "access": node.access}));
    }
    let mut resources = json!({"devices": rules});
    let mut cpu = json!({});
    if limits.cpu_shares > 0 {
        cpu["shares"] = json!(limits.cpu_shares.clamp(2, 262_144));
    }
    if limits.cpu_period > 0 {
        cpu["period"] = json!(limits.cpu_period);
    }
    if limits.cpu_quota != 0 {
        cpu["quota"] = json!(limits.cpu_quota.max(-1));
    }
    if !limits.cpuset_cpus.is_empty() {
        cpu["cpus"] = json!(limits.cpuset_cpus);
    }
    if !limits.cpuset_mems.is_empty() {
        cpu["mems"] = json!(limits.cpuset_mems);
    }
    if cpu != json!({}) {
        resources["cpu"] = cpu;
    }
    if limits.memory_limit_in_bytes > 0 {
        resources["memory"] = json!({"limit": limits.memory_limit_in_bytes});
        if limits.memory_swap_limit_in_bytes > 0 {
            resources["memory"]["swap"] = json!(limits.memory_swap_limit_in_bytes);
        }
    }
    if !limits.hugepage_limits.is_empty() {
        let huge = limits.hugepage_limits.iter();
        resources["hugepageLimits"] =
            huge.map(|l| json!({"pageSize": l.page_size, "limit": l.limit})).collect();
    }
    if !limits.unified.is_empty() {
        resources["unified"] = json!(limits.unified);
    }
    resources
}

fn wanted_user(parts: &Parts<'_>) -> WantedUser {
    let context = &parts.config.linux.security_context;
    let name = if context.run_as_username.is_empty() {
        parts.image.user.clone()
    } else {
        context.run_as_username.clone()
    };
    WantedUser {
        uid: context.run_as_user,
        gid: context.run_as_group,
        name,
        groups: context.supplemental_groups.clone(),
        strict: context.supplemental_groups_policy == SupplementalGroupsPolicy::Strict,
    }
}

fn paths(given: &[String], default: &[&str], privileged: bool) -> Value {
    match (privileged, given) {
        (true, _) => json!([]),
        (false, []) => json!(default),
        (false, given) => given.iter().filter(|path| !path.is_empty()).cloned().collect(),
    }
}

/// Everything that the helper needs.
pub(crate) fn build(parts: Parts<'_>) -> Result<Create, String> {
    let context = &parts.config.linux.security_context;
    let args = arguments(parts.config, parts.image);
    if args.is_empty() {
        return Err("neither the pod nor the image says what to run".to_owned());
    }
    let cwd = [&*parts.config.working_dir, &*parts.image.working_dir, "/"];
    let cwd = cwd.into_iter().find(|cwd| !cwd.is_empty()).unwrap_or("/");
    if !cwd.starts_with('/') {
        return Err(format!("the working directory {cwd:?} is not absolute"));
    }
    // The shim, and so the helper, is in the pod's network, UTS and IPC namespaces already.
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
    match (context.namespace_options.pid, parts.pid_of) {
        (NamespaceMode::Node, _) => {}
        (_, Some(pid)) => {
            namespaces.push(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}));
        }
        _ => namespaces.push(json!({"type": "pid"})),
    }
    let shared =
        parts.config.mounts.iter().any(|m| m.propagation == MountPropagation::Bidirectional);
    let nodes: Vec<Value> = parts
        .devices
        .iter()
        .map(|node| {
            json!({"path": node.path, "type": node.kind, "major": node.major, "minor": node.minor,
                "fileMode": node.mode, "uid": 0, "gid": 0})
        })
        .collect();
    let limits = &parts.config.linux.resources;
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": parts.config.tty,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": environment(&parts),
            "cwd": cwd,
            "noNewPrivileges": context.no_new_privs,
        },
        "root": {
            "path": parts.layers.target.display().to_string(),
            "readonly": context.readonly_rootfs,
        },
        "mounts": mounts(&parts),
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": parts.cgroup,
            "devices": nodes,
            "maskedPaths": paths(&context.masked_paths, MASKED, context.privileged),
            "readonlyPaths": paths(&context.readonly_paths, READ_ONLY, context.privileged),
        },
    });
    if parts.groups.folders.is_empty() {
        spec["linux"]["resources"] = resources(limits, context.privileged, &parts.devices);
    }
    if shared {
        spec["linux"]["rootfsPropagation"] = json!("shared");
    }
    Ok(Create {
        user: wanted_user(&parts),
        security: Security::of(context)?,
        oom_score_adj: limits.oom_score_adj.clamp(-1000, 1000),
        shared_mounts: shared,
        spec,
        groups: parts.groups,
        layers: parts.layers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use container_runtime::KeyValue;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|&word| word.to_owned()).collect()
    }

    fn image() -> ProcessConfig {
        ProcessConfig {
            entrypoint: words(&["/entry"]),
            cmd: words(&["cmd"]),
            env: words(&["A=1", "B=2"]),
            ..ProcessConfig::default()
        }
    }

    fn check_arguments(command: &[&str], args: &[&str], expected: &[&str]) {
        let config = ContainerConfig {
            command: words(command),
            args: words(args),
            ..ContainerConfig::default()
        };
        assert_eq!(arguments(&config, &image()), expected);
    }

    #[test]
    fn the_four_cases_of_command_and_args() {
        check_arguments(&[], &[], &["/entry", "cmd"]);
        check_arguments(&[], &["x"], &["/entry", "x"]);
        check_arguments(&["/mine"], &[], &["/mine"]);
        check_arguments(&["/mine"], &["x"], &["/mine", "x"]);
    }

    #[test]
    fn pods_override_images() {
        let mut config = ContainerConfig { working_dir: "/w".into(), ..ContainerConfig::default() };
        config.envs = vec![KeyValue { key: "A".into(), value: "9=9".into() }];
        config.mounts = [("/a/b", "/src/b"), ("/a", "/src/a"), ("/etc/hosts", "/pod/hosts")]
            .map(|(inside, outside)| Mount {
                container_path: inside.into(),
                host_path: outside.into(),
                readonly: true,
                ..Mount::default()
            })
            .into();
        let created = build(Parts {
            config: &config,
            image: &image(),
            layers: Layers::default(),
            cgroup: "/pod/c",
            groups: Groups::default(),
            files: "/files".into(),
            shm: "/shm".into(),
            pid_of: None,
            hostname: "web",
            devices: Vec::new(),
        })
        .unwrap();
        let env = created.spec["process"]["env"].as_array().unwrap();
        assert_eq!(env[1..], ["A=9=9", "B=2", "HOSTNAME=web"]);
        let places: Vec<&str> = created.spec["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|mount| mount["destination"].as_str())
            .skip(6)
            .collect();
        let expected =
            ["/dev/shm", "/etc/hostname", "/etc/resolv.conf", "/a", "/a/b", "/etc/hosts"];
        assert_eq!(places, expected);
        assert_eq!(created.spec["linux"]["maskedPaths"].as_array().unwrap().len(), MASKED.len());
    }
}
