//! Taking away everything that the runtime ever made on a machine, without a running runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroups;
use crate::runtime::{SandboxRecord, load_record};
use crate::shim::SUBCOMMAND;

/// The groups above pods' own, by their names in Kubernetes, the lowest first. They are taken away
/// only when nobody has anything in them.
const KUBELETS: [&str; 3] = ["/kubepods/burstable", "/kubepods/besteffort", "/kubepods"];

/// Ends every shim and container of a data folder, unmounts what is mounted below it, removes
/// their cgroups and the containers' folder. Images stay. Blocks for up to some seconds. Answers
/// what could not be taken away.
#[must_use]
pub fn clean(data_dir: &Path, cgroup_root: &str) -> Vec<String> {
    let Ok(containers) = data_dir.join("agent/containers").canonicalize() else {
        return Vec::new();
    };
    let mut left = Vec::new();
    let records: Vec<SandboxRecord> = fs::read_dir(&containers)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| load_record(&entry.path().join("sandbox.json")).ok())
        .collect();
    for pid in shims(&containers) {
        // Containers die with their shim.
        _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    if !wait_for(|| shims(&containers).is_empty()) {
        left.push(format!("shims of {}", containers.display()));
    }
    if let Ok(cgroups) = Cgroups::detect() {
        left.extend(clean_cgroups(&cgroups, &containers, &records, cgroup_root));
    }
    for point in mounts_below(&containers) {
        if umount2(&point, MntFlags::MNT_DETACH).is_err() {
            left.push(format!("mount {}", point.display()));
        }
    }
    if mounts_below(&containers).is_empty() && fs::remove_dir_all(&containers).is_err() {
        left.push(containers.display().to_string());
    }
    left
}

/// Ends what is left of the containers and takes their groups away. The root is shared with every
/// other Ferry of the machine, whose shims are in it: it goes with the last of them.
fn clean_cgroups(
    cgroups: &Cgroups,
    containers: &Path,
    records: &[SandboxRecord],
    root: &str,
) -> Vec<String> {
    let mut left = Vec::new();
    for record in records {
        for id in container_ids(containers, &record.id) {
            let group = format!("{}/{id}", record.cgroup);
            if !wait_for(|| {
                cgroups.kill(&group);
                cgroups.remove(&group)
            }) {
                left.push(format!("cgroup {group}"));
            }
        }
    }
    let parents = records.iter().map(|record| &*record.cgroup).chain(KUBELETS.iter().copied());
    for parent in parents {
        cgroups.remove_if_empty(parent);
    }
    let root = format!("/{}", root.trim_matches('/'));
    let is_used = || cgroups.processes(&root).into_iter().any(is_alive);
    if !wait_for(|| is_used() || cgroups.remove(&root)) {
        left.push(format!("cgroup {root}"));
    }
    left
}

/// Whether a process is more than a number that waits to be reaped.
fn is_alive(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn container_ids(containers: &Path, sandbox: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(containers.join(sandbox).join("c")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Tries until it holds, for a few seconds.
fn wait_for(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while !holds() {
        if Instant::now() > until {
            return false;
        }
        let pause = nix::poll::PollTimeout::from(5u8);
        // Nothing to wait for but time: the kernel takes a moment to bury the dead.
        _ = nix::poll::poll(&mut [], pause);
    }
    true
}

/// Processes that run as shims for a folder below this one.
fn shims(containers: &Path) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        let dir = words.get(3).and_then(|dir| std::str::from_utf8(dir).ok());
        words.get(1) == Some(&SUBCOMMAND.as_bytes())
            && dir.is_some_and(|dir| Path::new(dir).starts_with(containers))
    })
    .collect()
}

/// Mount points below a folder, the deepest first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(folder)).collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    points
}
