//! Sets, maps and their elements.

use std::net::IpAddr;

use crate::netlink::Encoder;
use crate::nft::expr::{self, Verdict};

/// The type of one field of a key or of data, as nft names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `ipv4_addr`
    Ipv4,
    /// `ipv6_addr`
    Ipv6,
    /// `inet_proto`
    Protocol,
    /// `inet_service`
    Port,
    /// `mark`: 32 bits in the host's byte order.
    Mark,
}

impl Type {
    fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Mark => 19,
        }
    }

    fn len(self) -> u32 {
        match self {
            Self::Ipv4 | Self::Mark => 4,
            Self::Ipv6 => 16,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }
}

/// What a map maps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetData {
    /// Values.
    Values(Vec<Type>),
    /// Verdicts.
    Verdicts,
}

/// A set, or a map when it has data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// The fields of its key.
    pub key: Vec<Type>,
    /// What it maps to; `None` for a set.
    pub data: Option<SetData>,
    /// Elements are ranges; see [`Element::range`] and, when the key has several fields,
    /// [`Element::between`].
    pub interval: bool,
    /// Packets may change it, and elements may go by themselves.
    pub dynamic: bool,
    /// How many elements it may hold; 0 is no limit.
    pub size: u32,
}

impl Set {
    /// A plain set.
    #[must_use]
    pub fn new(name: &str, key: &[Type]) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_vec(),
            data: None,
            interval: false,
            dynamic: false,
            size: 0,
        }
    }

    /// A map.
    #[must_use]
    pub fn map(name: &str, key: &[Type], data: SetData) -> Self {
        Self { data: Some(data), ..Self::new(name, key) }
    }
}

/// What an element maps to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    /// Bytes, laid out as a [`Key`](Element) is.
    Value(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// The key: each field padded to four bytes. See [`Element::key`].
    pub key: Vec<u8>,
    /// What it maps to.
    pub data: Option<Data>,
    /// The end of a range, not included.
    interval_end: bool,
    /// The last key of a range of concatenated fields, each of them included.
    last: Option<Vec<u8>>,
}

impl Element {
    /// An element of a set.
    #[must_use]
    pub fn new(key: Vec<u8>) -> Self {
        Self { key, ..Self::default() }
    }

    /// An element of a map.
    #[must_use]
    pub fn map(key: Vec<u8>, data: Data) -> Self {
        Self { key, data: Some(data), ..Self::default() }
    }

    /// A range in an interval set whose key has several fields: from the first to the last of
    /// each. A field with one value stands in both.
    #[must_use]
    pub fn between(first: Vec<u8>, last: Vec<u8>) -> Self {
        Self { key: first, last: Some(last), ..Self::default() }
    }

    /// The two elements that are a network in an interval set.
    #[must_use]
    pub fn range(net: ipnet::IpNet) -> Vec<Self> {
        let start = Self::new(address(net.network()));
        let after = match net.broadcast() {
            IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|n| n.to_be_bytes().to_vec()),
            IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|n| n.to_be_bytes().to_vec()),
        };
        let end = after.map(|key| Self { key, interval_end: true, ..Self::default() });
        std::iter::once(start).chain(end).collect()
    }

    /// How many bytes the element takes in a message, at most.
    pub(super) fn room(&self) -> usize {
        let data = match &self.data {
            None => 0,
            Some(Data::Value(value)) => value.len() + 12,
            Some(Data::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) => chain.len() + 32,
            Some(Data::Verdict(_)) => 24,
        };
        self.key.len() + self.last.as_ref().map_or(0, |last| last.len() + 8) + data + 32
    }
}

