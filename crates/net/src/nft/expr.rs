//! The expressions of a rule, and how each is written.

use crate::netlink::Encoder;
use crate::nft::Family;

/// One of the sixteen 4-byte registers. A longer value takes the following ones too, which is
/// how keys are concatenated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reg(pub u8);

/// The number of the register that holds a verdict.
pub const VERDICT: u32 = 0;

impl Reg {
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It is let through (this hook).
    Accept,
    /// It is dropped.
    Drop,
    /// Goes on behind the rule in the calling chain.
    Return,
    /// Goes through another chain, then on behind this rule.
    Jump(String),
    /// Goes through another chain, not back here.
    Goto(String),
}

/// Where a payload's offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadBase {
    /// The IP header.
    Network,
    /// The TCP, UDP or SCTP header.
    Transport,
}

/// What is known about a packet beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKey {
    /// The packet mark.
    Mark,
    /// The name of the incoming link.
    InName,
    /// The name of the outgoing link.
    OutName,
    /// The protocol above IP.
    L4Proto,
}

/// What connection tracking knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtKey {
    /// A bit set of states.
    State,
    /// 0 for a packet of the connection's first direction.
    Direction,
    /// A bit set of status flags.
    Status,
    /// The connection mark.
    Mark,
}

/// Which direction of a connection a key is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtDirection {
    /// As its first packet went.
    Original,
    /// As its answers go.
    Reply,
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
}

/// What a routing question answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FibResult {
    /// The type of the destination address: 2 is local.
    DestinationType,
    /// The type of the source address: 2 is local.
    SourceType,
}

/// Which address is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatKind {
    /// The source.
    Source,
    /// The destination.
    Destination,
}

/// How a set is changed by a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynsetOp {
    /// Put in when missing.
    Add,
    /// Put in, or its timeout started anew.
    Update,
    /// Taken out.
    Delete,
}

/// How a sender is told that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// ICMP port unreachable.
    PortUnreachable,
    /// TCP reset.
    TcpReset,
}

/// `dreg = (sreg & mask) ^ xor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitwise {
    /// Read from.
    pub from: Reg,
    /// Written to.
    pub to: Reg,
    /// Bits that are kept.
    pub mask: Vec<u8>,
    /// Bits that are flipped then.
    pub xor: Vec<u8>,
}

/// One step of a rule. A step that finds nothing ends the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Loads what is known about the packet.
    Meta(MetaKey, Reg),
    /// Sets it.
    MetaSet(MetaKey, Reg),
    /// Loads bytes of a header: base, offset, length.
    Payload(PayloadBase, u32, u32, Reg),
    /// Loads what is known about the connection.
    Ct(CtKey, Reg),
    /// Loads an address or port of the connection as its tuple has it: the source address.
    CtAddress {
        /// Which direction's tuple.
        direction: CtDirection,
        /// The destination's side of it instead of the source's.
        destination: bool,
        /// Whereto.
        to: Reg,
    },
    /// Goes on when the comparison holds.
    Cmp(Cmp, Reg, Vec<u8>),
    /// Goes on when the value lies in the range, both ends included.
    Range(Reg, Vec<u8>, Vec<u8>),
    /// Masks and flips bits.
    Bitwise(Bitwise),
    /// Goes on when the key is in the set.
    Lookup {
        /// The set.
        set: String,
        /// The first register of the key.
        key: Reg,
        /// Goes on when it is not in the set instead.
        negate: bool,
    },
    /// Loads the data of the key in a map; goes on when it is there.
    LookupMap {
        /// The map.
        map: String,
        /// The first register of the key.
        key: Reg,
        /// The first register of the data.
        to: Reg,
    },
    /// Follows the verdict of the key in a verdict map.
    LookupVerdict {
        /// The map.
        map: String,
        /// The first register of the key.
        key: Reg,
    },
    /// Loads a constant.
    Immediate(Reg, Vec<u8>),
    /// Decides.
    Verdict(Verdict),
    /// A random number below the modulus.
    Random {
        /// The modulus.
        modulus: u32,
        /// Whereto.
        to: Reg,
    },
    /// A question to the routing table.
    Fib(FibResult, Reg),
    /// Translates an address, and a port when a register for it is given.
    Nat {
        /// Which address.
        kind: NatKind,
        /// The address.
        address: Reg,
        /// The port.
        port: Option<Reg>,
    },
    /// Translates the source to the outgoing link's address.
    Masquerade {
        /// With a port chosen at random, so that two cores seldom choose the same.
        random: bool,
    },
    /// Translates the destination to this host, to the port in the register.
    Redirect(Reg),
    /// Changes a set from the packet.
    Dynset {
        /// The set or map.
        set: String,
        /// How.
        op: DynsetOp,
        /// The first register of the key.
        key: Reg,
        /// The first register of the data, of a map.
        data: Option<Reg>,
        /// Milliseconds until it goes by itself.
        timeout_ms: u64,
    },
    /// Tells the sender.
    Reject(Reject),
    /// Counts packets and bytes.
    Counter,
    /// Connection tracking leaves this packet alone.
    Notrack,
}

