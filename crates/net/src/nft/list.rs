//! Reading back: the generation, tables, elements.

use crate::Error;
use crate::netlink::{self, ACK, Channel, DUMP, Encoder, REQUEST, attribute, attributes};
use crate::nft::batch::{Family, Table, kind, message_kind};

/// An element as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementData {
    /// The key.
    pub key: Vec<u8>,
    /// What it maps to, if that is a value.
    pub data: Option<Vec<u8>>,
    /// The chain it leads to, if that is a verdict with a chain.
    pub chain: Option<String>,
    /// Milliseconds until it goes.
    pub expires_ms: Option<u64>,
}

const GENMSG_LEN: usize = 4;

pub(super) fn generation(channel: &mut Channel) -> Result<u32, Error> {
    let mut found = None;
    ask(
        channel,
        kind::GETGEN,
        ACK,
        Family::Inet,
        |_| {},
        |got, payload| {
            if got == message_kind(kind::NEWGEN) {
                found =
                    attribute(payload, 1).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
            }
        },
    )
    .map_err(|refusal| refusal.on("ask for the nftables generation"))?;
    found.ok_or_else(|| Error::Answer {
        what: "the nftables generation".to_owned(),
        why: "there is no number in it".to_owned(),
    })
}

pub(super) fn tables(channel: &mut Channel, family: Family) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    ask(
        channel,
        kind::GETTABLE,
        DUMP,
        family,
        |_| {},
        |got, payload| {
            if got == message_kind(kind::NEWTABLE) {
                names.extend(attribute(payload, 1).map(netlink::text));
            }
        },
    )
    .map_err(|refusal| refusal.on("list nftables tables"))?;
    Ok(names)
}

/// The names of a table's chains that hang in a hook.
pub(super) fn base_chains(channel: &mut Channel, table: &Table) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    ask(
        channel,
        kind::GETCHAIN,
        DUMP,
        table.family,
        |_| {},
        |got, payload| {
            let of_table = attribute(payload, 1).map(netlink::text).as_ref() == Some(&table.name);
            if got == message_kind(kind::NEWCHAIN) && of_table && attribute(payload, 4).is_some() {
                names.extend(attribute(payload, 3).map(netlink::text));
            }
        },
    )
    .map_err(|refusal| refusal.on(format!("list the chains of nftables table {}", table.name)))?;
    Ok(names)
}

pub(super) fn elements(
    channel: &mut Channel,
    table: &Table,
    set: &str,
) -> Result<Vec<ElementData>, Error> {
    let mut found = Vec::new();
    let named = |e: &mut Encoder| {
        e.str(1, &table.name);
        e.str(2, set);
    };
    ask(channel, kind::GETSETELEM, DUMP, table.family, named, |got, payload| {
        if got == message_kind(kind::NEWSETELEM) {
            let list = attribute(payload, 3).unwrap_or_default();
            found.extend(attributes(list).filter_map(|(_, element)| read_element(element)));
        }
    })
    .map_err(|refusal| refusal.on(format!("list nftables set {} {set}", table.name)))?;
    Ok(found)
}

fn read_element(element: &[u8]) -> Option<ElementData> {
    let value = |kind| attribute(element, kind).and_then(|data| attribute(data, 1));
    let verdict = attribute(element, 2).and_then(|data| attribute(data, 2));
    Some(ElementData {
        key: value(1)?.to_vec(),
        data: value(2).map(<[u8]>::to_vec),
        chain: verdict.and_then(|verdict| attribute(verdict, 2)).map(netlink::text),
        expires_ms: attribute(element, 5).and_then(|ms| ms.try_into().ok()).map(u64::from_be_bytes),
    })
}

fn ask(
    channel: &mut Channel,
    kind: u16,
    flags: u16,
    family: Family,
    body: impl FnOnce(&mut Encoder),
    mut each: impl FnMut(u16, &[u8]),
) -> Result<(), netlink::Refusal> {
    let mut encoder = Encoder::default();
    encoder.message(message_kind(kind), REQUEST | flags, 0, |e| {
        e.raw(&[family.number(), 0, 0, 0]);
        body(e);
    });
    channel.request(encoder.as_mut_slice(), |kind, payload| {
        each(kind, payload.get(GENMSG_LEN..).unwrap_or_default());
    })
}
