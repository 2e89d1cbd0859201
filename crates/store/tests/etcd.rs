//! The conformance suite on a real etcd: Debian's `etcd-server`, on loopback, with fsync.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use store::etcd::EtcdOptions;
use store::suite::{self, Etcd, Subject};
use store::{Expect, Range, Store, StoreError, Write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_passes_the_suite() {
    let mut etcd = Etcd::start(None);
    let store = etcd.connect(etcd.options()).await;
    let seed = std::env::var("STORE_SEED").ok().and_then(|seed| seed.parse().ok());
    let subject = Subject { store, ttl_grain: Duration::from_secs(2), model_writes: 1_600 };
    suite::run(&subject, seed.unwrap_or_else(rand::random)).await;
}

fn put(key: &str) -> Write {
    Write {
        key: key.into(),
        value: Some("v".into()),
        expect: Expect::Absent,
        durability: store::Durability::Synced,
        ttl: None,
    }
}

fn make_pki(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf_cert = leaf.signed_by(&leaf_key, &Issuer::new(ca, ca_key)).unwrap();
    std::fs::write(dir.join("ca.pem"), ca_cert.pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), leaf_cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), leaf_key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_over_tls_with_a_client_certificate() {
    let pki = tempfile::tempdir().unwrap();
    make_pki(pki.path());
    let mut etcd = Etcd::start(Some(pki.path()));
    let options = EtcdOptions {
        ca_file: Some(pki.path().join("ca.pem")),
        cert_file: Some(pki.path().join("cert.pem")),
        key_file: Some(pki.path().join("key.pem")),
        ..etcd.options()
    };
    let store = etcd.connect(options.clone()).await;
    store.write(put("/a")).await.unwrap();
    assert_eq!(store.range(Range::default()).await.unwrap().items.len(), 1);
    let anonymous = EtcdOptions { cert_file: None, key_file: None, ..options.clone() };
    let error = store::etcd::connect(anonymous).await.err().unwrap();
    assert!(error.to_string().contains("cannot reach etcd at https://"), "{error}");
    let half = EtcdOptions { key_file: None, ..options };
    let error = store::etcd::connect(half).await.err().unwrap();
    assert!(error.to_string().contains("needs its key"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_dies_and_comes_back() {
    let mut etcd = Etcd::start(None);
    let store = etcd.connect(etcd.options()).await;
    store.write(put("/a")).await.unwrap();
    let mut watch = store.watch("/", 0).await.unwrap();
    // Nothing answers: an error, not a wait.
    etcd.kill();
    let error = store.write(put("/b")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    use futures::StreamExt;
    let ended = async {
        loop {
            match watch.next().await {
                Some(Ok(_)) => {}
                end => return end,
            }
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert!(matches!(end, Some(Err(StoreError::Unavailable(_)))), "{end:?}");
    etcd.again();
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    let back = async {
        loop {
            tries.tick().await;
            if let Ok((found, _)) = store.get("/a").await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    assert!(found.is_some(), "what was acknowledged is there");
    store.write(put("/b")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_history_is_dropped_by_one_of_several_servers() {
    let mut etcd = Etcd::start(None);
    let options = EtcdOptions { compact_every: Duration::from_millis(300), ..etcd.options() };
    let store = etcd.connect(options.clone()).await;
    let other = etcd.connect(options).await;
    let first = store.write(put("/a")).await.unwrap().revision;
    store.write(put("/b")).await.unwrap();
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    let refused = async {
        loop {
            tries.tick().await;
            let range = Range { at: Some(first), ..Range::default() };
            match other.range(range).await {
                Ok(page) => assert_eq!(page.items.len(), 1),
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
    assert!(
        matches!(error, StoreError::Compacted { requested, oldest }
            if requested == first && oldest > first),
        "{error:?}"
    );
    let keys = store.range(Range::default()).await.unwrap().items;
    assert_eq!(keys.iter().map(|kv| &*kv.key).collect::<Vec<_>>(), ["/a", "/b"]);
}
