//! Entering a container's control groups on v1, by the helper itself.
//!
//! `libcontainer` moves a process by its number through `cgroup.procs`, for which the kernel waits
//! out an RCU grace period: 8 to 15 ms a container here, most of its start. A thread that writes
//! `0` into `tasks` moves itself and waits for nothing. So the helper, which has one thread, goes
//! ahead, and then hides the hierarchies in its own mount namespace, where `libcontainer` finds
//! none and leaves groups alone. On v2 `libcontainer` does it all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rootfs;

const ROOT: &str = "/sys/fs/cgroup";

/// What to do with a container's groups.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Groups {
    /// Their folders, one in each hierarchy that matters.
    pub(crate) folders: Vec<PathBuf>,
    /// Files of theirs and what to write into them.
    pub(crate) limits: Vec<(PathBuf, String)>,
    /// Folders of theirs that the container sees, each with the place where it is kept in view.
    pub(crate) views: Vec<(PathBuf, PathBuf)>,
}

/// Makes the groups and sets their limits.
pub(super) fn make(groups: &Groups) -> io::Result<()> {
    let named =
        |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    for folder in &groups.folders {
        fs::create_dir_all(folder).map_err(|e| named(folder, e))?;
        if folder.join("cpuset.cpus").exists() {
            fill_cpuset(folder).map_err(|e| named(folder, e))?;
        }
    }
    for (file, value) in &groups.limits {
        match fs::write(file, value) {
            // Swap and huge pages are accounted only by some kernels.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|e| named(file, e))?,
        }
    }
    Ok(())
}

/// A new cpuset has no CPUs; it takes its parent's.
fn fill_cpuset(folder: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if !fs::read_to_string(folder.join(file))?.trim().is_empty() {
            continue;
        }
        let Some(parent) = folder.parent().filter(|parent| parent.join(file).exists()) else {
            continue;
        };
        fill_cpuset(parent)?;
        fs::write(folder.join(file), fs::read_to_string(parent.join(file))?)?;
    }
    Ok(())
}

/// Enters the groups with this process, which must have one thread.
pub(super) fn enter(groups: &Groups) -> io::Result<()> {
    for folder in &groups.folders {
        let tasks = folder.join("tasks");
        fs::write(&tasks, "0")
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", tasks.display())))?;
    }
    Ok(())
}

/// Keeps in view what of the host's hierarchies a container mounts: as sources of its mounts, places
/// in `dir` stand for the folders that are hidden next. Monitors of a node read there.
pub(super) fn keep(groups: &Groups, spec: &mut Value, dir: &Path) -> io::Result<()> {
    if groups.folders.is_empty() {
        return Ok(());
    }
    let mounts = spec["mounts"].as_array_mut().into_iter().flatten();
    let hidden = mounts.filter(|mount| mount["type"] == "bind" && shows_groups(&mount["source"]));
    for (index, mount_) in hidden.enumerate() {
        let source = PathBuf::from(mount_["source"].as_str().unwrap_or_default());
        let place = dir.join(format!("host-{index}"));
        if source.is_dir() {
            fs::create_dir_all(&place)?;
        } else {
            fs::write(&place, "")?;
        }
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&source), &place, None::<&str>, flags, None::<&str>)?;
        mount_["source"] = place.to_string_lossy().into();
    }
    Ok(())
}

/// Whether a folder of the host has the hierarchies in it, or is one of theirs.
fn shows_groups(source: &Value) -> bool {
    let source = Path::new(source.as_str().unwrap_or_default());
    source.is_absolute() && (source.starts_with(ROOT) || Path::new(ROOT).starts_with(source))
}

/// Keeps the container's own groups in view and hides all others from this mount namespace, which
/// must not be the host's.
pub(super) fn hide(groups: &Groups) -> io::Result<()> {
    if groups.folders.is_empty() {
        return Ok(());
    }
    for (folder, place) in &groups.views {
        fs::create_dir_all(place)?;
        mount(Some(folder), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    // Where mounts of this namespace reach the host, this must not.
    let (nothing, private) = (None::<&str>, MsFlags::MS_PRIVATE);
    mount(nothing, &rootfs::mount_point_of(Path::new("/sys/fs"))?, nothing, private, nothing)?;
    mount(nothing, ROOT, nothing, private | MsFlags::MS_REC, nothing)?;
    umount2(ROOT, MntFlags::MNT_DETACH)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("none"), ROOT, Some("tmpfs"), flags, Some("size=0k"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_the_hierarchies_is_known_by_its_path() {
        for (source, expected) in [
            ("/", true),
            ("/sys", true),
            ("/sys/fs/cgroup/memory", true),
            ("/sys/fs/cgroups", false),
            ("/proc", false),
            ("cgroup", false),
        ] {
            assert_eq!(shows_groups(&Value::from(source)), expected, "{source}");
        }
    }
}
