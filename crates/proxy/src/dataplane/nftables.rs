//! Services in nftables: maps, changed by elements only.
//!
//! The rules hardly ever change; services and endpoints are elements of maps:
//!
//! | map | from | to |
//! | --- | --- | --- |
//! | `frontends` | address . protocol . port | group |
//! | `nodeports` | protocol . port | group |
//! | `…-inside` | the same, looked at first for pods and the node itself | group |
//! | `shapes` | group | shape: how many endpoints, affinity, masquerade |
//! | `endpoints` | group . index | address . port |
//!
//! A connection's first packet takes three or four hash look-ups, however many services there are:
//! frontend to group, group to shape, shape to the chain `pick-…` that draws an index below the
//! shape's number of endpoints and looks the endpoint up. A change of a group's endpoints changes
//! a few elements; the kernel walks nothing else. (A chain a service, which is what
//! kube-proxy does, makes the kernel check all chains again with each new rule.)
//!
//! A transaction is atomic for packets that come behind it. One that is under way sees rules as of
//! one generation and elements as of another, and a look-up may fall between an element that goes
//! and the one that comes. So every look-up on the way has a second chance; chains are in the
//! kernel a grace period before an element leads to them; and a restart adds a table beside the
//! old one ([`Nft::replace_table`]).

mod groups;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use net::conntrack::Conntrack;
use net::netns::NetNs;
use net::nft::{Batch, Data, Element, Family, Nft, Table};

use super::{Dataplane, DataplaneError};
use crate::ruleset::{Delta, Endpoint, Frontend, Group, GroupKey, Protocol, Ruleset, Target};
use groups::{GroupId, Groups, Shape};

/// What the data plane must know of the cluster and the node.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where services have their addresses: connections there that no service takes are refused.
    pub service_cidrs: Vec<IpNet>,
    /// Where the cluster's pods have theirs.
    pub pod_cidrs: Vec<IpNet>,
    /// The node's namespace; `None` is that of the process.
    pub netns: Option<Arc<NetNs>>,
}

/// The data plane.
#[derive(Debug)]
pub struct Nftables {
    config: Config,
    planes: Vec<Plane>,
    /// Kept open: closing one makes the kernel wait until nobody reads the old rules any more,
    /// some ten milliseconds, which a lasting socket leaves to the kernel's own leisure.
    socket: Option<Nft>,
    /// Whether `planes` may not be what the kernel has: before the first transaction, and after a
    /// refused one.
    behind: bool,
    /// What the last transaction cost, for tests and benchmarks.
    pub last_cost: Cost,
}

/// The size of a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes handed to the kernel.
    pub byte_len: usize,
    /// Messages in them.
    pub message_len: usize,
    /// Elements added and taken away.
    pub element_len: usize,
}

impl Cost {
    fn add(&mut self, batch: &Batch, elements: &Elements) {
        self.byte_len += batch.byte_len();
        self.message_len += batch.message_len();
        self.element_len += elements.len();
    }
}

/// One address family's table, as the kernel has it.
#[derive(Debug)]
struct Plane {
    /// Its table; without a number until the first transaction.
    table: Table,
    groups: Groups,
    frontends: BTreeMap<Frontend, Target>,
    /// Addresses that were an endpoint's on this node since the table was made.
    hairpin: BTreeSet<IpAddr>,
}

/// Elements to take away and to add, by set.
#[derive(Debug, Default)]
struct Elements {
    gone: BTreeMap<&'static str, Vec<Element>>,
    new: BTreeMap<&'static str, Vec<Element>>,
}

impl Elements {
    fn gone(&mut self, set: &'static str, key: Vec<u8>) {
        self.gone.entry(set).or_default().push(Element::new(key));
    }

    fn set(&mut self, set: &'static str, key: Vec<u8>) {
        self.new.entry(set).or_default().push(Element::new(key));
    }

    fn map(&mut self, set: &'static str, key: Vec<u8>, value: Vec<u8>) {
        self.new.entry(set).or_default().push(Element::map(key, Data::Value(value)));
    }

    fn len(&self) -> usize {
        self.gone.values().chain(self.new.values()).map(Vec::len).sum()
    }

