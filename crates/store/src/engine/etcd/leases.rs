//! TTLs by etcd's leases, each shared by keys that were written about the same time: a lease for
//! every Event would cost etcd more than the Event.

use std::time::Duration;

use etcd_client::LeaseClient;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::convert::unavailable;
use crate::StoreResult;

/// A lease is shared for at most this long, and this share of its TTL.
const SHARE_MAX: Duration = Duration::from_secs(60);
const SHARE_OF_TTL: u32 = 20;
/// And by at most this many keys: when it ends, etcd deletes them in one go.
const KEYS_MAX: u32 = 1_000;

struct Shared {
    id: i64,
    ttl: Duration,
    until: Instant,
    keys: u32,
}

pub(super) struct Leases {
    client: LeaseClient,
    shared: Mutex<Option<Shared>>,
}

impl Leases {
    pub(super) fn new(client: LeaseClient) -> Self {
        Self { client, shared: Mutex::new(None) }
    }

    /// A lease that ends no earlier than `ttl` from now.
    pub(super) async fn lease(&self, ttl: Duration) -> StoreResult<i64> {
        let mut shared = self.shared.lock().await;
        let now = Instant::now();
        if let Some(lease) = shared.as_mut()
            && lease.ttl == ttl
            && lease.keys < KEYS_MAX
            && now < lease.until
        {
            lease.keys += 1;
            return Ok(lease.id);
        }
        let share = (ttl / SHARE_OF_TTL).min(SHARE_MAX);
        let seconds = (ttl + share).as_millis().div_ceil(1000).max(1);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let mut client = self.client.clone();
        let granted = client.grant(seconds, None).await.map_err(unavailable)?;
        *shared = Some(Shared { id: granted.id(), ttl, until: now + share, keys: 1 });
        Ok(granted.id())
    }

    /// Shares the present lease no more.
    pub(super) async fn forget(&self) {
        *self.shared.lock().await = None;
    }
}

/// Whether an error says that a lease is not there any more.
pub(super) fn is_lost(why: &str) -> bool {
    why.contains("requested lease not found")
}
