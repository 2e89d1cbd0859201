//! From a service and its endpoint slices to what a data plane must do: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

use crate::ruleset::{
    Delta, Endpoint, Frontend, Group, GroupKey, Protocol, Ruleset, Scope, ServiceKey, ServiceRules,
    Target, WhenEmpty,
};

/// The node that the rules are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its zone, `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
}

/// The label by which a slice names its service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Whoever has this label is served by another proxy.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const HEADLESS: &str = "None";
/// How long a client stays with its endpoint when the service does not say.
const AFFINITY_DEFAULT_SECONDS: u64 = 10_800;

/// The rules of all services.
#[must_use]
pub fn plan(services: &[&Service], slices: &[&EndpointSlice], node: &Node) -> Ruleset {
    let mut all = Ruleset::default();
    for service in services {
        let key = key_of(service);
        let own: Vec<&EndpointSlice> = slices
            .iter()
            .copied()
            .filter(|slice| service_of(slice).as_ref() == Some(&key))
            .collect();
        all.set(&key, Some(plan_service(service, &own, node)), &mut Delta::default());
    }
    all
}

/// The key of a service.
#[must_use]
pub fn key_of(service: &Service) -> ServiceKey {
    let meta = &service.metadata;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    ServiceKey::new(&text(&meta.namespace), &text(&meta.name))
}

/// The service that a slice belongs to.
#[must_use]
pub fn service_of(slice: &EndpointSlice) -> Option<ServiceKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(ServiceKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// The rules of one service; none when it is not ours to serve.
#[must_use]
pub fn plan_service(service: &Service, slices: &[&EndpointSlice], node: &Node) -> ServiceRules {
    let mut rules = ServiceRules::default();
    let Some(spec) = service.spec.as_ref().filter(|spec| is_served(service, spec)) else {
        return rules;
    };
    let mut local_ready = BTreeSet::new();
    for port in spec.ports.iter().flatten() {
        let Some(protocol) = Protocol::parse(port.protocol.as_deref()) else { continue };
        for ipv6 in families(spec) {
            let found = candidates(slices, port, protocol, ipv6);
            rules.local.extend(found.iter().filter(|one| one.on(node)).map(|one| one.endpoint.ip));
            let chosen_local = choose(found.iter().filter(|one| one.on(node)));
            local_ready.extend(chosen_local.iter().map(|endpoint| endpoint.ip));
            let place = Place { service, spec, node, protocol, port, ipv6 };
            place.add(&found, &mut rules);
        }
    }
    if let Some(health) = spec.health_check_node_port.and_then(port_number).filter(|p| *p > 0) {
        rules.health = Some((health, local_ready.len()));
    }
    rules
}

fn is_served(service: &Service, spec: &ServiceSpec) -> bool {
    let elsewhere =
        service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME));
    let has_ip = cluster_ips(spec).next().is_some();
    !elsewhere && spec.type_.as_deref() != Some("ExternalName") && has_ip
}

fn cluster_ips(spec: &ServiceSpec) -> impl Iterator<Item = IpAddr> + '_ {
    let one = spec.cluster_ips.as_ref().is_none_or(Vec::is_empty).then_some(&spec.cluster_ip);
    let one = one.into_iter().flatten();
    spec.cluster_ips
        .iter()
        .flatten()
        .chain(one)
        .filter(|ip| *ip != HEADLESS)
        .filter_map(|ip| ip.parse().ok())
}

/// Whether the service is served in IPv4, in IPv6, or both.
fn families(spec: &ServiceSpec) -> BTreeSet<bool> {
    cluster_ips(spec).map(|ip| ip.is_ipv6()).collect()
}

/// An endpoint with what decides whether it is chosen.
struct Candidate<'a> {
    endpoint: Endpoint,
    from: &'a SliceEndpoint,
}

impl Candidate<'_> {
    fn is_ready(&self) -> bool {
        self.from.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
    }

    /// Shutting down, but still answering.
    fn is_serving_last(&self) -> bool {
        let conditions = self.from.conditions.as_ref();
        conditions.and_then(|c| c.terminating).unwrap_or(false)
            && conditions.and_then(|c| c.serving).unwrap_or(false)
    }

    fn on(&self, node: &Node) -> bool {
        self.from.node_name.as_deref() == Some(&node.name)
    }

    fn hinted_node(&self) -> Option<Vec<&str>> {
        let nodes = self.from.hints.as_ref()?.for_nodes.as_ref()?;
        Some(nodes.iter().map(|node| node.name.as_str()).collect())
    }

    fn hinted_zone(&self) -> Option<Vec<&str>> {
        let zones = self.from.hints.as_ref()?.for_zones.as_ref()?;
        Some(zones.iter().map(|zone| zone.name.as_str()).collect())
    }
}

