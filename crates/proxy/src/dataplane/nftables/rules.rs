//! The chains and rules: written once, and a few more for each new shape.

use std::time::Duration;

use ipnet::IpNet;
use net::nft::{
    Batch, Bitwise, Chain, ChainKind, Cmp, CtKey, Data, DynsetOp, Element, Expr, Family, FibResult,
    HookPoint, MetaKey, NatKind, PayloadBase, Reg, Reject, Set, SetData, Table, Type, Verdict,
    priority,
};

use super::Config;
use super::groups::Shape;

pub(super) const FRONTENDS: &str = "frontends";
pub(super) const FRONTENDS_INSIDE: &str = "frontends-inside";
pub(super) const NODE_PORTS: &str = "nodeports";
pub(super) const NODE_PORTS_INSIDE: &str = "nodeports-inside";
pub(super) const SHAPES: &str = "shapes";
pub(super) const ENDPOINTS: &str = "endpoints";
pub(super) const MEMBERS: &str = "members";
pub(super) const HAIRPIN: &str = "hairpin";
/// Frontends that not everybody may use, and who may.
pub(super) const GUARDED: &str = "guarded";
pub(super) const SOURCES: &str = "sources";
const AFFINITY: &str = "affinity";
const INSIDE: &str = "inside";
const SERVICE_NETS: &str = "service-nets";
const REJECT: &str = "reject";

/// The packet mark that says "masquerade"; the bit that kube-proxy uses for it.
const MASQUERADE: u32 = 0x4000;
const STATUS_DNAT: u32 = 1 << 5;
const STATE_INVALID: u32 = 1;
const LOCAL: u32 = 2;
const TCP: u8 = 6;
/// Clients that may be remembered at a time.
const AFFINITY_SIZE: u32 = 1 << 18;

/// The ways to a group, each with its own map from what the client connects to.
#[derive(Debug, Clone, Copy)]
struct Path {
    map: &'static str,
    /// What is behind the name of each of its chains.
    suffix: &'static str,
    node_port: bool,
}

const PATHS: [Path; 4] = [
    Path { map: FRONTENDS, suffix: "", node_port: false },
    Path { map: NODE_PORTS, suffix: "-nodeport", node_port: true },
    Path { map: FRONTENDS_INSIDE, suffix: "-inside", node_port: false },
    Path { map: NODE_PORTS_INSIDE, suffix: "-nodeport-inside", node_port: true },
];

impl Path {
    fn dispatch(self) -> String {
        format!("dispatch{}", self.suffix)
    }

    fn chain(self, number: u32) -> String {
        format!("pick-{number}{}", self.suffix)
    }

    /// Loads the group that the packet's destination leads to into register 0; nothing else is
    /// kept.
    fn group(self, layout: &Layout) -> Vec<Expr> {
        let key = Reg(8);
        let mut load = Vec::new();
        let at = if self.node_port {
            8
        } else {
            load.push(layout.destination(8));
            8 + layout.words
        };
        load.push(Expr::Meta(MetaKey::L4Proto, Reg(at)));
        load.push(Expr::Payload(PayloadBase::Transport, 2, 2, Reg(at + 1)));
        load.push(Expr::LookupMap { map: self.map.to_owned(), key, to: Reg(0) });
        load
    }
}

/// Where the addresses of a family stand.
struct Layout {
    family: Family,
    address: Type,
    /// How many registers an address takes.
    words: u8,
}

impl Layout {
    fn of(family: Family) -> Self {
        match family {
            Family::Ipv6 => Self { family, address: Type::Ipv6, words: 4 },
            _ => Self { family, address: Type::Ipv4, words: 1 },
        }
    }

    fn source(&self, reg: u8) -> Expr {
        let (offset, len) = if self.words == 4 { (8, 16) } else { (12, 4) };
        Expr::Payload(PayloadBase::Network, offset, len, Reg(reg))
    }

    fn destination(&self, reg: u8) -> Expr {
        let (offset, len) = if self.words == 4 { (24, 16) } else { (16, 4) };
        Expr::Payload(PayloadBase::Network, offset, len, Reg(reg))
    }

    /// Translates the destination to the address in register 1 and the port behind it.
    fn translate(&self) -> Expr {
        let (address, port) = (Reg(1), Some(Reg(1 + self.words)));
        Expr::Nat { kind: NatKind::Destination, address, port }
    }
}

/// What the table is called in front of its number.
pub(super) const TABLE: &str = "ferry-services";

