//! What a name in the cluster's domain stands for: pure.
//!
//! The specification's names, under the domain `cluster.local`:
//!
//! | name | record |
//! | --- | --- |
//! | `dns-version` | TXT, the specification's version |
//! | `SERVICE.NAMESPACE.svc` | A and AAAA: the cluster IPs, or of a headless service its ready endpoints; CNAME of an external name |
//! | `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc` | SRV |
//! | `HOST.SERVICE.NAMESPACE.svc` | A and AAAA of one endpoint: its hostname, or its address with dashes |
//! | `1-2-3-4.NAMESPACE.pod` | A: the address itself |
//!
//! and the way back, PTR, for cluster IPs and for endpoints of headless services.
//!
//! A name that is there but has no record of the type asked for is empty ([`Answer::NoData`]); so
//! is a name that only has names below it. All others do not exist ([`Answer::NoName`]).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// The specification that this follows.
const SPEC_VERSION: &str = "1.1.0";

/// What is known about the cluster.
pub trait View: Send + Sync {
    /// Whether the namespace is there.
    fn has_namespace(&self, namespace: &str) -> bool;
    /// A service.
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    /// The slices of a service.
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>>;
    /// The service with a cluster IP.
    fn service_by_ip(&self, ip: IpAddr) -> Option<Arc<Service>>;
    /// The slices with an endpoint at an address.
    fn slices_by_ip(&self, ip: IpAddr) -> Vec<Arc<EndpointSlice>>;
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is not the cluster's to say.
    Elsewhere,
    /// There is no such name.
    NoName,
    /// The name is there, without a record of this type.
    NoData,
    /// These records, and others that the client will ask for next.
    Records {
        /// The answer.
        answers: Vec<Record>,
        /// What the answer names.
        additionals: Vec<Record>,
    },
    /// Another name stands for it.
    Alias {
        /// The CNAME.
        alias: Box<Record>,
        /// The other name.
        target: Name,
    },
}

/// A domain that the cluster's names are in.
#[derive(Debug, Clone)]
pub struct Zone {
    origin: Name,
    /// The domain's labels, the last first: `local`, `cluster`.
    labels: Vec<String>,
    ttl: u32,
}

/// An endpoint as DNS sees it.
struct Host {
    /// Its label below the service.
    label: String,
    ip: IpAddr,
    /// Name, protocol and number.
    ports: Vec<(String, String, u16)>,
}

impl Zone {
    /// The zone of a domain such as `cluster.local`.
    ///
    /// # Errors
    /// The domain is no name.
    pub fn new(domain: &str, ttl: u32) -> Result<Self, hickory_proto::ProtoError> {
        let mut origin = Name::from_ascii(domain.trim_end_matches('.'))?.to_lowercase();
        origin.set_fqdn(true);
        Ok(Self { labels: labels(&origin), origin, ttl })
    }

    /// The zone's name.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// What a name stands for, for a type of record.
    #[must_use]
    pub fn answer(&self, view: &dyn View, name: &Name, kind: RecordType) -> Answer {
        let all = labels(name);
        if let Some(below) = all.strip_prefix(self.labels.as_slice()) {
            let below: Vec<&str> = below.iter().map(String::as_str).collect();
            return self.below(view, name, kind, &below);
        }
        match name.parse_arpa_name() {
            Ok(net) if net.prefix_len() == net.max_prefix_len() => {
                self.reverse(view, name, kind, net.addr())
            }
            _ => Answer::Elsewhere,
        }
    }

    /// The record that says who is responsible, and for how long "there is none" holds.
    #[must_use]
    pub fn soa(&self) -> Record {
        // Nobody transfers this zone, so its serial number says nothing.
        let soa = SOA::new(
            self.child(&["ns", "dns"]),
            self.child(&["hostmaster"]),
            1,
            7200,
            1800,
            86_400,
            i32::try_from(self.ttl).map_or(u32::MAX, i32::cast_unsigned),
        );
        Record::from_rdata(self.origin.clone(), self.ttl, RData::SOA(soa))
    }

    fn below(&self, view: &dyn View, name: &Name, kind: RecordType, below: &[&str]) -> Answer {
        match *below {
            [] => self.apex(kind),
            ["dns-version"] | ["dns", "dns-version"] => {
                self.only(name, kind, RData::TXT(TXT::new(vec![SPEC_VERSION.to_owned()])))
            }
            ["dns", "ns"] => {
                let service = view.service("kube-system", "kube-dns");
                self.addresses(name, kind, &service.map(|s| cluster_ips(&s)).unwrap_or_default())
            }
            ["svc" | "pod" | "dns"] => Answer::NoData,
            ["svc" | "pod", namespace] if view.has_namespace(namespace) => Answer::NoData,
            ["pod", namespace, host] if view.has_namespace(namespace) => match undashed(host) {
                Some(ip) => self.addresses(name, kind, &[ip].into()),
                None => Answer::NoName,
            },
            ["svc", namespace, service, ref rest @ ..] => match view.service(namespace, service) {
                Some(found) => self.service(view, name, kind, &found, rest),
                None => Answer::NoName,
            },
            _ => Answer::NoName,
        }
    }

