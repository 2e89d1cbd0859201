//! Takes requests, answers them, and says whether it can.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::drain::Drain;
use base::rng::SharedRng;
use hickory_proto::op::{Edns, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use reconcile::Caches;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

use crate::admin;
use crate::forward::{Forwarder, Upstream};
use crate::metrics::Metrics;
use crate::view::ClusterView;
use crate::zone::{Answer, Zone};

/// How the server runs.
#[derive(Debug, Clone)]
pub struct DnsOptions {
    /// The cluster's domain.
    pub domain: String,
    /// Where requests are taken, UDP and TCP.
    pub listen: SocketAddr,
    /// Where `/health` is; `None` is nowhere.
    pub health: Option<SocketAddr>,
    /// Where `/ready` is.
    pub ready: Option<SocketAddr>,
    /// Where `/metrics` is.
    pub metrics: Option<SocketAddr>,
    /// Who is asked for other names.
    pub upstream: Upstream,
    /// For how many seconds clients may keep an answer about the cluster.
    pub ttl: u32,
    /// How long requests are still answered after the end was asked for, while clients' routes
    /// change.
    pub lameduck: Duration,
}

impl Default for DnsOptions {
    fn default() -> Self {
        let at = |port| SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), port);
        Self {
            domain: "cluster.local".to_owned(),
            listen: at(53),
            health: Some(at(8080)),
            ready: Some(at(8181)),
            metrics: Some(at(9153)),
            upstream: Upstream::ResolvConf("/etc/resolv.conf".into()),
            ttl: 5,
            lameduck: Duration::from_secs(2),
        }
    }
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The domain is no name.
    #[error("{domain:?} is no domain")]
    Domain {
        /// What was given.
        domain: String,
        /// What is wrong with it.
        #[source]
        source: hickory_proto::ProtoError,
    },
    /// A port cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("the dns server ended: {0}")]
    Ended(String),
}

/// A client that sends nothing on its TCP connection for so long is cut off.
const TCP_IDLE: Duration = Duration::from_secs(10);
const TCP_RESPONSES_MAX: usize = 64;
/// How long a question about the cluster waits for the caches when the server has just started.
const SYNC_WAIT: Duration = Duration::from_secs(4);
/// How long `/ready` waits for them: less than a probe's usual second.
const READY_WAIT: Duration = Duration::from_millis(800);
/// The largest datagram that is sent: it passes any network in one piece. (DNS flag day 2020)
const UDP_BYTES_MAX: u16 = 1232;
/// Aliases that are followed.
const ALIASES_MAX: usize = 8;

/// Serves until the drain fires.
///
/// # Errors
/// A port cannot be had, or the domain is no name.
pub async fn run(options: DnsOptions, client: kube::Client, drain: Drain) -> Result<(), DnsError> {
    let caches = Caches::new(client, SharedRng::from_os(), drain.clone());
    serve(options, ClusterView::new(&caches), drain).await
}

pub(crate) async fn serve(
    options: DnsOptions,
    view: ClusterView,
    drain: Drain,
) -> Result<(), DnsError> {
    let zone = Zone::new(&options.domain, options.ttl)
        .map_err(|source| DnsError::Domain { domain: options.domain.clone(), source })?;
    let metrics = Arc::new(Metrics::new(zone.origin().to_ascii()));
    let handler = Handler {
        zone,
        view: view.clone(),
        forwarder: Forwarder::new(&options.upstream),
        metrics: metrics.clone(),
        rng: SharedRng::from_os(),
    };
    let mut server = Server::new(handler);
    let udp = bind(options.listen, UdpSocket::bind).await?;
    // Port 0 is for tests: TCP takes the port that UDP was given.
    let port = udp.local_addr().map_or(options.listen.port(), |address| address.port());
    let tcp = bind(SocketAddr::new(options.listen.ip(), port), TcpListener::bind).await?;
    server.register_socket(udp);
    server.register_listener(tcp, TCP_IDLE, TCP_RESPONSES_MAX);
    let pages = pages(&options, view, metrics, drain.clone()).await?;
    tokio::select! {
        ended = server.block_until_done() => {
            let why = ended.map_or_else(|error| error.to_string(), |()| "without a reason".into());
            return Err(DnsError::Ended(why));
        }
        () = drain.cancelled() => {}
    }
    tokio::select! {
        _ended = server.block_until_done() => {}
        () = tokio::time::sleep(options.lameduck) => {}
    }
    let done = server.shutdown_gracefully().await;
    pages.into_iter().for_each(|page| page.abort());
    done.map_err(|error| DnsError::Ended(error.to_string()))
}

/// Binds; where a host has no IPv6, to IPv4 instead.
async fn bind<T, F>(address: SocketAddr, with: impl Fn(SocketAddr) -> F) -> Result<T, DnsError>
where
    F: Future<Output = io::Result<T>>,
{
    let source = match with(address).await {
        Ok(bound) => return Ok(bound),
        Err(error) => error,
    };
    if address.ip().is_unspecified() && address.is_ipv6() {
        let four = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        if let Ok(bound) = with(four).await {
            return Ok(bound);
        }
    }
    Err(DnsError::Listen { address, source })
}

