//! Writes a set of files so that a reader sees all of the old or all of the new.
//!
//! As upstream's AtomicWriter: the files lie in a folder named by the moment, `..data` is a link to
//! it, every visible name is a link through `..data`; an update swaps that one link by rename.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use base::clock::Timestamp;

use super::payload::Payload;
use super::{VolumeError, ownership};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` show exactly these files; whether anything changed.
pub(crate) fn write(
    dir: &Path,
    payload: &Payload,
    fs_group: Option<u32>,
    now: Timestamp,
) -> Result<bool, VolumeError> {
    for path in payload.keys() {
        check_path(path)?;
    }
    let current = fs::read_link(dir.join(DATA)).ok().map(|name| dir.join(name));
    if let Some(current) = &current
        && same(current, payload)
    {
        show(dir, payload)?;
        return Ok(false);
    }
    let folder = new_folder(dir, now)?;
    write_files(&folder, payload)?;
    if let Some(group) = fs_group {
        ownership::give_to_group(&folder, group, true)?;
    }
    let link = dir.join(DATA_NEW);
    let _stale = fs::remove_file(&link);
    let name = folder.file_name().map(PathBuf::from).unwrap_or_default();
    symlink(name, &link).map_err(|error| VolumeError::io("link", &link, error))?;
    fs::rename(&link, dir.join(DATA)).map_err(|error| VolumeError::io("rename", &link, error))?;
    show(dir, payload)?;
    if let Some(old) = current
        && old != folder
    {
        // Files that a container holds open stay readable until it closes them.
        let _gone = fs::remove_dir_all(old);
    }
    Ok(true)
}

/// A path of the API stays below the volume and does not touch the writer's own names.
fn check_path(path: &str) -> Result<(), VolumeError> {
    let parts: Vec<_> = Path::new(path).components().collect();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    if parts.is_empty() || !plain || path.starts_with("..") {
        return Err(VolumeError::PathEscapes(path.to_owned()));
    }
    Ok(())
}

fn new_folder(dir: &Path, now: Timestamp) -> Result<PathBuf, VolumeError> {
    let stamp = now.strftime("%Y_%m_%d_%H_%M_%S").to_string();
    let mut nanos = now.subsec_nanosecond();
    loop {
        let folder = dir.join(format!("..{stamp}.{nanos:09}"));
        match fs::create_dir(&folder) {
            Ok(()) => {
                set_mode(&folder, 0o755)?;
                return Ok(folder);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => nanos += 1,
            Err(error) => return Err(VolumeError::io("make", &folder, error)),
        }
    }
}

fn write_files(folder: &Path, payload: &Payload) -> Result<(), VolumeError> {
    for (name, file) in payload {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| VolumeError::io("make", parent, error))?;
        }
        fs::write(&path, &file.data).map_err(|error| VolumeError::io("write", &path, error))?;
        set_mode(&path, file.mode)?;
        if let Some(owner) = file.owner {
            std::os::unix::fs::chown(&path, Some(owner), None)
                .map_err(|error| VolumeError::io("chown", &path, error))?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| VolumeError::io("chmod", path, error))
}

/// Whether a folder already holds exactly these files.
fn same(folder: &Path, payload: &Payload) -> bool {
    let equal = payload.iter().all(|(name, file)| {
        let path = folder.join(name);
        let owner = fs::metadata(&path).map(|meta| meta.uid()).ok();
        fs::read(&path).is_ok_and(|data| data == file.data)
            && file.owner.is_none_or(|wanted| owner == Some(wanted))
    });
    equal && count_files(folder) == payload.len()
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

/// Makes the visible links, and removes those whose file is gone.
fn show(dir: &Path, payload: &Payload) -> Result<(), VolumeError> {
    let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let wanted: std::collections::BTreeSet<String> =
        payload.keys().map(|path| first(path)).collect();
    for name in &wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)
                .map_err(|error| VolumeError::io("link", &link, error))?;
        }
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link && !name.starts_with("..") && !wanted.contains(&name) {
            let _gone = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
