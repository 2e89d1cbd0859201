//! `/exec`, `/attach` and `/run`: commands in containers.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use container_runtime::{AttachRequest, Error, ExecRequest, ProcessStreams};

use super::channels::{self, Form};
use super::{Served, find, plain, spdy_exec, upgrade};
use crate::pod;

/// What is asked for, from a query in either of the two spellings that clients use.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Asked {
    fn of(query: Option<&str>) -> Self {
        let mut asked = Self::default();
        for (key, value) in pairs(query.unwrap_or_default()) {
            let on = matches!(value.as_str(), "1" | "true");
            match key.as_str() {
                "command" | "cmd" => asked.command.push(value),
                "input" | "stdin" => asked.stdin |= on,
                "output" | "stdout" => asked.stdout |= on,
                "error" | "stderr" => asked.stderr |= on,
                "tty" => asked.tty |= on,
                _ => {}
            }
        }
        // A terminal has one output.
        asked.stderr &= !asked.tty;
        asked
    }
}

/// A query's pairs, decoded.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let all = query.split('&').filter(|part| !part.is_empty());
    all.map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(key), decode(value))
    })
    .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

type Names = Path<HashMap<String, String>>;

fn named<'a>(names: &'a Names, key: &str) -> &'a str {
    names.get(key).map_or("", String::as_str)
}

/// `/exec`.
pub(crate) async fn exec(
    State(served): State<Served>,
    names: Names,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let asked = Asked::of(query.as_deref());
    let found =
        find(&served, named(&names, "namespace"), named(&names, "pod"), named(&names, "container"));
    let found = match found {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    if asked.command.is_empty() || !(asked.stdin || asked.stdout || asked.stderr) {
        return plain(
            StatusCode::BAD_REQUEST,
            "you must specify a command, and at least 1 of stdin, stdout, stderr",
        );
    }
    let wanted = ExecRequest {
        container_id: found.container_id,
        cmd: asked.command.clone(),
        tty: asked.tty,
        stdin: asked.stdin,
        stdout: asked.stdout,
        stderr: asked.stderr,
    };
    let runtime = served.node.runtime.clone();
    stream(request, &asked, async move { runtime.exec(&wanted).await }).await
}

/// `/attach`.
pub(crate) async fn attach(
    State(served): State<Served>,
    names: Names,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let mut asked = Asked::of(query.as_deref());
    let container = named(&names, "container");
    let found = match find(&served, named(&names, "namespace"), named(&names, "pod"), container) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    asked.tty = pod::container(&found.pod, container).is_some_and(|(_, one)| one.tty == Some(true));
    asked.stderr &= !asked.tty;
    let wanted = AttachRequest {
        container_id: found.container_id,
        stdin: asked.stdin,
        tty: asked.tty,
        stdout: asked.stdout,
        stderr: asked.stderr,
    };
    let runtime = served.node.runtime.clone();
    stream(request, &asked, async move { runtime.attach(&wanted).await }).await
}

/// Upgrades the connection, and only then begins the process: a client that cannot be served starts
/// nothing.
async fn stream(
    request: Request,
    asked: &Asked,
    begin: impl Future<Output = Result<ProcessStreams, Error>> + Send + 'static,
) -> Response {
    let upgrade = match upgrade::asked(request).await {
        Ok(upgrade) => upgrade,
        Err(answer) => return answer,
    };
    let streams = match begin.await {
        Ok(streams) => streams,
        Err(error) => return plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    match upgrade {
        upgrade::Asked::WebSocket(upgrade) => {
            let upgrade = upgrade.protocols(channels::PROTOCOLS);
            let protocol = upgrade.selected_protocol().and_then(|value| value.to_str().ok());
            let form = Form::of(protocol.unwrap_or("channel.k8s.io"));
            upgrade.on_upgrade(move |socket| channels::carry(socket, form, streams))
        }
        upgrade::Asked::Spdy(on_upgrade, offered) => {
            let count = [true, asked.stdin, asked.stdout, asked.stderr, asked.tty];
            let count = count.into_iter().filter(|wanted| *wanted).count();
            upgrade::to_spdy(on_upgrade, &offered, &spdy_exec::PROTOCOLS, move |session| {
                spdy_exec::carry(session, count, streams)
            })
        }
    }
}

/// `/run`: a command to its end, its output as the answer.
pub(crate) async fn run(
    State(served): State<Served>,
    names: Names,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = Asked::of(query.as_deref());
    let words = asked.command.iter().flat_map(|command| command.split_whitespace());
    let command: Vec<String> = words.map(str::to_owned).collect();
    let found =
        find(&served, named(&names, "namespace"), named(&names, "pod"), named(&names, "container"));
    let found = match found {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    match served
        .node
        .runtime
        .exec_sync(&found.container_id, &command, Duration::from_secs(60))
        .await
    {
        Ok(answer) => {
            let output = [answer.stdout, answer.stderr].concat();
            let status = if answer.exit_code == 0 {
                StatusCode::OK
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            (status, output).into_response()
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_in_both_spellings() {
        let expected = Asked {
            command: vec!["sh".into(), "-c".into(), "echo a b&c".into()],
            stdout: true,
            stderr: true,
            ..Asked::default()
        };
        let kubelet = "command=sh&command=-c&command=echo+a%20b%26c&output=1&error=1";
        let server = "command=sh&command=-c&command=echo%20a%20b%26c&stdout=true&stderr=true";
        assert_eq!(Asked::of(Some(kubelet)), expected);
        assert_eq!(Asked::of(Some(server)), expected);
        assert!(!Asked::of(Some("command=a&tty=1&error=1&output=1")).stderr);
    }
}
