//! The wires: one veth pair a pod, with routes and neighbours on both ends, and what the node
//! itself needs.
//!
//! A pod's end has its address as a host route and everything else goes to a link-local next hop
//! that exists nowhere but in a permanent neighbour entry; so no packet ever waits for ARP, and
//! no subnet is on the wire. The host's end has no address at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use std::os::fd::AsFd;

use super::Config;
use super::records::Attachment;
use crate::netns::NetNs;
use crate::rtnl::{FERRY, Route, RouteTarget, Rtnl, VethEnd};
use crate::{Error, sysctl};

/// What every link of the pod network is called at the front.
pub(super) const LINK_PREFIX: &str = "fry";
/// What a pod calls its link.
pub const POD_LINK: &str = "eth0";

/// The host's end of every pair has the same hardware address: each is alone on its wire.
const HOST_MAC: [u8; 6] = [0x02, 0xfe, 0x44, 0, 0, 1];
const NEXT_HOP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
const NEXT_HOP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
/// Routes that catch what nothing else wants.
const LAST_RESORT: u32 = 0xffff;

/// The link's name for a pod sandbox: stable, and within the kernel's fifteen characters.
pub(super) fn link_name(id: &str) -> String {
    // FNV-1a: stable over versions, which std's hasher does not promise to be.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{LINK_PREFIX}{:012x}", (hash ^ (hash >> 48)) & 0xffff_ffff_ffff)
}

/// A pod's hardware address, made from its address so that it is unique where the address is.
fn pod_mac(ips: &[IpAddr]) -> [u8; 6] {
    let tail = match ips.first() {
        Some(IpAddr::V4(ip)) => ip.octets(),
        Some(IpAddr::V6(ip)) => {
            let o = ip.octets();
            [o[12], o[13], o[14], o[15]]
        }
        None => [0; 4],
    };
    [0x0a, 0x58, tail[0], tail[1], tail[2], tail[3]]
}

/// The node's own part. Runs in the node's namespace.
pub(super) fn node_up(config: &Config, node_ips: &[IpAddr]) -> Result<(), Error> {
    let mut rtnl = Rtnl::open()?;
    let loopback = rtnl.require_link("lo")?;
    rtnl.link_up(loopback.index)?;
    sysctl::ensure("ipv4/ip_forward", "1")?;
    if node_ips.iter().any(IpAddr::is_ipv6) {
        sysctl::ensure("ipv6/conf/all/forwarding", "1")?;
    }
    for ip in node_ips {
        // On loopback, so that it is there whatever becomes of the node's own links: it is the
        // sender of what the node says to its pods.
        rtnl.address_add(loopback.index, IpNet::from(*ip))?;
    }
    for route in node_routes(config, node_ips, loopback.index) {
        rtnl.route_add(&route)?;
    }
    Ok(())
}

fn node_routes(config: &Config, node_ips: &[IpAddr], loopback: u32) -> Vec<Route> {
    let mut routes = Vec::new();
    for net in &config.pod_cidrs {
        // A packet to a pod that is no more is answered at once instead of leaving by the
        // default route.
        let target = RouteTarget::Unreachable;
        routes.push(Route { to: *net, target, source: None, protocol: FERRY, metric: LAST_RESORT });
    }
    for net in &config.service_cidrs {
        // Without a default route a node's own `connect` to a service would fail before the
        // translation is asked. The route is never taken: a service's packets are translated or
        // refused on their way out.
        let source = node_ips.iter().copied().find(|ip| ip.is_ipv4() == net.addr().is_ipv4());
        let target = RouteTarget::Link(loopback);
        routes.push(Route { to: *net, target, source, protocol: FERRY, metric: LAST_RESORT });
    }
    routes
}

/// Wires a pod. Runs in the node's namespace; what is left of an earlier attempt is replaced.
pub(super) fn pod_up(
    config: &Config,
    node_ips: &[IpAddr],
    pod: &Attachment,
    netns: &NetNs,
) -> Result<(), Error> {
    let mut rtnl = Rtnl::open()?;
    let mac = pod_mac(&pod.ips);
    let host_end = VethEnd { name: &pod.link, mac: HOST_MAC, netns: None };
    let pod_end = VethEnd { name: POD_LINK, mac, netns: Some(netns.as_fd()) };
    rtnl.link_del(&pod.link)?;
    rtnl.veth_add(&host_end, &pod_end, config.mtu)?;
    netns.run(|| pod_side(&pod.ips))??;
    host_side(&mut rtnl, node_ips, pod, mac)
}

/// Whether both ends of a pod's wire are where they belong.
pub(super) fn is_up(pod: &Attachment, netns: &NetNs) -> Result<bool, Error> {
    if Rtnl::open()?.link(&pod.link)?.is_none_or(|link| !link.up) {
        return Ok(false);
    }
    netns.run(|| {
        let mut rtnl = Rtnl::open()?;
        let Some(link) = rtnl.link(POD_LINK)? else { return Ok(false) };
        let held = rtnl.addresses()?;
        let has = |ip: &IpAddr| held.contains(&(link.index, IpNet::from(*ip)));
        Ok(link.up && link.mac == pod_mac(&pod.ips) && pod.ips.iter().all(has))
    })?
}

