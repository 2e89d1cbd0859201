//! The lab: a node on the pod network, pods that answer with their number and who asked, and
//! somebody outside.

#![expect(unreachable_pub, reason = "the lab is one module of one test binary")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use net::netns::NetNs;
use net::pod_network::{self, PodNetwork};
use net::rtnl::{Route, RouteTarget, Rtnl, VethEnd};
use proxy::dataplane::nftables::Cost;
use proxy::dataplane::{Config, Dataplane, Nftables};
use proxy::{
    Delta, Endpoint, Frontend, Group, GroupKey, Protocol, Ruleset, Scope, ServiceKey, ServiceRules,
    Target, WhenEmpty,
};

pub const NODE_IP: &str = "192.0.2.1";
pub const OUTSIDE_IP: &str = "192.0.2.2";
const PORT: u16 = 8080;

pub struct Pod {
    pub netns: Arc<NetNs>,
    pub ip: IpAddr,
}

pub struct Lab {
    pub node: Arc<NetNs>,
    pub outside: NetNs,
    pub pods: Vec<Pod>,
    pub dataplane: Nftables,
    config: Config,
    all: Ruleset,
    delta: Delta,
    specs: std::collections::BTreeMap<String, Protocol>,
    _folder: tempfile::TempDir,
}

/// A service in short.
#[derive(Debug, Clone)]
pub struct Spec {
    vip: IpAddr,
    port: u16,
    protocol: Protocol,
    node_port: Option<u16>,
    external: Option<IpAddr>,
    sources: Vec<ipnet::IpNet>,
    endpoints: Vec<Endpoint>,
    local: Option<Vec<Endpoint>>,
    affinity: Option<Duration>,
    empty: WhenEmpty,
}

impl Spec {
    pub fn tcp(vip: &str, port: u16) -> Self {
        Self {
            vip: vip.parse().unwrap(),
            port,
            protocol: Protocol::Tcp,
            node_port: None,
            external: None,
            sources: Vec::new(),
            endpoints: Vec::new(),
            local: None,
            affinity: None,
            empty: WhenEmpty::Reject,
        }
    }

    pub fn udp(vip: &str, port: u16) -> Self {
        Self { protocol: Protocol::Udp, ..Self::tcp(vip, port) }
    }

    pub fn to(self, endpoints: &[Endpoint]) -> Self {
        Self { endpoints: endpoints.to_vec(), ..self }
    }

    pub fn local(self, endpoints: &[Endpoint]) -> Self {
        Self { local: Some(endpoints.to_vec()), ..self }
    }

    pub fn node_port(self, port: u16) -> Self {
        Self { node_port: Some(port), ..self }
    }

    pub fn external(self, ip: &str) -> Self {
        Self { external: Some(ip.parse().unwrap()), ..self }
    }

    pub fn only_from(self, net: &str) -> Self {
        Self { sources: vec![net.parse().unwrap()], ..self }
    }

    pub fn affinity(self, seconds: u64) -> Self {
        Self { affinity: Some(Duration::from_secs(seconds)), ..self }
    }

    pub fn empty(self, empty: WhenEmpty) -> Self {
        Self { empty, ..self }
    }

    fn rules(&self, service: &ServiceKey) -> ServiceRules {
        let key = |scope| GroupKey {
            service: service.clone(),
            protocol: self.protocol,
            port: self.port,
            scope,
            ipv6: false,
        };
        let group = |endpoints: &[Endpoint], masquerade| Group {
            endpoints: endpoints.to_vec(),
            affinity: self.affinity,
            masquerade,
            when_empty: self.empty,
        };
        let mut rules = ServiceRules {
            local: self.endpoints.iter().map(|endpoint| endpoint.ip).collect(),
            ..ServiceRules::default()
        };
        rules.groups.insert(key(Scope::Internal), group(&self.endpoints, false));
        let external = self.local.as_deref().unwrap_or(&self.endpoints);
        rules.groups.insert(key(Scope::External), group(external, self.local.is_none()));
        let inside = self.local.is_some().then(|| key(Scope::Inside));
        if let Some(inside) = &inside {
            rules.groups.insert(inside.clone(), group(&self.endpoints, false));
        }
        let frontend = |ip, port| Frontend { ip, protocol: self.protocol, port };
        let internal = Target { group: key(Scope::Internal), inside: None, sources: Vec::new() };
        rules.frontends.insert(frontend(self.vip, self.port), internal);
        let outer = Target { group: key(Scope::External), inside, sources: self.sources.clone() };
        if let Some(port) = self.node_port {
            rules.frontends.insert(frontend(IpAddr::from([0; 4]), port), outer.clone());
        }
        if let Some(ip) = self.external {
            rules.frontends.insert(frontend(ip, self.port), outer);
        }
        rules
    }
}

fn end<'a>(name: &'a str, last: u8, netns: Option<&'a NetNs>) -> VethEnd<'a> {
    VethEnd { name, mac: [2, 0, 0, 0, 9, last], netns: netns.map(AsFd::as_fd) }
}

