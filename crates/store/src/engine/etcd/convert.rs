//! Between etcd's words and the store's: keys, values, revisions, errors.

use std::sync::Arc;

use bytes::Bytes;
use etcd_client::{Error, GetOptions, GetResponse, KvClient, ResponseHeader};
use futures::{Stream, StreamExt, TryStreamExt};

use super::is_ours;
use crate::{KeyValue, Revision, StoreError, StoreResult};

pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(revision: i64) -> Revision {
    u64::try_from(revision).unwrap_or(0)
}

pub(super) fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, |header| unsigned(header.revision()))
}

pub(super) fn key(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

pub(super) fn key_value(kv: &etcd_client::KeyValue) -> KeyValue {
    KeyValue {
        key: key(kv.key()),
        value: Bytes::copy_from_slice(kv.value()),
        create_revision: unsigned(kv.create_revision()),
        mod_revision: unsigned(kv.mod_revision()),
    }
}

pub(super) fn key_value_of(kv: etcd_client::KeyValue) -> KeyValue {
    let (created, modified) = (unsigned(kv.create_revision()), unsigned(kv.mod_revision()));
    let (name, value) = kv.into_key_value();
    KeyValue {
        key: key(&name),
        value: value.into(),
        create_revision: created,
        mod_revision: modified,
    }
}

/// The first key of a range.
pub(super) fn range_start(prefix: &str, after: Option<&str>) -> Vec<u8> {
    match after.filter(|after| *after >= prefix) {
        Some(after) => [after.as_bytes(), b"\0"].concat(),
        // etcd takes no empty key; this is the first one there can be.
        None if prefix.is_empty() => b"\0".to_vec(),
        None => prefix.into(),
    }
}

/// The first key after a prefix, as etcd writes it: `\0` for none.
pub(super) fn range_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xFF {
            end.push(last + 1);
            return end;
        }
    }
    b"\0".to_vec()
}

/// An error of a request about a revision.
pub(super) fn error(error: Error, requested: Revision, known: Revision) -> StoreError {
    if let Error::GRpcStatus(status) = &error {
        let says = |what: &str| status.message().contains(what);
        if says("has been compacted") {
            return StoreError::Compacted { requested, oldest: requested + 1 };
        }
        if says("is a future revision") {
            return StoreError::Future { requested, newest: known };
        }
    }
    unavailable(error)
}

/// An error of any other request.
pub(super) fn unavailable(error: Error) -> StoreError {
    match &error {
        Error::GRpcStatus(status) if status.message().contains("database space exceeded") => {
            StoreError::Full
        }
        Error::GRpcStatus(status) => {
            StoreError::Unavailable(format!("etcd answered: {}", status.message()))
        }
        other => StoreError::Unavailable(format!("etcd: {}", base::error::Chain(other))),
    }
}

/// All values of one revision, page by page as they are asked for.
pub(super) fn snapshot(
    kv: KvClient,
    first: GetResponse,
    revision: Revision,
    page: usize,
) -> impl Stream<Item = StoreResult<KeyValue>> + Send {
    let pages =
        futures::stream::try_unfold(Some((kv, Some(first), Vec::new())), move |state| async move {
            let Some((mut kv, ready, from)) = state else { return Ok(None) };
            let mut got = match ready {
                Some(got) => got,
                None => {
                    let options = GetOptions::new()
                        .with_range("\0")
                        .with_limit(i64::try_from(page).unwrap_or(0))
                        .with_revision(signed(revision));
                    let got = kv.get(from, Some(options)).await;
                    got.map_err(|failed| error(failed, revision, revision))?
                }
            };
            let kvs = got.take_kvs();
            let next = kvs.last().filter(|_| got.more()).map(|last| [last.key(), b"\0"].concat());
            let next = next.map(|from| (kv, None, from));
            let items = kvs.into_iter().map(key_value_of).filter(|kv| !is_ours(&kv.key));
            Ok::<_, StoreError>(Some((items.collect::<Vec<_>>(), next)))
        });
    pages.map_ok(|items| futures::stream::iter(items).map(Ok)).try_flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_etcds_words() {
        fn check(prefix: &str, after: Option<&str>, start: &[u8], end: &[u8]) {
            assert_eq!(range_start(prefix, after), start);
            assert_eq!(range_end(prefix), end);
        }
        check("/a/", None, b"/a/", b"/a0");
        check("/a/", Some("/a/x"), b"/a/x\0", b"/a0");
        check("/b/", Some("/a/x"), b"/b/", b"/b0");
        check("", None, b"\0", b"\0");
        check("\u{10FFFF}", None, &[0xF4, 0x8F, 0xBF, 0xBF], &[0xF4, 0x8F, 0xBF, 0xC0]);
    }
}