/// Fills a new table with everything but services.
pub(super) fn install(batch: &mut Batch, table: &Table, config: &Config) {
    let (family, layout) = (table.family, Layout::of(table.family));
    add_sets(batch, table, &layout);
    for (set, nets) in [(INSIDE, &config.pod_cidrs), (SERVICE_NETS, &config.service_cidrs)] {
        let elements: Vec<Element> = aggregated(nets, family).flat_map(Element::range).collect();
        batch.elements_add(table, set, &elements);
    }
    reject_chain(batch, table);
    find_chains(batch, table, &layout);
    postrouting(batch, table, &layout);
    drop_invalid(batch, table, &layout);
    drop_strays(batch, table, &layout);
}

fn aggregated(nets: &[IpNet], family: Family) -> impl Iterator<Item = IpNet> {
    let six = family == Family::Ipv6;
    let of_family = nets.iter().copied().filter(|net| net.addr().is_ipv6() == six);
    IpNet::aggregate(&of_family.collect()).into_iter()
}

fn add_sets(batch: &mut Batch, table: &Table, layout: &Layout) {
    let address = layout.address;
    let group = || SetData::Values(vec![Type::Mark]);
    let target = || SetData::Values(vec![address, Type::Port]);
    let frontend = [address, Type::Protocol, Type::Port];
    let node_port = [Type::Protocol, Type::Port];
    for path in PATHS {
        let key: &[Type] = if path.node_port { &node_port } else { &frontend };
        batch.set_add(table, &Set::map(path.map, key, group()));
        batch.set_add(table, &Set::map(&path.dispatch(), &[Type::Mark], SetData::Verdicts));
    }
    batch.set_add(table, &Set::map(SHAPES, &[Type::Mark], group()));
    batch.set_add(table, &Set::map(ENDPOINTS, &[Type::Mark, Type::Mark], target()));
    batch.set_add(table, &Set::new(MEMBERS, &[Type::Mark, address, Type::Port]));
    batch.set_add(table, &Set::new(HAIRPIN, &[address, address]));
    batch.set_add(table, &Set::new(GUARDED, &frontend));
    let mut sources = Set::new(SOURCES, &[address, Type::Protocol, Type::Port, address]);
    sources.interval = true;
    batch.set_add(table, &sources);
    let mut affinity = Set::map(AFFINITY, &[Type::Mark, address], target());
    (affinity.dynamic, affinity.size) = (true, AFFINITY_SIZE);
    batch.set_add(table, &affinity);
    for name in [INSIDE, SERVICE_NETS] {
        let mut set = Set::new(name, &[address]);
        set.interval = true;
        batch.set_add(table, &set);
    }
}

/// A refused client is told so in the way that its protocol understands at once.
fn reject_chain(batch: &mut Batch, table: &Table) {
    batch.chain_add(table, &Chain::called(REJECT));
    let tcp = [
        Expr::Meta(MetaKey::L4Proto, Reg(0)),
        Expr::Cmp(Cmp::Eq, Reg(0), vec![TCP]),
        Expr::Reject(Reject::TcpReset),
    ];
    batch.rule_add(table, REJECT, &tcp);
    batch.rule_add(table, REJECT, &[Expr::Reject(Reject::PortUnreachable)]);
}

/// From a packet's destination to the chain of its group's shape.
fn find_chains(batch: &mut Batch, table: &Table, layout: &Layout) {
    for name in ["services", "services-inside"] {
        batch.chain_add(table, &Chain::called(name));
    }
    for path in PATHS {
        let inside = path.suffix.ends_with("-inside");
        let chain = if inside { "services-inside" } else { "services" };
        let mut rule = Vec::new();
        if path.node_port {
            rule.push(Expr::Fib(FibResult::DestinationType, Reg(0)));
            rule.push(Expr::Cmp(Cmp::Eq, Reg(0), LOCAL.to_ne_bytes().to_vec()));
        }
        rule.extend(path.group(layout));
        rule.push(Expr::LookupMap { map: SHAPES.to_owned(), key: Reg(0), to: Reg(0) });
        rule.push(Expr::LookupVerdict { map: path.dispatch(), key: Reg(0) });
        // Twice: while a group's shape is being changed, a look-up may by bad luck see neither the
        // old nor the new one; a second one does.
        batch.rule_add(table, chain, &rule);
        batch.rule_add(table, chain, &rule);
    }
    // An address or port that no service has: refused at once, as on a host without a listener.
    let nobody = [
        layout.destination(0),
        Expr::Lookup { set: SERVICE_NETS.to_owned(), key: Reg(0), negate: false },
        Expr::Verdict(Verdict::Goto(REJECT.to_owned())),
    ];
    batch.rule_add(table, "services", &nobody);

    let jump = |chain: &str| Expr::Verdict(Verdict::Jump(chain.to_owned()));
    for (name, point) in [("prerouting", HookPoint::Prerouting), ("output", HookPoint::Output)] {
        batch.chain_add(table, &Chain::base(name, ChainKind::Nat, point, priority::DSTNAT));
        let mut inside = Vec::new();
        if point == HookPoint::Prerouting {
            batch.rule_add(table, name, &guard(layout));
            inside.push(layout.source(0));
            inside.push(Expr::Lookup { set: INSIDE.to_owned(), key: Reg(0), negate: false });
        }
        inside.push(jump("services-inside"));
        batch.rule_add(table, name, &inside);
        batch.rule_add(table, name, &[jump("services")]);
    }
}

