//! The server on real sockets: UDP and TCP, another server of the same kind as the upstream, and
//! caches without an API server.

use std::net::Ipv4Addr;

use api::typed::Kind;
use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::RData;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use reconcile::{Cache, SharedCache};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

struct Lab {
    address: SocketAddr,
    metrics: SocketAddr,
    ready: SocketAddr,
    services: Arc<SharedCache>,
    slices: Arc<SharedCache>,
    namespaces: Arc<SharedCache>,
    drain: Drain,
    task: tokio::task::JoinHandle<Result<(), DnsError>>,
}

async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

async fn start(domain: &str, upstream: Upstream) -> Lab {
    let cache = |resource| Arc::new(SharedCache::new(resource));
    let services = cache(Service::resource());
    let slices = cache(EndpointSlice::resource());
    let namespaces = cache(Namespace::resource());
    let view = ClusterView::over(
        Cache::over(services.clone()),
        Cache::over(slices.clone()),
        Cache::over(namespaces.clone()),
    );
    let (address, ready, metrics) = (free_port().await, free_port().await, free_port().await);
    let options = DnsOptions {
        domain: domain.to_owned(),
        listen: address,
        health: None,
        ready: Some(ready),
        metrics: Some(metrics),
        upstream,
        lameduck: Duration::ZERO,
        ..DnsOptions::default()
    };
    let drain = Drain::new();
    let task = tokio::spawn(serve(options, view, drain.clone()));
    // The ready page is bound last.
    while TcpStream::connect(metrics).await.is_err() {
        tokio::task::yield_now().await;
    }
    Lab { address, metrics, ready, services, slices, namespaces, drain, task }
}

