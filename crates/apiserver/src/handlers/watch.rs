//! Starting a watch and streaming it.

use std::sync::Arc;
use std::time::Duration;

use api::status::{ApiError, ApiResult};
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use base::drain::Drain;
use futures::stream;

use super::options::ListOptions;
use super::{Target, header};
use crate::chain::ListenerDrain;
use crate::metrics::Lasting;
use crate::negotiate::Format;
use crate::response;
use crate::storage::selection::Selection;
use crate::watch::{WatchRequest, Watcher};

/// `--min-request-timeout`: watches live between this and twice as long.
const WATCH_SECONDS_MIN: u64 = 1800;

impl Target {
    pub(super) async fn watch(&self) -> ApiResult<Response> {
        let core = &self.call.core;
        let query = &self.call.query;
        let options = ListOptions::of(query, true)?;
        let seconds = options
            .timeout_seconds
            .unwrap_or_else(|| WATCH_SECONDS_MIN + core.rng.below(WATCH_SECONDS_MIN));
        let request = WatchRequest {
            namespace: self.namespace().to_owned(),
            selection: self.watch_selection()?,
            start: options.watch_start(),
            bookmarks: options.bookmarks,
            initial_bookmark: options.closes_initial(),
            timeout: Duration::from_secs(seconds),
        };
        let drain = self
            .call
            .parts
            .extensions
            .get::<ListenerDrain>()
            .map_or_else(Drain::new, |drain| drain.0.clone());
        let version = &self.call.info.version;
        let watcher =
            Watcher::start(core, &self.entry, version, self.output, request, drain).await?;
        if header(&self.call.parts.headers, "upgrade").eq_ignore_ascii_case("websocket") {
            return self.over_websocket(watcher).await;
        }
        let chunks = stream::unfold(watcher, |mut watcher| async move {
            let chunk = watcher.next().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), watcher))
        });
        let mut answer = response::bytes(200, &self.output.stream_type(), "");
        *answer.body_mut() = Body::from_stream(chunks);
        self.warn_of_version(&mut answer);
        Ok(answer)
    }

    /// Each event as a message, for browsers.
    async fn over_websocket(&self, watcher: Watcher) -> ApiResult<Response> {
        let mut parts = self.call.parts.clone();
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
            .await
            .map_err(|refused| ApiError::bad_request(refused.to_string()))?;
        let is_text = self.output.format != Format::Protobuf;
        let lasting = self.call.parts.extensions.get::<Arc<Lasting>>().cloned();
        Ok(upgrade.protocols([""]).on_upgrade(move |socket| async move {
            send_events(socket, watcher, is_text).await;
            drop(lasting);
        }))
    }

    /// The selectors, and the name when the path has one.
    fn watch_selection(&self) -> ApiResult<Selection> {
        let query = &self.call.query;
        let name = &self.call.info.name;
        let given = query.text("fieldSelector");
        let by_name = format!("metadata.name={name}");
        let fields = match (name.is_empty(), given.is_empty()) {
            (true, _) => given.to_owned(),
            (false, true) => by_name,
            (false, false) => format!("{given},{by_name}"),
        };
        Selection::parse(&*self.entry.resource, query.text("labelSelector"), &fields)
    }
}

/// Sends events until the watch ends or the client goes.
async fn send_events(mut socket: WebSocket, mut watcher: Watcher, is_text: bool) {
    loop {
        let chunk = tokio::select! {
            chunk = watcher.next() => chunk,
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let Some(chunk) = chunk else { break };
        if !is_text {
            if socket.send(Message::Binary(chunk)).await.is_err() {
                return;
            }
            continue;
        }
        let text = String::from_utf8_lossy(&chunk);
        for line in text.lines() {
            if socket.send(Message::Text(line.into())).await.is_err() {
                return;
            }
        }
    }
    // The client may have gone already.
    let _ = socket.send(Message::Close(None)).await;
}