    /// What goes is taken away before what comes is added, so that an element may change its
    /// value.
    fn write(&self, batch: &mut Batch, table: &Table) {
        for (set, elements) in &self.gone {
            batch.elements_delete(table, set, elements);
        }
        for (set, elements) in &self.new {
            batch.elements_add(table, set, elements);
        }
    }
}

/// UDP flows that may lead to where no rule leads any more.
#[derive(Debug, Default)]
struct Stale {
    frontends: Vec<Frontend>,
}

impl Nftables {
    /// A data plane that has not touched the kernel yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let has = |six: bool| {
            config.service_cidrs.iter().chain(&config.pod_cidrs).any(|n| n.addr().is_ipv6() == six)
        };
        let mut families = vec![Family::Ipv4];
        if has(true) {
            families.push(Family::Ipv6);
        }
        let plane = |family| Plane::new(Table::new(family, rules::TABLE));
        Self {
            planes: families.into_iter().map(plane).collect(),
            config,
            socket: None,
            // What an earlier process left in the kernel is not known.
            behind: true,
            last_cost: Cost::default(),
        }
    }

    fn on_host<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, net::Error> + Send,
    ) -> Result<T, net::Error> {
        match self.config.netns.as_deref() {
            None => work(),
            Some(netns) => netns.run(work)?,
        }
    }

    /// Puts everything into new tables, and lets go of those of before.
    fn renew(&mut self, delta: &Delta) -> Result<(), DataplaneError> {
        self.behind = true;
        let mut stale = Stale::default();
        let mut cost = Cost::default();
        let mut socket = self.open_socket()?;
        for plane in &mut self.planes {
            let mut fresh = Plane::new(plane.table.clone());
            let filled = socket.replace_table(plane.table.family, rules::TABLE, |batch, table| {
                rules::install(batch, table, &self.config);
                let mut elements = Elements::default();
                let mut shapes = fresh.groups.common_shapes();
                shapes.extend(fresh.apply(delta, &mut elements, &mut stale));
                for (number, shape) in shapes {
                    rules::add_shape(batch, table, number, shape);
                }
                elements.write(batch, table);
                cost.add(batch, &elements);
            });
            fresh.table = filled.map_err(failed)?;
            *plane = fresh;
        }
        self.socket = Some(socket);
        self.behind = false;
        self.last_cost = cost;
        self.forget_stale(&stale);
        Ok(())
    }

    fn change(&mut self, delta: &Delta) -> Result<(), DataplaneError> {
        // Should the kernel refuse, only `replace` makes the two agree again.
        self.behind = true;
        let (mut stale, mut cost) = (Stale::default(), Cost::default());
        let (mut chains, mut batch) = (Batch::new(), Batch::new());
        for plane in &mut self.planes {
            let mut elements = Elements::default();
            for (number, shape) in plane.apply(delta, &mut elements, &mut stale) {
                rules::add_shape(&mut chains, &plane.table, number, shape);
            }
            let before = batch.byte_len();
            elements.write(&mut batch, &plane.table);
            cost.element_len += if batch.byte_len() > before { elements.len() } else { 0 };
        }
        if !chains.is_empty() {
            // A packet that is under way would find them empty.
            self.commit(&chains)?;
            net::nft::grace();
        }
        self.commit(&batch)?;
        self.behind = false;
        cost.byte_len = chains.byte_len() + batch.byte_len();
        cost.message_len = chains.message_len() + batch.message_len();
        self.last_cost = cost;
        self.forget_stale(&stale);
        Ok(())
    }

    fn open_socket(&mut self) -> Result<Nft, DataplaneError> {
        match self.socket.take() {
            Some(socket) => Ok(socket),
            None => self.on_host(Nft::open).map_err(failed),
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), DataplaneError> {
        let mut socket = self.open_socket()?;
        socket.commit(batch).map_err(failed)?;
        // One that failed may hold the rest of an answer, and is not used again.
        self.socket = Some(socket);
        Ok(())
    }

    /// Forgets UDP flows that lead to where no rule leads any more. The rules stand already, so a
    /// failure here is told and no more.
    fn forget_stale(&self, stale: &Stale) {
        if stale.frontends.is_empty() {
            return;
        }
        let forgotten = self.on_host(|| {
            let mut conntrack = Conntrack::open()?;
            for flow in conntrack.flows(Protocol::Udp.number())? {
                let of = |frontend: &&Frontend| {
                    frontend.port == flow.destination.port()
                        && frontend.ip.is_ipv4() == flow.destination.is_ipv4()
                        && (frontend.ip == flow.destination.ip() || frontend.is_node_port())
                };
                let Some(frontend) = stale.frontends.iter().find(of) else { continue };
                // A flow through a node port to an address that is not the node's is not ours,
                // but forgetting it only costs its next packet a look at the rules.
                if !self.endpoints(frontend).any(|endpoint| same(endpoint, &flow.answerer)) {
                    conntrack.forget(&flow)?;
                }
            }
            Ok(())
        });
        if let Err(error) = forgotten {
            let error = base::error::Chain(&error).to_string();
            tracing::warn!(error, "stale udp flows were not forgotten");
        }
    }

    /// Where a frontend leads now.
    fn endpoints(&self, frontend: &Frontend) -> impl Iterator<Item = &Endpoint> {
        self.planes
            .iter()
            .filter_map(|plane| Some((plane, plane.frontends.get(frontend)?)))
            .flat_map(|(plane, target)| {
                let groups = std::iter::once(&target.group).chain(&target.inside);
                groups.flat_map(|group| plane.groups.endpoints(group))
            })
    }
}

