//! Addresses and networks, as validation reads them.

use std::net::{IpAddr, Ipv4Addr};

const IP_TEXT: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR_TEXT: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address in its strict form.
#[must_use]
pub fn parse_ip(value: &str) -> Option<IpAddr> {
    value.parse().ok()
}

/// An address as old objects may have it: decimal octets with leading zeros too.
#[must_use]
pub fn parse_ip_sloppy(value: &str) -> Option<IpAddr> {
    if let Some(ip) = parse_ip(value) {
        return Some(ip);
    }
    let octets: Vec<u8> = value
        .split('.')
        .map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?)
        .collect::<Option<_>>()?;
    let octets: [u8; 4] = octets.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// An address in canonical form, as new objects must have it.
#[must_use]
pub fn ip(value: &str) -> Vec<String> {
    let Some(ip) = parse_ip_sloppy(value) else { return vec![IP_TEXT.to_owned()] };
    match ip {
        IpAddr::V4(ip) if ip.to_string() != value => {
            vec!["must not have leading 0s".to_owned()]
        }
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// An address in any form that was ever allowed.
#[must_use]
pub fn ip_legacy(value: &str) -> Vec<String> {
    if parse_ip_sloppy(value).is_some() { Vec::new() } else { vec![IP_TEXT.to_owned()] }
}

/// A network, address and prefix length.
#[must_use]
pub fn parse_cidr(value: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = value.split_once('/')?;
    let ip = parse_ip_sloppy(ip)?;
    let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u8 = digits.then(|| bits.parse().ok())??;
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

/// The first address of a network.
#[must_use]
pub fn network_address(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

/// A network whose address bits beyond the prefix are zero, in canonical form.
#[must_use]
pub fn cidr(value: &str) -> Vec<String> {
    let Some((ip, bits)) = parse_cidr(value) else { return vec![CIDR_TEXT.to_owned()] };
    if let IpAddr::V6(mapped) = ip
        && mapped.to_ipv4_mapped().is_some()
    {
        return vec!["must not have an IPv4-mapped IPv6 address".to_owned()];
    }
    let mut errors = Vec::new();
    if ip.is_ipv4() && format!("{ip}/{bits}") != value {
        errors.push("must not have leading 0s in IP or prefix length".to_owned());
    }
    let network = network_address(ip, bits);
    if network != ip {
        errors.push(format!(
            "must not have bits set beyond the prefix length: this CIDR value should be \"{network}/{bits}\""
        ));
    }
    errors
}

/// A network in any form that was ever allowed.
#[must_use]
pub fn cidr_legacy(value: &str) -> Vec<String> {
    if parse_cidr(value).is_some() { Vec::new() } else { vec![CIDR_TEXT.to_owned()] }
}

/// Addresses that are no endpoint: unspecified, loopback, link-local, multicast.
#[must_use]
pub fn endpoint_ip(value: &str) -> Vec<String> {
    let Some(ip) = parse_ip_sloppy(value) else { return vec![IP_TEXT.to_owned()] };
    let mut errors = Vec::new();
    if ip.is_unspecified() {
        errors.push(format!("may not be unspecified ({value})"));
    }
    if ip.is_loopback() {
        errors.push("may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned());
    }
    let (unicast, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => {
            (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02)
        }
    };
    if unicast {
        errors.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    }
    if multicast {
        errors.push(
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned(),
        );
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["1.2.3.4", "::1", "2001:db8::ffff"] {
            assert_eq!(ip(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "1.2.3", "1.2.3.256", "01.2.3.4", "::ffff:1.2.3.4", "a"] {
            assert_eq!(ip(bad).len(), 1, "{bad}");
        }
        assert!(ip_legacy("01.2.3.4").is_empty());
    }

    #[test]
    fn networks() {
        for good in ["10.0.0.0/8", "::/0", "0.0.0.0/0", "1.2.3.4/32"] {
            assert_eq!(cidr(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "/8"] {
            assert_eq!(cidr(bad).len(), 1, "{bad}");
        }
    }
}
