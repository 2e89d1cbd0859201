//! A folder as a layer: the same tar for the same content, whoever owns the files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::{Attempt, Result};

/// Writes a folder's content as a tar, sorted, owned by root. Sockets are left out.
pub(super) fn write(folder: &Path, out: impl Write) -> Result<()> {
    let mut builder = Builder::new(out);
    add(&mut builder, folder, Path::new(""))?;
    builder.finish().attempt(|| "write the layer".to_owned())
}

fn add(builder: &mut Builder<impl Write>, root: &Path, below: &Path) -> Result<()> {
    let folder = root.join(below);
    let what = || format!("read {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).attempt(what)? {
        names.push(entry.attempt(what)?.file_name());
    }
    names.sort();
    for name in names {
        let path = below.join(name);
        let source = root.join(&path);
        let what = || format!("add {}", source.display());
        let meta = fs::symlink_metadata(&source).attempt(what)?;
        let mut header = Header::new_gnu();
        header.set_mode(meta.mode() & 0o7777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(meta.mtime()).unwrap_or_default());
        header.set_size(0);
        let kind = meta.file_type();
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, &path, &[][..]).attempt(what)?;
            add(builder, root, &path)?;
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(&source).attempt(what)?;
            builder.append_link(&mut header, &path, target).attempt(what)?;
        } else if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(meta.len());
            let file = File::open(&source).attempt(what)?;
            builder.append_data(&mut header, &path, file).attempt(what)?;
        } else if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
            header.set_entry_type(if kind.is_fifo() {
                EntryType::Fifo
            } else if kind.is_char_device() {
                EntryType::Char
            } else {
                EntryType::Block
            });
            let (major, minor) =
                (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()));
            let number = |part: u64| u32::try_from(part).unwrap_or_default();
            header.set_device_major(number(major)).attempt(what)?;
            header.set_device_minor(number(minor)).attempt(what)?;
            builder.append_data(&mut header, &path, &[][..]).attempt(what)?;
        }
    }
    Ok(())
}
