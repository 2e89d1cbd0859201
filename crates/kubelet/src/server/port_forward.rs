//! `/portForward`. Over SPDY, by itself or within a WebSocket: a pair of streams, data and errors, for
//! each connection to a port. Over plain WebSocket: two channels a port; the first message on each is
//! the port's number, the low byte first. (kubelet `portforward/{httpstream,websocket}.go`)

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, WriteHalf, split};
use tokio::sync::mpsc;

use super::channels::{self, Form};
use super::spdy::{Session, Stream};
use super::{Served, parts, plain, upgrade};
use crate::config::labels;
use container_runtime::{Connection, PodSandboxFilter, PodSandboxState, RuntimeService};

/// The protocol over SPDY.
const OVER_SPDY: &str = "portforward.k8s.io";
/// The protocols over WebSocket; the first carries SPDY.
const PROTOCOLS: [&str; 3] =
    ["SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
const QUEUE: usize = 16;
const READ_BLOCK: usize = 32 << 10;

/// The handler.
pub(crate) async fn port_forward(
    State(served): State<Served>,
    Path(names): Path<HashMap<String, String>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let name = |key: &str| names.get(key).cloned().unwrap_or_default();
    if parts::find(&served.node, &name("namespace"), &name("pod")).is_some() {
        let text =
            "this pod shows a part of the ferry process itself: there is nothing to forward to";
        return plain(StatusCode::BAD_REQUEST, text);
    }
    let Some(pod) = served.dispatch.pod(&name("namespace"), &name("pod")) else {
        let text = format!("pod does not exist: \"{}_{}\"", name("pod"), name("namespace"));
        return plain(StatusCode::NOT_FOUND, text);
    };
    let ports: Vec<u16> = super::exec::pairs(query.as_deref().unwrap_or_default())
        .iter()
        .filter(|(key, _)| key == "port" || key == "ports")
        .flat_map(|(_, value)| {
            value.split(',').filter_map(|port| port.parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    let label_selector = [(labels::POD_UID.to_owned(), crate::pod::uid(&pod).to_owned())].into();
    let filter = PodSandboxFilter {
        state: Some(PodSandboxState::Ready),
        label_selector,
        ..PodSandboxFilter::default()
    };
    let sandboxes = served.node.runtime.list_pod_sandbox(&filter).await.unwrap_or_default();
    let Some(sandbox) = sandboxes.into_iter().next() else {
        return plain(StatusCode::BAD_REQUEST, "the pod has no running sandbox");
    };
    let runtime = served.node.runtime.clone();
    let upgrade = match upgrade::asked(request).await {
        Ok(upgrade::Asked::Spdy(on_upgrade, offered)) => {
            return upgrade::to_spdy(on_upgrade, &offered, &[OVER_SPDY], move |session| {
                pairs_of_streams(session, runtime, sandbox.id)
            });
        }
        Ok(upgrade::Asked::WebSocket(upgrade)) => upgrade.protocols(PROTOCOLS),
        Err(answer) => return answer,
    };
    let protocol =
        upgrade.selected_protocol().and_then(|value| value.to_str().ok()).unwrap_or(PROTOCOLS[1]);
    if protocol.starts_with(upgrade::TUNNEL) {
        return upgrade.on_upgrade(move |socket| async move {
            pairs_of_streams(Session::start(upgrade::tunnel(socket)), runtime, sandbox.id).await;
        });
    }
    if ports.is_empty() {
        return plain(StatusCode::BAD_REQUEST, "query parameter \"port\" is required");
    }
    let form = Form::of(protocol);
    upgrade.on_upgrade(move |socket| async move {
        let mut connections = Vec::new();
        for port in &ports {
            connections.push((*port, runtime.port_forward(&sandbox.id, *port).await));
        }
        carry(socket, form, connections).await;
    })
}

/// Serves pairs of streams until the client goes: each pair is a connection of its own.
async fn pairs_of_streams(mut session: Session, runtime: Arc<dyn RuntimeService>, sandbox: String) {
    let mut waiting: HashMap<String, Stream> = HashMap::new();
    let mut running = tokio::task::JoinSet::new();
    while let Some(stream) = session.accept().await {
        let header = |name: &str| stream.headers.get(name).cloned().unwrap_or_default();
        // Clients before 1.3 send no id: their pairs have the port in common.
        let id = match header("requestid") {
            id if id.is_empty() => header("port"),
            id => id,
        };
        let is_data = header("streamtype") == "data";
        let Some(other) = waiting.remove(&id) else {
            waiting.insert(id, stream);
            continue;
        };
        let (data, error) = if is_data { (stream, other) } else { (other, stream) };
        running.spawn(connect(data, error, runtime.clone(), sandbox.clone()));
        while running.try_join_next().is_some() {}
    }
}

async fn connect(
    mut data: Stream,
    error: Stream,
    runtime: Arc<dyn RuntimeService>,
    sandbox: String,
) {
    let port: Option<u16> = data.headers.get("port").and_then(|port| port.parse().ok());
    let connected = match port {
        Some(port) => runtime.port_forward(&sandbox, port).await.map_err(|error| error.to_string()),
        None => Err("the stream names no port".to_owned()),
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(why) => {
            let text = format!("an error occurred forwarding {}: {why}", port.unwrap_or_default());
            error.writer.write(text.as_bytes()).await;
            error.writer.finish().await;
            data.writer.reset().await;
            return;
        }
    };
    let (mut reader, mut writer) = split(connection);
    let incoming = async {
        while let Some(bytes) = data.reader.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _closed = writer.shutdown().await;
    };
    let outgoing = async {
        let mut block = vec![0; READ_BLOCK];
        while let Ok(read @ 1..) = reader.read(&mut block).await {
            if !data.writer.write(&block[..read]).await {
                return;
            }
        }
        data.writer.finish().await;
    };
    tokio::join!(incoming, outgoing);
    error.writer.finish().await;
}

async fn carry(
    socket: WebSocket,
    form: Form,
    connections: Vec<(u16, container_runtime::Result<Connection>)>,
) {
    let (mut sink, mut source) = socket.split();
    let (sender, mut receiver) = mpsc::channel::<Message>(QUEUE);
    let mut writers: HashMap<u8, WriteHalf<Connection>> = HashMap::new();
    let mut readers = Vec::new();
    for (index, (port, connection)) in connections.into_iter().enumerate() {
        let Ok(data) = u8::try_from(index * 2) else { break };
        for channel in [data, data + 1] {
            let _gone = sink.send(form.encode(channel, &port.to_le_bytes())).await;
        }
        match connection {
            Ok(connection) => {
                let (mut reader, writer) = split(connection);
                writers.insert(data, writer);
                let sender = sender.clone();
                readers.push(async move {
                    let mut block = vec![0; READ_BLOCK];
                    while let Ok(read @ 1..) = reader.read(&mut block).await {
                        if sender.send(form.encode(data, &block[..read])).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Err(error) => {
                let text = format!("an error occurred forwarding {port}: {error}");
                let _gone = sink.send(form.encode(data + 1, text.as_bytes())).await;
            }
        }
    }
    drop(sender);
    let writing = async move {
        while let Some(message) = receiver.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _gone = sink.send(channels::end()).await;
    };
    let reading = async move {
        while let Some(Ok(message)) = source.next().await {
            if let Some((channel, data)) = form.decode(&message)
                && let Some(writer) = writers.get_mut(&channel)
                && writer.write_all(&data).await.is_err()
            {
                writers.remove(&channel);
            }
        }
    };
    let outputs = async { tokio::join!(futures::future::join_all(readers), writing) };
    tokio::select! {
        _ended = outputs => {}
        () = reading => {}
    }
}