async fn pages(
    options: &DnsOptions,
    view: ClusterView,
    metrics: Arc<Metrics>,
    drain: Drain,
) -> Result<Vec<tokio::task::JoinHandle<()>>, DnsError> {
    let health: admin::Page = Arc::new(|| Box::pin(async { ("200 OK", "OK".to_owned()) }));
    let ready: admin::Page = Arc::new(move || {
        let (view, drain) = (view.clone(), drain.clone());
        Box::pin(async move {
            // A probe comes seldom; a moment's patience spares the next one's wait.
            let synced = tokio::time::timeout(READY_WAIT, view.synced()).await.is_ok();
            match (drain.is_cancelled(), synced) {
                (false, true) => ("200 OK", "OK".to_owned()),
                (true, _) => ("503 Service Unavailable", "shutting down".to_owned()),
                (_, false) => ("503 Service Unavailable", "kubernetes".to_owned()),
            }
        })
    });
    let numbers: admin::Page = Arc::new(move || {
        let text = metrics.text();
        Box::pin(async move { ("200 OK", text) })
    });
    let mut tasks = Vec::new();
    for (address, path, page) in [
        (options.health, "/health", health),
        (options.ready, "/ready", ready),
        (options.metrics, "/metrics", numbers),
    ] {
        if let Some(address) = address {
            let listener = bind(address, TcpListener::bind).await?;
            tasks.push(tokio::spawn(admin::serve(listener, path, page)));
        }
    }
    Ok(tasks)
}

struct Handler {
    zone: Zone,
    view: ClusterView,
    forwarder: Forwarder,
    metrics: Arc<Metrics>,
    rng: SharedRng,
}

/// An answer before it is put into a message.
#[derive(Debug, Default)]
struct Reply {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    /// Whether the cluster's own zone answered.
    ours: bool,
}

impl Handler {
    async fn reply(&self, name: &Name, kind: RecordType) -> Reply {
        let mut reply = Reply::default();
        let mut name = name.clone();
        for n in 0..ALIASES_MAX {
            match self.zone.answer(&self.view, &name, kind) {
                Answer::Elsewhere => {
                    let forwarded = self.forwarder.ask(&name, kind).await;
                    // Behind an alias of ours, a failure elsewhere still leaves the alias true.
                    reply.code = if n > 0 { ResponseCode::NoError } else { forwarded.code };
                    reply.answers.extend(forwarded.answers);
                    reply.authorities = forwarded.authorities;
                    return reply;
                }
                Answer::Alias { alias, target } => {
                    reply.ours = true;
                    reply.answers.push(*alias);
                    if kind == RecordType::CNAME {
                        return reply;
                    }
                    name = target;
                }
                Answer::Records { mut answers, additionals } => {
                    self.shuffle(&mut answers);
                    reply.ours = true;
                    reply.answers.extend(answers);
                    reply.additionals = additionals;
                    return reply;
                }
                none @ (Answer::NoName | Answer::NoData) => {
                    reply.ours = true;
                    if none == Answer::NoName && reply.answers.is_empty() {
                        reply.code = ResponseCode::NXDomain;
                    }
                    reply.authorities.push(self.zone.soa());
                    return reply;
                }
            }
        }
        reply.code = ResponseCode::ServFail;
        reply
    }

    /// Clients take the first address; so that they do not all take the same.
    fn shuffle(&self, records: &mut [Record]) {
        for n in (1..records.len()).rev() {
            let other = self.rng.below(n as u64 + 1);
            records.swap(n, usize::try_from(other).unwrap_or(n));
        }
    }

    /// Waits for the caches, once after the start; `false` when they do not come.
    async fn knows_the_cluster(&self) -> bool {
        self.view.has_synced() || tokio::time::timeout(SYNC_WAIT, self.view.synced()).await.is_ok()
    }

    async fn decide(&self, request: &Request) -> Reply {
        let refused = |code| Reply { code, ..Reply::default() };
        if request.metadata.op_code != OpCode::Query {
            return refused(ResponseCode::NotImp);
        }
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return refused(ResponseCode::BADVERS);
        }
        let [query] = request.queries.queries() else { return refused(ResponseCode::FormErr) };
        if query.query_class() != DNSClass::IN
            || matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR)
        {
            return refused(ResponseCode::Refused);
        }
        if !self.knows_the_cluster().await {
            return refused(ResponseCode::ServFail);
        }
        self.reply(&query.original().name, query.query_type()).await
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response_handle: R,
    ) -> ResponseInfo {
        let started = Instant::now();
        let reply = self.decide(request).await;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, UDP_BYTES_MAX));
            edns.set_version(0);
            edns.set_rcode_high(reply.code.high());
            edns
        });
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = reply.ours;
        metadata.recursion_available = true;
        metadata.response_code = reply.code;
        let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
        let response =
            builder.build(metadata, &reply.answers, &reply.authorities, &[], &reply.additionals);
        let sent = response_handle.send_response(response).await;
        let protocol = if request.protocol() == Protocol::Udp { "udp" } else { "tcp" };
        let query = request.queries.queries().first();
        let kind = query.map_or_else(|| "other".into(), |query| query.query_type().to_string());
        let code = format!("{:?}", reply.code).to_uppercase();
        self.metrics.answered(reply.ours, protocol, kind, code, started.elapsed());
        sent.unwrap_or_else(|error| {
            tracing::debug!(%error, "a client left before its answer");
            let header = hickory_proto::op::Header { metadata, counts: Default::default() };
            ResponseInfo::from(header)
        })
    }
}

#[cfg(test)]
mod tests;
