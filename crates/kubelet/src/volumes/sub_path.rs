//! `subPath`: a part of a volume, resolved so that no link in it leads out of the volume.
//!
//! The part is opened beneath the volume by the kernel's own rule and bound to a path of the
//! kubelet's, so that a container that changes links afterwards changes nothing. The binding shows
//! the contents of the moment at which the container started.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, mkdirat};

use super::{VolumeError, blocking, mount};

/// The path to mount for `sub_path` of a volume, made as a folder when it is not there.
pub(crate) async fn prepare(
    volume: PathBuf,
    sub_path: String,
    target: PathBuf,
    may_mount: bool,
) -> Result<PathBuf, VolumeError> {
    blocking(move || {
        let fd = open_beneath(&volume, &sub_path)?;
        let opened = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if !may_mount {
            return std::fs::read_link(&opened)
                .map_err(|error| VolumeError::io("resolve", &volume.join(&sub_path), error));
        }
        bind_to(&opened, &target)?;
        Ok(target)
    })
    .await
}

fn bind_to(opened: &Path, target: &Path) -> Result<(), VolumeError> {
    let io = |what, error| VolumeError::io(what, target, error);
    if std::fs::symlink_metadata(target).is_ok() {
        mount::unmount_below(target)?;
    }
    let is_dir = std::fs::metadata(opened).map_err(|error| io("stat", error))?.is_dir();
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(|error| io("make", error))?;
    }
    // A file can turn into a folder between two runs of the container.
    let _old = if is_dir { std::fs::remove_file(target) } else { std::fs::remove_dir(target) };
    if is_dir {
        std::fs::create_dir_all(target).map_err(|error| io("make", error))?;
    } else {
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(target)
            .map_err(|error| io("make", error))?;
    }
    mount::bind(opened, target)
}

fn open_beneath(volume: &Path, sub_path: &str) -> Result<OwnedFd, VolumeError> {
    let whole = volume.join(sub_path);
    let failed = |error: Errno| VolumeError::io("open", &whole, error.into());
    let root = open(volume, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(failed)?;
    let how = || {
        OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS)
    };
    match openat2(&root, sub_path, how()) {
        Ok(fd) => return Ok(fd),
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(failed(error)),
    }
    let mut at = root.try_clone().map_err(|error| VolumeError::io("open", &whole, error))?;
    for part in sub_path.split('/').filter(|part| !part.is_empty()) {
        match mkdirat(&at, part, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        at = openat2(&at, part, how()).map_err(failed)?;
    }
    Ok(at)
}
