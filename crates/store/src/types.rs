//! The store's vocabulary: keys, values, revisions, writes, ranges, events.
//!
//! Invariant: plain data, no I/O; values are `Bytes` and keys `Arc<str>`, so that cloning any of
//! these shares instead of copying.

use std::sync::Arc;

use bytes::Bytes;

/// The number of a change to the store. 0 is before the first change.
pub type Revision = u64;

/// A value and where it stands in the store's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, `/registry/pods/default/web`.
    pub key: Arc<str>,
    /// The bytes, shared with the store: cloning copies nothing.
    pub value: Bytes,
    /// The revision at which the key came into being.
    pub create_revision: Revision,
    /// The revision of the key's last change.
    pub mod_revision: Revision,
}

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Acknowledged after it is on stable storage.
    #[default]
    Synced,
    /// Written, not waited for: may go back by moments on power loss. Leases and Events only.
    Relaxed,
}

/// What a writer believes of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: write whatever is there.
    Anything,
    /// The key does not exist.
    Absent,
    /// The key's last change was at this revision.
    Revision(Revision),
}

/// One change to one key.
#[derive(Debug, Clone)]
pub struct Write {
    /// The key.
    pub key: Arc<str>,
    /// The new value, or `None` to delete the key.
    pub value: Option<Bytes>,
    /// The condition under which the change happens.
    pub expect: Expect,
    /// Whether to wait for the disk.
    pub durability: Durability,
    /// The key deletes itself after this time (Events, some Leases). A later write of the key
    /// replaces it.
    pub ttl: Option<std::time::Duration>,
}

/// What became of a write that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The revision of this change.
    pub revision: Revision,
    /// What the key held before.
    pub previous: Option<KeyValue>,
}

/// Which keys a range reads: those that start with `prefix` and come after `after`.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// The prefix of the keys.
    pub prefix: String,
    /// Only keys greater than this one.
    pub after: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
    /// The state at this revision instead of the newest.
    pub at: Option<Revision>,
}

/// A page of a range, in key order.
#[derive(Debug, Clone)]
pub struct Page {
    /// The keys and values.
    pub items: Vec<KeyValue>,
    /// The revision of the snapshot that the page was read from.
    pub revision: Revision,
    /// How many keys of the range follow after this page.
    pub remaining: u64,
}

/// A change, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    /// The key.
    pub key: Arc<str>,
    /// The new value; `None` for a deletion.
    pub value: Option<KeyValue>,
    /// What the key held before the change.
    pub previous: Option<KeyValue>,
}

/// What a watch yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// Changes in order of revision. Each event is one object, shared by all watchers that see it.
    Events(Vec<Arc<Event>>),
    /// Everything up to and including this revision has been yielded. Comes when a watch has
    /// caught up, from time to time while others' keys change, and when asked for by
    /// [`Store::progress`](crate::Store::progress).
    Progress(Revision),
}

/// What a store holds and costs, for metrics. A field that an engine cannot tell is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub oldest: Revision,
    /// Keys that exist.
    pub keys: u64,
    /// Bytes of the keys and values that exist.
    pub live_bytes: u64,
    /// Past changes kept for watches and old ranges.
    pub history_events: u64,
    /// Bytes of superseded values kept for them.
    pub history_bytes: u64,
    /// Keys that will delete themselves.
    pub expiring: u64,
    /// Running watches.
    pub watchers: u64,
    /// Watches that were cut off because they did not keep up.
    pub watchers_cut: u64,
    /// Changes made since the store was opened.
    pub writes: u64,
    /// Calls that waited for stable storage since the store was opened.
    pub fsyncs: u64,
    /// Bytes written to the disk since the store was opened.
    pub disk_written_bytes: u64,
    /// Bytes that the store takes on the disk.
    pub disk_bytes: u64,
    /// The disk is full: only deletes go through.
    pub full: bool,
}
