//! The pod network on a real kernel: a "node" and an "outside" in namespaces of their own, pods
//! wired to the node, and TCP between all of them.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use net::conntrack::Flow;
use net::netns::NetNs;
use net::pod_network::{Attachment, Config, HostPort, PodNetwork, Protocol};
use net::rtnl::{Route, RouteTarget, Rtnl, VethEnd};
use std::os::fd::AsFd;

const NODE_IP: &str = "192.0.2.1";
const OUTSIDE_IP: &str = "192.0.2.2";

struct Lab {
    node: Arc<NetNs>,
    outside: NetNs,
    folder: tempfile::TempDir,
}

fn end<'a>(name: &'a str, last: u8, netns: Option<&'a NetNs>) -> VethEnd<'a> {
    VethEnd { name, mac: [2, 0, 0, 0, 9, last], netns: netns.map(AsFd::as_fd) }
}

impl Lab {
    fn new() -> Self {
        let (node, outside) = (NetNs::new().unwrap(), NetNs::new().unwrap());
        let mut rtnl = Rtnl::open_in(&node).unwrap();
        rtnl.veth_add(&end("up0", 1, None), &end("up1", 2, Some(&outside)), 1500).unwrap();
        let loopback = rtnl.require_link("lo").unwrap();
        rtnl.link_up(loopback.index).unwrap();
        let link = rtnl.require_link("up0").unwrap();
        rtnl.address_add(link.index, format!("{NODE_IP}/24").parse().unwrap()).unwrap();
        rtnl.route_add(&Route {
            to: "0.0.0.0/0".parse().unwrap(),
            target: RouteTarget::Via(OUTSIDE_IP.parse().unwrap(), link.index),
            source: None,
            protocol: 4,
            metric: 0,
        })
        .unwrap();
        let mut there = Rtnl::open_in(&outside).unwrap();
        let link = there.require_link("up1").unwrap();
        there.link_up(link.index).unwrap();
        there.address_add(link.index, format!("{OUTSIDE_IP}/24").parse().unwrap()).unwrap();
        Self { node: Arc::new(node), outside, folder: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> Config {
        Config {
            pod_cidrs: vec!["10.42.0.0/24".parse().unwrap(), "fd42::/64".parse().unwrap()],
            inside_cidrs: vec!["10.42.0.0/16".parse().unwrap(), "fd42::/48".parse().unwrap()],
            service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
            mtu: 1450,
            data_dir: self.folder.path().join("network"),
            netns: Some(self.node.clone()),
        }
    }
}

/// A server in a namespace that answers each connection with the address it saw.
fn serve(netns: &NetNs, at: &str) {
    let listener = netns.run(|| TcpListener::bind(at).unwrap()).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let peer = stream.peer_addr().unwrap().ip().to_string();
            let _client_left = stream.write_all(peer.as_bytes());
        }
    });
}

