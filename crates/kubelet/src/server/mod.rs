//! The kubelet's HTTPS server: logs, exec, attach, port-forward, stats, pods; upstream's paths.
//!
//! Every request has an identity (a client certificate, or a bearer token that the API server
//! vouches for) and is authorized as a verb on a subresource of this node. HTTP/1.1 only, because
//! streams are upgrades.

mod access;
mod channels;
mod exec;
mod logs;
mod parts;
mod port_forward;
mod spdy;
mod spdy_exec;
mod stats;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use base::drain::Drain;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::context::NodeContext;
use crate::dispatch::Dispatch;
use crate::options::ServerOptions;
use crate::pod;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const BIND_RETRY: Duration = Duration::from_secs(1);

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) node: Arc<NodeContext>,
    pub(crate) dispatch: Dispatch,
}

/// Serves until the drain fires.
pub(crate) async fn run(node: &Arc<NodeContext>, dispatch: &Dispatch, drain: &Drain) {
    let Some(options) = node.options.server.clone() else { return };
    let served = Served { node: node.clone(), dispatch: dispatch.clone() };
    let router = router(served.clone(), &options);
    let mut tls = rustls::ServerConfig::clone(&options.tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let Some(listener) = bind(&options, drain).await else { return };
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve(stream, acceptor.clone(), router.clone());
                let drain = drain.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        () = drain.cancelled() => {}
                    }
                });
            }
            // Out of descriptors, most likely: a pause lets connections end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn bind(options: &ServerOptions, drain: &Drain) -> Option<TcpListener> {
    let mut said = false;
    loop {
        match TcpListener::bind(options.address).await {
            Ok(listener) => return Some(listener),
            Err(error) if !std::mem::replace(&mut said, true) => {
                tracing::error!(address = %options.address, %error, "the kubelet's server cannot listen, trying again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = drain.cancelled() => return None,
            () = tokio::time::sleep(BIND_RETRY) => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let _unimportant = stream.set_nodelay(true);
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await else {
        return;
    };
    let certificate =
        tls.get_ref().1.peer_certificates().and_then(|chain| access::subject(chain.first()?));
    let router = router.layer(axum::Extension(certificate));
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(router);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(tls), service).await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection to the kubelet ended");
    }
}

/// All paths. Those without authorization of their own are `nodes/proxy`, as upstream's.
pub(crate) fn router(served: Served, options: &ServerOptions) -> Router {
    let gate = access::Gate {
        access: options.access.clone(),
        node: served.node.options.node_name.clone(),
    };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/healthz/ping", get(|| async { "ok" }))
        .route("/healthz/syncloop", get(|| async { "ok" }))
        .route("/pods", get(pods))
        .route("/runningpods/", get(pods))
        .route("/configz", get(configz))
        .route("/stats/summary", get(stats::summary))
        .route("/metrics/resource", get(stats::resource_metrics))
        .route("/metrics", get(stats::own_metrics))
        .route("/metrics/cadvisor", get(stats::resource_metrics))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::container_logs))
        .route("/run/{namespace}/{pod}/{container}", post(exec::run))
        .route("/run/{namespace}/{pod}/{uid}/{container}", post(exec::run))
        .route("/exec/{namespace}/{pod}/{container}", any(exec::exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(exec::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(exec::attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(exec::attach))
        .route("/portForward/{namespace}/{pod}", any(port_forward::port_forward))
        .route("/portForward/{namespace}/{pod}/{uid}", any(port_forward::port_forward))
        .layer(axum::middleware::from_fn_with_state(gate, access::check))
        .with_state(served)
}

async fn pods(State(served): State<Served>) -> Response {
    use api::typed::Kind as _;
    let items: Vec<serde_json::Value> = served
        .dispatch
        .pods()
        .iter()
        .filter_map(|pod| serde_json::from_slice(&pod.encode()).ok())
        .collect();
    axum::Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
        .into_response()
}

async fn configz(State(served): State<Served>) -> Response {
    let options = &served.node.options;
    axum::Json(json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "staticPodPath": options.static_pod_dir.as_ref().map(|path| path.display().to_string()),
        "syncFrequency": "1m0s",
        "clusterDomain": options.cluster_domain,
        "clusterDNS": options.cluster_dns,
        "maxPods": options.max_pods,
        "podCIDR": options.pod_cidr.clone().unwrap_or_default(),
        "nodeLeaseDurationSeconds": 40,
        "nodeStatusReportFrequency": "5m0s",
        "imageGCHighThresholdPercent": 85,
        "imageGCLowThresholdPercent": 80,
        "containerLogMaxSize": format!("{}", options.log_size_max_bytes),
        "containerLogMaxFiles": options.log_files_max,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": true,
    }}))
    .into_response()
}

/// An answer in plain text, as upstream's kubelet gives.
pub(crate) fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

/// A running container of one of this node's pods.
pub(crate) struct Found {
    pub(crate) pod: Pod,
    pub(crate) container_id: String,
}

/// Looks a container up; an answer for the caller when it is not there or does not run.
pub(crate) fn find(
    served: &Served,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<Found, Box<Response>> {
    let refuse = |status, text: String| Err(Box::new(plain(status, text)));
    if parts::find(&served.node, namespace, name).is_some() {
        let text = format!(
            "pod {name} shows a part of the ferry process itself: there is no container to enter"
        );
        return refuse(StatusCode::BAD_REQUEST, text);
    }
    let Some(pod) = served.dispatch.pod(namespace, name) else {
        return refuse(
            StatusCode::NOT_FOUND,
            format!("pod does not exist: \"{name}_{namespace}\""),
        );
    };
    if pod::container(&pod, container).is_none() {
        return refuse(StatusCode::NOT_FOUND, format!("container not found (\"{container}\")"));
    }
    let id = status_of(&pod, container).and_then(|status| {
        status.state.as_ref()?.running.as_ref()?;
        status.container_id.as_ref()?.split_once("://").map(|(_, id)| id.to_owned())
    });
    match id {
        Some(container_id) => Ok(Found { pod, container_id }),
        None => refuse(StatusCode::BAD_REQUEST, format!("container not found (\"{container}\")")),
    }
}

/// A container's status in its pod's.
pub(crate) fn status_of<'a>(
    pod: &'a Pod,
    container: &str,
) -> Option<&'a k8s_openapi::api::core::v1::ContainerStatus> {
    let status = pod.status.as_ref()?;
    [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ]
    .into_iter()
    .flatten()
    .flatten()
    .find(|one| one.name == container)
}

#[cfg(test)]
mod tests;