/// Turns away whom a load balancer's address is not meant for.
fn guard(layout: &Layout) -> Vec<Expr> {
    let lookup = |set: &str, negate| Expr::Lookup { set: set.to_owned(), key: Reg(0), negate };
    let n = layout.words;
    vec![
        layout.destination(0),
        Expr::Meta(MetaKey::L4Proto, Reg(n)),
        Expr::Payload(PayloadBase::Transport, 2, 2, Reg(n + 1)),
        lookup(GUARDED, false),
        layout.source(n + 2),
        lookup(SOURCES, true),
        Expr::Verdict(Verdict::Drop),
    ]
}

fn postrouting(batch: &mut Batch, table: &Table, layout: &Layout) {
    let name = "postrouting";
    // Before the pod network's: what is marked here is not for it to judge.
    let at = priority::SRCNAT - 10;
    batch.chain_add(table, &Chain::base(name, ChainKind::Nat, HookPoint::Postrouting, at));
    let masquerade = Expr::Masquerade { random: true };
    let mut marked = vec![Expr::Meta(MetaKey::Mark, Reg(0))];
    marked.push(masked(MASQUERADE, 0));
    marked.push(Expr::Cmp(Cmp::Eq, Reg(0), MASQUERADE.to_ne_bytes().to_vec()));
    // The mark is for us alone.
    marked.extend(change_mark(!MASQUERADE, 0));
    marked.push(masquerade.clone());
    batch.rule_add(table, name, &marked);
    let mut hairpin = dnatted();
    hairpin.extend([
        layout.source(0),
        layout.destination(layout.words),
        Expr::Lookup { set: HAIRPIN.to_owned(), key: Reg(0), negate: false },
        masquerade.clone(),
    ]);
    batch.rule_add(table, name, &hairpin);
    if layout.family == Family::Ipv4 {
        // A node port on localhost: nobody else could answer to 127.0.0.1.
        let mut loopback = dnatted();
        loopback.extend([
            Expr::Payload(PayloadBase::Network, 12, 1, Reg(0)),
            Expr::Cmp(Cmp::Eq, Reg(0), vec![127]),
            masquerade,
        ]);
        batch.rule_add(table, name, &loopback);
    }
}

/// A pod's TCP packet that belongs to no connection (late, out of window) would pass without its
/// translation undone; the client, which never heard of the pod's address, would answer it with a
/// reset, and the endpoint would end a good connection. (kubernetes/kubernetes#74839)
fn drop_invalid(batch: &mut Batch, table: &Table, layout: &Layout) {
    let name = "invalid";
    let (kind, point) = (ChainKind::Filter, HookPoint::Prerouting);
    batch.chain_add(table, &Chain::base(name, kind, point, priority::MANGLE));
    let rule = [
        Expr::Ct(CtKey::State, Reg(0)),
        masked(STATE_INVALID, 0),
        Expr::Cmp(Cmp::Neq, Reg(0), vec![0; 4]),
        Expr::Meta(MetaKey::L4Proto, Reg(0)),
        Expr::Cmp(Cmp::Eq, Reg(0), vec![TCP]),
        layout.source(0),
        Expr::Lookup { set: INSIDE.to_owned(), key: Reg(0), negate: false },
        Expr::Verdict(Verdict::Drop),
    ];
    batch.rule_add(table, name, &rule);
}

/// What is for a service and was not translated after all goes nowhere, and above all is not
/// remembered as a connection without translation: the client's next attempt is a new one.
fn drop_strays(batch: &mut Batch, table: &Table, layout: &Layout) {
    let hooks = [("strays-forward", HookPoint::Forward), ("strays-output", HookPoint::Output)];
    for (name, point) in hooks {
        let chain = Chain::base(name, ChainKind::Filter, point, priority::FILTER);
        batch.chain_add(table, &chain);
        let rule = [
            layout.destination(0),
            Expr::Lookup { set: SERVICE_NETS.to_owned(), key: Reg(0), negate: false },
            Expr::Verdict(Verdict::Drop),
        ];
        batch.rule_add(table, name, &rule);
    }
}

