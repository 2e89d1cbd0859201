//! List and watch: keeps one cache equal to what the server has.
//!
//! The initial list comes as a stream (`sendInitialEvents`, KEP-3157), so that neither side holds
//! a whole list in one buffer; a server that refuses that (422 or 400) is listed the old way. A
//! watch that ends is resumed from the last resource version seen; one that has expired (410) is
//! listed again. Waiting happens after errors only, with exponential back-off and jitter.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::typed::{DecodeFn, reduce_pod};
use base::rng::SharedRng;
use futures::AsyncBufReadExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cache::{Object, SharedCache};
use crate::failure::{Class, Failure};
use crate::hub::Scope;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How many events are applied before other tasks get their turn.
const EVENTS_PER_TURN: u32 = 128;
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
const LIST_PAGE: u32 = 500;

pub(crate) struct Reflector {
    pub(crate) client: kube::Client,
    pub(crate) cache: Arc<SharedCache>,
    pub(crate) scope: Scope,
    pub(crate) partial: bool,
    pub(crate) decode: DecodeFn,
    /// The node whose pods are kept whole; all are without it.
    pub(crate) own_node: Option<Arc<str>>,
    pub(crate) rng: SharedRng,
}

/// Where a reflector stands between two watches.
enum Position {
    /// The cache must be filled by a streamed list.
    Start,
    /// The cache must be filled by an old-fashioned list: the server does not stream them.
    StartByList,
    /// The cache is current up to this resource version.
    At(String),
}

/// How a watch ended, when not by a failure.
enum Ended {
    /// The server closed it; `true` when it had told anything.
    Closed(bool),
    /// The resource version is gone from the server's history.
    Expired,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_: String,
}

impl Reflector {
    /// Reflects until the task is dropped.
    pub(crate) async fn run(self) {
        let mut position = Position::Start;
        let mut failures = 0;
        loop {
            let outcome = base::task::contain("reflector", self.watch(&mut position)).await;
            match outcome {
                Ok(Ok(Ended::Closed(told))) => {
                    // A watch that is closed without a word would otherwise be opened without end.
                    failures = if told { 0 } else { failures + 1 };
                }
                Ok(Ok(Ended::Expired)) => {
                    position = Position::Start;
                    failures += 1;
                    tracing::debug!(resource = %self.what(), "the watch has expired: listing again");
                }
                Ok(Err(failure)) => {
                    self.failed(&mut position, &failure, failures);
                    failures += 1;
                }
                Err(_panicked) => {
                    position = Position::Start;
                    failures += 1;
                }
            }
            if failures > 0 {
                tokio::time::sleep(self.backoff(failures)).await;
            }
        }
    }

    fn failed(&self, position: &mut Position, failure: &Failure, failures: u32) {
        match (&*position, failure.class) {
            (Position::Start, Class::Invalid | Class::Unsupported) => {
                *position = Position::StartByList;
            }
            (_, Class::Expired | Class::Decode) => *position = Position::Start,
            _ => {}
        }
        // A server that is being started or restarted is no news, nor is one that does not serve
        // this resource; one that stays away is.
        if failures < 5 || failure.class == Class::NotFound {
            tracing::debug!(resource = %self.what(), %failure, "watch failed");
        } else {
            tracing::warn!(resource = %self.what(), %failure, failures, "watch keeps failing");
        }
    }

    fn backoff(&self, failures: u32) -> Duration {
        let full = BACKOFF_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(BACKOFF_MAX);
        let half = full / 2;
        let spread = u64::try_from(half.as_millis()).unwrap_or_default();
        half + Duration::from_millis(self.rng.below(spread + 1))
    }

