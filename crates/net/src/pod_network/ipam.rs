//! Which address a pod gets: pure, no files.
//!
//! Addresses are given in turn, so one that was just released is the last to be given again:
//! whoever still talks to the dead pod does not reach a stranger.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// The addresses of one range.
#[derive(Debug, Clone)]
pub struct Pool {
    range: IpNet,
    used: BTreeSet<IpAddr>,
    last: Option<IpAddr>,
}

impl Pool {
    /// The pool of a pod CIDR. The first address belongs to the node; the network's own address
    /// and, with IPv4, the broadcast address are never given.
    #[must_use]
    pub fn new(range: IpNet) -> Self {
        Self { range: range.trunc(), used: BTreeSet::new(), last: None }
    }

    /// The range that addresses come from.
    #[must_use]
    pub fn range(&self) -> IpNet {
        self.range
    }

    /// The node's own address in the range.
    #[must_use]
    pub fn node_address(&self) -> IpAddr {
        self.at(1)
    }

    /// How many pods fit.
    #[must_use]
    pub fn size(&self) -> u128 {
        self.end().saturating_sub(FIRST)
    }

    /// The next free address, which is in use from then on.
    pub fn allocate(&mut self) -> Option<IpAddr> {
        let (size, end) = (self.size(), self.end());
        let from = self.last.and_then(|last| self.offset(last)).map_or(FIRST, |last| last + 1);
        // At most one more than are in use need to be looked at.
        let tries = size.min(self.used.len() as u128 + 1);
        let start = if from < FIRST || from >= end { FIRST } else { from };
        let found = (0..tries)
            .map(|n| self.at(FIRST + (start - FIRST + n) % size))
            .find(|ip| !self.used.contains(ip))?;
        self.used.insert(found);
        self.last = Some(found);
        Some(found)
    }

    /// Marks an address as in use, as found in the records.
    pub fn occupy(&mut self, ip: IpAddr) {
        self.used.insert(ip);
    }

    /// Goes on behind this address, as found in the records.
    pub fn resume_after(&mut self, ip: IpAddr) {
        self.last = Some(ip);
    }

    /// Makes an address free again.
    pub fn release(&mut self, ip: IpAddr) {
        self.used.remove(&ip);
    }

    /// One past the last offset that may be given.
    fn end(&self) -> u128 {
        let bits = u32::from(self.range.max_prefix_len() - self.range.prefix_len());
        let all = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
        if self.range.addr().is_ipv4() { all.saturating_sub(1) } else { all }
    }

    fn at(&self, offset: u128) -> IpAddr {
        match self.range.network() {
            IpAddr::V4(base) => {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                IpAddr::from(u32::from(base).saturating_add(offset).to_be_bytes())
            }
            IpAddr::V6(base) => IpAddr::from(u128::from(base).saturating_add(offset).to_be_bytes()),
        }
    }

    fn offset(&self, ip: IpAddr) -> Option<u128> {
        if !self.range.contains(&ip) {
            return None;
        }
        match (ip, self.range.network()) {
            (IpAddr::V4(ip), IpAddr::V4(base)) => Some(u128::from(u32::from(ip) - u32::from(base))),
            (IpAddr::V6(ip), IpAddr::V6(base)) => Some(u128::from(ip) - u128::from(base)),
            _ => None,
        }
    }
}

/// 0 is the network itself, 1 the node.
const FIRST: u128 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_given_in_turn_and_not_at_once_again() {
        let mut pool = Pool::new("10.42.0.0/29".parse().unwrap());
        assert_eq!(pool.node_address(), ip("10.42.0.1"));
        assert_eq!(pool.size(), 5);
        let given: Vec<IpAddr> = (0..3).filter_map(|_| pool.allocate()).collect();
        assert_eq!(given, [ip("10.42.0.2"), ip("10.42.0.3"), ip("10.42.0.4")]);
        pool.release(ip("10.42.0.2"));
        assert_eq!(pool.allocate(), Some(ip("10.42.0.5")));
        assert_eq!(pool.allocate(), Some(ip("10.42.0.6")));
        assert_eq!(pool.allocate(), Some(ip("10.42.0.2")));
        assert_eq!(pool.allocate(), None);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut pool = Pool::new("10.42.0.0/24".parse().unwrap());
        pool.occupy(ip("10.42.0.7"));
        pool.resume_after(ip("10.42.0.6"));
        assert_eq!(pool.allocate(), Some(ip("10.42.0.8")));
        // An address of another range, after the node's CIDR changed, is passed over.
        pool.resume_after(ip("10.99.0.6"));
        assert_eq!(pool.allocate(), Some(ip("10.42.0.2")));
    }

    #[test]
    fn ipv6_has_no_broadcast_and_a_tiny_range_no_room() {
        let mut pool = Pool::new("fd00::/126".parse().unwrap());
        assert_eq!(pool.allocate(), Some(ip("fd00::2")));
        assert_eq!(pool.allocate(), Some(ip("fd00::3")));
        assert_eq!(pool.allocate(), None);
        assert_eq!(Pool::new("10.0.0.0/31".parse().unwrap()).allocate(), None);
    }
}