/// Who a server at `to` says that a client in the namespace is.
fn ask(netns: &NetNs, to: SocketAddr) -> Result<String, std::io::Error> {
    netns
        .run(|| {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
        .unwrap()
}

fn at(ip: impl ToString, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_string().parse::<IpAddr>().unwrap(), port)
}

async fn attach(network: &PodNetwork, id: &str, ports: Vec<HostPort>) -> (Arc<NetNs>, Attachment) {
    let pod = Arc::new(NetNs::new().unwrap());
    let held = network.attach(id, pod.try_clone().unwrap(), ports).await.unwrap();
    serve(&pod, "[::]:8080");
    (pod, held)
}

fn host_port(port: u16) -> Vec<HostPort> {
    vec![HostPort { host_ip: None, host_port: port, container_port: 8080, protocol: Protocol::Tcp }]
}

#[tokio::test]
async fn root_pods_node_and_outside_reach_each_other() {
    let lab = Lab::new();
    let network = PodNetwork::start(lab.config()).await.unwrap();
    let (a, a_held) = attach(&network, "a", Vec::new()).await;
    let (b, b_held) = attach(&network, "b", Vec::new()).await;
    serve(&lab.outside, &format!("{OUTSIDE_IP}:80"));
    serve(&lab.node, "0.0.0.0:81");

    // Pod to pod keeps both addresses, in both families.
    for family in 0..2 {
        let seen = ask(&a, at(b_held.ips[family], 8080)).unwrap();
        let own = a_held.ips[family].to_string();
        assert!(seen == own || seen == format!("::ffff:{own}"), "{seen}");
    }
    // Node to pod comes from the node's own address of the pod range; pod to node keeps it.
    assert_eq!(ask(&lab.node, at(a_held.ips[0], 8080)).unwrap(), "::ffff:10.42.0.1");
    assert_eq!(ask(&a, at(NODE_IP, 81)).unwrap(), a_held.ips[0].to_string());
    assert_eq!(ask(&a, at("10.42.0.1", 81)).unwrap(), a_held.ips[0].to_string());
    // Pod to outside leaves as the node.
    assert_eq!(ask(&b, at(OUTSIDE_IP, 80)).unwrap(), NODE_IP);

    // A pod that is no more is refused at once.
    network.detach("b").await.unwrap();
    network.detach("b").await.unwrap();
    let error = ask(&a, at(b_held.ips[0], 8080)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(113), "no route to host: {error}");
}

#[tokio::test]
async fn root_host_ports_lead_to_the_pod() {
    let lab = Lab::new();
    let network = PodNetwork::start(lab.config()).await.unwrap();
    let (a, held) = attach(&network, "a", host_port(9000)).await;
    assert_eq!(ask(&lab.outside, at(NODE_IP, 9000)).unwrap(), format!("::ffff:{OUTSIDE_IP}"));
    assert_eq!(ask(&lab.node, at("127.0.0.1", 9000)).unwrap(), "::ffff:10.42.0.1");
    assert_eq!(ask(&lab.node, at(NODE_IP, 9000)).unwrap(), format!("::ffff:{NODE_IP}"));
    assert_eq!(ask(&a, at(NODE_IP, 9000)).unwrap(), "::ffff:10.42.0.1", "hairpin");

    let other = NetNs::new().unwrap();
    let refused = network.attach("b", other, host_port(9000)).await.unwrap_err();
    assert_eq!(refused.to_string(), "host port 9000/tcp on 0.0.0.0 is held by another pod");

    // A new process finds the pod as it was, and host ports still lead to it.
    drop(network);
    let network = PodNetwork::start(lab.config()).await.unwrap();
    assert_eq!(network.list(), std::slice::from_ref(&held));
    assert!(ask(&lab.outside, at(NODE_IP, 9000)).is_ok());
    network.detach("a").await.unwrap();
    assert!(ask(&lab.outside, at(NODE_IP, 9000)).is_err());
}

#[tokio::test]
async fn root_a_pod_cannot_reach_the_nodes_loopback() {
    let lab = Lab::new();
    let network = PodNetwork::start(lab.config()).await.unwrap();
    serve(&lab.node, "127.0.0.1:7000");
    let (a, _) = attach(&network, "a", Vec::new()).await;
    // A root in the pod may route anything to the node; 127.0.0.2 is not the pod's own loopback
    // address once loopback is down.
    a.run(|| {
        let mut rtnl = Rtnl::open().unwrap();
        let lo = rtnl.require_link("lo").unwrap();
        rtnl.address_del(lo.index, "127.0.0.1/8".parse().unwrap()).unwrap();
        net::sysctl::set("ipv4/conf/eth0/route_localnet", "1").unwrap();
        net::sysctl::set("ipv4/conf/all/route_localnet", "1").unwrap();
    })
    .unwrap();
    assert!(ask(&lab.node, at("127.0.0.1", 7000)).is_ok());
    assert!(ask(&a, at("127.0.0.1", 7000)).is_err());
}

#[tokio::test]
async fn root_attaching_again_keeps_a_talking_pod_talking() {
    let lab = Lab::new();
    let network = PodNetwork::start(lab.config()).await.unwrap();
    let (pod, held) = attach(&network, "a", Vec::new()).await;
    let link =
        |lab: &Lab| Rtnl::open_in(&lab.node).unwrap().require_link(&held.link).unwrap().index;
    let before = link(&lab);
    let again = network.attach("a", pod.try_clone().unwrap(), Vec::new()).await.unwrap();
    assert_eq!((again, link(&lab)), (held.clone(), before));
    // A new namespace for the same sandbox is wired anew, with the same address.
    let fresh = NetNs::new().unwrap();
    let again = network.attach("a", fresh.try_clone().unwrap(), Vec::new()).await.unwrap();
    serve(&fresh, "0.0.0.0:8080");
    assert_eq!(again, held);
    assert!(ask(&lab.node, at(held.ips[0], 8080)).is_ok());
}

#[tokio::test]
async fn root_clean_leaves_nothing() {
    let lab = Lab::new();
    let before = footprint(&lab.node);
    let network = PodNetwork::start(lab.config()).await.unwrap();
    let (_a, _) = attach(&network, "a", host_port(9000)).await;
    let (_b, _) = attach(&network, "b", Vec::new()).await;
    network.retain(vec!["b".to_owned()]).await.unwrap();
    assert_eq!(network.list().len(), 1);
    let data = lab.folder.path().join("network");
    PodNetwork::clean(data.clone(), Some(lab.node.clone()), Vec::new()).await.unwrap();
    assert_eq!(footprint(&lab.node), before);
    assert!(!data.exists());
    PodNetwork::clean(data, Some(lab.node.clone()), Vec::new()).await.unwrap();
}

fn footprint(netns: &NetNs) -> (Vec<String>, usize, Vec<String>, usize) {
    let mut rtnl = Rtnl::open_in(netns).unwrap();
    let mut nft = net::nft::Nft::open_in(netns).unwrap();
    (
        rtnl.links().unwrap().into_iter().map(|link| link.name).collect(),
        rtnl.routes().unwrap().iter().filter(|route| route.to.addr().is_ipv4()).count(),
        nft.tables(net::nft::Family::Ipv4).unwrap(),
        rtnl.addresses().unwrap().iter().filter(|(_, ip)| ip.addr().is_ipv4()).count(),
    )
}

#[tokio::test]
async fn root_a_namespace_can_be_bound_and_unbound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ns/one");
    let made = NetNs::new_bound(&path).unwrap();
    made.run(|| Rtnl::open().unwrap().require_link("lo").map(drop)).unwrap().unwrap();
    let opened = NetNs::open(&path).unwrap();
    assert!(opened.run(|| Path::new("/proc/thread-self/ns/net").exists()).unwrap());
    NetNs::unbind(&path).unwrap();
    NetNs::unbind(&path).unwrap();
    assert!(!path.exists());
}