/// The endpoints of one port of a service in one family. An address that stands in two slices,
/// while a pod moves between them, counts once, as ready if it is so anywhere.
fn candidates<'a>(
    slices: &[&'a EndpointSlice],
    port: &ServicePort,
    protocol: Protocol,
    ipv6: bool,
) -> Vec<Candidate<'a>> {
    let mut found: BTreeMap<Endpoint, Candidate<'a>> = BTreeMap::new();
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let name = port.name.as_deref().unwrap_or_default();
    for slice in slices.iter().filter(|slice| slice.address_type == family) {
        let ports = slice.ports.iter().flatten().filter(|p| {
            p.name.as_deref().unwrap_or_default() == name
                && Protocol::parse(p.protocol.as_deref()) == Some(protocol)
        });
        for number in ports.filter_map(|p| p.port).filter_map(port_number) {
            for from in slice.endpoints.iter().flatten() {
                // Only the first address counts. (EndpointSlice API)
                let ip = from.addresses.first().and_then(|ip| ip.parse::<IpAddr>().ok());
                let Some(ip) = ip.filter(|ip| ip.is_ipv6() == ipv6) else { continue };
                let candidate = Candidate { endpoint: Endpoint { ip, port: number }, from };
                let known = found.get(&candidate.endpoint);
                if known.is_none_or(|known| candidate.is_ready() && !known.is_ready()) {
                    found.insert(candidate.endpoint, candidate);
                }
            }
        }
    }
    found.into_values().collect()
}

/// The ready ones; when there are none, those that shut down but still answer. (KEP-1669)
fn choose<'a, 'b: 'a>(of: impl Iterator<Item = &'a Candidate<'b>> + Clone) -> Vec<Endpoint> {
    let ready: Vec<Endpoint> = of.clone().filter(|c| c.is_ready()).map(|c| c.endpoint).collect();
    if !ready.is_empty() {
        return ready;
    }
    of.filter(|c| c.is_serving_last()).map(|c| c.endpoint).collect()
}

/// The endpoints that policy `Cluster` may use: all, or the near ones when hints say so for every
/// ready endpoint. (KEP-2433, KEP-3015)
fn choose_near(found: &[Candidate<'_>], node: &Node) -> Vec<Endpoint> {
    let ready = || found.iter().filter(|one| one.is_ready());
    let hinted = |hint: fn(&Candidate<'_>) -> bool| ready().next().is_some() && ready().all(hint);
    if hinted(|one| one.hinted_node().is_some()) {
        let here = |one: &&Candidate<'_>| {
            one.hinted_node().is_some_and(|nodes| nodes.contains(&node.name.as_str()))
        };
        if ready().any(|one| here(&one)) {
            return choose(ready().filter(here));
        }
    }
    let zone = node.zone.as_deref().unwrap_or_default();
    if !zone.is_empty() && hinted(|one| one.hinted_zone().is_some()) {
        let near =
            |one: &&Candidate<'_>| one.hinted_zone().is_some_and(|zones| zones.contains(&zone));
        if ready().any(|one| near(&one)) {
            return choose(ready().filter(near));
        }
    }
    choose(found.iter())
}

/// One port of a service in one family.
struct Place<'a> {
    service: &'a Service,
    spec: &'a ServiceSpec,
    node: &'a Node,
    protocol: Protocol,
    port: &'a ServicePort,
    ipv6: bool,
}

