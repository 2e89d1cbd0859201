//! Control groups, by their files, for what `libcontainer` leaves to its caller: the pod's own
//! group, changes while a container runs, usage, out-of-memory kills, and taking groups away.
//!
//! Both layouts are spoken: one hierarchy (v2) and one per controller (v1, or "hybrid" where v2
//! is mounted without controllers). What to write is decided by pure functions.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use container_runtime::LinuxContainerResources;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::shim::Groups;
use crate::spec::Node;

/// Where the machine's hierarchies are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// One hierarchy.
    V2(PathBuf),
    /// One for each controller (or named group, as `name=systemd`).
    V1(BTreeMap<String, PathBuf>),
}

/// What a group uses.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_nanos: Option<u64>,
    pub(crate) memory: Option<u64>,
    pub(crate) working_set: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) rss: Option<u64>,
    pub(crate) page_faults: Option<u64>,
    pub(crate) major_page_faults: Option<u64>,
    pub(crate) processes: Option<u64>,
}

/// Which devices a container may use.
#[derive(Debug)]
pub(crate) enum Devices<'a> {
    /// All of the host's.
    All,
    /// Those that every container has, and these.
    Own(&'a [Node]),
}

/// Making nodes is allowed, using only those that every container has: null, full, zero, random,
/// urandom, tty, console, ptmx and terminals.
const OWN_DEVICES: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

impl Devices<'_> {
    fn v1_writes(&self) -> Vec<(&'static str, String)> {
        let Self::Own(nodes) = self else { return vec![("devices.allow", "a".to_owned())] };
        let mut writes = vec![("devices.deny", "a".to_owned())];
        writes.extend(OWN_DEVICES.map(|rule| ("devices.allow", rule.to_owned())));
        writes.extend(nodes.iter().map(|node| {
            let Node { kind, major, minor, access, .. } = node;
            ("devices.allow", format!("{kind} {major}:{minor} {access}"))
        }));
        writes
    }
}