#[test]
fn root_this_machine_passes_the_check() {
    for check in net::check::check() {
        assert_eq!(check.outcome, Ok(()), "{}", check.name);
    }
}

#[tokio::test]
async fn root_nothing_is_remembered_of_a_pod_that_is_gone() {
    let lab = Lab::new();
    let network = PodNetwork::start(lab.config()).await.unwrap();
    let (a, a_held) = attach(&network, "a", Vec::new()).await;
    let (_b, b_held) = attach(&network, "b", Vec::new()).await;
    serve(&lab.outside, &format!("{OUTSIDE_IP}:80"));
    let (of_a, of_b) = (a_held.ips[0], b_held.ips[0]);
    assert!(ask(&lab.node, at(of_a, 8080)).is_ok());
    assert!(ask(&lab.node, at(of_b, 8080)).is_ok());
    assert!(ask(&a, at(OUTSIDE_IP, 80)).is_ok());
    let mut conntrack = net::conntrack::Conntrack::open_in(&lab.node).unwrap();
    assert_eq!(conntrack.flows_of(of_a).unwrap().len(), 2);
    network.detach("a").await.unwrap();
    assert_eq!(conntrack.flows_of(of_a).unwrap().len(), 0);
    assert_eq!(conntrack.flows_of(of_b).unwrap().len(), 1);
}

/// The flow that this address answers, once its first packet is through.
async fn answered_by(conntrack: &mut net::conntrack::Conntrack, ip: IpAddr) -> Flow {
    let seen = async {
        loop {
            if let Some(flow) = conntrack.flows_of(ip).unwrap().pop() {
                return flow;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await.expect("the packet is tracked")
}

#[tokio::test]
async fn root_a_flow_is_not_forgotten_in_the_place_of_an_older_one_from_the_same_port() {
    let lab = Lab::new();
    let network = PodNetwork::start(lab.config()).await.unwrap();
    let port = || {
        let (host_port, container_port, protocol) = (9000, 8080, Protocol::Udp);
        vec![HostPort { host_ip: None, host_port, container_port, protocol }]
    };
    let client = lab.outside.run(|| UdpSocket::bind("0.0.0.0:5000").unwrap()).unwrap();
    let mut conntrack = net::conntrack::Conntrack::open_in(&lab.node).unwrap();
    let (_a, held) = attach(&network, "a", port()).await;
    client.send_to(b"x", (NODE_IP, 9000)).unwrap();
    let old = answered_by(&mut conntrack, held.ips[0]).await;
    network.detach("a").await.unwrap();

    let (_b, held) = attach(&network, "b", port()).await;
    client.send_to(b"x", (NODE_IP, 9000)).unwrap();
    let new = answered_by(&mut conntrack, held.ips[0]).await;
    assert_eq!((new.source, new.destination), (old.source, old.destination));
    assert!(!conntrack.forget(&old).unwrap(), "it is gone already");
    assert_eq!(conntrack.flows_of(held.ips[0]).unwrap(), [new]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_many_pods_come_and_go_together() {
    let lab = Lab::new();
    let network = PodNetwork::start(lab.config()).await.unwrap();
    let each = |n: u16| {
        let network = network.clone();
        tokio::spawn(async move {
            let (id, pod) = (n.to_string(), NetNs::new().unwrap());
            let held = network.attach(&id, pod, host_port(9000 + n)).await.unwrap();
            network.detach(&id).await.unwrap();
            held.ips[0]
        })
    };
    let tasks: Vec<_> = (0..24).map(each).collect();
    let mut ips = std::collections::BTreeSet::new();
    for task in tasks {
        assert!(ips.insert(task.await.unwrap()), "an address was given twice");
    }
    assert!(network.list().is_empty());
    let mut nft = net::nft::Nft::open_in(&lab.node).unwrap();
    let table = net::nft::Table::new(net::nft::Family::Ipv4, "ferry-pods-1");
    assert!(nft.elements(&table, "host-ports").unwrap().is_empty());
}
