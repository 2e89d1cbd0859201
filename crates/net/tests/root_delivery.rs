//! What a program sent before it ended is known to be under way, and known to have arrived.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use net::delivery::Undelivered;
use net::netns::NetNs;
use net::rtnl::{Route, RouteTarget, Rtnl, VethEnd};

const SERVER: &str = "192.0.2.1";

/// Two namespaces on one wire.
fn pair() -> (NetNs, NetNs) {
    let (server, client) = (NetNs::new().unwrap(), NetNs::new().unwrap());
    let end = |name, last| VethEnd { name, mac: [2, 0, 0, 0, 8, last], netns: None };
    let there = VethEnd { netns: Some(client.as_fd()), ..end("there", 2) };
    let mut rtnl = Rtnl::open_in(&server).unwrap();
    rtnl.veth_add(&end("here", 1), &there, 1500).unwrap();
    for (netns, link, address) in
        [(&server, "here", "192.0.2.1/24"), (&client, "there", "192.0.2.2/24")]
    {
        let mut rtnl = Rtnl::open_in(netns).unwrap();
        let link = rtnl.require_link(link).unwrap();
        rtnl.link_up(link.index).unwrap();
        rtnl.address_add(link.index, address.parse().unwrap()).unwrap();
    }
    (server, client)
}

#[tokio::test]
async fn root_last_words_are_waited_for() {
    let (server, client) = pair();
    let mut undelivered = Undelivered::of(&server).unwrap();
    let listener = server.run(|| TcpListener::bind((SERVER, 80)).unwrap()).unwrap();
    let mut reader = client.run(|| TcpStream::connect((SERVER, 80)).unwrap()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(undelivered.count().unwrap(), 0, "an open connection is its program's affair");

    // The client still hears, and its acknowledgements go nowhere.
    let mut routes = Rtnl::open_in(&client).unwrap();
    let silence = Route {
        to: format!("{SERVER}/32").parse().unwrap(),
        target: RouteTarget::Unreachable,
        source: None,
        protocol: 4,
        metric: 0,
    };
    routes.route_add(&silence).unwrap();
    stream.write_all(b"the last words").unwrap();
    drop((stream, listener));
    assert_eq!(undelivered.count().unwrap(), 1);
    let at_once = tokio::time::timeout(Duration::ZERO, undelivered.none()).await;
    assert!(at_once.is_err(), "nobody has acknowledged them");

    assert!(routes.route_del(&silence).unwrap());
    tokio::time::timeout(Duration::from_secs(30), undelivered.none()).await.unwrap().unwrap();
    let mut heard = String::new();
    reader.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "the last words");
}