/// An address as bytes of a key.
pub(super) fn address(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// nft's number for a concatenation: six bits a field.
fn type_number(fields: &[Type]) -> u32 {
    fields.iter().fold(0, |number, field| number << 6 | field.number())
}

/// The length of a key: each field of a concatenation is padded to whole registers.
fn type_len(fields: &[Type]) -> u32 {
    match fields {
        [one] => one.len(),
        many => many.iter().map(|field| field.len().next_multiple_of(4)).sum(),
    }
}

const FLAG_INTERVAL: u32 = 0x4;
const FLAG_MAP: u32 = 0x8;
const FLAG_TIMEOUT: u32 = 0x10;
const FLAG_EVAL: u32 = 0x20;
const FLAG_CONCAT: u32 = 0x80;
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// nft shows a mark in the host's byte order only when the set says so (`NFTNL_UDATA_SET_KEYBYTEORDER`,
/// `…_DATABYTEORDER`; 1 is the host's).
const HOST_ORDER: u32 = 1;

/// Writes a set's own attributes, but for table and name.
pub(super) fn write_set(e: &mut Encoder, set: &Set, id: u32) {
    let mut flags = 0;
    let concatenated = set.interval && set.key.len() > 1;
    if set.interval {
        flags |= FLAG_INTERVAL;
    }
    if concatenated {
        flags |= FLAG_CONCAT;
    }
    if set.dynamic {
        flags |= FLAG_TIMEOUT | FLAG_EVAL;
    }
    if set.data.is_some() {
        flags |= FLAG_MAP;
    }
    e.be32(3, flags);
    e.be32(4, type_number(&set.key));
    e.be32(5, type_len(&set.key));
    match &set.data {
        None => {}
        Some(SetData::Verdicts) => {
            e.be32(6, VERDICT_TYPE);
            e.be32(7, 0);
        }
        Some(SetData::Values(fields)) => {
            e.be32(6, type_number(fields));
            e.be32(7, type_len(fields));
        }
    }
    if set.size > 0 || concatenated {
        e.nested(9, |d| {
            if set.size > 0 {
                d.be32(1, set.size);
            }
            if concatenated {
                d.nested(2, |fields| {
                    for field in &set.key {
                        fields.nested(1, |one| one.be32(1, field.len()));
                    }
                });
            }
        });
    }
    e.be32(10, id);
    e.attr(13, &byte_orders(set));
}

/// nft's notes to itself about how to show the set.
fn byte_orders(set: &Set) -> Vec<u8> {
    let order = |fields: &[Type]| if fields == [Type::Mark] { HOST_ORDER } else { 2 };
    let mut notes = vec![0, 4];
    notes.extend_from_slice(&order(&set.key).to_ne_bytes());
    if let Some(SetData::Values(fields)) = &set.data {
        notes.extend_from_slice(&[1, 4]);
        notes.extend_from_slice(&order(fields).to_ne_bytes());
    }
    notes
}

const ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_FLAGS: u16 = 3;
const ELEM_KEY_END: u16 = 10;

/// Writes the list of elements.
pub(super) fn write_elements(e: &mut Encoder, kind: u16, elements: &[Element]) {
    e.nested(kind, |list| {
        for element in elements {
            list.nested(ELEM, |one| {
                one.nested(ELEM_KEY, |key| expr::write_value(key, &element.key));
                if let Some(last) = &element.last {
                    one.nested(ELEM_KEY_END, |key| expr::write_value(key, last));
                }
                match &element.data {
                    None => {}
                    Some(Data::Value(value)) => {
                        one.nested(ELEM_DATA, |data| expr::write_value(data, value));
                    }
                    Some(Data::Verdict(verdict)) => {
                        one.nested(ELEM_DATA, |data| expr::write_verdict(data, verdict));
                    }
                }
                if element.interval_end {
                    one.be32(ELEM_FLAGS, 1);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concatenation_is_padded_to_registers() {
        let key = [Type::Ipv4, Type::Protocol, Type::Port];
        assert_eq!(type_len(&key), 12);
        assert_eq!(type_number(&key), (7 << 6 | 12) << 6 | 13);
        assert_eq!(type_len(&[Type::Port]), 2);
    }

    #[test]
    fn a_network_is_a_start_and_an_end_behind_it() {
        let range = Element::range("10.0.0.0/8".parse().unwrap());
        assert_eq!(
            (range[0].key.as_slice(), range[1].key.as_slice()),
            (&[10, 0, 0, 0][..], &[11, 0, 0, 0][..])
        );
        assert_eq!(Element::range("0.0.0.0/0".parse().unwrap()).len(), 1);
    }
}
