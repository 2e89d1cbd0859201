//! Mounting in the node's mount namespace: tmpfs for what must not touch a disk.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::VolumeError;

/// Mounts a tmpfs unless one is there.
pub(crate) fn tmpfs(dir: &Path, size_bytes: Option<i64>) -> Result<(), VolumeError> {
    std::fs::create_dir_all(dir).map_err(|error| VolumeError::io("make", dir, error))?;
    if mounts_below(dir)?.iter().any(|point| point == dir) {
        return Ok(());
    }
    let mut options = "mode=0777".to_owned();
    if let Some(size) = size_bytes.filter(|size| *size > 0) {
        options.push_str(&format!(",size={size}"));
    }
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|error| VolumeError::io("mount tmpfs on", dir, error.into()))
}

/// Binds a file or folder to another path.
pub(crate) fn bind(from: &Path, to: &Path) -> Result<(), VolumeError> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|error| VolumeError::io("bind to", to, error.into()))
}

/// Unmounts one mount point, even when it is in use.
pub(crate) fn unmount(path: &Path) -> Result<(), VolumeError> {
    umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
        .map_err(|error| VolumeError::io("unmount", path, error.into()))
}

/// Unmounts everything at or below a path, the innermost first.
pub(crate) fn unmount_below(dir: &Path) -> Result<(), VolumeError> {
    let mut points = mounts_below(dir)?;
    points.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    points.iter().try_for_each(|point| unmount(point))
}

fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let table = Path::new("/proc/self/mountinfo");
    let text =
        std::fs::read_to_string(table).map_err(|error| VolumeError::io("read", table, error))?;
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(points.filter(|point| point.starts_with(&dir)).collect())
}

/// mountinfo writes blanks and the like as octal.
fn unescape(text: &str) -> PathBuf {
    let plain = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    PathBuf::from(plain.replace("\\134", "\\"))
}