fn host_side(
    rtnl: &mut Rtnl,
    node_ips: &[IpAddr],
    pod: &Attachment,
    mac: [u8; 6],
) -> Result<(), Error> {
    let link = rtnl.require_link(&pod.link)?;
    let name = &pod.link;
    sysctl::set(&format!("ipv4/conf/{name}/forwarding"), "1")?;
    // A pod may send from its own addresses only.
    sysctl::set(&format!("ipv4/conf/{name}/rp_filter"), "1")?;
    sysctl::set(&format!("ipv4/conf/{name}/route_localnet"), "1")?;
    if pod.ips.iter().any(IpAddr::is_ipv6) {
        sysctl::set(&format!("ipv6/conf/{name}/forwarding"), "1")?;
        // Redirects and advertisements from a pod are of no interest.
        sysctl::set(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    } else {
        quiet_ipv6(name);
    }
    for ip in &pod.ips {
        rtnl.neighbour_add(link.index, *ip, mac)?;
        let source = node_ips.iter().copied().find(|own| own.is_ipv4() == ip.is_ipv4());
        rtnl.route_add(&Route {
            to: IpNet::from(*ip),
            target: RouteTarget::Link(link.index),
            source,
            protocol: FERRY,
            metric: 0,
        })?;
    }
    Ok(())
}

/// Runs in the pod's namespace.
fn pod_side(ips: &[IpAddr]) -> Result<(), Error> {
    let mut rtnl = Rtnl::open()?;
    let loopback = rtnl.require_link("lo")?;
    rtnl.link_up(loopback.index)?;
    let link = rtnl.require_link(POD_LINK)?;
    if !ips.iter().any(IpAddr::is_ipv6) {
        quiet_ipv6(POD_LINK);
    }
    rtnl.link_up(link.index)?;
    for ip in ips {
        rtnl.address_add(link.index, IpNet::from(*ip))?;
        let (hop, all) = match ip {
            IpAddr::V4(_) => (NEXT_HOP_V4, IpNet::from(IpAddr::from([0; 4]))),
            IpAddr::V6(_) => (NEXT_HOP_V6, IpNet::from(IpAddr::from([0; 16]))),
        };
        let all = IpNet::new_assert(all.addr(), 0);
        rtnl.neighbour_add(link.index, hop, HOST_MAC)?;
        let target = RouteTarget::Via(hop, link.index);
        rtnl.route_add(&Route { to: all, target, source: Some(*ip), protocol: FERRY, metric: 0 })?;
    }
    Ok(())
}

/// Without IPv6 addresses to give, the kernel's own link-local address would only make
/// neighbours' and routers' queries. A kernel without IPv6 has nothing to switch off.
fn quiet_ipv6(link: &str) {
    let _without_ipv6 = sysctl::set(&format!("ipv6/conf/{link}/disable_ipv6"), "1");
}

/// Takes a pod's wire away. Its routes and neighbours go with it.
pub(super) fn pod_down(link: &str) -> Result<(), Error> {
    Rtnl::open()?.link_del(link).map(drop)
}

/// The pod links that are there.
pub(super) fn pod_links() -> Result<Vec<String>, Error> {
    let links = Rtnl::open()?.links()?;
    Ok(links.into_iter().map(|link| link.name).filter(|name| is_ours(name)).collect())
}

fn is_ours(link: &str) -> bool {
    link.strip_prefix(LINK_PREFIX)
        .is_some_and(|rest| rest.len() == 12 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Takes away every link and route that Ferry made in this namespace, and the node's addresses
/// that its pod ranges imply.
pub(super) fn clean(node_ips: &[IpAddr]) -> Result<(), Error> {
    let mut rtnl = Rtnl::open()?;
    for link in pod_links()? {
        rtnl.link_del(&link)?;
    }
    let mut own: Vec<IpAddr> = node_ips.to_vec();
    for route in rtnl.routes()?.iter().filter(|route| route.protocol == FERRY) {
        // Without its configuration at hand, the node's address still stands in its routes.
        own.extend(route.source);
        rtnl.route_del(route)?;
    }
    if let Some(loopback) = rtnl.link("lo")? {
        for ip in own {
            rtnl.address_del(loopback.index, IpNet::from(ip))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_short_and_recognised() {
        let name = link_name("9b1c0d9f-5a8e-4a8f-93a5-6a1d1a2b3c4d");
        assert_eq!(name.len(), 15);
        assert_eq!(name, link_name("9b1c0d9f-5a8e-4a8f-93a5-6a1d1a2b3c4d"));
        assert_ne!(name, link_name("another"));
        assert!(is_ours(&name));
        assert!(!is_ours("fry0") && !is_ours("eth0") && !is_ours("fryinganything"));
    }

    #[test]
    fn hardware_addresses_follow_the_address() {
        assert_eq!(pod_mac(&["10.42.0.5".parse().unwrap()]), [0x0a, 0x58, 10, 42, 0, 5]);
    }
}
