//! How a watch on etcd learns that it has seen everything up to a revision.
//!
//! etcd 3.4.25 and 3.5.8 mended progress requests, whose answers could overtake events before
//! (etcd-io/etcd issue 15220). An older cluster is made to answer by a marker: a key under the
//! watched prefix that is written and deleted at once. Its event comes in order, is taken for
//! progress, and nobody is shown the key.

use etcd_client::KvClient;

use super::convert::{revision_of, unavailable};
use crate::{Revision, StoreResult};

const MARKER: &str = "~ferry-progress";

/// How progress is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The watch asks for it.
    Asked,
    /// A marker is written.
    Marked,
}

impl Progress {
    /// What a cluster of this version needs.
    pub(super) fn of_version(version: &str) -> Self {
        let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        match (next(), next(), next()) {
            (3, 4, patch) if patch >= 25 => Self::Asked,
            (3, 5, patch) if patch >= 8 => Self::Asked,
            (3, minor, _) if minor >= 6 => Self::Asked,
            (major, ..) if major > 3 => Self::Asked,
            _ => Self::Marked,
        }
    }
}

/// Writes a marker under a prefix and takes it away; gives its revision.
pub(super) async fn mark(kv: &mut KvClient, prefix: &str) -> StoreResult<Revision> {
    let key = format!("{prefix}{MARKER}");
    let put = kv.put(key.as_str(), "", None).await.map_err(unavailable)?;
    kv.delete(key.as_str(), None).await.map_err(unavailable)?;
    Ok(revision_of(put.header()))
}

/// Whether a key is such a marker.
pub(super) fn is_marker(key: &str) -> bool {
    key.ends_with(MARKER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_versions_can_be_asked() {
        for (version, expected) in [
            ("3.4.23", Progress::Marked),
            ("3.4.25", Progress::Asked),
            ("3.5.7", Progress::Marked),
            ("3.5.21", Progress::Asked),
            ("3.6.0-rc.1", Progress::Asked),
            ("4.0.0", Progress::Asked),
            ("", Progress::Marked),
        ] {
            assert_eq!(Progress::of_version(version), expected, "{version}");
        }
    }
}
