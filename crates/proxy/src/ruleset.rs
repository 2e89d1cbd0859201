//! What all services together ask of a data plane, and how it changes: pure.
//!
//! A [`Frontend`] is what clients connect to; a [`Group`] is a list of endpoints with the way one
//! of them is chosen; a frontend leads to a group. Two services may ask for the same frontend (an
//! external IP written twice): the first by name has it, and the other when the first is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// The namespace and name of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// The protocol of a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// Its number in an IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Reads it as the API writes it; nothing is TCP.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// What clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// The address; the unspecified one of a family is every address of the node: a node port.
    pub ip: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl Frontend {
    /// Whether it is a node port.
    #[must_use]
    pub fn is_node_port(&self) -> bool {
        self.ip.is_unspecified()
    }
}

/// Where a connection may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The pod's address.
    pub ip: IpAddr,
    /// The pod's port.
    pub port: u16,
}

/// Which of a service port's groups this is. They differ by traffic policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// For cluster IPs.
    Internal,
    /// For node ports, external IPs and load balancers.
    External,
    /// For those same frontends when a pod or the node itself connects to them although the
    /// external policy is `Local`: as upstream, they reach all endpoints.
    Inside,
}

/// The name of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The service.
    pub service: ServiceKey,
    /// The port's protocol.
    pub protocol: Protocol,
    /// The port's number.
    pub port: u16,
    /// Which of the port's groups.
    pub scope: Scope,
    /// Of which address family its endpoints are.
    pub ipv6: bool,
}

/// What a client is told when a group has no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WhenEmpty {
    /// It is refused at once: the service has no endpoint anywhere.
    Reject,
    /// Its packets are dropped: there are endpoints, but the policy wants local ones and there
    /// are none. A load balancer that checks the node's health then goes elsewhere.
    Drop,
}

/// Endpoints, one of which is chosen for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Sorted, none twice.
    pub endpoints: Vec<Endpoint>,
    /// How long a client stays with its endpoint; `None` is not at all.
    pub affinity: Option<Duration>,
    /// Whether endpoints see the node as the sender: what came from outside must come back this
    /// way.
    pub masquerade: bool,
    /// What happens without endpoints.
    pub when_empty: WhenEmpty,
}

/// Where a frontend leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The group.
    pub group: GroupKey,
    /// The group for pods and the node itself, where it is another.
    pub inside: Option<GroupKey>,
    /// Who may connect, apart from the node itself; empty is everybody. None within another.
    pub sources: Vec<IpNet>,
}

/// What one service asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceRules {
    /// Its frontends.
    pub frontends: BTreeMap<Frontend, Target>,
    /// Its groups.
    pub groups: BTreeMap<GroupKey, Group>,
    /// Endpoints on this node: a connection of one of them to itself needs help.
    pub local: BTreeSet<IpAddr>,
    /// The port on which the node tells load balancers how many local endpoints there are.
    pub health: Option<(u16, usize)>,
}

/// What all services ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    services: BTreeMap<ServiceKey, ServiceRules>,
    /// Who asks for a frontend; the first has it.
    frontends: BTreeMap<Frontend, BTreeSet<ServiceKey>>,
    /// How many services have a local endpoint at an address.
    local: BTreeMap<IpAddr, usize>,
}

/// What is different: `None` is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Frontends.
    pub frontends: BTreeMap<Frontend, Option<Target>>,
    /// Groups.
    pub groups: BTreeMap<GroupKey, Option<Group>>,
    /// Addresses of local endpoints, and whether they are.
    pub local: BTreeMap<IpAddr, bool>,
}

impl Delta {
    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty() && self.groups.is_empty() && self.local.is_empty()
    }
}

impl Ruleset {
    /// What one service asks for now, or `None` when it is gone; what that changes goes into the
    /// delta.
    pub fn set(&mut self, key: &ServiceKey, rules: Option<ServiceRules>, delta: &mut Delta) {
        let old = self.services.remove(key).unwrap_or_default();
        let new = rules.unwrap_or_default();
        for (group, was) in &old.groups {
            match new.groups.get(group) {
                None => drop(delta.groups.insert(group.clone(), None)),
                Some(is) if is != was => {
                    delta.groups.insert(group.clone(), Some(is.clone()));
                }
                Some(_) => {}
            }
        }
        for (group, is) in &new.groups {
            if !old.groups.contains_key(group) {
                delta.groups.insert(group.clone(), Some(is.clone()));
            }
        }
        self.count_local(&old.local, &new.local, delta);
        let touched: BTreeSet<Frontend> =
            old.frontends.keys().chain(new.frontends.keys()).copied().collect();
        let before: Vec<Option<Target>> = touched
            .iter()
            .map(|frontend| {
                let owner = self.frontends.get(frontend)?.first()?;
                let rules = if owner == key { &old } else { self.services.get(owner)? };
                rules.frontends.get(frontend).cloned()
            })
            .collect();
        for frontend in &touched {
            let owners = self.frontends.entry(*frontend).or_default();
            if new.frontends.contains_key(frontend) {
                owners.insert(key.clone());
            } else {
                owners.remove(key);
            }
            if owners.is_empty() {
                self.frontends.remove(frontend);
            }
        }
        if new != ServiceRules::default() {
            self.services.insert(key.clone(), new);
        }
        for (frontend, before) in touched.into_iter().zip(before) {
            let after = self.target(&frontend).cloned();
            if after != before {
                delta.frontends.insert(frontend, after);
            }
        }
    }