impl Cgroups {
    /// This machine's.
    pub(crate) fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut v1 = BTreeMap::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let point = left.split(' ').nth(4).unwrap_or_default();
            let right: Vec<&str> = right.splitn(3, ' ').collect();
            match right.as_slice() {
                ["cgroup2", ..] => v2 = Some(PathBuf::from(point)),
                ["cgroup", _, options] => {
                    let words = ["rw", "ro", "clone_children", "xattr"];
                    for name in options.split(',').filter(|name| !words.contains(name)) {
                        v1.entry(name.to_owned()).or_insert_with(|| point.into());
                    }
                }
                _ => {}
            }
        }
        match v2 {
            Some(point) if v1.is_empty() => Self::V2(point),
            _ => Self::V1(v1),
        }
    }

    /// The controllers that limits need and the machine lacks.
    pub(crate) fn missing(&self) -> Vec<String> {
        let needed = ["cpu", "memory", "pids"];
        let has: Vec<String> = match self {
            Self::V1(points) => points.keys().cloned().collect(),
            Self::V2(root) => fs::read_to_string(root.join("cgroup.controllers"))
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        };
        needed
            .iter()
            .filter(|name| !has.iter().any(|h| h == *name))
            .map(ToString::to_string)
            .collect()
    }

    /// A group's folder in every hierarchy.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let group = group.trim_start_matches('/');
        let mut folders: Vec<PathBuf> = match self {
            Self::V2(root) => vec![root.join(group)],
            Self::V1(points) => points.values().map(|point| point.join(group)).collect(),
        };
        folders.dedup();
        folders
    }

    fn folder(&self, controller: &str, group: &str) -> Option<PathBuf> {
        let group = group.trim_start_matches('/');
        match self {
            Self::V2(root) => Some(root.join(group)),
            Self::V1(points) => points.get(controller).map(|point| point.join(group)),
        }
    }

    /// How a container's helper makes and enters its groups on v1; nothing to do on v2. `dir` is
    /// the container's folder, where what it may see of them is kept in view.
    pub(crate) fn groups(
        &self,
        group: &str,
        limits: &LinuxContainerResources,
        devices: &Devices<'_>,
        dir: &Path,
    ) -> Groups {
        let Self::V1(points) = self else { return Groups::default() };
        let group = group.trim_start_matches('/');
        let mut wanted = vec!["cpu", "cpuacct", "devices", "memory", "pids"];
        if !limits.cpuset_cpus.is_empty() || !limits.cpuset_mems.is_empty() {
            wanted.push("cpuset");
        }
        if !limits.hugepage_limits.is_empty() {
            wanted.push("hugetlb");
        }
        let folder = |controller: &str| points.get(controller).map(|point| point.join(group));
        let mut folders: Vec<PathBuf> = wanted.iter().filter_map(|name| folder(name)).collect();
        folders.dedup();
        let mut writes = v1_writes(limits);
        let mut add = |controller, file: &str, value: String| {
            writes.push((controller, file.to_owned(), value));
        };
        if limits.memory_swap_limit_in_bytes > 0 {
            let swap = limits.memory_swap_limit_in_bytes.to_string();
            add("memory", "memory.memsw.limit_in_bytes", swap);
        }
        for huge in &limits.hugepage_limits {
            let file = format!("hugetlb.{}.limit_in_bytes", huge.page_size);
            add("hugetlb", &file, huge.limit.to_string());
        }
        for (file, value) in devices.v1_writes() {
            add("devices", file, value);
        }
        let shown = ["cpu", "cpuacct", "cpuset", "memory", "pids"];
        let shown = shown.iter().filter(|name| wanted.contains(name));
        let views = shown.filter_map(|name| Some((folder(name)?, dir.join(format!("cg-{name}")))));
        Groups {
            views: views.collect(),
            limits: writes
                .into_iter()
                .filter_map(|(controller, file, value)| {
                    Some((folder(controller)?.join(file), value))
                })
                .collect(),
            folders,
        }
    }

    /// Makes a group and answers the `cgroup.procs` files by which a process enters it. On v1
    /// `cpuset` is left alone: a new group there has no CPUs.
    pub(crate) fn make(&self, group: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let folders = match self {
            Self::V2(_) => self.folders(group),
            Self::V1(points) => {
                let points = points.iter().filter(|(name, _)| *name != "cpuset");
                points.map(|(_, point)| point.join(group.trim_start_matches('/'))).collect()
            }
        };
        for folder in folders {
            fs::create_dir_all(&folder)?;
            files.push(folder.join("cgroup.procs"));
        }
        Ok(files)
    }

    /// A file that lists all processes of a group.
    pub(crate) fn procs(&self, group: &str) -> Option<PathBuf> {
        let folder = ["pids", "memory", "cpu"].iter().find_map(|c| self.folder(c, group));
        Some(folder?.join("cgroup.procs"))
    }

    /// Changes a group's limits; what is 0 or empty stays.
    pub(crate) fn update(&self, group: &str, limits: &LinuxContainerResources) -> io::Result<()> {
        let writes = match self {
            Self::V1(_) => v1_writes(limits),
            Self::V2(root) => {
                enable_controllers(root, group);
                v2_writes(limits)
            }
        };
        for (controller, file, value) in writes {
            let Some(folder) = self.folder(controller, group) else { continue };
            fs::create_dir_all(&folder)?;
            let path = folder.join(file);
            fs::write(&path, &value)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        }
        Ok(())
    }

    /// What a group uses now.
    pub(crate) fn usage(&self, group: &str) -> Usage {
        let read = |controller: &str, file: &str| -> Option<String> {
            fs::read_to_string(self.folder(controller, group)?.join(file)).ok()
        };
        let number = |controller: &str, file: &str| read(controller, file)?.trim().parse().ok();
        match self {
            Self::V1(_) => {
                let stat = read("memory", "memory.stat").unwrap_or_default();
                let memory: Option<u64> = number("memory", "memory.usage_in_bytes");
                let inactive = field(&stat, "total_inactive_file").unwrap_or_default();
                Usage {
                    cpu_nanos: number("cpuacct", "cpuacct.usage"),
                    memory,
                    working_set: memory.map(|all| all.saturating_sub(inactive)),
                    memory_limit: number("memory", "memory.limit_in_bytes").filter(is_limit),
                    rss: field(&stat, "total_rss"),
                    page_faults: field(&stat, "total_pgfault"),
                    major_page_faults: field(&stat, "total_pgmajfault"),
                    processes: number("pids", "pids.current"),
                }
            }
            Self::V2(_) => {
                let stat = read("", "memory.stat").unwrap_or_default();
                let memory: Option<u64> = number("", "memory.current");
                let inactive = field(&stat, "inactive_file").unwrap_or_default();
                let cpu = read("", "cpu.stat").unwrap_or_default();
                Usage {
                    cpu_nanos: field(&cpu, "usage_usec").map(|micros| micros * 1000),
                    memory,
                    working_set: memory.map(|all| all.saturating_sub(inactive)),
                    memory_limit: number("", "memory.max").filter(is_limit),
                    rss: field(&stat, "anon"),
                    page_faults: field(&stat, "pgfault"),
                    major_page_faults: field(&stat, "pgmajfault"),
                    processes: number("", "pids.current"),
                }
            }
        }
    }

    /// How often the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_kills(&self, group: &str) -> u64 {
        let file = match self {
            Self::V1(_) => "memory.oom_control",
            Self::V2(_) => "memory.events",
        };
        let path = self.folder("memory", group).map(|folder| folder.join(file));
        let text = path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        field(&text, "oom_kill").unwrap_or_default()
    }

    /// Kills every process of a group and of the groups below it.
    pub(crate) fn kill(&self, group: &str) {
        for folder in self.folders(group) {
            // v2 has one file for it; where it is not there, process by process.
            if fs::write(folder.join("cgroup.kill"), "1").is_err() {
                kill_below(&folder);
            }
        }
    }

    /// The processes of a group and of the groups below it.
    pub(crate) fn processes(&self, group: &str) -> Vec<i32> {
        self.folders(group).iter().flat_map(|folder| processes_below(folder)).collect()
    }

    /// Takes a group away, with the groups below it. Processes that were killed may take a moment
    /// to leave; whether it is all gone is the answer.
    pub(crate) fn remove(&self, group: &str) -> bool {
        let mut gone = true;
        for folder in self.folders(group) {
            gone &= remove_below(&folder);
        }
        gone
    }

    /// Takes away a group that is empty, leaving one that is not.
    pub(crate) fn remove_if_empty(&self, group: &str) {
        for folder in self.folders(group) {
            // It stays where somebody else still uses it.
            drop(fs::remove_dir(folder));
        }
    }
}

