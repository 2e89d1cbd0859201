//! Unpacking a layer into a folder that overlayfs can stand on.
//!
//! Invariant: nothing is written outside of the folder, whatever the archive says. Every parent
//! is looked up with the folder as root (`openat2`, `RESOLVE_IN_ROOT`), and the last part of a
//! path is never followed. Whiteouts become what overlayfs takes for them.
#![expect(unsafe_code, reason = "extended attributes have no safe call here")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmodat, makedev, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};
use tar::{Archive, Entry, EntryType};

use super::{Attempt, Result, malformed};

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

struct Unpacker {
    root: OwnedFd,
    /// Times of folders, set last: adding to a folder changes its time.
    folder_times: Vec<(PathBuf, TimeSpec)>,
}

/// Unpacks a tar stream into an empty folder.
pub(super) fn unpack(source: impl Read, target: &Path) -> Result<()> {
    let root = File::open(target).attempt(|| format!("open {}", target.display()))?;
    let mut unpacker = Unpacker { root: root.into(), folder_times: Vec::new() };
    let mut archive = Archive::new(source);
    for entry in archive.entries().attempt(|| "read the layer".to_owned())? {
        let mut entry = entry.attempt(|| "read the layer".to_owned())?;
        unpacker.entry(&mut entry)?;
    }
    for (path, time) in std::mem::take(&mut unpacker.folder_times).into_iter().rev() {
        if let Ok((parent, name)) = unpacker.parent(&path) {
            set_time(&parent, &name, time);
        }
    }
    Ok(())
}

/// A path of an archive as one below the root, or an error for one that climbs.
fn clean(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            _ => return Err(malformed("layer", format!("{} climbs out", path.display()))),
        }
    }
    Ok(clean)
}

