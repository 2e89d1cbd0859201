//! A small cluster, and what its names stand for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

#[derive(Default)]
struct Cluster {
    services: BTreeMap<String, Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
}

impl View for Cluster {
    fn has_namespace(&self, namespace: &str) -> bool {
        namespace == "default" || namespace == "empty"
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(&format!("{namespace}/{name}")).cloned()
    }

    fn slices(&self, _namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let of = |slice: &&Arc<EndpointSlice>| {
            slice.metadata.labels.as_ref().unwrap()[SERVICE_NAME] == service
        };
        self.slices.iter().filter(of).cloned().collect()
    }

    fn service_by_ip(&self, ip: IpAddr) -> Option<Arc<Service>> {
        self.services.values().find(|service| cluster_ips(service).contains(&ip)).cloned()
    }

    fn slices_by_ip(&self, ip: IpAddr) -> Vec<Arc<EndpointSlice>> {
        let ip = ip.to_string();
        let has = |slice: &&Arc<EndpointSlice>| {
            slice.endpoints.iter().flatten().any(|endpoint| endpoint.addresses.contains(&ip))
        };
        self.slices.iter().filter(has).cloned().collect()
    }
}

impl Cluster {
    fn service_add(&mut self, name: &str, spec: Value) {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "default", "name": name}, "spec": spec,
        });
        let service = serde_json::from_value(service).unwrap();
        self.services.insert(format!("default/{name}"), Arc::new(service));
    }

    fn slice_add(&mut self, service: &str, family: &str, endpoints: Value) {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {
                "namespace": "default", "name": format!("{service}-{family}"),
                "labels": {SERVICE_NAME: service},
            },
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        });
        self.slices.push(Arc::new(serde_json::from_value(slice).unwrap()));
    }
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    let ports = json!([
        {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
    ]);
    let ips = json!(["10.96.0.7", "fd00::7"]);
    cluster
        .service_add("web", json!({"clusterIP": "10.96.0.7", "clusterIPs": ips, "ports": ports}));
    let ports = json!([{"name": "http", "port": 80}]);
    cluster.service_add("db", json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": ports}));
    let endpoints = json!([
        {"addresses": ["10.42.0.2"], "hostname": "db-0"},
        {"addresses": ["10.42.0.3"], "conditions": {"ready": true}},
        {"addresses": ["10.42.0.4"], "hostname": "db-2", "conditions": {"ready": false}},
    ]);
    cluster.slice_add("db", "IPv4", endpoints);
    cluster.slice_add("db", "IPv6", json!([{"addresses": ["fd42::2"], "hostname": "db-0"}]));
    cluster.slice_add("web", "IPv4", json!([{"addresses": ["10.42.0.9"]}]));
    cluster.service_add("bare", json!({"clusterIP": "None", "ports": []}));
    let away = json!({"type": "ExternalName", "externalName": "db.example.com"});
    cluster.service_add("away", away);
    cluster
}

fn data(record: &Record) -> String {
    format!("{} {}", record.record_type(), record.data).trim_end_matches('.').to_owned()
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Elsewhere => "elsewhere".into(),
        Answer::NoName => "no name".into(),
        Answer::NoData => "no data".into(),
        Answer::Alias { alias, target } => format!("{} -> {target}", alias.record_type()),
        Answer::Records { answers, additionals } => {
            let mut lines: Vec<String> = answers.iter().map(data).collect();
            lines.extend(additionals.iter().map(|more| format!("+ {} {}", more.name, data(more))));
            lines.join("; ")
        }
    }
}

fn check(name: &str, kind: RecordType, expected: &str) {
    let zone = Zone::new("cluster.local", 5).unwrap();
    let mut asked = Name::from_ascii(name).unwrap();
    asked.set_fqdn(true);
    let answer = zone.answer(&cluster(), &asked, kind);
    assert_eq!(shown(&answer), expected, "{name} {kind}");
}

use RecordType as Rt;

#[test]
fn services_have_their_cluster_ips() {
    check("web.default.svc.cluster.local", Rt::A, "A 10.96.0.7");
    check("WEB.Default.svc.Cluster.LOCAL", Rt::A, "A 10.96.0.7");
    check("web.default.svc.cluster.local", Rt::AAAA, "AAAA fd00::7");
    check("web.default.svc.cluster.local", Rt::MX, "no data");
    check("web.default.svc.cluster.local", Rt::ANY, "A 10.96.0.7; AAAA fd00::7");
    check("nope.default.svc.cluster.local", Rt::A, "no name");
    check("web.nope.svc.cluster.local", Rt::A, "no name");
}