fn kill_below(folder: &Path) {
    for pid in processes_below(folder) {
        _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn processes_below(folder: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(processes_below(&entry.path()));
        }
    }
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    found
}

fn remove_below(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    match fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// v1 says "no limit" with a number near 2^63.
fn is_limit(limit: &u64) -> bool {
    *limit < 1 << 60
}

/// The number behind a word of a `name value` file.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// v2 gives a group only the controllers that each group above it passes on.
fn enable_controllers(root: &Path, group: &str) {
    let mut folder = root.to_owned();
    for part in Path::new(group.trim_start_matches('/')) {
        // A group with processes of its own cannot pass them on; its limits then do not hold.
        drop(fs::write(folder.join("cgroup.subtree_control"), "+cpu +cpuset +memory +pids"));
        folder.push(part);
    }
}

type Write = (&'static str, String, String);

fn v1_writes(limits: &LinuxContainerResources) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut add = |controller, file: &str, value: String| {
        writes.push((controller, file.to_owned(), value));
    };
    if limits.cpu_shares > 0 {
        add("cpu", "cpu.shares", limits.cpu_shares.clamp(2, 262_144).to_string());
    }
    if limits.cpu_period > 0 {
        add("cpu", "cpu.cfs_period_us", limits.cpu_period.to_string());
    }
    if limits.cpu_quota != 0 {
        add("cpu", "cpu.cfs_quota_us", limits.cpu_quota.max(-1).to_string());
    }
    if !limits.cpuset_cpus.is_empty() {
        add("cpuset", "cpuset.cpus", limits.cpuset_cpus.clone());
    }
    if !limits.cpuset_mems.is_empty() {
        add("cpuset", "cpuset.mems", limits.cpuset_mems.clone());
    }
    if limits.memory_limit_in_bytes != 0 {
        let limit = limits.memory_limit_in_bytes.max(-1).to_string();
        add("memory", "memory.limit_in_bytes", limit);
    }
    writes
}

fn v2_writes(limits: &LinuxContainerResources) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut add = |file: &str, value: String| writes.push(("", file.to_owned(), value));
    if limits.cpu_shares > 0 {
        add("cpu.weight", weight(limits.cpu_shares).to_string());
    }
    if limits.cpu_quota != 0 || limits.cpu_period > 0 {
        let period = if limits.cpu_period > 0 { limits.cpu_period } else { 100_000 };
        let quota =
            if limits.cpu_quota > 0 { limits.cpu_quota.to_string() } else { "max".to_owned() };
        add("cpu.max", format!("{quota} {period}"));
    }
    if !limits.cpuset_cpus.is_empty() {
        add("cpuset.cpus", limits.cpuset_cpus.clone());
    }
    if !limits.cpuset_mems.is_empty() {
        add("cpuset.mems", limits.cpuset_mems.clone());
    }
    if limits.memory_limit_in_bytes != 0 {
        let limit = limits.memory_limit_in_bytes;
        add("memory.max", if limit < 0 { "max".to_owned() } else { limit.to_string() });
    }
    for (file, value) in &limits.unified {
        add(file, value.clone());
    }
    writes
}

/// Shares (2 to 262144) as a weight (1 to 10000), by the formula of KEP-2254.
fn weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const V2: &str = "31 30 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn hierarchies_are_found() {
        let Cgroups::V1(points) = Cgroups::parse(V1) else { panic!("v1") };
        assert_eq!(points.keys().collect::<Vec<_>>(), ["cpu", "memory"]);
        assert_eq!(Cgroups::parse(V2), Cgroups::V2("/sys/fs/cgroup".into()));
    }

    #[test]
    fn limits_on_both() {
        let limits = LinuxContainerResources {
            cpu_shares: 1024,
            cpu_quota: 50_000,
            cpu_period: 100_000,
            memory_limit_in_bytes: 1 << 20,
            ..LinuxContainerResources::default()
        };
        let flat = |writes: Vec<Write>| {
            writes.into_iter().map(|(_, file, value)| format!("{file}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            flat(v1_writes(&limits)),
            [
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "memory.limit_in_bytes=1048576"
            ]
        );
        assert_eq!(
            flat(v2_writes(&limits)),
            ["cpu.weight=39", "cpu.max=50000 100000", "memory.max=1048576"]
        );
        assert_eq!((weight(2), weight(262_144)), (1, 10_000));
        assert!(flat(v1_writes(&LinuxContainerResources::default())).is_empty());
    }

    #[test]
    fn fields_of_stat_files() {
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), Some(3));
        assert_eq!(field("a 1\n", "b"), None);
    }
}