    fn apex(&self, kind: RecordType) -> Answer {
        match kind {
            RecordType::SOA => records(vec![self.soa()]),
            RecordType::NS => {
                self.only(&self.origin, kind, RData::NS(NS(self.child(&["ns", "dns"]))))
            }
            _ => Answer::NoData,
        }
    }

    fn service(
        &self,
        view: &dyn View,
        name: &Name,
        kind: RecordType,
        service: &Service,
        rest: &[&str],
    ) -> Answer {
        let Some(spec) = &service.spec else { return Answer::NoName };
        if spec.type_.as_deref() == Some("ExternalName") {
            return match rest {
                [] => self.alias(name, spec.external_name.as_deref().unwrap_or_default()),
                _ => Answer::NoName,
            };
        }
        let hosts = || hosts(&view.slices(&namespace_of(service), &name_of(service)));
        match rest {
            [] if kind == RecordType::SRV => self.ports(name, service, &hosts(), None),
            [] if is_headless(service) => {
                self.addresses(name, kind, &hosts().iter().map(|host| host.ip).collect())
            }
            [] => self.addresses(name, kind, &cluster_ips(service)),
            [protocol] if protocol.starts_with('_') => {
                let has = |port: &ServicePort| protocol_of(port) == protocol[1..];
                let any = spec.ports.iter().flatten().any(has);
                if any { Answer::NoData } else { Answer::NoName }
            }
            [protocol, port] if protocol.starts_with('_') && port.starts_with('_') => {
                let wanted = Some((&port[1..], &protocol[1..]));
                match self.ports(name, service, &hosts(), wanted) {
                    Answer::Records { .. } if kind != RecordType::SRV => Answer::NoData,
                    answer => answer,
                }
            }
            [host] => {
                let found: BTreeSet<IpAddr> =
                    hosts().iter().filter(|one| one.label == *host).map(|one| one.ip).collect();
                if found.is_empty() {
                    return Answer::NoName;
                }
                self.addresses(name, kind, &found)
            }
            _ => Answer::NoName,
        }
    }

    /// SRV records: of the port that is wanted, or of all.
    fn ports(
        &self,
        name: &Name,
        service: &Service,
        hosts: &[Host],
        wanted: Option<(&str, &str)>,
    ) -> Answer {
        let own = self.service_name(service);
        // The target's name, its addresses, and the port.
        let mut found: Vec<(Name, BTreeSet<IpAddr>, u16)> = Vec::new();
        let is_wanted =
            |port: &str, protocol: &str| wanted.is_none_or(|wanted| wanted == (port, protocol));
        if is_headless(service) {
            for host in hosts {
                let Ok(target) = own.prepend_label(host.label.as_bytes()) else { continue };
                let ports = host.ports.iter().filter(|(p, protocol, _)| is_wanted(p, protocol));
                found.extend(ports.map(|(_, _, n)| (target.clone(), [host.ip].into(), *n)));
            }
        } else {
            let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            let ports = ports.filter(|port| {
                is_wanted(port.name.as_deref().unwrap_or_default(), &protocol_of(port))
            });
            let numbers = ports.filter_map(|port| u16::try_from(port.port).ok());
            found.extend(numbers.map(|number| (own.clone(), cluster_ips(service), number)));
        }
        if found.is_empty() {
            return if wanted.is_some() { Answer::NoName } else { Answer::NoData };
        }
        let weight = u16::try_from(100 / found.len()).unwrap_or(1).max(1);
        let mut answers = Vec::new();
        let mut additionals: Vec<Record> = Vec::new();
        for (target, ips, port) in found {
            for ip in ips {
                let record = self.record(&target, address(ip));
                if !additionals.contains(&record) {
                    additionals.push(record);
                }
            }
            answers.push(self.record(name, RData::SRV(SRV::new(0, weight, port, target))));
        }
        Answer::Records { answers, additionals }
    }