impl Unpacker {
    fn look_up(&self, path: &Path) -> nix::Result<OwnedFd> {
        if path.as_os_str().is_empty() {
            return self.root.try_clone().map_err(|_| Errno::EMFILE);
        }
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, path, how)
    }

    /// The folder that a path lies in, made if need be, and the path's last part.
    fn parent(&self, path: &Path) -> Result<(OwnedFd, CString)> {
        let what = || format!("unpack {}", path.display());
        let name = path.file_name().unwrap_or_default();
        let name = CString::new(name.as_bytes()).map_err(|e| malformed("layer", e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        match self.look_up(folder) {
            Ok(fd) => Ok((fd, name)),
            Err(Errno::ENOENT) => {
                let (above, last) = self.parent(folder)?;
                match mkdirat(&above, &*last, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error).attempt(what),
                }
                Ok((self.look_up(folder).attempt(what)?, name))
            }
            Err(error) => Err(error).attempt(what),
        }
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        let path = entry.path().attempt(|| "read a path of the layer".to_owned())?.into_owned();
        let path = clean(&path)?;
        let what = || format!("unpack {}", path.display());
        if path.as_os_str().is_empty() {
            return self.root_folder(entry);
        }
        let (parent, name) = self.parent(&path)?;
        if let Some(hidden) = name.to_str().ok().and_then(|name| name.strip_prefix(WHITEOUT)) {
            return whiteout(&parent, hidden).attempt(what);
        }
        let kind = entry.header().entry_type();
        let mode = Mode::from_bits_truncate(entry.header().mode().attempt(what)? & 0o7777);
        make_way(&parent, &name, kind).attempt(what)?;
        match kind {
            EntryType::Directory => match mkdirat(&parent, &*name, mode) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error).attempt(what),
            },
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                write_file(&parent, &name, entry).attempt(what)?;
            }
            EntryType::Symlink => {
                let target = link_name(entry, &path)?;
                symlinkat(&*target, &parent, &*name).attempt(what)?;
            }
            EntryType::Link => {
                let target = clean(&link_name(entry, &path)?)?;
                let (from, old) = self.parent(&target)?;
                return linkat(&from, &*old, &parent, &*name, LinkatFlags::empty()).attempt(what);
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                let header = entry.header();
                let number = |part: io::Result<Option<u32>>| {
                    part.map(|part| u64::from(part.unwrap_or_default())).attempt(what)
                };
                let device =
                    makedev(number(header.device_major())?, number(header.device_minor())?);
                let node = match kind {
                    EntryType::Char => SFlag::S_IFCHR,
                    EntryType::Block => SFlag::S_IFBLK,
                    _ => SFlag::S_IFIFO,
                };
                mknodat(&parent, &*name, node, mode, device).attempt(what)?;
            }
            // Headers that describe others, and kinds that no image has.
            _ => return Ok(()),
        }
        self.attributes(entry, &path, (&parent, &name), (kind, mode))
    }

    /// Owner, mode, extended attributes and time, in the order in which none undoes another.
    fn attributes(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &Path,
        (parent, name): (&OwnedFd, &CString),
        (kind, mode): (EntryType, Mode),
    ) -> Result<()> {
        let what = || format!("unpack {}", path.display());
        let id = |id: io::Result<u64>| -> Result<u32> {
            u32::try_from(id.attempt(what)?).map_err(|e| malformed(what(), e))
        };
        let (uid, gid) = (id(entry.header().uid())?, id(entry.header().gid())?);
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchownat(parent, &**name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).attempt(what)?;
        if kind != EntryType::Symlink {
            // Changing the owner clears the setuid bit, so the mode comes after it.
            let follow = nix::sys::stat::FchmodatFlags::FollowSymlink;
            fchmodat(parent, &**name, mode, follow).attempt(what)?;
            set_attributes(entry, parent, name).attempt(what)?;
        }
        let seconds = i64::try_from(entry.header().mtime().unwrap_or_default()).unwrap_or_default();
        let time = TimeSpec::new(seconds, 0);
        if kind == EntryType::Directory {
            self.folder_times.push((path.to_owned(), time));
        } else {
            set_time(parent, name, time);
        }
        Ok(())
    }

    /// The layer's own root: it has an owner and a mode too.
    fn root_folder(&self, entry: &Entry<'_, impl Read>) -> Result<()> {
        let what = || "unpack the root folder".to_owned();
        let header = entry.header();
        let (uid, gid) = (header.uid().attempt(what)?, header.gid().attempt(what)?);
        let id = |id: u64| u32::try_from(id).map_err(|e| malformed(what(), e));
        let (uid, gid) = (Some(Uid::from_raw(id(uid)?)), Some(Gid::from_raw(id(gid)?)));
        nix::unistd::fchown(&self.root, uid, gid).attempt(what)?;
        let mode = Mode::from_bits_truncate(header.mode().attempt(what)? & 0o7777);
        nix::sys::stat::fchmod(&self.root, mode).attempt(what)
    }
}

fn link_name(entry: &Entry<'_, impl Read>, path: &Path) -> Result<PathBuf> {
    let target = entry.link_name().attempt(|| format!("unpack {}", path.display()))?;
    let missing = || malformed(format!("link {}", path.display()), "it leads nowhere");
    Ok(target.ok_or_else(missing)?.into_owned())
}

/// Removes what stands where an entry goes; only a folder may meet a folder.
fn make_way(parent: &OwnedFd, name: &CString, kind: EntryType) -> nix::Result<()> {
    match unlinkat(parent, &**name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) if kind == EntryType::Directory => Ok(()),
        Err(Errno::EISDIR) => {
            let path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()))
                .join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            std::fs::remove_dir_all(path).map_err(|_| Errno::ENOTEMPTY)
        }
        Err(error) => Err(error),
    }
}

fn write_file(
    parent: &OwnedFd,
    name: &CString,
    entry: &mut Entry<'_, impl Read>,
) -> io::Result<()> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(parent, &**name, flags, Mode::from_bits_truncate(0o600))?;
    io::copy(entry, &mut File::from(file))?;
    Ok(())
}

