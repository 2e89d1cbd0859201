//! `/containerLogs`: a container's log, as `kubectl logs` asks for it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use base::clock::{SignedDuration, Timestamp};
use container_runtime::RuntimeService;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Served, parts, plain, status_of};
use crate::config::sandbox::log_folder;
use crate::logs::line::Wanted;
use crate::logs::read;
use crate::pod::{self, PodRef};

/// Pieces of a log that wait for a slow reader.
const QUEUE: usize = 4;

/// `PodLogOptions` as a query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LogQuery {
    follow: Option<String>,
    previous: Option<String>,
    timestamps: Option<String>,
    tail_lines: Option<String>,
    limit_bytes: Option<String>,
    since_seconds: Option<String>,
    since_time: Option<String>,
    stream: Option<String>,
}

fn flag(value: Option<&String>) -> bool {
    value.is_some_and(|value| matches!(value.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True"))
}

impl LogQuery {
    fn previous(&self) -> bool {
        flag(self.previous.as_ref())
    }

    /// What is wanted; what is wrong with it otherwise.
    fn wanted(&self, now: Timestamp) -> Result<Wanted, String> {
        let number = |name: &str, value: &Option<String>| -> Result<Option<i64>, String> {
            let given = value.as_deref().filter(|text| !text.is_empty());
            given
                .map(|text| {
                    text.parse().map_err(|_| format!("invalid {name}: {text:?} is not a number"))
                })
                .transpose()
        };
        let size = |name: &str, value: Option<i64>| -> Result<Option<usize>, String> {
            value
                .map(|value| {
                    usize::try_from(value)
                        .map_err(|_| format!("invalid {name}: must not be negative"))
                })
                .transpose()
        };
        let ago = number("sinceSeconds", &self.since_seconds)?
            .and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
        let at = self.since_time.as_deref().filter(|text| !text.is_empty());
        let at = at
            .map(|text| text.parse().map_err(|_| format!("invalid sinceTime: {text:?}")))
            .transpose()?;
        let stream = match self.stream.as_deref() {
            None | Some("" | "All") => None,
            Some("Stdout") => Some("stdout".to_owned()),
            Some("Stderr") => Some("stderr".to_owned()),
            Some(other) => return Err(format!("invalid stream: {other:?}")),
        };
        Ok(Wanted {
            follow: flag(self.follow.as_ref()),
            tail: size("tailLines", number("tailLines", &self.tail_lines)?)?,
            since: at.or(ago),
            timestamps: flag(self.timestamps.as_ref()),
            limit: size("limitBytes", number("limitBytes", &self.limit_bytes)?)?,
            stream,
        })
    }
}

/// The handler.
pub(crate) async fn container_logs(
    State(served): State<Served>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    Query(query): Query<LogQuery>,
) -> Response {
    let wanted = match query.wanted(served.node.clock.now()) {
        Ok(wanted) => wanted,
        Err(error) => return plain(StatusCode::BAD_REQUEST, error),
    };
    if let Some(part) = parts::find(&served.node, &namespace, &name) {
        return parts::logs(&*part, wanted);
    }
    let Some(pod) = served.dispatch.pod(&namespace, &name) else {
        return plain(StatusCode::NOT_FOUND, format!("pod does not exist: \"{name}_{namespace}\""));
    };
    let file = match log_file(&served, &pod, &container, query.previous()) {
        Ok(file) => file,
        Err((status, text)) => return plain(status, text),
    };
    let container = file.running.then(|| (served.node.runtime.clone(), file.container_id));
    let wanted = Wanted { follow: wanted.follow && container.is_some(), ..wanted };
    stream(file.path, wanted, container)
}

/// Answers with a log, or with the reason why there is none: a container that never started has
/// none.
fn stream(
    path: PathBuf,
    wanted: Wanted,
    container: Option<(Arc<dyn RuntimeService>, String)>,
) -> Response {
    let reader = match read::Reader::open(&path, wanted) {
        Ok(reader) => reader,
        Err(error) => {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            let path = path.display();
            // In the words of upstream's kubelet, which looks where a link leads first.
            let text =
                format!("failed to try resolving symlinks in path \"{path}\": lstat {path}: {why}");
            return plain(StatusCode::BAD_REQUEST, text);
        }
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(read::read(reader, path, container, sender));
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let mut response = Response::new(body);
    let text = axum::http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, text);
    response
}

struct LogFile {
    path: PathBuf,
    container_id: String,
    running: bool,
}

/// The file of a container's log, by its restart count: it outlives the container itself.
fn log_file(
    served: &Served,
    pod: &Pod,
    container: &str,
    previous: bool,
) -> Result<LogFile, (StatusCode, String)> {
    let name = pod::name(pod);
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    if pod::container(pod, container).is_none() {
        let text = format!("container \"{container}\" not found in pod \"{name}\"");
        return Err((StatusCode::NOT_FOUND, text));
    }
    let Some(status) = status_of(pod, container) else {
        return Err(bad(format!(
            "container \"{container}\" in pod \"{name}\" is waiting to start: ContainerCreating"
        )));
    };
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.clone().unwrap_or_default();
    let id_of = |state: &ContainerState| {
        let end = state.terminated.as_ref()?;
        end.container_id.as_deref()?.split_once("://").map(|(_, id)| id.to_owned())
    };
    let count = u32::try_from(status.restart_count).unwrap_or_default();
    let waits = state.waiting.is_some();
    let folder = served.node.options.log_dir.join(log_folder(&PodRef::of(pod))).join(container);
    let file = |attempt: u32, container_id: String, running: bool| LogFile {
        path: folder.join(format!("{attempt}.log")),
        container_id,
        running,
    };
    if previous {
        // A container that waits for its next start shows the run before it as its last one.
        return match (waits, id_of(&last)) {
            (true, Some(id)) => Ok(file(count, id, false)),
            (false, Some(id)) => Ok(file(count.saturating_sub(1), id, false)),
            _ => Err(bad(format!(
                "previous terminated container \"{container}\" in pod \"{name}\" not found"
            ))),
        };
    }
    if let Some(waiting) = &state.waiting {
        return match id_of(&last) {
            Some(id) => Ok(file(count, id, false)),
            None => {
                let why = waiting.reason.clone().unwrap_or_default();
                let tail = match why.as_str() {
                    "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" => {
                        "trying and failing to pull image".to_owned()
                    }
                    _ => format!("waiting to start: {why}"),
                };
                Err(bad(format!("container \"{container}\" in pod \"{name}\" is {tail}")))
            }
        };
    }
    let own = status
        .container_id
        .as_deref()
        .and_then(|id| id.split_once("://"))
        .map(|(_, id)| id.to_owned());
    Ok(file(count, own.unwrap_or_default(), state.running.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_was_never_written_is_missed_in_words() {
        let answer = stream("/nowhere/0.log".into(), Wanted::default(), None);
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        let expected = "failed to try resolving symlinks in path \"/nowhere/0.log\": lstat \
                        /nowhere/0.log: no such file or directory";
        assert_eq!(body, expected);
    }

    #[test]
    fn queries_read_as_upstreams() {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let query = LogQuery {
            follow: Some("true".into()),
            tail_lines: Some("5".into()),
            since_seconds: Some("60".into()),
            stream: Some("Stderr".into()),
            ..LogQuery::default()
        };
        let expected = Wanted {
            follow: true,
            tail: Some(5),
            since: "2026-01-01T00:00:00Z".parse().ok(),
            stream: Some("stderr".into()),
            ..Wanted::default()
        };
        assert_eq!(query.wanted(now), Ok(expected));
        let bad = LogQuery { tail_lines: Some("-1".into()), ..LogQuery::default() };
        assert!(bad.wanted(now).is_err());
    }
}
