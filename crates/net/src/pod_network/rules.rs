//! The pod network's own packet rules: the way out, host ports, and a guard for loopback.
//!
//! One table a family, `ferry-pods-<number>`. Services have a table of their own; so will policy.
//! The table is replaced as a whole when the network starts and changed by elements afterwards.

use std::net::IpAddr;

use ipnet::IpNet;

use super::links::LINK_PREFIX;
use super::records::Attachment;
use super::{Config, HostPort};
use crate::nft::{
    Batch, Bitwise, Chain, ChainKind, Cmp, CtKey, Data, Element, Expr, Family, FibResult,
    HookPoint, MetaKey, NatKind, PayloadBase, Reg, Set, SetData, Table, Type, Verdict, priority,
};

const HOST_PORTS: &str = "host-ports";
const HOST_IP_PORTS: &str = "host-ip-ports";
const HAIRPIN: &str = "hairpin";
const INSIDE: &str = "inside";
const PODS: &str = "pods";

/// The bit of `ct status` that says that the destination was translated.
const STATUS_DNAT: u32 = 1 << 5;
const LOCAL: u32 = 2;
const LOOPBACK_MASK: [u8; 4] = [255, 0, 0, 0];
const LOOPBACK: [u8; 4] = [127, 0, 0, 0];

/// What the table is called in front of its number.
pub(super) const TABLE: &str = "ferry-pods";

/// Where the addresses stand in a header.
struct Header {
    source: Expr,
    destination: Expr,
    address: Type,
    /// How many registers an address takes.
    registers: u8,
}

fn header(family: Family) -> Header {
    let (source, destination, len, address) = match family {
        Family::Ipv6 => (8, 24, 16, Type::Ipv6),
        _ => (12, 16, 4, Type::Ipv4),
    };
    let load = |offset| Expr::Payload(PayloadBase::Network, offset, len, Reg(0));
    Header {
        source: load(source),
        destination: load(destination),
        address,
        registers: if len == 16 { 4 } else { 1 },
    }
}

/// The same load into another register.
fn into(load: &Expr, to: Reg) -> Expr {
    match load {
        Expr::Payload(base, offset, len, _) => Expr::Payload(*base, *offset, *len, to),
        other => other.clone(),
    }
}

/// Fills the table of a network that starts, with what the attachments hold.
pub(super) fn install(
    batch: &mut Batch,
    table: &Table,
    config: &Config,
    attachments: &[Attachment],
) {
    let (family, header) = (table.family, header(table.family));
    let keyed = SetData::Values(vec![header.address, Type::Port]);
    batch.set_add(table, &Set::map(HOST_PORTS, &[Type::Protocol, Type::Port], keyed.clone()));
    let by_ip = [header.address, Type::Protocol, Type::Port];
    batch.set_add(table, &Set::map(HOST_IP_PORTS, &by_ip, keyed));
    batch.set_add(table, &Set::new(HAIRPIN, &[header.address, header.address]));
    for (name, nets) in [(PODS, &config.pod_cidrs), (INSIDE, &config.inside_cidrs)] {
        let mut set = Set::new(name, &[header.address]);
        set.interval = true;
        batch.set_add(table, &set);
        let elements: Vec<Element> = aggregated(nets, family).flat_map(Element::range).collect();
        batch.elements_add(table, name, &elements);
    }
    host_port_chains(batch, table, &header);
    way_out(batch, table, &header);
    if family == Family::Ipv4 {
        loopback_guard(batch, table);
    }
    for attachment in attachments {
        change(batch, table, attachment, Batch::elements_add);
    }
}

/// The networks of a family, none within another: an interval set refuses overlaps.
fn aggregated(nets: &[IpNet], family: Family) -> impl Iterator<Item = IpNet> {
    let of_family =
        nets.iter().copied().filter(|net| net.addr().is_ipv4() == (family == Family::Ipv4));
    IpNet::aggregate(&of_family.collect()).into_iter()
}

fn host_port_chains(batch: &mut Batch, table: &Table, header: &Header) {
    batch.chain_add(table, &Chain::called("host-ports"));
    let port = |reg| Expr::Payload(PayloadBase::Transport, 2, 2, Reg(reg));
    let protocol = |reg| Expr::Meta(MetaKey::L4Proto, Reg(reg));
    let n = header.registers;
    let nat = |at: u8| Expr::Nat {
        kind: NatKind::Destination,
        address: Reg(at),
        port: Some(Reg(at + n)),
    };
    let exact = [
        header.destination.clone(),
        protocol(n),
        port(n + 1),
        Expr::LookupMap { map: HOST_IP_PORTS.to_owned(), key: Reg(0), to: Reg(0) },
        nat(0),
    ];
    batch.rule_add(table, "host-ports", &exact);
    let any = [
        Expr::Fib(FibResult::DestinationType, Reg(0)),
        Expr::Cmp(Cmp::Eq, Reg(0), LOCAL.to_ne_bytes().to_vec()),
        protocol(0),
        port(1),
        Expr::LookupMap { map: HOST_PORTS.to_owned(), key: Reg(0), to: Reg(2) },
        nat(2),
    ];
    batch.rule_add(table, "host-ports", &any);
    // Behind services: a service's node port was chosen by the cluster and is checked first.
    let after_services = priority::DSTNAT + 10;
    for (name, point) in [("prerouting", HookPoint::Prerouting), ("output", HookPoint::Output)] {
        batch.chain_add(table, &Chain::base(name, ChainKind::Nat, point, after_services));
        batch.rule_add(table, name, &[Expr::Verdict(Verdict::Jump("host-ports".to_owned()))]);
    }
}

