//! Lists: which resource version is meant, from where it is read, and the tokens that go on.
//!
//! The rules are upstream's "Semantics for get and list": unset is the newest, `0` whatever the
//! cache has, `NotOlderThan` the cache once it is as new, `Exact` and continued pages a snapshot.

use std::sync::Arc;
use std::time::Duration;

use api::status::{ApiError, ApiResult};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use store::{Range, Revision, StoreError};

use super::selection::Selection;
use super::stored::Stored;
use super::{Cacher, Storage, store_error, too_far, too_large};
use crate::registry::Entry;

/// How long a request waits for a resource version that was not given yet.
const FRESH_WAIT: Duration = Duration::from_secs(3);
/// Keys read at once when a selector makes a page's length unknown.
const SCAN_LEN: usize = 1000;

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct ListRequest<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: &'a str,
    pub(crate) version: Version,
}

/// Which state is meant.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The newest.
    #[default]
    Newest,
    /// Whatever the cache has.
    Any,
    /// At least as new as this.
    NotOlderThan(Revision),
    /// Exactly this.
    Exact(Revision),
}

/// A page.
#[derive(Debug)]
pub(crate) struct ListPage {
    pub(crate) objects: Vec<Arc<Stored>>,
    pub(crate) rv: Revision,
    /// Goes on after this page; empty at the end.
    pub(crate) continue_token: String,
    /// How many follow, when it is known.
    pub(crate) remaining: Option<u64>,
}

/// What a continue token says; its form is upstream's.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Storage {
    /// A page of a resource's objects.
    pub(crate) async fn list(
        &self,
        entry: &Entry,
        selection: &Selection,
        request: ListRequest<'_>,
    ) -> ApiResult<ListPage> {
        let cacher = &*entry.cacher;
        cacher.loaded().await;
        let scan = Scan { storage: self, entry, cacher, selection, namespace: request.namespace };
        if !request.continue_token.is_empty() {
            return scan.resume(request).await;
        }
        match request.version {
            Version::Newest => {
                self.catch_up().await?;
                scan.cached(None, request.limit).await
            }
            Version::Any => scan.cached(None, None).await,
            Version::NotOlderThan(rv) => {
                self.fresh(rv).await?;
                scan.cached(None, request.limit).await
            }
            Version::Exact(rv) => {
                scan.at(rv, None, request.limit).await.map_err(|error| match error {
                    // Nothing is waited for: it does not help to come again soon.
                    StoreError::Future { requested, newest } => too_far(requested, newest),
                    error => store_error(error),
                })?
            }
        }
    }

    /// Waits until the caches are as new as this.
    pub(crate) async fn fresh(&self, rv: Revision) -> ApiResult<()> {
        if tokio::time::timeout(FRESH_WAIT, self.feed.reached(rv)).await.is_err() {
            return Err(too_large(rv, self.feed.progress()));
        }
        Ok(())
    }
}

/// One list at work.
struct Scan<'a> {
    storage: &'a Storage,
    entry: &'a Entry,
    cacher: &'a Cacher,
    selection: &'a Selection,
    namespace: &'a str,
}

