//! Connections that the kernel remembers, and how to make it forget some of them.
//!
//! A translation is decided by a connection's first packet. UDP has no end that the kernel could
//! see, so a client that keeps sending stays with an endpoint that is gone, until its entry is
//! taken away.
//!
//! Invariant: forgetting a flow that was seen never takes another one, that began from the same
//! port since then. What is known of a flow beyond its addresses does not tell them apart: the
//! kernel makes its number from them and from where the entry is in memory, and a new entry often
//! takes the place of the old one.

use std::net::{IpAddr, SocketAddr};

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::Error;
use crate::netlink::{ACK, Channel, DUMP, Encoder, NESTED, REQUEST, attribute};
use crate::netns::NetNs;

const SUBSYSTEM: u16 = 1;
const NEW: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// The filter's flag for "the source address".
const FILTER_SOURCE: u32 = 1;
const GENMSG_LEN: usize = 4;

/// A connection as the kernel remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The number of the protocol in an IP header.
    pub protocol: u8,
    /// Who began it.
    pub source: SocketAddr,
    /// Whom the first packet was sent to.
    pub destination: SocketAddr,
    /// Who answers: the destination after translation.
    pub answerer: SocketAddr,
    /// The side by which it is known, and that side's tuple.
    known_by: (Side, Vec<u8>),
    id: Vec<u8>,
}

/// A direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// From who began it, to whom the first packet was sent.
    Original,
    /// From who answers.
    Reply,
}

impl Side {
    /// The attribute that a flow is looked up by, of `nfnetlink_conntrack.h`.
    fn tuple(self) -> u16 {
        match self {
            Self::Original => TUPLE_ORIGINAL,
            Self::Reply => TUPLE_REPLY,
        }
    }

    fn filter(self) -> u16 {
        match self {
            Self::Original => FILTER_ORIGINAL,
            Self::Reply => FILTER_REPLY,
        }
    }
}

/// A socket to connection tracking of one network namespace.
pub struct Conntrack {
    channel: Channel,
}

impl std::fmt::Debug for Conntrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conntrack")
    }
}

impl Conntrack {
    /// A socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel has no netfilter, or no descriptor is left.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(NETLINK_NETFILTER)
            .map_err(|error| Error::io("open a netlink socket for connection tracking", error))?;
        Ok(Self { channel })
    }

    /// A socket in another namespace.
    ///
    /// # Errors
    /// As [`Conntrack::open`], or the namespace cannot be entered.
    pub fn open_in(netns: &NetNs) -> Result<Self, Error> {
        netns.run(Self::open)?
    }

    /// The remembered connections of a protocol, IPv4 and IPv6.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn flows(&mut self, protocol: u8) -> Result<Vec<Flow>, Error> {
        let mut flows = self.dump(libc::AF_INET, Side::Reply, |_| {})?;
        flows.extend(self.dump(libc::AF_INET6, Side::Reply, |_| {})?);
        flows.retain(|flow| flow.protocol == protocol);
        Ok(flows)
    }

    /// The remembered connections that an address began or answers.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn flows_of(&mut self, ip: IpAddr) -> Result<Vec<Flow>, Error> {
        let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let mut flows = Vec::new();
        for side in [Side::Original, Side::Reply] {
            let found = self.dump(family, side, |e| {
                e.nested(side.tuple(), |t| {
                    t.nested(TUPLE_IP, |ips| match ip {
                        IpAddr::V4(ip) => ips.attr(1, &ip.octets()),
                        IpAddr::V6(ip) => ips.attr(3, &ip.octets()),
                    });
                });
                e.nested(FILTER, |f| f.attr(side.filter(), &FILTER_SOURCE.to_ne_bytes()));
            })?;
            // A kernel that cannot filter tells of all.
            flows.extend(found.into_iter().filter(|flow| match side {
                Side::Original => flow.source.ip() == ip,
                Side::Reply => flow.answerer.ip() == ip,
            }));
        }
        Ok(flows)
    }

    /// Forgets every connection that an address began or answers: for an address that nobody has
    /// any more. Otherwise a client that happens to use the same port again, within minutes or
    /// days, would be led to where nobody is. Returns how many there were.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn forget_address(&mut self, ip: IpAddr) -> Result<usize, Error> {
        let mut count = 0;
        for flow in self.flows_of(ip)? {
            count += usize::from(self.forget(&flow)?);
        }
        Ok(count)
    }

    fn dump(
        &mut self,
        family: i32,
        side: Side,
        filter: impl FnOnce(&mut Encoder),
    ) -> Result<Vec<Flow>, Error> {
        let mut encoder = Encoder::default();
        encoder.message(SUBSYSTEM << 8 | GET, REQUEST | DUMP, 0, |e| {
            e.raw(&[family_number(family), 0, 0, 0]);
            filter(e);
        });
        let mut flows = Vec::new();
        self.channel
            .request(encoder.as_mut_slice(), |kind, payload| {
                flows.extend((kind == SUBSYSTEM << 8 | NEW).then(|| read(payload, side)).flatten());
            })
            .map_err(|refusal| refusal.on("list tracked connections"))?;
        Ok(flows)
    }

    /// Forgets a connection. `false` when it was forgotten already.
    ///
    /// It is named to the kernel by the side that it was found by, with the address that is gone:
    /// that of the client would also be the name of its next connection from the same port, to
    /// somebody else.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn forget(&mut self, flow: &Flow) -> Result<bool, Error> {
        let family = if flow.source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let mut encoder = Encoder::default();
        encoder.message(SUBSYSTEM << 8 | DELETE, REQUEST | ACK, 0, |e| {
            e.raw(&[family_number(family), 0, 0, 0]);
            let (side, tuple) = &flow.known_by;
            e.attr(side.tuple() | NESTED, tuple);
            e.attr(ID, &flow.id);
        });
        match self.channel.request(encoder.as_mut_slice(), |_, _| {}) {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.errno == libc::ENOENT => Ok(false),
            Err(refusal) => Err(refusal.on("forget a tracked connection")),
        }
    }
}

fn family_number(family: i32) -> u8 {
    u8::try_from(family).unwrap_or_default()
}

fn read(payload: &[u8], side: Side) -> Option<Flow> {
    let payload = payload.get(GENMSG_LEN..)?;
    let original = attribute(payload, TUPLE_ORIGINAL)?;
    let (protocol, source, destination) = tuple(original)?;
    let (_, answerer, _) = tuple(attribute(payload, TUPLE_REPLY)?)?;
    let id = attribute(payload, ID)?.to_vec();
    let known_by = (side, attribute(payload, side.tuple())?.to_vec());
    Some(Flow { protocol, source, destination, answerer, known_by, id })
}

fn tuple(tuple: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (ips, protocol) = (attribute(tuple, TUPLE_IP)?, attribute(tuple, TUPLE_PROTOCOL)?);
    let ip = |four: u16, six: u16| {
        let v4 = attribute(ips, four).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let v6 = attribute(ips, six).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        v4.map(IpAddr::from).or(v6.map(IpAddr::from))
    };
    // A protocol without ports has none here.
    let port = |kind: u16| {
        let bytes = attribute(protocol, kind).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
        bytes.map_or(0, u16::from_be_bytes)
    };
    let number = *attribute(protocol, 1)?.first()?;
    Some((number, SocketAddr::new(ip(1, 3)?, port(2)), SocketAddr::new(ip(2, 4)?, port(3))))
}