    /// One watch, from wherever we are, until it ends.
    async fn watch(&self, position: &mut Position) -> Result<Ended, Failure> {
        if matches!(position, Position::StartByList) {
            *position = Position::At(self.list().await?);
        }
        let mut parameters = "watch=true&allowWatchBookmarks=true".to_owned();
        let mut initial = match &*position {
            Position::At(revision) => {
                parameters.push_str("&resourceVersion=");
                parameters.push_str(revision);
                None
            }
            Position::Start | Position::StartByList => {
                parameters.push_str("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
                Some(Vec::new())
            }
        };
        let request = self.request(&parameters)?;
        let stream = self.client.request_stream(request).await;
        let mut stream =
            stream.map_err(|error| Failure::from_kube(self.attempt("watch"), &error))?;
        let mut line = Vec::new();
        for event in 1_u32.. {
            line.clear();
            let read = stream.read_until(b'\n', &mut line).await;
            if read.map_err(|error| self.broken(&error))? == 0 {
                return Ok(Ended::Closed(event > 1 && initial.is_none()));
            }
            if let Some(ended) = self.event(&line, position, &mut initial)? {
                return Ok(ended);
            }
            if event % EVENTS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(Ended::Closed(true))
    }

    /// Applies one line of a watch.
    fn event(
        &self,
        line: &[u8],
        position: &mut Position,
        initial: &mut Option<Vec<Object>>,
    ) -> Result<Option<Ended>, Failure> {
        let parsed: Line<'_>;
        let (kind, object) = match usual_line(line) {
            Some(parts) => parts,
            None => {
                parsed = serde_json::from_slice(line).map_err(|error| self.unreadable(&error))?;
                (&*parsed.kind, parsed.object.get().as_bytes())
            }
        };
        match kind {
            "BOOKMARK" => self.bookmark(object, position, initial)?,
            "ERROR" => return self.error(object),
            kind => {
                let Some(object) = self.decode(object) else { return Ok(None) };
                if let Some(initial) = initial {
                    initial.push(object);
                    return Ok(None);
                }
                if let Some(revision) = &object.meta().resource_version {
                    *position = Position::At(revision.clone());
                }
                if kind == "DELETED" {
                    self.cache.remove(object)
                } else {
                    self.cache.upsert(object)
                }
            }
        }
        Ok(None)
    }

    fn bookmark(
        &self,
        object: &[u8],
        position: &mut Position,
        initial: &mut Option<Vec<Object>>,
    ) -> Result<(), Failure> {
        let bookmark: Bookmark =
            serde_json::from_slice(object).map_err(|error| self.unreadable(&error))?;
        let revision = bookmark.metadata.resource_version;
        let number = revision.parse().unwrap_or_default();
        if let Some(objects) =
            initial.take_if(|_| bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END))
        {
            self.cache.replace(objects, number);
        }
        if initial.is_none() {
            self.cache.seen(number);
            *position = Position::At(revision);
        }
        Ok(())
    }

    fn error(&self, object: &[u8]) -> Result<Option<Ended>, Failure> {
        let status: kube::core::Status =
            serde_json::from_slice(object).map_err(|error| self.unreadable(&error))?;
        if status.code == 410 {
            return Ok(Some(Ended::Expired));
        }
        Err(Failure::from_kube(self.attempt("watch"), &kube::Error::Api(Box::new(status))))
    }

    /// Lists page by page; returns the resource version from which to watch.
    async fn list(&self) -> Result<String, Failure> {
        let mut objects = Vec::new();
        let mut token = String::new();
        loop {
            let mut parameters = format!("limit={LIST_PAGE}");
            if !token.is_empty() {
                parameters.push_str("&continue=");
                parameters.push_str(&encode(&token));
            }
            let text = self.client.request_text(self.request(&parameters)?).await;
            let text = text.map_err(|error| Failure::from_kube(self.attempt("list"), &error))?;
            let list: List<'_> =
                serde_json::from_str(&text).map_err(|error| self.unreadable(&error))?;
            let decoded = list.items.iter().filter_map(|item| self.decode(item.get().as_bytes()));
            objects.extend(decoded);
            token = list.metadata.continue_;
            if token.is_empty() {
                let revision = list.metadata.resource_version;
                self.cache.replace(objects, revision.parse().unwrap_or_default());
                return Ok(revision);
            }
        }
    }

    fn decode(&self, object: &[u8]) -> Option<Object> {
        let decoded = (self.decode)(object).inspect_err(|error| {
            // One object that cannot be read must not hide all the others.
            tracing::error!(resource = %self.what(), %error, "an object cannot be read");
        });
        let mut object = decoded.ok()?;
        if let (Some(own_node), Some(new)) = (&self.own_node, Arc::get_mut(&mut object)) {
            reduce_pod(new, own_node);
        }
        Some(object)
    }

    fn request(&self, parameters: &str) -> Result<http::Request<Vec<u8>>, Failure> {
        let mut uri = self.cache.resource().collection_path(&self.scope.namespace);
        uri.push('?');
        uri.push_str(parameters);
        for (name, selector) in [
            ("labelSelector", &self.scope.label_selector),
            ("fieldSelector", &self.scope.field_selector),
        ] {
            if !selector.is_empty() {
                uri.push('&');
                uri.push_str(name);
                uri.push('=');
                uri.push_str(&encode(selector));
            }
        }
        let accept = if self.partial {
            let form = if parameters.starts_with("watch") { "" } else { "List" };
            format!(
                "application/json;as=PartialObjectMetadata{form};g=meta.k8s.io;v=v1,application/json"
            )
        } else {
            "application/json".to_owned()
        };
        http::Request::get(uri)
            .header(http::header::ACCEPT, accept)
            .body(Vec::new())
            .map_err(|error| Failure::decode(self.attempt("watch"), &error))
    }

    fn what(&self) -> String {
        self.cache.resource().group_resource().to_string()
    }

    fn attempt(&self, verb: &str) -> String {
        format!("{verb} {}", self.what())
    }

    fn unreadable(&self, error: &serde_json::Error) -> Failure {
        Failure::decode(self.attempt("watch"), error)
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        Failure {
            class: Class::Transport,
            attempt: self.attempt("watch"),
            message: base::error::Chain(error).to_string(),
            retry_after: None,
        }
    }
}

/// The type and the object of a line as servers write it, without a look at the object: whoever
/// reads that finds out whether it is one.
fn usual_line(line: &[u8]) -> Option<(&str, &[u8])> {
    let rest = line.strip_prefix(b"{\"type\":\"")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_uppercase())?;
    let object = rest[end..].strip_prefix(b"\",\"object\":")?.strip_suffix(b"}\n")?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, object))
}

