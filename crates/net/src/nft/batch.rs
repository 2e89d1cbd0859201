//! A transaction: tables, chains, rules, sets and elements, put together as bytes.

use crate::netlink::{self, ACK, APPEND, CREATE, Encoder, HEADER_LEN, REQUEST};
use crate::nft::expr::{self, Expr};
use crate::nft::set::{self, Element, Set};

/// The address family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `ip`
    Ipv4,
    /// `ip6`
    Ipv6,
    /// `inet`: both.
    Inet,
}

impl Family {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name; Ferry's start with `ferry-`.
    pub name: String,
}

impl Table {
    /// A table of that family and name.
    #[must_use]
    pub fn new(family: Family, name: &str) -> Self {
        Self { family, name: name.to_owned() }
    }
}

/// What a base chain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Lets through or not.
    Filter,
    /// Translates addresses; sees the first packet of each connection only.
    Nat,
    /// As filter, and routes anew when the packet was changed.
    Route,
}

/// Where a base chain hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    /// Every packet that comes in, before routing.
    Prerouting,
    /// Packets for this host.
    Input,
    /// Packets that pass through.
    Forward,
    /// Packets that this host sends.
    Output,
    /// Every packet that goes out, after routing.
    Postrouting,
}

/// The well-known priorities, by nft's names.
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// Where packets are changed.
    pub const MANGLE: i32 = -150;
    /// Destination translation.
    pub const DSTNAT: i32 = -100;
    /// Filters.
    pub const FILTER: i32 = 0;
    /// Source translation.
    pub const SRCNAT: i32 = 100;
}

/// What becomes of a packet on which a base chain does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

/// How a base chain is hung in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// What it does.
    pub kind: ChainKind,
    /// Where.
    pub point: HookPoint,
    /// Lower comes first.
    pub priority: i32,
    /// When it does not decide.
    pub policy: Policy,
}

/// A chain; without a hook it is only reached from other chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it hangs.
    pub hook: Option<Hook>,
}

impl Chain {
    /// A chain that other chains call.
    #[must_use]
    pub fn called(name: &str) -> Self {
        Self { name: name.to_owned(), hook: None }
    }

    /// A base chain that lets through what it does not decide on.
    #[must_use]
    pub fn base(name: &str, kind: ChainKind, point: HookPoint, priority: i32) -> Self {
        Self {
            name: name.to_owned(),
            hook: Some(Hook { kind, point, priority, policy: Policy::Accept }),
        }
    }
}

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

pub(super) mod kind {
    pub(crate) const NEWTABLE: u16 = 0;
    pub(crate) const GETTABLE: u16 = 1;
    pub(crate) const DELTABLE: u16 = 2;
    pub(crate) const NEWCHAIN: u16 = 3;
    pub(crate) const GETCHAIN: u16 = 4;
    pub(crate) const DELCHAIN: u16 = 5;
    pub(crate) const NEWRULE: u16 = 6;
    pub(crate) const DELRULE: u16 = 8;
    pub(crate) const NEWSET: u16 = 9;
    pub(crate) const DELSET: u16 = 11;
    pub(crate) const NEWSETELEM: u16 = 12;
    pub(crate) const GETSETELEM: u16 = 13;
    pub(crate) const DELSETELEM: u16 = 14;
    pub(crate) const NEWGEN: u16 = 15;
    pub(crate) const GETGEN: u16 = 16;
}

/// A nest's length is 16 bits; elements are spread over messages well below that.
const ELEMENT_BYTES_MAX: usize = 48 * 1024;

/// Changes that are committed together. The order matters: a chain is added before it is named.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    encoder: Encoder,
    /// Where each message starts; message `n` has the sequence number `n + 1`.
    starts: Vec<usize>,
    sets: u32,
}