/// What a packet is given as its source when it leaves.
fn way_out(batch: &mut Batch, table: &Table, header: &Header) {
    let name = "postrouting";
    let postrouting = Chain::base(name, ChainKind::Nat, HookPoint::Postrouting, priority::SRCNAT);
    batch.chain_add(table, &postrouting);
    let masquerade = Expr::Masquerade { random: true };
    // A pod that reaches itself through its host port must not see its own address as the
    // sender, or it would answer without the translation.
    let mut hairpin = dnatted();
    hairpin.extend([
        header.source.clone(),
        into(&header.destination, Reg(header.registers)),
        Expr::Lookup { set: HAIRPIN.to_owned(), key: Reg(0), negate: false },
        masquerade.clone(),
    ]);
    batch.rule_add(table, name, &hairpin);
    let outside = [
        header.source.clone(),
        Expr::Lookup { set: PODS.to_owned(), key: Reg(0), negate: false },
        header.destination.clone(),
        Expr::Lookup { set: INSIDE.to_owned(), key: Reg(0), negate: true },
        masquerade.clone(),
    ];
    batch.rule_add(table, name, &outside);
    if header.address == Type::Ipv4 {
        let mut from_loopback = dnatted();
        from_loopback.extend(loopback(&header.source));
        from_loopback.push(masquerade);
        batch.rule_add(table, name, &from_loopback);
    }
}

/// Pods' links accept answers to 127.0.0.1 (`route_localnet`), for node ports and host ports on
/// localhost; connections that start there are turned away, or a pod could reach what listens on
/// the node's loopback only. (CVE-2020-8558)
fn loopback_guard(batch: &mut Batch, table: &Table) {
    let chain = Chain::base("input", ChainKind::Filter, HookPoint::Input, priority::FILTER);
    batch.chain_add(table, &chain);
    let mut prefix = LINK_PREFIX.as_bytes().to_vec();
    prefix.truncate(16);
    let mut rule = vec![Expr::Meta(MetaKey::InName, Reg(0)), Expr::Cmp(Cmp::Eq, Reg(0), prefix)];
    rule.extend(loopback(&Expr::Payload(PayloadBase::Network, 16, 4, Reg(0))));
    rule.extend([
        Expr::Ct(CtKey::Direction, Reg(0)),
        Expr::Cmp(Cmp::Eq, Reg(0), vec![0]),
        Expr::Verdict(Verdict::Drop),
    ]);
    batch.rule_add(table, "input", &rule);
}

fn dnatted() -> Vec<Expr> {
    vec![
        Expr::Ct(CtKey::Status, Reg(0)),
        Expr::Bitwise(Bitwise {
            from: Reg(0),
            to: Reg(0),
            mask: STATUS_DNAT.to_ne_bytes().to_vec(),
            xor: vec![0; 4],
        }),
        Expr::Cmp(Cmp::Neq, Reg(0), vec![0; 4]),
    ]
}

fn loopback(load: &Expr) -> Vec<Expr> {
    vec![
        load.clone(),
        Expr::Bitwise(Bitwise {
            from: Reg(0),
            to: Reg(0),
            mask: LOOPBACK_MASK.to_vec(),
            xor: vec![0; 4],
        }),
        Expr::Cmp(Cmp::Eq, Reg(0), LOOPBACK.to_vec()),
    ]
}

/// Adds or takes away what one attachment has in the table.
pub(super) fn change(
    batch: &mut Batch,
    table: &Table,
    attachment: &Attachment,
    apply: fn(&mut Batch, &Table, &str, &[Element]),
) {
    let four = table.family == Family::Ipv4;
    let ip = attachment.ips.iter().find(|ip| ip.is_ipv4() == four);
    let Some(ip) = ip.copied().filter(|_| !attachment.host_ports.is_empty()) else { return };
    let own = bytes(ip);
    for port in &attachment.host_ports {
        let data = Data::Value([own.as_slice(), &padded_port(port.container_port)].concat());
        let rest = [[port.protocol.number(), 0, 0, 0], padded_port(port.host_port)].concat();
        match port.host_ip.filter(|ip| !ip.is_unspecified()) {
            None => apply(batch, table, HOST_PORTS, &[Element::map(rest, data)]),
            Some(on) if on.is_ipv4() == ip.is_ipv4() => {
                let key = [bytes(on), rest].concat();
                apply(batch, table, HOST_IP_PORTS, &[Element::map(key, data)]);
            }
            Some(_) => {}
        }
    }
    apply(batch, table, HAIRPIN, &[Element::new([own.clone(), own].concat())]);
}

/// Whether two host ports cannot both be held.
pub(super) fn collide(a: &HostPort, b: &HostPort) -> bool {
    let any = |port: &HostPort| port.host_ip.is_none_or(|ip| ip.is_unspecified());
    a.host_port == b.host_port
        && a.protocol == b.protocol
        && (any(a) || any(b) || a.host_ip == b.host_ip)
}

fn padded_port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