impl Lab {
    fn sync(&self, services: Vec<serde_json::Value>) {
        let object = |(n, short): (usize, serde_json::Value)| {
            let service: Service = serde_json::from_value(json!({
                "apiVersion": "v1", "kind": "Service", "spec": short["spec"],
                "metadata": {
                    "namespace": "default", "name": short["name"], "uid": n.to_string(),
                    "resourceVersion": "1",
                },
            }))
            .unwrap();
            let service: reconcile::Object = Arc::new(service);
            service
        };
        self.services.replace(services.into_iter().enumerate().map(object).collect(), 9);
        self.slices.replace(Vec::new(), 9);
        let namespace: Namespace = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "default", "uid": "n", "resourceVersion": "1"},
        }))
        .unwrap();
        self.namespaces.replace(vec![Arc::new(namespace)], 9);
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&query(name, kind), self.address).await.unwrap();
        let mut buffer = [0; 4096];
        let n = socket.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..n]).unwrap()
    }

    async fn page(&self, address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn the_cluster_is_answered_and_the_rest_is_forwarded() {
    let other = start("example.test", Upstream::Nowhere).await;
    other.sync(vec![json!({"name": "www", "spec": {"clusterIP": "192.0.2.80"}})]);
    let lab = start("cluster.local", Upstream::Servers(vec![other.address])).await;
    lab.sync(vec![
        json!({"name": "web", "spec": {"clusterIP": "10.96.0.7"}}),
        json!({"name": "away", "spec": {
            "type": "ExternalName", "externalName": "www.default.svc.example.test",
        }}),
        json!({"name": "near", "spec": {
            "type": "ExternalName", "externalName": "web.default.svc.cluster.local",
        }}),
    ]);
    let web = lab.ask("web.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(addresses(&web), ["10.96.0.7"]);
    assert!(web.metadata.authoritative && web.metadata.recursion_available);
    let www = lab.ask("www.default.svc.example.test.", RecordType::A).await;
    assert_eq!(addresses(&www), ["192.0.2.80"]);
    let away = lab.ask("away.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(addresses(&away), ["www.default.svc.example.test.", "192.0.2.80"]);
    let near = lab.ask("near.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(addresses(&near), ["web.default.svc.cluster.local.", "10.96.0.7"]);
    let none = lab.ask("nope.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    assert!(matches!(none.authorities[0].data, RData::SOA(_)));
    let empty = lab.ask("web.default.svc.cluster.local.", RecordType::TXT).await;
    assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0));
    let elsewhere = lab.ask("nope.default.svc.example.test.", RecordType::A).await;
    assert_eq!(elsewhere.metadata.response_code, ResponseCode::NXDomain);
    // The other one asks nobody.
    let nowhere = other.ask("www.example.com.", RecordType::A).await;
    assert_eq!(nowhere.metadata.response_code, ResponseCode::ServFail);
    let text = lab.page(lab.metrics, "/metrics").await;
    let line = "coredns_dns_responses_total{zone=\"cluster.local.\",rcode=\"NXDOMAIN\"} 1";
    assert!(text.contains(line), "{text}");
    lab.drain.cancel();
    lab.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_denied_before_everything_is_known() {
    let lab = start("cluster.local", Upstream::Nowhere).await;
    assert!(lab.page(lab.ready, "/ready").await.starts_with("HTTP/1.1 503"));
    let asking = lab.ask("web.default.svc.cluster.local.", RecordType::A);
    let (answer, ()) = tokio::join!(asking, async {
        lab.sync(vec![json!({"name": "web", "spec": {"clusterIP": "10.96.0.7"}})]);
    });
    assert_eq!(addresses(&answer), ["10.96.0.7"]);
    assert!(lab.page(lab.ready, "/ready").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_does_not_fit_a_datagram_comes_over_tcp() {
    let lab = start("cluster.local", Upstream::Nowhere).await;
    lab.sync(vec![json!({"name": "big", "spec": {"clusterIP": "None"}})]);
    let endpoints: Vec<_> = (0..=200u8)
        .map(|n| json!({"addresses": [Ipv4Addr::new(10, 42, 0, n).to_string()]}))
        .collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": "big-1", "uid": "s", "resourceVersion": "3",
            "labels": {"kubernetes.io/service-name": "big"},
        },
        "endpoints": endpoints,
    }))
    .unwrap();
    lab.slices.upsert(Arc::new(slice));
    let name = "big.default.svc.cluster.local.";
    let cut = lab.ask(name, RecordType::A).await;
    assert!(cut.metadata.truncation);
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    let question = query(name, RecordType::A);
    stream.write_u16(u16::try_from(question.len()).unwrap()).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut bytes).await.unwrap();
    let whole = Message::from_vec(&bytes).unwrap();
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 201));
    let mut sorted = addresses(&whole);
    let shuffled = sorted.clone();
    sorted.sort_by_key(|ip| ip.parse::<Ipv4Addr>().unwrap());
    assert_ne!(sorted, shuffled, "clients are spread");
}

#[tokio::test]
async fn odd_requests_are_answered_and_hurt_nobody() {
    let lab = start("cluster.local", Upstream::Nowhere).await;
    lab.sync(Vec::new());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for junk in [&b""[..], b"x", b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\xff\xff", &[0xff; 600]] {
        socket.send_to(junk, lab.address).await.unwrap();
    }
    let mut chaos = Message::new(7, MessageType::Query, OpCode::Query);
    let mut asked = Query::query(Name::from_ascii("version.bind.").unwrap(), RecordType::TXT);
    asked.set_query_class(DNSClass::CH);
    chaos.add_query(asked);
    let address = lab.address;
    let ask = |bytes: Vec<u8>| async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&bytes, address).await.unwrap();
        let mut buffer = [0; 4096];
        let n = socket.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..n]).unwrap().metadata.response_code
    };
    assert_eq!(ask(chaos.to_vec().unwrap()).await, ResponseCode::Refused);
    assert_eq!(ask(query("cluster.local.", RecordType::AXFR)).await, ResponseCode::Refused);
    let mut update = Message::new(7, MessageType::Query, OpCode::Update);
    update.add_query(Query::query(Name::from_ascii("cluster.local.").unwrap(), RecordType::SOA));
    assert_eq!(ask(update.to_vec().unwrap()).await, ResponseCode::NotImp);
    let still = lab.ask("dns-version.cluster.local.", RecordType::TXT).await;
    assert_eq!(addresses(&still), ["1.1.0"]);
}
