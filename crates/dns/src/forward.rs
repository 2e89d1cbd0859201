//! Names that are not the cluster's: asked of other resolvers, and remembered.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as UpstreamError, NetError};

/// Where other names are asked for.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// The name servers of a `resolv.conf`. Those on loopback are left out: they are the node's
    /// own, and here loopback is this very server.
    ResolvConf(PathBuf),
    /// These.
    Servers(Vec<SocketAddr>),
    /// Nowhere: nothing but the cluster's names is known.
    Nowhere,
}

/// What another resolver said.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
}

impl Forwarded {
    fn empty(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authorities: Vec::new() }
    }
}

/// Asks other resolvers.
pub(crate) struct Forwarder {
    resolver: Option<TokioResolver>,
}

const CACHE_ENTRIES: u64 = 8192;
const TIMEOUT: Duration = Duration::from_secs(2);

impl Forwarder {
    pub(crate) fn new(upstream: &Upstream) -> Self {
        let servers = servers(upstream);
        if servers.is_empty() {
            return Self { resolver: None };
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut options = ResolverOpts::default();
        options.ndots = 0;
        options.timeout = TIMEOUT;
        options.attempts = 2;
        options.cache_size = CACHE_ENTRIES;
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true;
        options.edns0 = true;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options);
        match builder.build() {
            Ok(resolver) => Self { resolver: Some(resolver) },
            Err(error) => {
                tracing::error!(%error, "no other resolver can be asked");
                Self { resolver: None }
            }
        }
    }

    pub(crate) async fn ask(&self, name: &Name, kind: RecordType) -> Forwarded {
        let Some(resolver) = &self.resolver else {
            return Forwarded::empty(ResponseCode::ServFail);
        };
        let mut name = name.clone();
        name.set_fqdn(true);
        match resolver.lookup(name, kind).await {
            Ok(lookup) => Forwarded {
                code: ResponseCode::NoError,
                answers: lookup.answers().to_vec(),
                authorities: Vec::new(),
            },
            Err(NetError::Dns(UpstreamError::NoRecordsFound(none))) => Forwarded {
                code: none.response_code,
                answers: Vec::new(),
                authorities: none.soa.map(|soa| soa.into_record_of_rdata()).into_iter().collect(),
            },
            Err(NetError::Dns(UpstreamError::ResponseCode(code))) => Forwarded::empty(code),
            Err(error) => {
                tracing::debug!(%error, "another resolver did not answer");
                Forwarded::empty(ResponseCode::ServFail)
            }
        }
    }
}

fn servers(upstream: &Upstream) -> Vec<NameServerConfig> {
    match upstream {
        Upstream::Nowhere => Vec::new(),
        Upstream::Servers(servers) => servers.iter().map(server_at).collect(),
        Upstream::ResolvConf(path) => match std::fs::read_to_string(path) {
            Ok(text) => {
                name_servers(&text).into_iter().map(NameServerConfig::udp_and_tcp).collect()
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no other resolver is known");
                Vec::new()
            }
        },
    }
}

fn server_at(address: &SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// The `nameserver` lines of a `resolv.conf` that can be asked from here.
fn name_servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_on_loopback_are_left_out() {
        let text = "# comment\nsearch a b\nnameserver 127.0.0.53\n nameserver\t192.0.2.53\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n";
        let expected: [IpAddr; 2] = ["192.0.2.53".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(name_servers(text), expected);
    }
}