impl Batch {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// How many bytes the kernel is handed.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.encoder.as_slice().len()
    }

    /// How many messages there are.
    #[must_use]
    pub fn message_len(&self) -> usize {
        self.starts.len()
    }

    /// Adds a table, or leaves the one there as it is.
    pub fn table_add(&mut self, table: &Table) {
        self.put(kind::NEWTABLE, CREATE, table.family, |e| e.str(1, &table.name));
    }

    /// Takes away a table with all that is in it. It must be there.
    pub fn table_delete(&mut self, table: &Table) {
        self.put(kind::DELTABLE, 0, table.family, |e| e.str(1, &table.name));
    }

    /// Makes a table anew and empty, whether it was there or not. In one transaction with what
    /// fills it, packets never see it missing.
    pub fn table_renew(&mut self, table: &Table) {
        self.table_add(table);
        self.table_delete(table);
        self.table_add(table);
    }

    /// Adds a chain, or leaves the one there as it is.
    pub fn chain_add(&mut self, table: &Table, chain: &Chain) {
        self.put(kind::NEWCHAIN, CREATE, table.family, |e| {
            e.str(1, &table.name);
            e.str(3, &chain.name);
            if let Some(hook) = chain.hook {
                e.nested(4, |h| {
                    h.be32(1, hook_number(hook.point));
                    h.be32(2, hook.priority.cast_unsigned());
                });
                e.be32(5, u32::from(hook.policy == Policy::Accept));
                e.str(
                    7,
                    match hook.kind {
                        ChainKind::Filter => "filter",
                        ChainKind::Nat => "nat",
                        ChainKind::Route => "route",
                    },
                );
            }
        });
    }

    /// Takes away a chain. It must be there, and nothing may name it.
    pub fn chain_delete(&mut self, table: &Table, chain: &str) {
        self.put(kind::DELCHAIN, 0, table.family, |e| {
            e.str(1, &table.name);
            e.str(3, chain);
        });
    }

    /// Takes away every rule of a chain.
    pub fn chain_flush(&mut self, table: &Table, chain: &str) {
        self.put(kind::DELRULE, 0, table.family, |e| {
            e.str(1, &table.name);
            e.str(2, chain);
        });
    }

    /// Adds a rule behind the others of its chain.
    pub fn rule_add(&mut self, table: &Table, chain: &str, exprs: &[Expr]) {
        self.put(kind::NEWRULE, CREATE | APPEND, table.family, |e| {
            e.str(1, &table.name);
            e.str(2, chain);
            expr::write_all(e, 4, table.family, exprs);
        });
    }

    /// Adds a set or map, or leaves the one there as it is.
    pub fn set_add(&mut self, table: &Table, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        self.put(kind::NEWSET, CREATE, table.family, |e| {
            e.str(1, &table.name);
            e.str(2, &set.name);
            set::write_set(e, set, id);
        });
    }

    /// Takes away a set or map that no rule names.
    pub fn set_delete(&mut self, table: &Table, set: &str) {
        self.put(kind::DELSET, 0, table.family, |e| {
            e.str(1, &table.name);
            e.str(2, set);
        });
    }

    /// Takes away every element of a set or map.
    pub fn set_flush(&mut self, table: &Table, set: &str) {
        self.put(kind::DELSETELEM, 0, table.family, |e| {
            e.str(1, &table.name);
            e.str(2, set);
        });
    }

    /// Adds elements. One that is there with other data makes the whole transaction fail; with
    /// the same data it is left as it is.
    pub fn elements_add(&mut self, table: &Table, set: &str, elements: &[Element]) {
        self.elements(kind::NEWSETELEM, CREATE, table, set, elements);
    }

    /// Takes elements away. They must be there.
    pub fn elements_delete(&mut self, table: &Table, set: &str, elements: &[Element]) {
        self.elements(kind::DELSETELEM, 0, table, set, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, table: &Table, set: &str, all: &[Element]) {
        let mut rest = all;
        while !rest.is_empty() {
            let (mut room, mut count) = (0, 0);
            while count < rest.len()
                && (count == 0 || room + rest[count].room() < ELEMENT_BYTES_MAX)
            {
                room += rest[count].room();
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            self.put(kind, flags, table.family, |e| {
                e.str(1, &table.name);
                e.str(2, set);
                set::write_elements(e, 3, now);
            });
            rest = later;
        }
    }

    fn put(&mut self, kind: u16, flags: u16, family: Family, body: impl FnOnce(&mut Encoder)) {
        self.starts.push(self.encoder.as_slice().len());
        let seq = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        self.encoder.message(SUBSYSTEM << 8 | kind, REQUEST | flags, seq, |e| {
            e.raw(&[family.number(), 0, 0, 0]);
            body(e);
        });
    }

    /// The whole datagram, and the sequence number of the message that is acknowledged.
    pub(super) fn finish(&self) -> (Vec<u8>, u32) {
        let mut whole = Encoder::default();
        let mark = |e: &mut Encoder| e.raw(&[0, 0, 0, SUBSYSTEM.to_be_bytes()[1]]);
        whole.message(BATCH_BEGIN, REQUEST, 0, mark);
        let begin = whole.as_slice().len();
        whole.raw(self.encoder.as_slice());
        if let Some(last) = self.starts.last() {
            let at = begin + last + 6;
            let flags = &mut whole.as_mut_slice()[at..at + 2];
            let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&with_ack.to_ne_bytes());
        }
        let count = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        whole.message(BATCH_END, REQUEST, count + 1, mark);
        (whole.as_slice().to_vec(), count)
    }

    /// Says in words what the message of that sequence number does.
    pub(super) fn describe(&self, seq: u32) -> String {
        let start = seq.checked_sub(1).and_then(|n| self.starts.get(n as usize)).copied();
        let Some(message) = start.and_then(|start| self.encoder.as_slice().get(start..)) else {
            return "commit the nftables transaction".to_owned();
        };
        let len = netlink::u32_at(message, 0) as usize;
        let kind = u16::from_ne_bytes([message[4], message[5]]) & 0xff;
        let payload = &message[HEADER_LEN + 4..len.min(message.len())];
        let name = |n: u16| netlink::attribute(payload, n).map(netlink::text).unwrap_or_default();
        let table = name(1);
        match kind {
            kind::NEWTABLE => format!("add nftables table {table}"),
            kind::DELTABLE => format!("take away nftables table {table}"),
            kind::NEWCHAIN => format!("add nftables chain {table} {}", name(3)),
            kind::DELCHAIN => format!("take away nftables chain {table} {}", name(3)),
            kind::NEWRULE => format!("add a rule to nftables chain {table} {}", name(2)),
            kind::DELRULE => format!("take rules from nftables chain {table} {}", name(2)),
            kind::NEWSET => format!("add nftables set {table} {}", name(2)),
            kind::DELSET => format!("take away nftables set {table} {}", name(2)),
            kind::NEWSETELEM => format!("add elements to nftables set {table} {}", name(2)),
            _ => format!("take elements from nftables set {table} {}", name(2)),
        }
    }
}

