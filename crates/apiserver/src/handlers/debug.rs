//! `/debug`: there only when the server was told so.

use axum::response::Response;

use super::Call;
use crate::response;

const FLOW: &str = "/debug/api_priority_and_fairness/";

/// Answers a path below `/debug`; `None` when it is none.
pub(super) fn serve(call: &Call) -> Option<Response> {
    let path = call.info.path.as_str();
    if call.info.is_resource || !(path == "/debug" || path.starts_with("/debug/")) {
        return None;
    }
    let table = path
        .strip_prefix(FLOW)
        .filter(|_| call.core.debug && call.info.verb == "get")
        .and_then(|what| call.core.flow.dump(what));
    Some(match table {
        Some(table) => response::text(200, table),
        None => response::text(404, "404 page not found\n"),
    })
}