    /// Where a frontend leads.
    #[must_use]
    pub fn target(&self, frontend: &Frontend) -> Option<&Target> {
        let owner = self.frontends.get(frontend)?.first()?;
        self.services.get(owner)?.frontends.get(frontend)
    }

    /// A group.
    #[must_use]
    pub fn group(&self, key: &GroupKey) -> Option<&Group> {
        self.services.get(&key.service)?.groups.get(key)
    }

    /// Everything, as what would change if there had been nothing.
    #[must_use]
    pub fn whole(&self) -> Delta {
        let groups = self.services.values().flat_map(|rules| &rules.groups);
        Delta {
            frontends: self
                .frontends
                .keys()
                .filter_map(|frontend| Some((*frontend, Some(self.target(frontend)?.clone()))))
                .collect(),
            groups: groups.map(|(key, group)| (key.clone(), Some(group.clone()))).collect(),
            local: self.local.keys().map(|ip| (*ip, true)).collect(),
        }
    }

    /// The health ports of all services: the port, the service and its local endpoints.
    #[must_use]
    pub fn health(&self) -> BTreeMap<u16, (ServiceKey, usize)> {
        let of = |(key, rules): (&ServiceKey, &ServiceRules)| {
            rules.health.map(|(port, count)| (port, (key.clone(), count)))
        };
        self.services.iter().filter_map(of).collect()
    }

    fn count_local(&mut self, old: &BTreeSet<IpAddr>, new: &BTreeSet<IpAddr>, delta: &mut Delta) {
        for ip in new.difference(old) {
            let count = self.local.entry(*ip).or_default();
            *count += 1;
            if *count == 1 {
                delta.local.insert(*ip, true);
            }
        }
        for ip in old.difference(new) {
            if let Some(count) = self.local.get_mut(ip) {
                *count -= 1;
                if *count == 0 {
                    self.local.remove(ip);
                    delta.local.insert(*ip, false);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(service: &ServiceKey, frontend: Frontend, endpoints: &[u8]) -> ServiceRules {
        let group = GroupKey {
            service: service.clone(),
            protocol: Protocol::Tcp,
            port: 80,
            scope: Scope::Internal,
            ipv6: false,
        };
        let endpoint = |n: &u8| Endpoint { ip: IpAddr::from([10, 42, 0, *n]), port: 8080 };
        ServiceRules {
            frontends: [(
                frontend,
                Target { group: group.clone(), inside: None, sources: Vec::new() },
            )]
            .into(),
            groups: [(
                group,
                Group {
                    endpoints: endpoints.iter().map(endpoint).collect(),
                    affinity: None,
                    masquerade: false,
                    when_empty: WhenEmpty::Reject,
                },
            )]
            .into(),
            local: endpoints.iter().map(|n| IpAddr::from([10, 42, 0, *n])).collect(),
            health: None,
        }
    }

    fn frontend(last: u8) -> Frontend {
        Frontend { ip: IpAddr::from([10, 96, 0, last]), protocol: Protocol::Tcp, port: 80 }
    }

    #[test]
    fn a_delta_holds_what_changed_and_nothing_else() {
        let (mut all, web) = (Ruleset::default(), ServiceKey::new("default", "web"));
        let mut delta = Delta::default();
        all.set(&web, Some(rules(&web, frontend(1), &[2, 3])), &mut delta);
        assert_eq!((delta.frontends.len(), delta.groups.len(), delta.local.len()), (1, 1, 2));
        let mut delta = Delta::default();
        all.set(&web, Some(rules(&web, frontend(1), &[2, 3])), &mut delta);
        assert!(delta.is_empty());
        all.set(&web, Some(rules(&web, frontend(1), &[2, 4])), &mut delta);
        assert_eq!((delta.frontends.len(), delta.groups.len(), delta.local.len()), (0, 1, 2));
        let mut delta = Delta::default();
        all.set(&web, None, &mut delta);
        assert!(delta.frontends.values().all(Option::is_none));
        assert!(delta.groups.values().all(Option::is_none));
        assert_eq!(all, Ruleset::default());
    }

    #[test]
    fn a_frontend_belongs_to_the_first_and_then_to_the_next() {
        let mut all = Ruleset::default();
        let (a, b) = (ServiceKey::new("default", "a"), ServiceKey::new("default", "b"));
        let mut delta = Delta::default();
        all.set(&b, Some(rules(&b, frontend(1), &[2])), &mut delta);
        all.set(&a, Some(rules(&a, frontend(1), &[3])), &mut delta);
        assert_eq!(all.target(&frontend(1)).unwrap().group.service, a);
        let mut delta = Delta::default();
        all.set(&a, None, &mut delta);
        let now = delta.frontends[&frontend(1)].as_ref().unwrap();
        assert_eq!(now.group.service, b);
        assert_eq!(all.whole().frontends.len(), 1);
    }
}