impl Place<'_> {
    fn add(&self, found: &[Candidate<'_>], rules: &mut ServiceRules) {
        let Some(port) = port_number(self.port.port) else { return };
        let everywhere = choose_near(found, self.node);
        let local = choose(found.iter().filter(|one| one.on(self.node)));
        let internal = self.key(port, Scope::Internal);
        let internal_local = self.spec.internal_traffic_policy.as_deref() == Some("Local");
        let group = self.group(internal_local, false, &everywhere, &local);
        rules.groups.insert(internal.clone(), group);
        for ip in cluster_ips(self.spec).filter(|ip| ip.is_ipv6() == self.ipv6) {
            let target = Target { group: internal.clone(), inside: None, sources: Vec::new() };
            rules.frontends.insert(self.frontend(ip, port), target);
        }
        let outer = self.external_frontends(port);
        if outer.is_empty() {
            return;
        }
        let external_local = self.spec.external_traffic_policy.as_deref() == Some("Local");
        let external = self.key(port, Scope::External);
        let group = self.group(external_local, !external_local, &everywhere, &local);
        rules.groups.insert(external.clone(), group);
        let inside = external_local.then(|| self.key(port, Scope::Inside));
        if let Some(inside) = &inside {
            let group = self.group(false, false, &everywhere, &local);
            rules.groups.insert(inside.clone(), group);
        }
        for (frontend, sources) in outer {
            let target = Target { group: external.clone(), inside: inside.clone(), sources };
            rules.frontends.insert(frontend, target);
        }
    }

    fn key(&self, port: u16, scope: Scope) -> GroupKey {
        let service = key_of(self.service);
        GroupKey { service, protocol: self.protocol, port, scope, ipv6: self.ipv6 }
    }

    fn group(
        &self,
        only_local: bool,
        masquerade: bool,
        everywhere: &[Endpoint],
        local: &[Endpoint],
    ) -> Group {
        let when_empty =
            if only_local && !everywhere.is_empty() { WhenEmpty::Drop } else { WhenEmpty::Reject };
        let endpoints = if only_local { local } else { everywhere }.to_vec();
        Group { endpoints, affinity: affinity(self.spec), masquerade, when_empty }
    }

    fn frontend(&self, ip: IpAddr, port: u16) -> Frontend {
        Frontend { ip, protocol: self.protocol, port }
    }

    /// Frontends for whoever is outside, each with who may use it.
    fn external_frontends(&self, port: u16) -> Vec<(Frontend, Vec<IpNet>)> {
        let written = self.spec.external_ips.iter().flatten().map(String::as_str);
        let ingress = self.service.status.iter().filter_map(|status| status.load_balancer.as_ref());
        let ingress = ingress.flat_map(|balancer| balancer.ingress.iter().flatten());
        // `Proxy`: the balancer itself must see the traffic. (KEP-1860)
        let balanced = ingress
            .filter(|_| self.spec.type_.as_deref() == Some("LoadBalancer"))
            .filter(|one| one.ip_mode.as_deref() != Some("Proxy"))
            .filter_map(|one| one.ip.as_deref());
        let everybody = Vec::new;
        let ips = written.map(|ip| (ip, everybody()));
        let ips = ips.chain(balanced.map(|ip| (ip, self.sources())));
        let ips = ips.filter_map(|(ip, sources)| Some((ip.parse::<IpAddr>().ok()?, sources)));
        let every = if self.ipv6 { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
        let node_port = self.port.node_port.and_then(port_number).filter(|port| *port > 0);
        ips.filter(|(ip, _)| ip.is_ipv6() == self.ipv6)
            .map(|(ip, sources)| (self.frontend(ip, port), sources))
            .chain(node_port.map(|port| (self.frontend(every, port), everybody())))
            .collect()
    }
}

impl Place<'_> {
    /// `loadBalancerSourceRanges` of this family. When only the other family has ranges, nobody
    /// of this one may connect, which a range that holds no client's address says.
    fn sources(&self) -> Vec<IpNet> {
        let written = self.spec.load_balancer_source_ranges.iter().flatten();
        let all: Vec<IpNet> =
            written.filter_map(|range| range.trim().parse::<IpNet>().ok()).collect();
        let own: Vec<IpNet> =
            all.iter().copied().filter(|net| net.addr().is_ipv6() == self.ipv6).collect();
        if own.is_empty() && !all.is_empty() {
            let nobody = if self.ipv6 { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
            return vec![IpNet::from(nobody)];
        }
        IpNet::aggregate(&own)
    }
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds);
    let seconds = seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(AFFINITY_DEFAULT_SECONDS);
    Some(Duration::from_secs(seconds))
}

fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok()
}

#[cfg(test)]
mod tests;