impl Lab {
    pub fn new(pods: usize) -> Self {
        let (node, outside) = (Arc::new(NetNs::new().unwrap()), NetNs::new().unwrap());
        join(&node, &outside);
        let folder = tempfile::tempdir().unwrap();
        let nets = |text: &str| vec![text.parse().unwrap()];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let network = runtime
            .block_on(PodNetwork::start(pod_network::Config {
                pod_cidrs: nets("10.42.0.0/24"),
                inside_cidrs: nets("10.42.0.0/16"),
                service_cidrs: nets("10.96.0.0/12"),
                mtu: 1500,
                data_dir: folder.path().join("network"),
                netns: Some(node.clone()),
            }))
            .unwrap();
        let pods = (0..pods)
            .map(|n| {
                let netns = Arc::new(NetNs::new().unwrap());
                let id = n.to_string();
                let attach = network.attach(&id, netns.try_clone().unwrap(), Vec::new());
                let held = runtime.block_on(attach).unwrap();
                serve(&netns, n);
                Pod { netns, ip: held.ips[0] }
            })
            .collect();
        let config = Config {
            service_cidrs: nets("10.96.0.0/12"),
            pod_cidrs: nets("10.42.0.0/16"),
            netns: Some(node.clone()),
        };
        let mut dataplane = Nftables::new(config.clone());
        dataplane.replace(&Ruleset::default()).unwrap();
        Self {
            node,
            outside,
            pods,
            dataplane,
            config,
            all: Ruleset::default(),
            delta: Delta::default(),
            specs: std::collections::BTreeMap::new(),
            _folder: folder,
        }
    }

    pub fn endpoints(&self, pods: &[usize]) -> Vec<Endpoint> {
        let mut all: Vec<Endpoint> =
            pods.iter().map(|n| Endpoint { ip: self.pods[*n].ip, port: PORT }).collect();
        all.sort_unstable();
        all
    }

    pub fn queue(&mut self, name: &str, spec: Spec) {
        let key = ServiceKey::new("default", name);
        self.specs.insert(name.to_owned(), spec.protocol);
        self.all.set(&key, Some(spec.rules(&key)), &mut self.delta);
    }

    pub fn flush(&mut self) {
        self.dataplane.sync(&std::mem::take(&mut self.delta)).unwrap();
    }

    pub fn set(&mut self, name: &str, spec: Spec) {
        self.queue(name, spec);
        self.flush();
    }

    pub fn remove(&mut self, name: &str) {
        self.all.set(&ServiceKey::new("default", name), None, &mut self.delta);
        self.flush();
    }

    pub fn spec_protocol(&self, name: &str) -> Option<Protocol> {
        self.specs.get(name).copied()
    }

    /// As a new process would: knowing nothing of what is in the kernel.
    pub fn restart(&mut self) {
        self.dataplane = Nftables::new(self.config.clone());
        self.dataplane.replace(&self.all).unwrap();
    }

    pub fn cost_of_a_change(&mut self) -> Cost {
        let spec = Spec::tcp("10.96.0.99", 80);
        self.set("probe", spec.clone().to(&self.endpoints(&[0])));
        let other = Endpoint { ip: "10.42.0.77".parse().unwrap(), port: PORT };
        self.set("probe", spec.to(&[other]));
        self.dataplane.last_cost
    }
}

fn join(node: &NetNs, outside: &NetNs) {
    let mut rtnl = Rtnl::open_in(node).unwrap();
    rtnl.veth_add(&end("up0", 1, None), &end("up1", 2, Some(outside)), 1500).unwrap();
    let link = rtnl.require_link("up0").unwrap();
    rtnl.address_add(link.index, format!("{NODE_IP}/24").parse().unwrap()).unwrap();
    let mut there = Rtnl::open_in(outside).unwrap();
    let far = there.require_link("up1").unwrap();
    there.link_up(far.index).unwrap();
    there.address_add(far.index, format!("{OUTSIDE_IP}/24").parse().unwrap()).unwrap();
    for (rtnl, link, hop) in [(&mut rtnl, &link, OUTSIDE_IP), (&mut there, &far, NODE_IP)] {
        rtnl.route_add(&Route {
            to: "0.0.0.0/0".parse().unwrap(),
            target: RouteTarget::Via(hop.parse().unwrap(), link.index),
            source: None,
            protocol: 4,
            metric: 0,
        })
        .unwrap();
    }
}

/// Answers each connection with the pod's number and the client's address; then echoes, until the
/// client is done. Datagrams are answered with the number.
fn serve(netns: &NetNs, number: usize) {
    let (tcp, udp) = netns
        .run(|| {
            (
                TcpListener::bind(("0.0.0.0", PORT)).unwrap(),
                UdpSocket::bind(("0.0.0.0", PORT)).unwrap(),
            )
        })
        .unwrap();
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let peer = stream.peer_addr()?.ip();
                stream.write_all(format!("{number} {peer}\n").as_bytes())?;
                let mut buffer = [0; 64];
                loop {
                    let n = stream.read(&mut buffer)?;
                    if n == 0 {
                        return Ok::<(), std::io::Error>(());
                    }
                    stream.write_all(&buffer[..n])?;
                }
            });
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut buffer) {
            let _client_left = udp.send_to(number.to_string().as_bytes(), from);
        }
    });
}

pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// Who answers a client in the namespace: `number client`.
pub fn ask(netns: &NetNs, to: SocketAddr) -> Result<String, std::io::Error> {
    netns.run(|| ask_here(to)).unwrap()
}

pub fn ask_here(to: SocketAddr) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// A connection that is held open.
pub struct Held(TcpStream);

impl Held {
    pub fn open(netns: &NetNs, to: SocketAddr) -> Self {
        let mut stream = netns.run(|| TcpStream::connect(to).unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut byte = [0];
        while byte[0] != b'\n' {
            stream.read_exact(&mut byte).unwrap();
        }
        Self(stream)
    }

    pub fn check(&mut self) {
        self.0.write_all(b"still there?").unwrap();
        let mut answer = [0; 12];
        self.0.read_exact(&mut answer).unwrap();
    }
}

pub fn udp_client(netns: &NetNs, to: SocketAddr) -> UdpSocket {
    netns
        .run(|| {
            let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket
        })
        .unwrap()
}

pub fn say(socket: &UdpSocket) -> Result<String, std::io::Error> {
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
}