    fn reverse(&self, view: &dyn View, name: &Name, kind: RecordType, ip: IpAddr) -> Answer {
        let mut targets = BTreeSet::new();
        if let Some(service) = view.service_by_ip(ip) {
            targets.insert(self.service_name(&service));
        }
        for slice in view.slices_by_ip(ip) {
            let namespace = slice.metadata.namespace.clone().unwrap_or_default();
            let labels = slice.metadata.labels.as_ref();
            let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) else {
                continue;
            };
            let Some(service) = view.service(&namespace, service) else { continue };
            if !is_headless(&service) {
                continue;
            }
            let own = self.service_name(&service);
            let here = hosts(&[slice]).into_iter().filter(|host| host.ip == ip);
            targets.extend(here.filter_map(|host| own.prepend_label(host.label.as_bytes()).ok()));
        }
        if targets.is_empty() {
            return Answer::Elsewhere;
        }
        if !matches!(kind, RecordType::PTR | RecordType::ANY) {
            return Answer::NoData;
        }
        let pointer = |target| self.record(name, RData::PTR(PTR(target)));
        records(targets.into_iter().map(pointer).collect())
    }

    fn alias(&self, name: &Name, target: &str) -> Answer {
        match Name::from_ascii(target.trim_end_matches('.')) {
            Ok(mut target) if !target.is_root() => {
                target.set_fqdn(true);
                let alias = self.record(name, RData::CNAME(CNAME(target.clone())));
                Answer::Alias { alias: Box::new(alias), target }
            }
            _ => Answer::NoData,
        }
    }

    fn addresses(&self, name: &Name, kind: RecordType, ips: &BTreeSet<IpAddr>) -> Answer {
        let wanted = ips.iter().filter(|ip| match kind {
            RecordType::A => ip.is_ipv4(),
            RecordType::AAAA => ip.is_ipv6(),
            RecordType::ANY => true,
            _ => false,
        });
        records(wanted.map(|ip| self.record(name, address(*ip))).collect())
    }

    fn only(&self, name: &Name, kind: RecordType, data: RData) -> Answer {
        if kind != data.record_type() && kind != RecordType::ANY {
            return Answer::NoData;
        }
        records(vec![self.record(name, data)])
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl, data)
    }

    fn service_name(&self, service: &Service) -> Name {
        self.child(&[&name_of(service), &namespace_of(service), "svc"])
    }

    /// A name in the zone. Labels come from names that the API server has checked.
    fn child(&self, labels: &[&str]) -> Name {
        labels.iter().rev().fold(self.origin.clone(), |name, label| {
            name.prepend_label(label.as_bytes()).unwrap_or(name)
        })
    }
}

/// The label by which a slice names its service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

fn records(answers: Vec<Record>) -> Answer {
    if answers.is_empty() {
        return Answer::NoData;
    }
    Answer::Records { answers, additionals: Vec::new() }
}

/// A name's labels in lower case, the last first.
fn labels(name: &Name) -> Vec<String> {
    let mut labels: Vec<String> =
        name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    labels.reverse();
    labels
}

fn namespace_of(service: &Service) -> String {
    service.metadata.namespace.clone().unwrap_or_default()
}

fn name_of(service: &Service) -> String {
    service.metadata.name.clone().unwrap_or_default()
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

pub(crate) fn cluster_ips(service: &Service) -> BTreeSet<IpAddr> {
    let spec = service.spec.as_ref();
    let many = spec.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
    let one = spec.and_then(|spec| spec.cluster_ip.as_ref());
    many.chain(one).filter_map(|ip| ip.parse().ok()).collect()
}

fn protocol_of(port: &ServicePort) -> String {
    port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase()
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// The endpoints that may be told, none twice.
fn hosts(slices: &[Arc<EndpointSlice>]) -> Vec<Host> {
    let mut found: Vec<Host> = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type != "FQDN") {
        let ports: Vec<(String, String, u16)> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
                let number = u16::try_from(port.port?).ok()?;
                Some((port.name.clone().unwrap_or_default(), protocol, number))
            })
            .collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
            let ip = endpoint.addresses.first().and_then(|ip| ip.parse::<IpAddr>().ok());
            let Some(ip) = ip.filter(|_| ready.unwrap_or(true)) else { continue };
            let label = endpoint.hostname.clone().unwrap_or_else(|| dashed(ip));
            match found.iter_mut().find(|host| host.ip == ip && host.label == label) {
                None => found.push(Host { label, ip, ports: ports.clone() }),
                Some(host) => {
                    let new = ports.iter().filter(|port| !host.ports.contains(port)).cloned();
                    let new: Vec<_> = new.collect();
                    host.ports.extend(new);
                }
            }
        }
    }
    found
}

fn dashed(ip: IpAddr) -> String {
    ip.to_string().replace(['.', ':'], "-")
}

/// `1-2-3-4`, or an IPv6 address with dashes for colons.
fn undashed(label: &str) -> Option<IpAddr> {
    let four = label.replace('-', ".").parse().ok();
    four.or_else(|| label.replace('-', ":").parse().ok())
}

#[cfg(test)]
mod tests;
