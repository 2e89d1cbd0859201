//! The root filesystem of a container: an overlay that only the helper's mount namespace sees.
//!
//! The container's own mount namespace is made from the helper's, so the overlay ends with the
//! container and never shows on the host: a `kill -9` of anything leaves no mount behind.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};
use serde::{Deserialize, Serialize};

/// The layers of a root filesystem.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Layers {
    /// The folder of unpacked layers.
    pub(crate) dir: PathBuf,
    /// Names in it, topmost first. Relative, since the kernel takes one page of options.
    pub(crate) lower: Vec<String>,
    /// The container's own layer.
    pub(crate) upper: PathBuf,
    /// The overlay's scratch folder.
    pub(crate) work: PathBuf,
    /// Where to mount.
    pub(crate) target: PathBuf,
}

/// Enters a mount namespace of its own. With `shared`, mounts that the container makes reach the
/// host; without, only those of the host reach the container.
pub(super) fn enter_private_namespace(shared: bool, target: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    if shared {
        // The mount under the target has to be private, or the overlay would reach the host.
        let parent = mount_point_of(target)?;
        mount(nothing, &parent, nothing, MsFlags::MS_PRIVATE, nothing)?;
    } else {
        mount(nothing, "/", nothing, MsFlags::MS_SLAVE | MsFlags::MS_REC, nothing)?;
    }
    Ok(())
}

/// Where the mount is that a path lies on.
pub(super) fn mount_point_of(path: &Path) -> io::Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let longest = points.filter(|point| path.starts_with(point)).max_by_key(|point| point.len());
    Ok(longest.unwrap_or("/").into())
}

/// Mounts the overlay.
pub(super) fn mount_overlay(layers: &Layers) -> io::Result<()> {
    std::env::set_current_dir(&layers.dir)?;
    let lower = layers.lower.join(":");
    let (upper, work) = (layers.upper.display(), layers.work.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let flags = MsFlags::empty();
    mount(Some("overlay"), &layers.target, Some("overlay"), flags, Some(&*options))?;
    std::env::set_current_dir("/")
}

/// A root filesystem whose paths are looked up as its own processes would: no symlink leads out.
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::open(path)?.into()))
    }

    fn look_up(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let how =
            OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        openat2(&self.0, path, how)
    }

    /// A small text file; empty when it is not there.
    pub(super) fn read(&self, path: &str) -> String {
        let mut text = Vec::new();
        if let Ok(file) = self.look_up(Path::new(path), OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            // What can be read of a broken file is what there is.
            drop(File::from(file).take(1 << 20).read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Makes a folder with all its parents.
    pub(super) fn make_dirs(&self, path: &Path) -> io::Result<()> {
        let mut so_far = PathBuf::from("/");
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let parent = self.look_up(&so_far, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            so_far.push(name);
            match self.look_up(&so_far, OFlag::O_PATH) {
                Ok(_) => {}
                Err(Errno::ENOENT) => {
                    mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(0o755))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