const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// Writes the list of a rule's expressions.
pub(super) fn write_all(encoder: &mut Encoder, kind: u16, family: Family, exprs: &[Expr]) {
    encoder.nested(kind, |list| {
        for expr in exprs {
            list.nested(LIST_ELEM, |e| {
                e.str(EXPR_NAME, name(expr));
                e.nested(EXPR_DATA, |data| write(data, family, expr));
            });
        }
    });
}

fn name(expr: &Expr) -> &'static str {
    match expr {
        Expr::Meta(..) | Expr::MetaSet(..) => "meta",
        Expr::Payload(..) => "payload",
        Expr::Ct(..) | Expr::CtAddress { .. } => "ct",
        Expr::Cmp(..) => "cmp",
        Expr::Range(..) => "range",
        Expr::Bitwise(..) => "bitwise",
        Expr::Lookup { .. } | Expr::LookupMap { .. } | Expr::LookupVerdict { .. } => "lookup",
        Expr::Immediate(..) | Expr::Verdict(..) => "immediate",
        Expr::Random { .. } => "numgen",
        Expr::Fib(..) => "fib",
        Expr::Nat { .. } => "nat",
        Expr::Masquerade { .. } => "masq",
        Expr::Redirect(..) => "redir",
        Expr::Dynset { .. } => "dynset",
        Expr::Reject(..) => "reject",
        Expr::Counter => "counter",
        Expr::Notrack => "notrack",
    }
}

fn write(e: &mut Encoder, family: Family, expr: &Expr) {
    match expr {
        Expr::Meta(key, to) => {
            e.be32(1, to.number());
            e.be32(2, meta_key(*key));
        }
        Expr::MetaSet(key, from) => {
            e.be32(2, meta_key(*key));
            e.be32(3, from.number());
        }
        Expr::Payload(base, offset, len, to) => {
            e.be32(1, to.number());
            e.be32(2, if *base == PayloadBase::Network { 1 } else { 2 });
            e.be32(3, *offset);
            e.be32(4, *len);
        }
        Expr::Ct(key, to) => {
            e.be32(1, to.number());
            e.be32(2, ct_key(*key));
        }
        Expr::CtAddress { direction, destination, to } => {
            e.be32(1, to.number());
            // NFT_CT_SRC_IP 19, NFT_CT_DST_IP 20, NFT_CT_SRC_IP6 21, NFT_CT_DST_IP6 22
            let six = if family == Family::Ipv6 { 2 } else { 0 };
            e.be32(2, 19 + six + u32::from(*destination));
            e.attr(3, &[u8::from(*direction == CtDirection::Reply)]);
        }
        Expr::Cmp(op, from, value) => {
            e.be32(1, from.number());
            e.be32(2, u32::from(*op == Cmp::Neq));
            e.nested(3, |d| d.attr(DATA_VALUE, value));
        }
        Expr::Range(from, low, high) => {
            e.be32(1, from.number());
            e.be32(2, 0);
            e.nested(3, |d| d.attr(DATA_VALUE, low));
            e.nested(4, |d| d.attr(DATA_VALUE, high));
        }
        Expr::Bitwise(Bitwise { from, to, mask, xor }) => {
            e.be32(1, from.number());
            e.be32(2, to.number());
            e.be32(3, u32::try_from(mask.len()).unwrap_or(u32::MAX));
            e.nested(4, |d| d.attr(DATA_VALUE, mask));
            e.nested(5, |d| d.attr(DATA_VALUE, xor));
        }
        Expr::Fib(what, to) => {
            const SOURCE: u32 = 1;
            const DESTINATION: u32 = 2;
            const ADDRESS_TYPE: u32 = 3;
            e.be32(1, to.number());
            e.be32(2, ADDRESS_TYPE);
            e.be32(3, if *what == FibResult::SourceType { SOURCE } else { DESTINATION });
        }
        Expr::Counter => {
            e.be64(1, 0);
            e.be64(2, 0);
        }
        Expr::Notrack => {}
        acting => write_acting(e, family, acting),
    }
}