fn same(endpoint: &Endpoint, address: &std::net::SocketAddr) -> bool {
    endpoint.ip == address.ip() && endpoint.port == address.port()
}

fn failed(error: net::Error) -> DataplaneError {
    DataplaneError { plane: "nftables", source: Box::new(error) }
}

impl Dataplane for Nftables {
    fn replace(&mut self, all: &Ruleset) -> Result<(), DataplaneError> {
        self.renew(&all.whole())
    }

    fn sync(&mut self, delta: &Delta) -> Result<(), DataplaneError> {
        if delta.is_empty() {
            return Ok(());
        }
        self.change(delta)
    }

    fn leads_to(&self, ip: IpAddr) -> bool {
        self.behind || self.planes.iter().any(|plane| plane.groups.leads_to(ip))
    }

    fn clean(&mut self) -> Result<(), DataplaneError> {
        let mut socket = self.open_socket()?;
        let mut batch = Batch::new();
        for plane in &mut self.planes {
            let family = plane.table.family;
            for name in socket.tables(family).map_err(failed)? {
                if name.starts_with(rules::TABLE) {
                    batch.table_delete(&Table { family, name });
                }
            }
            *plane = Plane::new(Table::new(family, rules::TABLE));
        }
        self.socket = Some(socket);
        self.commit(&batch)?;
        self.behind = false;
        Ok(())
    }
}

impl Plane {
    fn new(table: Table) -> Self {
        Self {
            table,
            groups: Groups::default(),
            frontends: BTreeMap::new(),
            hairpin: BTreeSet::new(),
        }
    }

    fn is_ipv6(&self) -> bool {
        self.table.family == Family::Ipv6
    }

    /// Works out the elements of a change; returns shapes that are new.
    fn apply(
        &mut self,
        delta: &Delta,
        elements: &mut Elements,
        stale: &mut Stale,
    ) -> Vec<(u32, Shape)> {
        let six = self.is_ipv6();
        let mut shapes = Vec::new();
        let of_family = |key: &GroupKey| key.ipv6 == six;
        // New groups get their numbers before frontends name them, and those that go keep theirs
        // until no frontend names them.
        for (key, group) in delta.groups.iter().filter(|(key, _)| of_family(key)) {
            if let Some(group) = group {
                self.note_stale(key, group, stale);
                shapes.extend(self.groups.put(key, group, elements));
            }
        }
        for (frontend, target) in delta.frontends.iter().filter(|(f, _)| f.ip.is_ipv6() == six) {
            if frontend.protocol == Protocol::Udp {
                stale.frontends.push(*frontend);
            }
            self.put_frontend(frontend, target.as_ref(), elements);
        }
        for key in delta.groups.iter().filter(|(key, group)| of_family(key) && group.is_none()) {
            self.groups.remove(key.0, elements);
        }
        // An element of this set is never taken away: a connection to itself may be between its
        // translation and the look at the set when its endpoint goes, and what the set says of an
        // address stays true. There are as many at most as the node has pod addresses.
        for (ip, _) in delta.local.iter().filter(|(ip, is)| **is && ip.is_ipv6() == six) {
            if self.hairpin.insert(*ip) {
                elements.set(rules::HAIRPIN, [bytes(*ip), bytes(*ip)].concat());
            }
        }
        shapes
    }

