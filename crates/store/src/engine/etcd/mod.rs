//! The etcd engine: the same promises, kept by an etcd cluster.
//!
//! Every call is etcd's own: a write is one transaction, a TTL a lease, a watch a watch. Reads are
//! linearizable. Invariant: no state but connections; several API servers may share one cluster.
//!
//! What each file does: `convert` errors and values · `feed` watches · `leases` TTLs · `progress`
//! how watches learn that they are up to date · `compactor` old history.

mod compactor;
mod convert;
mod feed;
mod leases;
mod progress;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::drain::Drain;
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, GetOptions,
    GetResponse, Identity, KvClient, PutOptions, TlsOptions, Txn, TxnOp, TxnOpResponse,
};
use futures::StreamExt;
use futures::stream::BoxStream;

use self::convert::{key_value, key_value_of, revision_of, unavailable};
use self::leases::Leases;
use self::progress::Progress;
use crate::{
    Expect, KeyValue, Page, Range, Revision, Stats, Store, StoreError, StoreResult, WatchStream,
    Write, Written,
};

/// How many keys one request reads at most; longer ranges are read in several, at one revision.
const PAGE: usize = 1_000;
/// The largest answer that is taken: a page of large objects.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Where and how an etcd cluster is reached.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// `https://10.0.0.1:2379`, one for each member. `etcd://` means `https://` if a certificate
    /// is given and `http://` otherwise.
    pub endpoints: Vec<String>,
    /// The CA that the cluster's certificates are checked against.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate.
    pub cert_file: Option<PathBuf>,
    /// The client's key.
    pub key_file: Option<PathBuf>,
    /// History older than this is dropped, by one of the cluster's API servers; zero for never.
    pub compact_every: Duration,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            compact_every: Duration::from_secs(300),
        }
    }
}

impl EtcdOptions {
    fn has_tls(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()
    }

    fn urls(&self) -> Vec<String> {
        let scheme = if self.has_tls() { "https://" } else { "http://" };
        let url = |endpoint: &String| match endpoint.strip_prefix("etcd://") {
            Some(rest) => format!("{scheme}{rest}"),
            None if endpoint.contains("://") => endpoint.clone(),
            None => format!("{scheme}{endpoint}"),
        };
        self.endpoints.iter().map(url).collect()
    }

    fn tls(&self) -> StoreResult<Option<TlsOptions>> {
        if !self.urls().iter().any(|url| url.starts_with("https://")) {
            return match self.has_tls() {
                true => Err(StoreError::Unavailable(
                    "certificates are given for etcd, but its endpoints are http://".into(),
                )),
                false => Ok(None),
            };
        }
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                StoreError::Unavailable(format!("cannot read {}: {error}", path.display()))
            })
        };
        let mut tls = TlsOptions::new();
        if let Some(ca) = &self.ca_file {
            tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
        }
        match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            (None, None) => {}
            _ => {
                return Err(StoreError::Unavailable(
                    "etcd's client certificate needs its key, and the other way round".into(),
                ));
            }
        }
        Ok(Some(tls))
    }
}

/// Connects to an etcd cluster.
///
/// # Errors
/// [`StoreError::Unavailable`] when no member answers, or a certificate cannot be read.
pub async fn connect(options: EtcdOptions) -> StoreResult<Arc<EtcdStore>> {
    let urls = options.urls();
    let mut connect = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Duration::from_secs(20))
        .with_keep_alive(Duration::from_secs(30), Duration::from_secs(10))
        .with_require_leader(true);
    if let Some(tls) = options.tls()? {
        connect = connect.with_tls(tls);
    }
    let refused = |error: etcd_client::Error| {
        StoreError::Unavailable(format!(
            "cannot reach etcd at {}: {}",
            urls.join(", "),
            base::error::Chain(&error)
        ))
    };
    let mut client = Client::connect(&urls, Some(connect)).await.map_err(refused)?;
    let status = client.status().await.map_err(refused)?;
    let progress = Progress::of_version(status.version());
    tracing::debug!(version = status.version(), ?progress, "connected to etcd");
    let (leases, closed) = (Leases::new(client.lease_client()), Drain::new());
    if !options.compact_every.is_zero() {
        let run = compactor::run(client.kv_client(), options.compact_every, closed.clone());
        tokio::spawn(run);
    }
    Ok(Arc::new(EtcdStore {
        client,
        leases,
        progress,
        feeds: Arc::default(),
        newest: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        closed,
    }))
}

