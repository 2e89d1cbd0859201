//! What can go wrong with a call, in upstream's words: people match on them and search for them.

use std::fmt;

/// Why a connection did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The Service does not exist, or has no such port, or nobody behind it.
    #[error("{0}")]
    Service(String),
    /// The name has no address.
    #[error("dial tcp: lookup {name}: {why}")]
    Lookup {
        /// The name.
        name: String,
        /// What the resolver said.
        why: String,
    },
    /// Nobody takes the connection.
    #[error("dial tcp {address}: {why}")]
    Connect {
        /// Who was tried.
        address: String,
        /// What the system said.
        why: String,
    },
    /// It is not who it ought to be, or does not speak TLS.
    #[error("{0}")]
    Tls(String),
}

/// A call that brought no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// It is not even clear whom to ask.
    #[error("{0}")]
    Config(String),
    /// The request got no answer.
    #[error("Post \"{url}\": {why}")]
    Post {
        /// The URL, with its query.
        url: String,
        /// Why.
        why: String,
        /// Whether time ran out.
        timed_out: bool,
    },
    /// The answer was not 200.
    #[error("{}", status_text(*code, body))]
    Status {
        /// The HTTP status.
        code: u16,
        /// The start of the body.
        body: String,
    },
    /// The answer is longer than anything sensible.
    #[error("the response is longer than {0} bytes")]
    TooLong(usize),
    /// The answer is no JSON.
    #[error("couldn't get version/kind; json parse error: {0}")]
    Unreadable(String),
}

impl CallError {
    pub(crate) fn config(why: impl Into<String>) -> Self {
        Self::Config(why.into())
    }

    /// Whether the call took longer than it may.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Post { timed_out: true, .. })
    }
}

/// client-go's words for answers that are no `Status` (`NewGenericServerResponse`).
fn status_text(code: u16, body: &str) -> String {
    let body = body.trim();
    match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 if !body.is_empty() => body.to_owned(),
        403 => "forbidden".to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        415 => "the body of the request was in an unknown format".to_owned(),
        429 => {
            "the server has received too many requests and has asked us to try again later"
                .to_owned()
        }
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned()
        }
        code if code >= 500 => {
            format!("an error on the server ({body:?}) has prevented the request from succeeding")
        }
        code => {
            format!(
                "the server responded with the status code {code} but did not return more information"
            )
        }
    }
}

/// What Go says of an error of the system: the call and the errno's text.
pub(crate) fn io_text(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    let text = match error.kind() {
        Kind::ConnectionRefused => "connect: connection refused",
        Kind::ConnectionReset => "read: connection reset by peer",
        Kind::HostUnreachable => "connect: no route to host",
        Kind::NetworkUnreachable => "connect: network is unreachable",
        Kind::TimedOut => "i/o timeout",
        Kind::UnexpectedEof => "EOF",
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// What Go says of a handshake that failed.
pub(crate) fn tls_text(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("tls: failed to verify certificate: {}", CertificateText(why))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(other) => format!("tls: {other}"),
        None => io_text(error),
    }
}

struct CertificateText<'a>(&'a rustls::CertificateError);

impl fmt::Display for CertificateText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use rustls::CertificateError as Why;
        match self.0 {
            Why::UnknownIssuer | Why::BadSignature => {
                f.write_str("x509: certificate signed by unknown authority")
            }
            Why::Expired
            | Why::ExpiredContext { .. }
            | Why::NotValidYet
            | Why::NotValidYetContext { .. } => {
                f.write_str("x509: certificate has expired or is not yet valid")
            }
            Why::NotValidForNameContext { expected, presented } => {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                let names = if names.is_empty() { "no names".to_owned() } else { names.join(", ") };
                write!(f, "x509: certificate is valid for {names}, not {}", expected.to_str())
            }
            other => write!(f, "x509: {other}"),
        }
    }
}

/// The name in `DnsName("a.b")`.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}