#[test]
fn headless_services_have_their_ready_endpoints() {
    check("db.default.svc.cluster.local", Rt::A, "A 10.42.0.2; A 10.42.0.3");
    check("db.default.svc.cluster.local", Rt::AAAA, "AAAA fd42::2");
    check("db-0.db.default.svc.cluster.local", Rt::A, "A 10.42.0.2");
    check("db-0.db.default.svc.cluster.local", Rt::AAAA, "AAAA fd42::2");
    check("10-42-0-3.db.default.svc.cluster.local", Rt::A, "A 10.42.0.3");
    check("10-42-0-3.db.default.svc.cluster.local", Rt::AAAA, "no data");
    check("db-2.db.default.svc.cluster.local", Rt::A, "no name");
    check("bare.default.svc.cluster.local", Rt::A, "no data");
}

#[test]
fn named_ports_are_services_of_their_own() {
    let web = "SRV 0 100 80 web.default.svc.cluster.local.; \
               + web.default.svc.cluster.local. A 10.96.0.7; \
               + web.default.svc.cluster.local. AAAA fd00::7";
    let shown = |name: &str, kind| {
        let zone = Zone::new("cluster.local.", 5).unwrap();
        let mut asked = Name::from_ascii(name).unwrap();
        asked.set_fqdn(true);
        shown(&zone.answer(&cluster(), &asked, kind)).replace(".; +", "; +")
    };
    let web = web.replace(".; +", "; +");
    assert_eq!(shown("_http._tcp.web.default.svc.cluster.local", Rt::SRV), web);
    check("_http._udp.web.default.svc.cluster.local", Rt::SRV, "no name");
    check("_http._tcp.web.default.svc.cluster.local", Rt::A, "no data");
    check("_tcp.web.default.svc.cluster.local", Rt::A, "no data");
    check("_sctp.web.default.svc.cluster.local", Rt::A, "no name");
    let db = shown("_http._tcp.db.default.svc.cluster.local", Rt::SRV);
    assert!(db.contains("SRV 0 33 8080 db-0.db.default.svc.cluster.local"), "{db}");
    assert!(db.contains("10-42-0-3.db.default.svc.cluster.local"), "{db}");
    assert!(!db.contains("db-2"), "{db}");
}

#[test]
fn external_names_are_aliases() {
    check("away.default.svc.cluster.local", Rt::A, "CNAME -> db.example.com.");
    check("x.away.default.svc.cluster.local", Rt::A, "no name");
}

#[test]
fn pods_have_the_address_that_their_name_says() {
    check("10-42-0-77.default.pod.cluster.local", Rt::A, "A 10.42.0.77");
    check("10-42-0-77.default.pod.cluster.local", Rt::AAAA, "no data");
    check("fd42--5.default.pod.cluster.local", Rt::AAAA, "AAAA fd42::5");
    check("10-42-0-777.default.pod.cluster.local", Rt::A, "no name");
    check("10-42-0-7.nope.pod.cluster.local", Rt::A, "no name");
}

#[test]
fn names_above_others_are_there_but_empty() {
    for name in ["cluster.local", "svc.cluster.local", "pod.cluster.local"] {
        check(name, Rt::A, "no data");
    }
    check("empty.svc.cluster.local", Rt::A, "no data");
    check("nope.svc.cluster.local", Rt::A, "no name");
    check("www.google.com.default.svc.cluster.local", Rt::A, "no name");
    check("www.google.com.cluster.local", Rt::A, "no name");
    check("www.google.com", Rt::A, "elsewhere");
    check("local", Rt::A, "elsewhere");
    check("dns-version.cluster.local", Rt::TXT, "TXT 1.1.0");
    check("cluster.local", Rt::NS, "NS ns.dns.cluster.local");
}

#[test]
fn addresses_lead_back_to_names() {
    check("7.0.96.10.in-addr.arpa", Rt::PTR, "PTR web.default.svc.cluster.local");
    check("7.0.96.10.in-addr.arpa", Rt::A, "no data");
    check("2.0.42.10.in-addr.arpa", Rt::PTR, "PTR db-0.db.default.svc.cluster.local");
    check("3.0.42.10.in-addr.arpa", Rt::PTR, "PTR 10-42-0-3.db.default.svc.cluster.local");
    check("9.0.42.10.in-addr.arpa", Rt::PTR, "elsewhere");
    check("42.10.in-addr.arpa", Rt::PTR, "elsewhere");
    let six = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    check(six, Rt::PTR, "PTR web.default.svc.cluster.local");
}