/// Whether a key is one by which servers agree, not an object.
fn is_ours(key: &str) -> bool {
    key == compactor::KEY || progress::is_marker(key)
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// A store in an etcd cluster.
pub struct EtcdStore {
    client: Client,
    leases: Leases,
    progress: Progress,
    feeds: Arc<feed::Feeds>,
    /// The newest revision that was seen in an answer.
    newest: AtomicU64,
    writes: AtomicU64,
    closed: Drain,
}

impl EtcdStore {
    fn kv(&self) -> StoreResult<KvClient> {
        if self.closed.is_cancelled() {
            return Err(StoreError::Unavailable("it was closed".into()));
        }
        Ok(self.client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    fn seen(&self, revision: Revision) -> Revision {
        self.newest.fetch_max(revision, Ordering::Relaxed);
        revision
    }

    /// One request of a range: `from` is its first key.
    async fn page(
        &self,
        from: &[u8],
        prefix: &str,
        limit: usize,
        at: Option<Revision>,
    ) -> StoreResult<GetResponse> {
        let mut options = GetOptions::new()
            .with_range(convert::range_end(prefix))
            .with_limit(i64::try_from(limit).unwrap_or(0));
        if let Some(at) = at {
            options = options.with_revision(convert::signed(at));
        }
        let got = self.kv()?.get(from, Some(options)).await;
        got.map_err(|error| convert::error(error, at.unwrap_or(0), self.known()))
    }

    fn known(&self) -> Revision {
        self.newest.load(Ordering::Relaxed)
    }

    /// Puts into an error what etcd's own answer does not tell.
    async fn completed(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Future { requested, newest } => {
                let newest = self.revision().await.unwrap_or(newest);
                StoreError::Future { requested, newest }
            }
            StoreError::Compacted { requested, oldest } => {
                let told = feed::oldest(self.client.watch_client()).await;
                StoreError::Compacted { requested, oldest: told.unwrap_or(oldest) }
            }
            other => other,
        }
    }

    async fn transact(&self, write: &Write) -> StoreResult<Written> {
        let key = write.key.as_bytes();
        let lease = match write.ttl.filter(|_| write.value.is_some()) {
            Some(ttl) => self.leases.lease(ttl).await?,
            None => 0,
        };
        let op = match &write.value {
            Some(value) => {
                let options = PutOptions::new().with_prev_key().with_lease(lease);
                TxnOp::put(key, value.to_vec(), Some(options))
            }
            None => TxnOp::delete(key, Some(DeleteOptions::new().with_prev_key())),
        };
        let when = match (write.expect, write.value.is_some()) {
            (Expect::Anything, _) => None,
            (Expect::Absent, true) => Some(Compare::version(key, CompareOp::Equal, 0)),
            // Deleting what is not there is a conflict, even if that was expected.
            (Expect::Absent, false) => Some(Compare::version(key, CompareOp::Less, 0)),
            (Expect::Revision(revision), _) => {
                let revision = convert::signed(revision);
                Some(Compare::mod_revision(key, CompareOp::Equal, revision))
            }
        };
        let txn = Txn::new().when(Vec::from_iter(when));
        let txn = txn.and_then([op]).or_else([TxnOp::get(key, None)]);
        let answer = self.kv()?.txn(txn).await.map_err(unavailable)?;
        let revision = self.seen(revision_of(answer.header()));
        match answer.op_responses().into_iter().next() {
            Some(TxnOpResponse::Put(mut put)) => {
                self.writes.fetch_add(1, Ordering::Relaxed);
                Ok(Written { revision, previous: put.take_prev_key().map(key_value_of) })
            }
            Some(TxnOpResponse::Delete(mut delete)) => {
                let previous = delete.take_prev_kvs().into_iter().next().map(key_value_of);
                if previous.is_none() && write.expect != Expect::Anything {
                    return Err(StoreError::Conflict { key: write.key.clone(), current: None });
                }
                Ok(Written { revision, previous })
            }
            Some(TxnOpResponse::Get(mut get)) => {
                let current = get.take_kvs().into_iter().next().map(key_value_of).map(Box::new);
                Err(StoreError::Conflict { key: write.key.clone(), current })
            }
            _ => Err(StoreError::Unavailable("etcd answered a transaction with nothing".into())),
        }
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> StoreResult<(Option<KeyValue>, Revision)> {
        let got = self.kv()?.get(key, None).await.map_err(unavailable)?;
        let revision = self.seen(revision_of(got.header()));
        Ok((got.kvs().first().map(key_value), revision))
    }

    async fn range(&self, range: Range) -> StoreResult<Page> {
        let limit = range.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut at = range.at.filter(|at| *at > 0);
        let mut from = convert::range_start(&range.prefix, range.after.as_deref());
        let mut page = Page { items: Vec::new(), revision: 0, remaining: 0 };
        loop {
            let want = PAGE.min(limit - page.items.len());
            let got = self.page(&from, &range.prefix, want, at).await;
            let mut got = match got {
                Ok(got) => got,
                Err(error) => return Err(self.completed(error).await),
            };
            let newest = self.seen(revision_of(got.header()));
            page.revision = *at.get_or_insert(newest);
            let kvs = got.take_kvs();
            let count = u64::try_from(got.count()).unwrap_or(0);
            page.remaining = count.saturating_sub(kvs.len() as u64);
            let Some(last) = kvs.last() else { return Ok(page) };
            from = [last.key(), b"\0"].concat();
            page.items.extend(kvs.into_iter().map(key_value_of).filter(|kv| !is_ours(&kv.key)));
            if page.remaining == 0 || page.items.len() >= limit {
                return Ok(page);
            }
        }
    }

    async fn write(&self, write: Write) -> StoreResult<Written> {
        match self.transact(&write).await {
            // The lease was revoked or ran out behind our back: take another.
            Err(StoreError::Unavailable(why)) if leases::is_lost(&why) => {
                self.leases.forget().await;
                self.transact(&write).await
            }
            done => done,
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> StoreResult<WatchStream> {
        // etcd would wait for a revision that is yet to come.
        if after > self.known() {
            let newest = self.revision().await?;
            if after > newest {
                return Err(StoreError::Future { requested: after, newest });
            }
        }
        self.kv()?;
        let client = self.client.watch_client();
        let feed = feed::Feed::start(client, &self.feeds, prefix, after).await?;
        Ok(feed.into_stream(self.closed.clone()).boxed())
    }

    async fn progress(&self, prefix: &str) -> StoreResult<Revision> {
        match self.progress {
            Progress::Asked => {
                let revision = self.revision().await?;
                self.feeds.ask(prefix, revision);
                Ok(revision)
            }
            Progress::Marked => {
                let written = progress::mark(&mut self.kv()?, prefix).await?;
                Ok(self.seen(written))
            }
        }
    }

    async fn revision(&self) -> StoreResult<Revision> {
        let options = GetOptions::new().with_count_only();
        let got = self.kv()?.get("\0", Some(options)).await.map_err(unavailable)?;
        Ok(self.seen(revision_of(got.header())))
    }

    async fn compact(&self, before: Revision) -> StoreResult<()> {
        match self.kv()?.compact(convert::signed(before), None).await {
            Ok(_) => Ok(()),
            Err(error) => match convert::error(error, before, self.known()) {
                StoreError::Compacted { .. } => Ok(()),
                other => Err(self.completed(other).await),
            },
        }
    }

    async fn snapshot(&self) -> StoreResult<(Revision, BoxStream<'static, StoreResult<KeyValue>>)> {
        let first = self.page(b"\0", "", PAGE, None).await?;
        let revision = self.seen(revision_of(first.header()));
        let kv = self.kv()?;
        let stream = convert::snapshot(kv, first, revision, PAGE);
        Ok((revision, stream.boxed()))
    }

    async fn stats(&self) -> StoreResult<Stats> {
        let mut maintenance = self.client.maintenance_client();
        let status = maintenance.status().await.map_err(unavailable)?;
        let all = GetOptions::new().with_all_keys().with_count_only();
        let count = self.kv()?.get("", Some(all)).await.map_err(unavailable)?;
        Ok(Stats {
            revision: self.seen(revision_of(count.header())),
            keys: u64::try_from(count.count()).unwrap_or(0),
            watchers: self.feeds.count(),
            writes: self.writes.load(Ordering::Relaxed),
            disk_bytes: u64::try_from(status.db_size()).unwrap_or(0),
            ..Stats::default()
        })
    }

    async fn close(&self) -> StoreResult<()> {
        self.closed.cancel();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_become_urls() {
        fn check(endpoint: &str, tls: bool, expected: &str) {
            let options = EtcdOptions {
                endpoints: vec![endpoint.into()],
                ca_file: tls.then(|| "/ca.pem".into()),
                ..EtcdOptions::default()
            };
            assert_eq!(options.urls(), [expected]);
        }
        check("etcd://127.0.0.1:2379", false, "http://127.0.0.1:2379");
        check("etcd://127.0.0.1:2379", true, "https://127.0.0.1:2379");
        check("127.0.0.1:2379", false, "http://127.0.0.1:2379");
        check("https://[::1]:2379", false, "https://[::1]:2379");
    }

    /// An etcd of the test's own, on loopback.
    struct Etcd {
        child: std::process::Child,
        _dir: tempfile::TempDir,
    }

    impl Drop for Etcd {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    impl Etcd {
        async fn start() -> (Self, Arc<EtcdStore>) {
            let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let (client, peer) = (format!("http://{}", port()), format!("http://{}", port()));
            let dir = tempfile::tempdir().unwrap();
            let child = std::process::Command::new("etcd")
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--data-dir"])
                .arg(dir.path())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("etcd-server is installed: make test does");
            let etcd = Self { child, _dir: dir };
            let mut tries = tokio::time::interval(Duration::from_millis(50));
            for _ in 0..400 {
                tries.tick().await;
                let options =
                    EtcdOptions { endpoints: vec![client.clone()], ..EtcdOptions::default() };
                if let Ok(store) = connect(options).await {
                    return (etcd, store);
                }
            }
            panic!("etcd did not answer within 20 s");
        }
    }

    /// What newer servers are asked for; an old one answers it rightly while nothing happens.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn progress_by_asking() {
        let (_etcd, store) = Etcd::start().await;
        let mut store = Arc::into_inner(store).unwrap();
        store.progress = Progress::Asked;
        let mut watch = store.watch("/quiet/", store.revision().await.unwrap()).await.unwrap();
        for n in 0..5u32 {
            let write = Write {
                key: "/busy".into(),
                value: Some(n.to_string().into()),
                expect: Expect::Anything,
                durability: crate::Durability::Synced,
                ttl: None,
            };
            let written = store.write(write).await.unwrap().revision;
            let promised = store.progress("/quiet/").await.unwrap();
            assert_eq!(promised, written, "asking changes nothing");
            let item = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap();
            assert_eq!(item.unwrap().unwrap(), crate::WatchItem::Progress(promised));
        }
    }
}
