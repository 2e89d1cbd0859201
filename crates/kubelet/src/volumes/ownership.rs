//! `fsGroup`: gives a volume to a group, as upstream's `SetVolumeOwnership` does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use super::VolumeError;

/// Gives everything below a path to a group: readable, writable too unless `read_only`; new files
/// in folders inherit the group.
pub(crate) fn give_to_group(path: &Path, group: u32, read_only: bool) -> Result<(), VolumeError> {
    let meta = fs::symlink_metadata(path).map_err(|error| VolumeError::io("stat", path, error))?;
    lchown(path, None, Some(group)).map_err(|error| VolumeError::io("chown", path, error))?;
    if meta.file_type().is_symlink() {
        return Ok(());
    }
    let mut mode = meta.permissions().mode() & 0o7777 | if read_only { 0o440 } else { 0o660 };
    if meta.is_dir() {
        mode |= 0o2110;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| VolumeError::io("chmod", path, error))?;
    if meta.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| VolumeError::io("read", path, error))?;
        for entry in entries.flatten() {
            give_to_group(&entry.path(), group, read_only)?;
        }
    }
    Ok(())
}

/// Whether the top of a volume already is as `give_to_group` would make it.
pub(crate) fn top_is_given(path: &Path, group: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).is_ok_and(|meta| meta.gid() == group && meta.mode() & 0o2770 == 0o2770)
}
