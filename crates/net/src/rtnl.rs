//! Links, addresses, routes and neighbours.
//!
//! Every call is idempotent where the kernel allows it to be: adding what is there replaces it,
//! and removing what is not there succeeds.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;
use netlink_packet_core::{NetlinkMessage, ParseableParametrized};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::Error;
use crate::netlink::{ACK, CREATE, Channel, DUMP, EXCL, REPLACE, REQUEST, Refusal};
use crate::netns::NetNs;

/// The origin (`rtprot`) of every route that Ferry adds, so that they can be told apart.
pub const FERRY: u8 = 70;

const MAIN_TABLE: u8 = 254;

/// A link, as far as Ferry looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it, valid in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; empty where it has none.
    pub mac: Vec<u8>,
    /// Whether it was set up.
    pub up: bool,
    /// The largest packet.
    pub mtu: u32,
}

/// One end of a veth pair to be made.
#[derive(Debug, Clone)]
pub struct VethEnd<'a> {
    /// The link's name.
    pub name: &'a str,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Where it is made; `None` is the namespace of the socket.
    pub netns: Option<BorrowedFd<'a>>,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What is routed.
    pub to: IpNet,
    /// Whereto.
    pub target: RouteTarget,
    /// The source address of the node's own packets on this route.
    pub source: Option<IpAddr>,
    /// The origin; [`FERRY`] for Ferry's.
    pub protocol: u8,
    /// Lower is preferred; 0 is the best.
    pub metric: u32,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    /// The destination is on this link.
    Link(u32),
    /// Through a next hop on this link, which need not share a subnet with it.
    Via(IpAddr, u32),
    /// Nowhere: senders are told at once.
    Unreachable,
}

/// A socket for links, addresses, routes and neighbours of one network namespace.
pub struct Rtnl {
    channel: Channel,
}

impl std::fmt::Debug for Rtnl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rtnl")
    }
}

impl Rtnl {
    /// A socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel has no rtnetlink, or no descriptor is left.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(NETLINK_ROUTE)
            .map_err(|error| Error::io("open a netlink socket for routes", error))?;
        Ok(Self { channel })
    }

    /// A socket in another namespace.
    ///
    /// # Errors
    /// As [`Rtnl::open`], or the namespace cannot be entered.
    pub fn open_in(netns: &NetNs) -> Result<Self, Error> {
        netns.run(Self::open)?
    }

    /// The link of that name.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let mut found = None;
        let asked = self.request(RouteNetlinkMessage::GetLink(message), ACK, |answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                found = Some(read_link(&link));
            }
        });
        match asked {
            Ok(()) => Ok(found),
            Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
            Err(refusal) => Err(refusal.on(format!("look up link {name}"))),
        }
    }

    /// The link of that name, which must be there.
    ///
    /// # Errors
    /// It is not there.
    pub fn require_link(&mut self, name: &str) -> Result<Link, Error> {
        self.link(name)?.ok_or_else(|| Error::NoLink(name.to_owned()))
    }

    /// Every link of the namespace.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), DUMP, |answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                links.push(read_link(&link));
            }
        })
        .map_err(|refusal| refusal.on("list links"))?;
        Ok(links)
    }

    /// Makes a veth pair. The first end is up, the other must be set up where it is: the kernel
    /// configures it before the two are joined, and an end without a peer cannot be up.
    ///
    /// # Errors
    /// A link of one of the names is there already, or the kernel refused.
    pub fn veth_add(
        &mut self,
        one: &VethEnd<'_>,
        other: &VethEnd<'_>,
        mtu: u32,
    ) -> Result<(), Error> {
        let mut message = veth_end(one, mtu);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(veth_end(other, mtu)))),
        ]));
        self.request(RouteNetlinkMessage::NewLink(message), ACK | CREATE | EXCL, |_| {}).map_err(
            |refusal| refusal.on(format!("make veth pair {} and {}", one.name, other.name)),
        )
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn link_up(&mut self, index: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), ACK, |_| {})
            .map_err(|refusal| refusal.on(format!("set link {index} up")))
    }

    /// Takes a link away, with its routes and its peer. `false` when there was none.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn link_del(&mut self, name: &str) -> Result<bool, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        gone(self.request(RouteNetlinkMessage::DelLink(message), ACK, |_| {}))
            .map_err(|refusal| refusal.on(format!("take away link {name}")))
    }

    /// Gives a link an address. Adding it twice is fine.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn address_add(&mut self, index: u32, address: IpNet) -> Result<(), Error> {
        let message = address_message(index, address);
        self.request(RouteNetlinkMessage::NewAddress(message), ACK | CREATE | REPLACE, |_| {})
            .map_err(|refusal| refusal.on(format!("give link {index} the address {address}")))
    }

    /// Takes an address from a link. `false` when it was not there.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn address_del(&mut self, index: u32, address: IpNet) -> Result<bool, Error> {
        let message = address_message(index, address);
        gone(self.request(RouteNetlinkMessage::DelAddress(message), ACK, |_| {}))
            .map_err(|refusal| refusal.on(format!("take the address {address} from link {index}")))
    }

    /// Every address of the namespace, with the index of its link.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn addresses(&mut self) -> Result<Vec<(u32, IpNet)>, Error> {
        let mut found = Vec::new();
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.request(all, DUMP, |answer| {
            if let RouteNetlinkMessage::NewAddress(message) = answer {
                found.extend(read_address(&message));
            }
        })
        .map_err(|refusal| refusal.on("list addresses"))?;
        Ok(found)
    }

    /// Adds a route, or replaces the one to the same place.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn route_add(&mut self, route: &Route) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.request(message, ACK | CREATE | REPLACE, |_| {})
            .map_err(|refusal| refusal.on(format!("add the route to {}", route.to)))
    }

    /// Takes a route away. `false` when there was none.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn route_del(&mut self, route: &Route) -> Result<bool, Error> {
        gone(self.request(RouteNetlinkMessage::DelRoute(route_message(route)), ACK, |_| {}))
            .map_err(|refusal| refusal.on(format!("take away the route to {}", route.to)))
    }

    /// The main table's routes that Ferry understands, IPv4 and IPv6.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut all = RouteMessage::default();
            all.header.address_family = family;
            self.request(RouteNetlinkMessage::GetRoute(all), DUMP, |answer| {
                if let RouteNetlinkMessage::NewRoute(message) = answer {
                    found.extend(read_route(&message));
                }
            })
            .map_err(|refusal| refusal.on("list routes"))?;
        }
        Ok(found)
    }

    /// Makes an address's hardware address known for good, so that no packet ever waits for ARP
    /// or neighbour discovery.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn neighbour_add(&mut self, index: u32, ip: IpAddr, mac: [u8; 6]) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(ip);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unspec;
        message.attributes = vec![
            NeighbourAttribute::Destination(ip.into()),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.request(RouteNetlinkMessage::NewNeighbour(message), ACK | CREATE | REPLACE, |_| {})
            .map_err(|refusal| refusal.on(format!("make the neighbour {ip} known")))
    }

    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<(), Refusal> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = REQUEST | flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let mut unreadable = false;
        self.channel.request(&mut bytes, |kind, payload| {
            match RouteNetlinkMessage::parse_with_param(payload, kind) {
                Ok(answer) => each(answer),
                Err(_) => unreadable = true,
            }
        })?;
        if unreadable {
            tracing::debug!(
                "a netlink answer with an attribute of an unknown form was passed over"
            );
        }
        Ok(())
    }
}