/// The expressions that look up, decide or change something.
fn write_acting(e: &mut Encoder, family: Family, expr: &Expr) {
    match expr {
        Expr::Lookup { set, key, negate } => {
            e.str(1, set);
            e.be32(2, key.number());
            if *negate {
                e.be32(5, 1);
            }
        }
        Expr::LookupMap { map, key, to } => {
            e.str(1, map);
            e.be32(2, key.number());
            e.be32(3, to.number());
        }
        Expr::LookupVerdict { map, key } => {
            e.str(1, map);
            e.be32(2, key.number());
            e.be32(3, VERDICT);
        }
        Expr::Immediate(to, value) => {
            e.be32(1, to.number());
            e.nested(2, |d| d.attr(DATA_VALUE, value));
        }
        Expr::Verdict(verdict) => {
            e.be32(1, VERDICT);
            e.nested(2, |d| write_verdict(d, verdict));
        }
        Expr::Random { modulus, to } => {
            const RANDOM: u32 = 1;
            e.be32(1, to.number());
            e.be32(2, *modulus);
            e.be32(3, RANDOM);
            e.be32(4, 0);
        }
        Expr::Nat { kind, address, port } => {
            e.be32(1, u32::from(*kind == NatKind::Destination));
            e.be32(2, u32::from(family.number()));
            e.be32(3, address.number());
            if let Some(port) = port {
                e.be32(5, port.number());
            }
        }
        Expr::Masquerade { random } => {
            const RANDOM_FULLY: u32 = 0x10;
            if *random {
                e.be32(1, RANDOM_FULLY);
            }
        }
        Expr::Redirect(port) => e.be32(1, port.number()),
        Expr::Dynset { set, op, key, data, timeout_ms } => {
            e.str(1, set);
            e.be32(
                3,
                match op {
                    DynsetOp::Add => 0,
                    DynsetOp::Update => 1,
                    DynsetOp::Delete => 2,
                },
            );
            e.be32(4, key.number());
            if let Some(data) = data {
                e.be32(5, data.number());
            }
            if *timeout_ms > 0 {
                e.be64(6, *timeout_ms);
            }
        }
        Expr::Reject(Reject::TcpReset) => e.be32(1, 1),
        Expr::Reject(Reject::PortUnreachable) => {
            // ICMP's code for it is 3, ICMPv6's is 4.
            e.be32(1, 0);
            e.attr(2, &[if family == Family::Ipv6 { 4 } else { 3 }]);
        }
        _ => unreachable!("write() handles the others"),
    }
}

/// Writes a verdict as data.
pub(super) fn write_verdict(e: &mut Encoder, verdict: &Verdict) {
    e.nested(DATA_VERDICT, |v| {
        let (code, chain) = match verdict {
            Verdict::Accept => (1, None),
            Verdict::Drop => (0, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
            Verdict::Goto(chain) => (-4, Some(chain)),
            Verdict::Return => (-5, None),
        };
        v.be32(VERDICT_CODE, i32::cast_unsigned(code));
        if let Some(chain) = chain {
            v.str(VERDICT_CHAIN, chain);
        }
    });
}

/// Writes bytes as data.
pub(super) fn write_value(e: &mut Encoder, value: &[u8]) {
    e.attr(DATA_VALUE, value);
}

fn meta_key(key: MetaKey) -> u32 {
    match key {
        MetaKey::Mark => 3,
        MetaKey::InName => 6,
        MetaKey::OutName => 7,
        MetaKey::L4Proto => 16,
    }
}

fn ct_key(key: CtKey) -> u32 {
    match key {
        CtKey::State => 0,
        CtKey::Direction => 1,
        CtKey::Status => 2,
        CtKey::Mark => 3,
    }
}
