//! Logs of parts of the control plane that run in this process.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;

use crate::context::NodeContext;
use crate::logs::line::Wanted;
use crate::part_pods;
use crate::seams::InProcessPart;

/// The part that a pod shows, if it shows one.
pub(crate) fn find(
    node: &NodeContext,
    namespace: &str,
    name: &str,
) -> Option<Arc<dyn InProcessPart>> {
    if namespace != part_pods::NAMESPACE {
        return None;
    }
    let parts = node.options.parts.iter();
    parts.into_iter().find(|part| part_pods::pod_name(node, &***part) == name).cloned()
}

/// A part's log lines as asked for.
pub(crate) fn logs(part: &dyn InProcessPart, wanted: Wanted) -> Response {
    let lines = part.logs(wanted.follow);
    let since = wanted.since;
    let lines =
        lines.filter(move |line| std::future::ready(since.is_none_or(|since| line.at >= since)));
    let lines = lines.map(move |line| {
        let stamp = if wanted.timestamps { format!("{} ", line.at) } else { String::new() };
        Bytes::from(format!("{stamp}{}\n", line.line))
    });
    let tail = wanted.tail;
    let limit = wanted.limit;
    let body = if wanted.follow {
        // The ring is short: with `tail`, what is there is skipped but for the last lines.
        Body::from_stream(lines.map(Ok::<_, std::io::Error>))
    } else {
        let whole = futures::stream::once(async move {
            let all: Vec<Bytes> = lines.collect().await;
            let from = tail.map_or(0, |tail| all.len().saturating_sub(tail));
            let mut bytes: Vec<u8> = all[from..].concat();
            bytes.truncate(limit.unwrap_or(usize::MAX));
            Ok::<_, std::io::Error>(Bytes::from(bytes))
        });
        Body::from_stream(whole)
    };
    Response::new(body)
}