/// Turns "it is not there" into `false`.
fn gone(outcome: Result<(), Refusal>) -> Result<bool, Refusal> {
    match outcome {
        Ok(()) => Ok(true),
        Err(refusal)
            if matches!(
                refusal.errno,
                libc::ENODEV | libc::ESRCH | libc::ENOENT | libc::EADDRNOTAVAIL
            ) =>
        {
            Ok(false)
        }
        Err(refusal) => Err(refusal),
    }
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn veth_end(end: &VethEnd<'_>, mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(end.name.to_owned()),
        LinkAttribute::Address(end.mac.to_vec()),
        LinkAttribute::Mtu(mtu),
    ];
    if let Some(netns) = end.netns {
        message.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    }
    message
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: Vec::new(),
        up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    link
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    if address.addr().is_ipv6() {
        // Nobody else is on a point-to-point link; without this an address is unusable for a
        // second.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

fn read_address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let of = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) if local => Some(*ip),
            AddressAttribute::Address(ip) if !local => Some(*ip),
            _ => None,
        })
    };
    let ip = of(true).or_else(|| of(false))?;
    let net = IpNet::new(ip, message.header.prefix_len).ok()?;
    Some((message.header.index, net))
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.addr());
    message.header.destination_prefix_length = route.to.prefix_len();
    message.header.table = MAIN_TABLE;
    message.header.protocol = RouteProtocol::from(route.protocol);
    message.header.kind = RouteType::Unicast;
    message.header.scope = RouteScope::Universe;
    if route.to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(route.to.addr())));
    }
    match route.target {
        RouteTarget::Link(index) => {
            // IPv6 has no scopes of routes.
            if route.to.addr().is_ipv4() {
                message.header.scope = RouteScope::Link;
            }
            message.attributes.push(RouteAttribute::Oif(index));
        }
        RouteTarget::Via(hop, index) => {
            message.header.flags |= RouteFlags::Onlink;
            message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(hop)));
            message.attributes.push(RouteAttribute::Oif(index));
        }
        RouteTarget::Unreachable => message.header.kind = RouteType::Unreachable,
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
    }
    if route.metric > 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

fn read_route(message: &RouteMessage) -> Option<Route> {
    let ip = |address: &RouteAddress| match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    };
    if message.header.table != MAIN_TABLE {
        return None;
    }
    let unspecified = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let (mut to, mut hop, mut link, mut source, mut metric) = (None, None, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => hop = ip(address),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let target = match (message.header.kind, hop, link) {
        (RouteType::Unreachable, _, _) => RouteTarget::Unreachable,
        (RouteType::Unicast, Some(hop), Some(link)) => RouteTarget::Via(hop, link),
        (RouteType::Unicast, None, Some(link)) => RouteTarget::Link(link),
        _ => return None,
    };
    let to =
        IpNet::new(to.unwrap_or(unspecified), message.header.destination_prefix_length).ok()?;
    Some(Route { to, target, source, protocol: u8::from(message.header.protocol), metric })
}
