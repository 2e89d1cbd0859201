//! Turns logs over when they grow too large: the old file gets a name with its time, the oldest
//! go. The runtime is told to open its log anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::clock::Timestamp;
use base::drain::Drain;
use container_runtime::{ContainerFilter, ContainerState};

use crate::context::NodeContext;

/// How often sizes are looked at: the kernel has no event for "larger than".
const LOOK: Duration = Duration::from_secs(10);

/// Turns logs over until the drain fires.
pub(crate) async fn run(node: &NodeContext, drain: &Drain) {
    loop {
        tokio::select! {
            () = drain.cancelled() => return,
            () = tokio::time::sleep(LOOK) => look(node).await,
        }
    }
}

async fn look(node: &NodeContext) {
    let filter =
        ContainerFilter { state: Some(ContainerState::Running), ..ContainerFilter::default() };
    let Ok(containers) = node.runtime.list_containers(&filter).await else { return };
    for container in containers {
        let Ok(status) = node.runtime.container_status(&container.id).await else { continue };
        let path = PathBuf::from(&status.log_path);
        let large = std::fs::metadata(&path)
            .is_ok_and(|meta| meta.len() >= node.options.log_size_max_bytes);
        if !large {
            continue;
        }
        match turn_over(&path, node.clock.now(), node.options.log_files_max) {
            Ok(moved) => {
                if let Err(error) = node.runtime.reopen_container_log(&container.id).await {
                    // The runtime still writes to the old file: let it have its name back.
                    let _back = std::fs::rename(&moved, &path);
                    tracing::warn!(container = container.id, %error, "a log was not opened anew");
                }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a log was not turned over")
            }
        }
    }
}

/// Moves the log away and removes the oldest; where it is now. The newest old file stays as it is,
/// because the runtime may still be writing to it.
fn turn_over(path: &Path, now: Timestamp, files_max: u32) -> std::io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let prefix = format!("{name}.");
    let mut old: Vec<PathBuf> = std::fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .collect();
    old.sort();
    // Beside the file in use and the one that it becomes.
    let keep = usize::try_from(files_max.saturating_sub(2)).unwrap_or(usize::MAX);
    let excess = old.len().saturating_sub(keep);
    for gone in old.drain(..excess) {
        std::fs::remove_file(gone)?;
    }
    let moved = folder.join(format!("{prefix}{}", now.strftime("%Y%m%d-%H%M%S")));
    std::fs::rename(path, &moved)?;
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for turn in 0..8 {
            std::fs::write(&path, "x").unwrap();
            turn_over(&path, Timestamp::from_second(1_800_000_000 + turn).unwrap(), 5).unwrap();
        }
        std::fs::write(&path, "x").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 5);
    }
}
