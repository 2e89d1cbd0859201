//! `httpGet`: whether a GET answers with 200 to 399. Lifecycle hooks use the same request.
//!
//! One connection a request, no certificate is verified (upstream's rule: the kubelet asks an
//! address, not a name), redirects are followed within the host only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;

use super::{Outcome, tcp};

const BODY_MAX: usize = 10 << 10;
const REDIRECTS_MAX: usize = 10;

/// A request to be made.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    /// Path and query.
    pub(crate) path: String,
    /// Headers that the pod's author wants.
    pub(crate) headers: HeaderMap,
}

impl Target {
    /// The target of an action, on an address and port already looked up.
    pub(crate) fn of(action: &HTTPGetAction, address: SocketAddr, agent: &str) -> Self {
        let scheme = if action.scheme.as_deref() == Some("HTTPS") { "https" } else { "http" };
        let path = action.path.clone().unwrap_or_default();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let mut headers = HeaderMap::new();
        for header in action.http_headers.iter().flatten() {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&header.value)) {
                headers.append(name, value);
            }
        }
        // What is given, even empty, wins over what is sent by default.
        if !headers.contains_key(USER_AGENT)
            && let Ok(agent) = HeaderValue::from_str(agent)
        {
            headers.insert(USER_AGENT, agent);
        }
        if !headers.contains_key(ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Self { scheme, address, path, headers }
    }

    fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.address, self.path)
    }
}

/// Tries once.
pub(crate) async fn probe(target: &Target, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, follow(target.clone())).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failure(format!(
            "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            target.url()
        )),
    }
}

async fn follow(mut target: Target) -> Outcome {
    for _ in 0..REDIRECTS_MAX {
        let (status, headers, body) = match get(&target).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::Failure(format!("Get \"{}\": {error}", target.url())),
        };
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        match (status, location) {
            (300..=399, Some(location)) => match redirect(&target, location) {
                Some(next) => target = next,
                None => {
                    return Outcome::Warning(format!(
                        "Probe terminated redirects, Response body: {body}"
                    ));
                }
            },
            (200..=399, _) => return Outcome::Success,
            _ => return Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        }
    }
    Outcome::Failure(format!("Get \"{}\": stopped after 10 redirects", target.url()))
}

/// Where a redirect leads, if it stays on the host.
fn redirect(from: &Target, location: &str) -> Option<Target> {
    let uri: Uri = location.parse().ok()?;
    let mut next = from.clone();
    if let Some(host) = uri.host() {
        let own = from.headers.get(HOST).and_then(|value| value.to_str().ok());
        let own = own.and_then(|own| own.split(':').next());
        if host.trim_matches(['[', ']']) != from.address.ip().to_string() && own != Some(host) {
            return None;
        }
        next.scheme = if uri.scheme_str() == Some("https") { "https" } else { "http" };
        let default = if next.scheme == "https" { 443 } else { 80 };
        next.address.set_port(uri.port_u16().unwrap_or(default));
    }
    next.path = uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
    if !next.path.starts_with('/') {
        next.path.insert(0, '/');
    }
    Some(next)
}

/// One request: status, headers, the beginning of the body.
pub(crate) async fn get(target: &Target) -> Result<(u16, HeaderMap, String), String> {
    let stream = TcpStream::connect(target.address)
        .await
        .map_err(|error| tcp::dial_error(target.address, &error))?;
    if target.scheme == "https" {
        let connector = tokio_rustls::TlsConnector::from(trusting_config()?);
        let name = ServerName::IpAddress(target.address.ip().into());
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        exchange(target, TokioIo::new(stream)).await
    } else {
        exchange(target, TokioIo::new(stream)).await
    }
}

async fn exchange<I>(target: &Target, io: I) -> Result<(u16, HeaderMap, String), String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| base::error::Chain(&error).to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(text)?;
    let mut request = Request::builder().uri(target.path.as_str()).body(Empty::<Bytes>::new());
    if let Ok(request) = &mut request {
        *request.headers_mut() = target.headers.clone();
        if !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(&target.address.to_string())
        {
            request.headers_mut().insert(HOST, host);
        }
    }
    let request = request.map_err(|error| error.to_string())?;
    let asked = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let (parts, body) = answer.into_parts();
        // A body that breaks off or never ends does not change the answer.
        let body = Limited::new(body, BODY_MAX).collect().await.map(|all| all.to_bytes());
        let body = body.unwrap_or_default();
        Ok((parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection is driven here, so that dropping the request ends it.
    tokio::pin!(asked);
    tokio::pin!(connection);
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut asked => return answer,
            _ended = &mut connection, if open => open = false,
        }
    }
}

fn trusting_config() -> Result<Arc<rustls::ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(TrustAnyone(provider.clone()));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Probes ask whether something answers, not who it is.
#[derive(Debug)]
struct TrustAnyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn check(answer: &'static str, expected: Outcome) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let action = HTTPGetAction { path: Some("/x?y".into()), ..HTTPGetAction::default() };
        let target = Target::of(&action, address, "kube-probe/1.36");
        assert_eq!(probe(&target, Duration::from_secs(5)).await, expected);
        let request = server.await.unwrap();
        assert!(request.starts_with("GET /x?y HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("user-agent: kube-probe/1.36\r\n"), "{request}");
    }

    #[tokio::test]
    async fn answers_are_judged_by_status() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Outcome::Success).await;
        check(
            "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            Outcome::Failure("HTTP probe failed with statuscode: 500".into()),
        )
        .await;
        check(
            "HTTP/1.1 302 Go\r\nlocation: http://example.com/\r\ncontent-length: 3\r\n\r\nbye",
            Outcome::Warning("Probe terminated redirects, Response body: bye".into()),
        )
        .await;
    }

    #[tokio::test]
    async fn a_closed_port_is_said_in_gos_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let target = Target::of(&HTTPGetAction::default(), address, "a");
        let expected =
            format!("Get \"http://{address}/\": dial tcp {address}: connect: connection refused");
        assert_eq!(probe(&target, Duration::from_secs(5)).await, Outcome::Failure(expected));
    }
}