/// The chains of a shape that no group had before, and the way to them.
pub(super) fn add_shape(batch: &mut Batch, table: &Table, number: u32, shape: Shape) {
    let layout = Layout::of(table.family);
    for path in PATHS {
        let verdict = match shape {
            Shape::Reject => Verdict::Goto(REJECT.to_owned()),
            Shape::Drop => Verdict::Drop,
            Shape::Pick { count, affinity, masquerade } => {
                let chain = path.chain(number);
                batch.chain_add(table, &Chain::called(&chain));
                for rule in pick_rules(path, &layout, count, affinity, masquerade) {
                    batch.rule_add(table, &chain, &rule);
                }
                Verdict::Goto(chain)
            }
        };
        let element = Element::map(number.to_ne_bytes().to_vec(), Data::Verdict(verdict));
        batch.elements_add(table, &path.dispatch(), &[element]);
    }
}

fn pick_rules(
    path: Path,
    layout: &Layout,
    count: u32,
    affinity: Option<Duration>,
    masquerade: bool,
) -> Vec<Vec<Expr>> {
    let mut rules = Vec::new();
    if masquerade {
        rules.push(change_mark(!MASQUERADE, MASQUERADE));
    }
    let endpoint = Expr::LookupMap { map: ENDPOINTS.to_owned(), key: Reg(0), to: Reg(1) };
    let random = Expr::Random { modulus: count, to: Reg(1) };
    if let Some(affinity) = affinity {
        let timeout_ms = u64::try_from(affinity.as_millis()).unwrap_or(u64::MAX);
        // The client's last endpoint, if it still is one; its time starts anew.
        let mut last = path.group(layout);
        last.extend([
            layout.source(1),
            Expr::LookupMap { map: AFFINITY.to_owned(), key: Reg(0), to: Reg(1) },
            Expr::Lookup { set: MEMBERS.to_owned(), key: Reg(0), negate: false },
        ]);
        last.extend(remember(layout, timeout_ms));
        rules.push(last);
        let mut first = path.group(layout);
        first.extend([random.clone(), endpoint.clone()]);
        first.extend(forget(layout));
        first.extend(remember(layout, timeout_ms));
        rules.push(first);
        // When too many clients are remembered already, this one is served all the same.
    }
    let mut pick = path.group(layout);
    pick.extend([random, endpoint.clone(), layout.translate()]);
    rules.push(pick.clone());
    // The endpoint went away between the drawing and the look-up: another draw, then the first.
    rules.push(pick);
    let mut other = path.group(layout);
    other.extend([Expr::Immediate(Reg(1), vec![0; 4]), endpoint, layout.translate()]);
    rules.push(other);
    rules.push(vec![Expr::Verdict(Verdict::Goto(REJECT.to_owned()))]);
    rules
}

/// The client and group as the key of the affinity map, in register 8 and behind it.
fn client(layout: &Layout) -> Vec<Expr> {
    // There is no move from register to register, but a mask that keeps every bit is one.
    vec![
        Expr::Bitwise(Bitwise { from: Reg(0), to: Reg(8), mask: vec![0xff; 4], xor: vec![0; 4] }),
        layout.source(9),
    ]
}

fn change_affinity(op: DynsetOp, timeout_ms: u64) -> Expr {
    Expr::Dynset { set: AFFINITY.to_owned(), op, key: Reg(8), data: Some(Reg(1)), timeout_ms }
}

/// Forgets the client's last endpoint, which is none any more: an update would keep it.
fn forget(layout: &Layout) -> Vec<Expr> {
    let mut steps = client(layout);
    steps.push(change_affinity(DynsetOp::Delete, 0));
    steps
}

/// Remembers the endpoint in register 1 for the client and group, and goes there.
fn remember(layout: &Layout, timeout_ms: u64) -> Vec<Expr> {
    let mut steps = client(layout);
    steps.extend([change_affinity(DynsetOp::Update, timeout_ms), layout.translate()]);
    steps
}

fn dnatted() -> Vec<Expr> {
    vec![
        Expr::Ct(CtKey::Status, Reg(0)),
        masked(STATUS_DNAT, 0),
        Expr::Cmp(Cmp::Neq, Reg(0), vec![0; 4]),
    ]
}

fn masked(keep: u32, flip: u32) -> Expr {
    let (mask, xor) = (keep.to_ne_bytes().to_vec(), flip.to_ne_bytes().to_vec());
    Expr::Bitwise(Bitwise { from: Reg(0), to: Reg(0), mask, xor })
}

fn change_mark(keep: u32, set: u32) -> Vec<Expr> {
    vec![Expr::Meta(MetaKey::Mark, Reg(0)), masked(keep, set), Expr::MetaSet(MetaKey::Mark, Reg(0))]
}