fn hook_number(point: HookPoint) -> u32 {
    match point {
        HookPoint::Prerouting => 0,
        HookPoint::Input => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
        HookPoint::Postrouting => 4,
    }
}

/// The kind of a message as it stands in a header.
pub(super) fn message_kind(kind: u16) -> u16 {
    SUBSYSTEM << 8 | kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_message_is_named() {
        let table = Table::new(Family::Ipv4, "ferry");
        let mut batch = Batch::new();
        batch.table_add(&table);
        batch.chain_add(&table, &Chain::called("c"));
        batch.elements_add(&table, "m", &[Element::new(vec![1, 2, 3, 4])]);
        assert_eq!(batch.describe(2), "add nftables chain ferry c");
        assert_eq!(batch.describe(3), "add elements to nftables set ferry m");
        assert_eq!(batch.describe(9), "commit the nftables transaction");
    }

    #[test]
    fn many_elements_are_spread_over_messages() {
        let table = Table::new(Family::Ipv4, "ferry");
        let mut batch = Batch::new();
        let elements: Vec<Element> =
            (0..10_000u32).map(|n| Element::new(n.to_be_bytes().to_vec())).collect();
        batch.elements_add(&table, "s", &elements);
        assert!(batch.message_len() > 3, "{}", batch.message_len());
    }
}
