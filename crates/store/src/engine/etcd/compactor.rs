//! etcd keeps history until it is told not to: this drops what is older than a while.
//!
//! All API servers of a cluster, Ferry's and upstream's, agree by one key which of them does it:
//! whoever finds the key as it left it goes on, the others wait for their next turn. (apiserver
//! `storage/etcd3/compact.go`: the key's name and its version as the turn's number)

use std::time::Duration;

use base::drain::Drain;
use etcd_client::{Compare, CompareOp, KvClient, Txn, TxnOp, TxnOpResponse};

use super::convert::{revision_of, signed};
use crate::Revision;

/// The key by which servers agree. Nobody is shown it as an object.
pub(super) const KEY: &str = "compact_rev_key";

/// What this server knows of the turns.
#[derive(Debug, Default)]
struct Turns {
    /// The number of changes of the key that this server knows of.
    turn: i64,
    /// The newest revision at that time: dropped up to here at the next turn.
    revision: Revision,
}

/// Runs until the store is closed.
pub(super) async fn run(mut kv: KvClient, every: Duration, closed: Drain) {
    let mut turns = Turns::default();
    loop {
        tokio::select! {
            () = closed.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Err(error) = turns.take(&mut kv).await {
            // Not lost: the next turn drops more.
            let error = base::error::Chain(&error).to_string();
            tracing::warn!(error, "cannot compact etcd's history");
        }
    }
}

impl Turns {
    async fn take(&mut self, kv: &mut KvClient) -> Result<(), etcd_client::Error> {
        let txn = Txn::new()
            .when([Compare::version(KEY, CompareOp::Equal, self.turn)])
            .and_then([TxnOp::put(KEY, self.revision.to_string(), None)])
            .or_else([TxnOp::get(KEY, None)]);
        let answer = kv.txn(txn).await?;
        let newest = revision_of(answer.header());
        if let Some(TxnOpResponse::Get(got)) = answer.op_responses().first() {
            // Another server had this turn.
            self.turn = got.kvs().first().map_or(0, etcd_client::KeyValue::version);
            self.revision = newest;
            return Ok(());
        }
        self.turn += 1;
        let before = std::mem::replace(&mut self.revision, newest);
        if before > 0 {
            kv.compact(signed(before), None).await?;
            tracing::debug!(before, "compacted etcd's history");
        }
        Ok(())
    }
}
