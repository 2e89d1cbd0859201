//! `/portForward` over WebSocket: two channels a port, data and errors; the first message on each
//! is the port's number, the low byte first. (kubelet `portforward/websocket.go`)

use std::collections::HashMap;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, WriteHalf, split};
use tokio::sync::mpsc;

use super::channels::Form;
use super::{Served, parts, plain};
use crate::config::labels;
use container_runtime::{Connection, PodSandboxFilter, PodSandboxState};

const PROTOCOLS: [&str; 2] = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
const QUEUE: usize = 16;
const READ_BLOCK: usize = 32 << 10;

/// The handler.
pub(crate) async fn port_forward(
    State(served): State<Served>,
    Path(names): Path<HashMap<String, String>>,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
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
    let Ok(upgrade) = upgrade else {
        let text = "this needs a WebSocket connection: SPDY streams are not supported yet";
        return plain(StatusCode::BAD_REQUEST, text);
    };
    if ports.is_empty() {
        return plain(StatusCode::BAD_REQUEST, "query parameter \"port\" is required");
    }
    let upgrade = upgrade.protocols(PROTOCOLS);
    let protocol = upgrade.selected_protocol().and_then(|value| value.to_str().ok());
    let form = Form::of(protocol.unwrap_or(PROTOCOLS[0]));
    let runtime = served.node.runtime.clone();
    upgrade.on_upgrade(move |socket| async move {
        let mut connections = Vec::new();
        for port in &ports {
            connections.push((*port, runtime.port_forward(&sandbox.id, *port).await));
        }
        carry(socket, form, connections).await;
    })
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
        let _gone = sink.send(Message::Close(None)).await;
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
