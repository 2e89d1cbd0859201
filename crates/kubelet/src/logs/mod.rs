//! Containers' logs: reading them as people ask, and turning them over when they grow.
//!
//! The runtime writes them, in CRI's format: time, stream, `F` or `P`, text.

pub(crate) mod line;
pub(crate) mod read;
pub(crate) mod rotate;
pub(crate) mod watch;

/// Removes a log and what it was turned over into.
pub(crate) fn remove(path: &std::path::Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let prefix = format!("{}.", name.to_string_lossy());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let other = entry.file_name();
        if other == name || other.to_string_lossy().starts_with(&prefix) {
            let _gone = std::fs::remove_file(entry.path());
        }
    }
}