    fn put_frontend(
        &mut self,
        frontend: &Frontend,
        target: Option<&Target>,
        elements: &mut Elements,
    ) {
        let old = match target {
            Some(target) => self.frontends.insert(*frontend, target.clone()),
            None => self.frontends.remove(frontend),
        };
        let (set, inside) = if frontend.is_node_port() {
            (rules::NODE_PORTS, rules::NODE_PORTS_INSIDE)
        } else {
            (rules::FRONTENDS, rules::FRONTENDS_INSIDE)
        };
        let key = frontend_key(frontend);
        let id = |group: &GroupKey| self.groups.id(group);
        let was = (old.as_ref(), old.as_ref().and_then(|old| old.inside.as_ref()));
        let is = (target, target.and_then(|target| target.inside.as_ref()));
        let sources = |of: Option<&Target>| of.map_or(Vec::new(), |target| target.sources.clone());
        put_sources(&key, &sources(old.as_ref()), &sources(target), elements);
        let pairs = [(set, was.0.map(|t| &t.group), is.0.map(|t| &t.group)), (inside, was.1, is.1)];
        for (set, was, is) in pairs {
            if was == is {
                continue;
            }
            if was.is_some() {
                elements.gone(set, key.clone());
            }
            if let Some(id) = is.and_then(id) {
                elements.map(set, key.clone(), id.bytes());
            }
        }
    }

    /// A UDP group that lost an endpoint leaves flows behind.
    fn note_stale(&self, key: &GroupKey, new: &Group, stale: &mut Stale) {
        if key.protocol != Protocol::Udp {
            return;
        }
        if self.groups.endpoints(key).any(|endpoint| !new.endpoints.contains(endpoint)) {
            let to_it = self
                .frontends
                .iter()
                .filter(|(_, target)| target.group == *key || target.inside.as_ref() == Some(key));
            stale.frontends.extend(to_it.map(|(frontend, _)| *frontend));
        }
    }
}

/// Who may connect to a frontend, as elements.
fn put_sources(key: &[u8], was: &[IpNet], is: &[IpNet], elements: &mut Elements) {
    if was == is {
        return;
    }
    let ends = |net: &IpNet| {
        let end = |ip| [key, bytes(ip).as_slice()].concat();
        Element::between(end(net.network()), end(net.broadcast()))
    };
    elements.gone.entry(rules::SOURCES).or_default().extend(was.iter().map(ends));
    elements.new.entry(rules::SOURCES).or_default().extend(is.iter().map(ends));
    match (was.is_empty(), is.is_empty()) {
        (true, false) => elements.set(rules::GUARDED, key.to_vec()),
        (false, true) => elements.gone(rules::GUARDED, key.to_vec()),
        _ => {}
    }
}

/// A frontend as a key: with its address, or without for a node port.
fn frontend_key(frontend: &Frontend) -> Vec<u8> {
    let rest = [&[frontend.protocol.number(), 0, 0, 0][..], &padded_port(frontend.port)].concat();
    if frontend.is_node_port() { rest } else { [bytes(frontend.ip), rest].concat() }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn padded_port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// An endpoint as data, or as the end of a key.
fn endpoint_bytes(endpoint: &Endpoint) -> Vec<u8> {
    [bytes(endpoint.ip), padded_port(endpoint.port).to_vec()].concat()
}

impl GroupId {
    fn bytes(self) -> Vec<u8> {
        self.0.to_ne_bytes().to_vec()
    }
}
