//! The second server, and what is around both: certificates, a network, callers.

mod flunder;
mod pki;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::Value;
use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials, RequestHeaders};
use apiserver::authz::Authorizer;
use async_trait::async_trait;
use auth::{Attributes, Decision, Target, UserInfo};
use base::drain::Drain;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;
use webhook::{Destination, DialError, ServiceReference, ServiceResolver};

use super::First;
pub(crate) use pki::{Certificate, Pki};

/// Where Services lead: there is no data plane in a test.
#[derive(Default)]
pub(crate) struct Network(Mutex<HashMap<(String, String), SocketAddr>>);

impl Network {
    pub(crate) fn lead(&self, namespace: &str, name: &str, address: SocketAddr) {
        self.0.lock().unwrap().insert((namespace.to_owned(), name.to_owned()), address);
    }
}

#[async_trait]
impl ServiceResolver for Network {
    async fn resolve(&self, service: &ServiceReference) -> Result<Vec<Destination>, DialError> {
        let key = (service.namespace.clone(), service.name.clone());
        let found = self.0.lock().unwrap().get(&key).copied();
        found.map(|address| vec![Destination::Address(address)]).ok_or_else(|| {
            DialError::Service(format!("no endpoints available for service {:?}", service.name))
        })
    }
}

/// The first server's tokens: one.
pub(crate) struct KnownTokens;

#[async_trait]
impl Authenticator for KnownTokens {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        match credentials.bearer_token {
            Some("known") => Ok(Some(UserInfo::named("system:serviceaccount:default:known", &[]))),
            Some(_) => Err(ApiError::unauthorized()),
            None => Ok(None),
        }
    }
}

/// The first server's permissions.
pub(crate) struct EverybodyButMallory;

#[async_trait]
impl Authorizer for EverybodyButMallory {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        match attributes.user.username.as_str() {
            "mallory" => Decision::Deny(String::new()),
            _ => Decision::Allow(String::new()),
        }
    }
}

/// Asks another server by reviews, as servers behind an aggregator do.
#[derive(Clone)]
struct Delegated {
    client: kube::Client,
    seen: Arc<Mutex<Vec<UserInfo>>>,
}

impl Delegated {
    async fn review(&self, uri: &str, body: Value) -> Value {
        let request = http::Request::post(uri)
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes())
            .unwrap();
        self.client.request::<Value>(request).await.unwrap()
    }
}

#[async_trait]
impl Authenticator for Delegated {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        let Some(token) = credentials.bearer_token else { return Ok(None) };
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                          "spec": {"token": token}});
        let answer = self.review("/apis/authentication.k8s.io/v1/tokenreviews", body).await;
        if answer["status"]["authenticated"] != true {
            return Err(ApiError::unauthorized());
        }
        Ok(serde_json::from_value(answer["status"]["user"].clone()).ok())
    }
}

#[async_trait]
impl Authorizer for Delegated {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        // The aggregator's own questions are not what the tests are about.
        if attributes.user.username != "system:kube-aggregator" {
            self.seen.lock().unwrap().push(attributes.user.clone());
        }
        let mut spec = json!({"user": attributes.user.username, "groups": attributes.user.groups});
        match &attributes.target {
            Target::Resource(own) => {
                spec["resourceAttributes"] = json!({
                    "verb": own.verb, "group": own.group, "version": own.version,
                    "resource": own.resource, "namespace": own.namespace, "name": own.name});
            }
            Target::NonResource(own) => {
                spec["nonResourceAttributes"] = json!({"verb": own.verb, "path": own.path});
            }
        }
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                          "spec": spec});
        let uri = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        match self.review(uri, body).await["status"]["allowed"] == true {
            true => Decision::Allow(String::new()),
            false => Decision::NoOpinion(String::new()),
        }
    }
}

/// Takes the caller from a client certificate.
struct UserCertificates;

#[async_trait]
impl Authenticator for UserCertificates {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok(credentials.certificate.map(|own| UserInfo::named(&own.common_name, &[])))
    }
}

/// A server of another group, over TLS on the loopback.
pub(crate) struct Second {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<UserInfo>>>,
    tls: pki::Clients,
    drain: Drain,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Second {
    pub(crate) async fn start(pki: &Pki, first: &testkit::ApiServer) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let delegated = Arc::new(Delegated { client: first.client(), seen: seen.clone() });
        let server = testkit::api_server_with(vec![flunder::kind()], |options| {
            options.authenticators = vec![
                Arc::new(RequestHeaders {
                    allowed_names: vec!["front-proxy-client".to_owned()],
                    ..RequestHeaders::default()
                }),
                Arc::new(UserCertificates),
                delegated.clone(),
            ];
            options.authorizers = vec![delegated.clone()];
            options.certificate_roles = Some(Arc::new(pki.roles()));
            options.allow_anonymous = false;
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let drain = Drain::new();
        let config = pki.server("sample-api.default.svc");
        let serving = apiserver::serve_tls(listener, config, server.server, drain.clone());
        Self { address, seen, tls: pki.clients(), drain, task: tokio::spawn(serving) }
    }

    /// Who was let in last.
    pub(crate) fn last_user(&self) -> UserInfo {
        self.seen.lock().unwrap().last().cloned().unwrap()
    }

    /// Ends it, connections and all.
    pub(crate) async fn stop(self) {
        self.drain.cancel();
        self.task.abort();
    }

    /// Asks it directly; 0 when it does not even speak.
    pub(crate) async fn ask(
        &self,
        certificate: Certificate,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> u16 {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = "sample-api.default.svc".try_into().unwrap();
        let Ok(stream) = self.tls.of(certificate).connect(name, stream).await else { return 0 };
        let mut request = http::Request::get(uri).header("host", "sample-api");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let Ok((mut sender, connection)) = handshake else { return 0 };
        tokio::spawn(connection);
        // In TLS 1.3 a refusal of the client's certificate comes with the first answer.
        sender.send_request(request).await.map_or(0, |answer| answer.status().as_u16())
    }
}

/// A streaming answer, line by line.
pub(crate) struct Lines {
    body: std::pin::Pin<Box<dyn http_body::Body<Data = bytes::Bytes, Error = Failure> + Send>>,
    rest: Vec<u8>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Lines {
    pub(crate) async fn of(first: &First, uri: &str) -> Self {
        let service = first.server.server.client_service(super::admin());
        let request = http::Request::get(uri).body(Body::empty()).unwrap();
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().map_err(Failure::from);
        Self { body: Box::pin(body), rest: Vec::new() }
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let frame = tokio::time::timeout(super::PATIENCE, self.body.frame()).await;
            let frame = frame.expect("an event in time").expect("more events").unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

/// Serves the first server on a socket, asks it for a WebSocket, and reads the first message.
pub(crate) async fn first_websocket_message(first: &First, uri: &str) -> Value {
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = pki.server("sample-api.default.svc");
    let server = first.server.server.clone();
    tokio::spawn(apiserver::serve_tls(listener, config, server, first.drain.clone()));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "sample-api.default.svc".try_into().unwrap();
    let stream = pki.clients().of(Certificate::None).connect(name, stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = http::Request::get(uri)
        .header("host", "first")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 101);
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut head = [0_u8; 2];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 0x81, "one whole text message");
    let len = match head[1] {
        126 => socket.read_u16().await.unwrap().into(),
        len => usize::from(len),
    };
    let mut text = vec![0; len];
    socket.read_exact(&mut text).await.unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Waits for something that nothing tells of.
pub(crate) async fn eventually<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, wait).await.expect("what is waited for")
}

pub(crate) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