/// Hides what lower layers have: a device of number 0 for one name, a mark for a whole folder.
fn whiteout(parent: &OwnedFd, hidden: &str) -> io::Result<()> {
    if hidden == &OPAQUE[WHITEOUT.len()..] {
        return set_attribute(parent, c"trusted.overlay.opaque", b"y");
    }
    if hidden.is_empty() || hidden.starts_with(WHITEOUT) || hidden == "." || hidden == ".." {
        // Other marks of that form belong to AUFS and say nothing here.
        return Ok(());
    }
    let name = CString::new(hidden)?;
    make_way(parent, &name, EntryType::Char)?;
    mknodat(parent, &*name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))?;
    Ok(())
}

/// Extended attributes travel as PAX records `SCHILY.xattr.NAME`.
fn set_attributes(
    entry: &mut Entry<'_, impl Read>,
    parent: &OwnedFd,
    name: &CString,
) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
    let mut found = Vec::new();
    for extension in extensions {
        let extension = extension?;
        let key = extension.key().unwrap_or_default();
        if let Some(key) = key.strip_prefix("SCHILY.xattr.") {
            // A layer does not decide what overlayfs makes of it.
            if !key.starts_with("trusted.overlay.") {
                found.push((CString::new(key)?, extension.value_bytes().to_vec()));
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(parent, &**name, flags, Mode::empty())?;
    for (key, value) in found {
        match set_attribute(&file, &key, &value) {
            // Not every filesystem takes every attribute; the file serves without it.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(())
}

fn set_attribute(file: &OwnedFd, key: &std::ffi::CStr, value: &[u8]) -> io::Result<()> {
    // Through /proc, since the descriptor may be one that only names a place (`O_PATH`).
    let path = CString::new(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))?;
    // SAFETY: path, key and value are valid for the length of the call.
    let answer = unsafe {
        libc::setxattr(path.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_time(parent: &OwnedFd, name: &CString, time: TimeSpec) {
    let flag = UtimensatFlags::NoFollowSymlink;
    // A wrong time harms nobody.
    _ = utimensat(parent, &**name, &time, &time, flag);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_uid(nix::unistd::getuid().as_raw().into());
            header.set_gid(nix::unistd::getgid().as_raw().into());
            // The crate refuses paths that climb, as it should; an attacker does not.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, &[][..]).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_links_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let layer = tar_of(&[
            ("a/", EntryType::Directory, ""),
            ("a/one", EntryType::Regular, "1"),
            ("a/hard", EntryType::Link, "a/one"),
            ("a/soft", EntryType::Symlink, "/etc/passwd"),
            ("deep/er/two", EntryType::Regular, "2"),
            ("a/one", EntryType::Regular, "3"),
        ]);
        unpack(&*layer, folder.path()).unwrap();
        let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
        assert_eq!(
            (read("a/one"), read("a/hard"), read("deep/er/two")),
            ("3".into(), "1".into(), "2".into())
        );
        assert_eq!(
            std::fs::read_link(folder.path().join("a/soft")).unwrap(),
            Path::new("/etc/passwd")
        );
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("layer");
        std::fs::create_dir(&folder).unwrap();
        let climbing = tar_of(&[("../evil", EntryType::Regular, "x")]);
        assert!(unpack(&*climbing, &folder).is_err());
        let through_link = tar_of(&[
            ("up", EntryType::Symlink, "../"),
            ("up/evil", EntryType::Regular, "x"),
            ("abs", EntryType::Symlink, "/"),
            ("abs/evil2", EntryType::Regular, "x"),
        ]);
        unpack(&*through_link, &folder).unwrap();
        assert!(!outer.path().join("evil").exists() && !Path::new("/evil2").exists());
        assert!(folder.join("evil").exists() && folder.join("evil2").exists());
        let through_last = tar_of(&[
            ("file", EntryType::Symlink, "/tmp/ferry-unpack-must-not-exist"),
            ("file", EntryType::Regular, "x"),
        ]);
        unpack(&*through_last, &folder).unwrap();
        assert!(!Path::new("/tmp/ferry-unpack-must-not-exist").exists());
        let hard = tar_of(&[("steal", EntryType::Link, "../../../etc/passwd")]);
        assert!(unpack(&*hard, &folder).is_err());
    }
}