/// Percent-encodes a query value.
pub(crate) fn encode(value: &str) -> String {
    use std::fmt::Write;
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ok = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Caches;
    use crate::key::Key;
    use base::drain::Drain;
    use k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use parking_lot::Mutex;
    use std::collections::VecDeque;

    /// A scripted server: each request takes the next answer and its URI is noted; when the
    /// script has ended, requests hang as a quiet watch does.
    fn scripted(script: &[(u16, &str)]) -> (Caches, Arc<Mutex<Vec<String>>>) {
        let script: Vec<(u16, String)> =
            script.iter().map(|(code, body)| (*code, (*body).to_owned())).collect();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let uris = Arc::new(Mutex::new(Vec::new()));
        let noted = uris.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            noted.lock().push(request.uri().to_string());
            let answer = script.lock().pop_front();
            async move {
                let Some((code, body)) = answer else { return std::future::pending().await };
                let response = http::Response::builder().status(code);
                Ok::<_, std::convert::Infallible>(
                    response.body(Body::from(body.into_bytes())).unwrap(),
                )
            }
        });
        let client = kube::Client::new(service, "default");
        (Caches::new(client, SharedRng::seeded(1), Drain::new()), uris)
    }

    const INITIAL: &str = concat!(
        r#"{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"n","uid":"1","resourceVersion":"3"}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n",
        r#"{"type":"ADDED","object":{"metadata":{"name":"b","namespace":"n","uid":"2","resourceVersion":"6"}}}"#,
        "\n",
    );

    #[test]
    fn lines_come_apart_when_they_are_as_servers_write_them() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let parts = usual_line(line.as_bytes());
            let parts = parts.map(|(kind, object)| (kind, std::str::from_utf8(object).unwrap()));
            assert_eq!(parts, expected, "{line}");
        };
        check("{\"type\":\"ADDED\",\"object\":{\"a\":{}}}\n", Some(("ADDED", "{\"a\":{}}")));
        check("{\"type\":\"ERROR\",\"object\":{}}\n", Some(("ERROR", "{}")));
        for other in [
            r#"{"object":{},"type":"ADDED"}"#,
            r#"{"type": "ADDED","object":{}}"#,
            // Cut off.
            r#"{"type":"ADDED","object":{"a":{}}"#,
            r#"{"type":"ADD"#,
            "",
        ] {
            check(other, None);
        }
        // What follows the object is for the object's reader to refuse.
        check("{\"type\":\"ADDED\",\"object\":{},\"x\":1}\n", Some(("ADDED", r#"{},"x":1"#)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_streamed_list_then_events_then_resumed_from_the_last_version() {
        let deleted = concat!(
            r#"{"type":"DELETED","object":{"metadata":{"name":"a","namespace":"n","uid":"1","resourceVersion":"7"}}}"#,
            "\n",
        );
        let (caches, uris) = scripted(&[(200, INITIAL), (200, deleted)]);
        let pods = caches.of::<Pod>();
        pods.shared().caught_up(7).await;
        assert_eq!(pods.list().len(), 1);
        assert!(pods.get("n", "b").is_some());
        let uris = uris.lock().clone();
        assert!(uris[0].contains("sendInitialEvents=true"), "{uris:?}");
        assert!(uris[1].contains("resourceVersion=6"), "{uris:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_is_kept_whole_from_when_it_is_bound_to_the_own_node() {
        let pod = |kind: &str, rv: u32, node: &str| {
            format!(
                r#"{{"type":"{kind}","object":{{"metadata":{{"name":"b","namespace":"n","uid":"2","resourceVersion":"{rv}"}},"spec":{{"nodeName":"{node}","containers":[{{"name":"c","env":[{{"name":"A","value":"b"}}]}}]}}}}}}"#
            ) + "\n"
        };
        let events = INITIAL.to_owned() + &pod("MODIFIED", 8, "") + &pod("MODIFIED", 9, "own");
        let (caches, _) = scripted(&[(200, &events)]);
        let caches = caches.reduced("own");
        let pods = caches.of::<Pod>();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        pods.subscribe(move |event| {
            let spec = event.object().spec.clone().unwrap_or_default();
            let containers = spec.containers.iter();
            noted.lock().extend(containers.map(|one| one.env.as_ref().map_or(0, Vec::len)));
        });
        pods.shared().caught_up(9).await;
        assert_eq!(*seen.lock(), [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_watch_is_listed_again() {
        let gone = concat!(
            r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#,
            "\n",
        );
        let relisted = INITIAL.replace("\"6\"", "\"16\"").replace("\"5\"", "\"15\"");
        let (caches, uris) = scripted(&[(200, INITIAL), (200, gone), (200, &relisted)]);
        let pods = caches.of::<Pod>();
        pods.shared().caught_up(16).await;
        assert_eq!(
            pods.shared().get(&Key::new("n", "b")).unwrap().meta().resource_version.as_deref(),
            Some("16")
        );
        assert!(uris.lock()[2].contains("sendInitialEvents=true"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_streamed_lists_is_listed_by_pages() {
        let invalid =
            r#"{"kind":"Status","status":"Failure","code":422,"reason":"Invalid","message":"no"}"#;
        let page1 = r#"{"metadata":{"resourceVersion":"9","continue":"a b"},"items":[{"metadata":{"name":"a","namespace":"n","uid":"1","resourceVersion":"3"}}]}"#;
        let page2 = r#"{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"b","namespace":"n","uid":"2","resourceVersion":"4"}}]}"#;
        let (caches, uris) = scripted(&[(422, invalid), (200, page1), (200, page2)]);
        let pods = caches.of::<Pod>();
        pods.synced().await;
        assert_eq!(pods.list().len(), 2);
        assert!(uris.lock()[2].contains("continue=a%20b"));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_waited_out() {
        let down = r#"{"kind":"Status","status":"Failure","code":503,"reason":"ServiceUnavailable","message":"no"}"#;
        let (caches, _) = scripted(&[(503, down), (503, down), (200, INITIAL)]);
        let pods = caches.of::<Pod>();
        pods.synced().await;
        assert!(pods.has_synced());
    }
}