impl Scan<'_> {
    fn prefix(&self) -> String {
        range_prefix(self.cacher, self.namespace)
    }

    fn matches(&self, object: &Stored) -> bool {
        self.selection.matches(&*self.entry.resource, object)
    }

    async fn cached(&self, after: Option<&str>, limit: Option<usize>) -> ApiResult<ListPage> {
        let progress = self.storage.feed.progress();
        let prefix = self.prefix();
        if self.entry.converter.is_none() || self.selection.is_everything() {
            let view = self.cacher.view(&prefix, after, limit, progress, |one| self.matches(one));
            let objects = self.entry.shown(view.objects).await?;
            return Ok(self.page(objects, view.rv, view.remaining));
        }
        // What a selector sees is the object in the version that was asked for.
        let view = self.cacher.view(&prefix, after, None, progress, |_| true);
        let mut objects = self.entry.shown(view.objects).await?;
        objects.retain(|one| self.matches(one));
        let limit = limit.unwrap_or(usize::MAX).min(objects.len());
        let remaining = (objects.len() - limit) as u64;
        objects.truncate(limit);
        Ok(self.page(objects, view.rv, remaining))
    }

    fn page(&self, objects: Vec<Arc<Stored>>, rv: Revision, remaining: u64) -> ListPage {
        let last = objects.last().filter(|_| remaining > 0);
        let continue_token =
            last.map(|last| self.token(i64::try_from(rv).unwrap_or(i64::MAX), &last.key));
        // With a selector nobody knows how many of the rest match.
        let known = remaining > 0 && self.selection.is_everything();
        ListPage {
            continue_token: continue_token.unwrap_or_default(),
            remaining: known.then_some(remaining),
            objects,
            rv,
        }
    }

    fn token(&self, rv: i64, last: &str) -> String {
        let start = last.strip_prefix(&self.prefix()).unwrap_or(last);
        let token = Token { v: TOKEN_VERSION.into(), rv, start: format!("{start}\0") };
        let mut text = Vec::new();
        super::stored::write_json(&token, &mut text);
        URL_SAFE_NO_PAD.encode(text)
    }

    async fn resume(&self, request: ListRequest<'_>) -> ApiResult<ListPage> {
        let token = parse_token(request.continue_token)?;
        let after = format!("{}{}", self.prefix(), token.start.trim_end_matches('\0'));
        let Ok(rv) = Revision::try_from(token.rv) else {
            self.storage.catch_up().await?;
            return self.cached(Some(&after), request.limit).await;
        };
        if rv == 0 {
            return Err(ApiError::bad_request(
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ));
        }
        // Nothing changed since the first page: the cache is the snapshot, for as long as tokens last.
        if self.storage.feed.progress() >= rv && self.cacher.last_rv() <= rv {
            self.check_kept(rv, &after).await?;
            let mut page = self.cached(Some(&after), request.limit).await?;
            if self.cacher.last_rv() <= rv {
                if let (false, Some(last)) = (page.continue_token.is_empty(), page.objects.last()) {
                    page.continue_token = self.token(token.rv, &last.key);
                }
                page.rv = rv;
                return Ok(page);
            }
        }
        match self.at(rv, Some(after.clone()), request.limit).await {
            Ok(page) => page,
            Err(error) => Err(self.lost(error, &after)),
        }
    }

    /// Whether the store still has the snapshot that a token is of. A token ends with the history
    /// that it belongs to, also where the cache could go on: clients count on it.
    async fn check_kept(&self, rv: Revision, after: &str) -> ApiResult<()> {
        // Behind every key: what is asked is whether the revision can be read, not what is there.
        let end = format!("{}\u{10ffff}", self.prefix());
        let none = Range { prefix: self.prefix(), after: Some(end), limit: Some(1), at: Some(rv) };
        let read = self.storage.store.range(none).await;
        read.map(drop).map_err(|error| self.lost(error, after))
    }

    /// Why a list cannot go on.
    fn lost(&self, error: StoreError, after: &str) -> ApiError {
        match error {
            StoreError::Compacted { .. } => ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
            )
            .with_continue(self.token(-1, after)),
            error => store_error(error),
        }
    }

    /// Reads a snapshot from the store.
    async fn at(
        &self,
        rv: Revision,
        mut after: Option<String>,
        limit: Option<usize>,
    ) -> Result<ApiResult<ListPage>, StoreError> {
        let mut objects = Vec::new();
        let limit = limit.unwrap_or(usize::MAX);
        let everything = self.selection.is_everything();
        loop {
            let want = if everything { limit.min(SCAN_LEN) } else { SCAN_LEN };
            let range = Range {
                prefix: self.prefix(),
                after: after.take(),
                limit: Some(want.min(limit - objects.len()).max(1)),
                at: Some(rv),
            };
            let page = self.storage.store.range(range).await?;
            after = page.items.last().map(|last| last.key.to_string());
            let read = page.items.into_iter().map(|item| self.storage.stored(self.cacher, item));
            let shown = match read.collect::<ApiResult<Vec<_>>>() {
                Ok(stored) => self.entry.shown(stored).await,
                Err(error) => Err(error),
            };
            match shown {
                Ok(shown) => objects.extend(shown.into_iter().filter(|one| self.matches(one))),
                Err(error) => return Ok(Err(error)),
            }
            if page.remaining == 0 || objects.len() >= limit || after.is_none() {
                return Ok(Ok(self.page(objects, rv, page.remaining)));
            }
        }
    }
}

/// The prefix of the keys of a namespace, or of all.
pub(crate) fn range_prefix(cacher: &Cacher, namespace: &str) -> String {
    if namespace.is_empty() {
        cacher.prefix.clone()
    } else {
        format!("{}{namespace}/", cacher.prefix)
    }
}

/// Whether a continue token can be read.
///
/// # Errors
/// 400 when it cannot.
pub(crate) fn check_token(text: &str) -> ApiResult<()> {
    parse_token(text).map(drop)
}

fn parse_token(text: &str) -> ApiResult<Token> {
    let invalid = |why: String| {
        let text = format!("invalid continue token: continue key is not valid: {why}");
        ApiError::bad_request(text)
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|error| invalid(error.to_string()))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|error| {
        invalid(api::decode::json_syntax_error(&bytes).unwrap_or_else(|| error.to_string()))
    })?;
    if token.v != TOKEN_VERSION {
        return Err(invalid(format!(
            "server does not recognize this encoded version {:?}",
            token.v
        )));
    }
    if token.start.is_empty() || token.start.split('/').any(|part| part == "..") {
        return Err(invalid(token.start));
    }
    Ok(token)
}
