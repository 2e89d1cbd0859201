//! Addresses and networks: `ip`, `cidr` and what is asked of them.

use std::fmt;
use std::net::IpAddr;

use super::opaque::Opaque;
use super::{Builtin, Context, Given, address, no_overload};
use crate::error::EvalError;
use crate::value::Value;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address as written.
    pub address: IpAddr,
    /// How many bits the prefix has.
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    fn masked(self) -> Self {
        Self { address: api::validate::net::network_address(self.address, self.bits), ..self }
    }

    fn contains(self, ip: IpAddr) -> bool {
        self.address.is_ipv4() == ip.is_ipv4()
            && api::validate::net::network_address(ip, self.bits) == self.masked().address
    }
}

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "ip" => ip,
        "isIP" => |_, args| text(args, |text| Ok(Value::Bool(parse_ip(text).is_ok()))),
        "ip.isCanonical" => {
            |_, args| text(args, |text| Ok(Value::Bool(parse_ip(text)?.to_string() == text)))
        }
        "cidr" => |_, args| text(args, |text| Ok(Value::opaque(Opaque::Cidr(parse_cidr(text)?)))),
        "isCIDR" => |_, args| text(args, |text| Ok(Value::Bool(parse_cidr(text).is_ok()))),
        "family" => |_, args| match of(args) {
            Some(Opaque::Ip(ip)) => Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
            _ => no_overload(),
        },
        "isUnspecified" => |_, args| ask(args, |ip| ip.is_unspecified()),
        "isLoopback" => |_, args| ask(args, |ip| ip.is_loopback()),
        "isLinkLocalMulticast" => |_, args| ask(args, is_link_local_multicast),
        "isLinkLocalUnicast" => |_, args| ask(args, is_link_local_unicast),
        "isGlobalUnicast" => |_, args| ask(args, is_global_unicast),
        "containsIP" => contains_ip,
        "containsCIDR" => contains_cidr,
        "prefixLength" => |_, args| match of(args) {
            Some(Opaque::Cidr(cidr)) => Ok(Value::Int(cidr.bits.into())),
            _ => no_overload(),
        },
        "masked" => |_, args| match of(args) {
            Some(Opaque::Cidr(cidr)) => Ok(Value::opaque(Opaque::Cidr(cidr.masked()))),
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn of<'v>(args: &'v [Value<'_>]) -> Option<&'v Opaque> {
    match args.first() {
        Some(Value::Opaque(opaque)) => Some(opaque),
        _ => None,
    }
}

fn text<'a>(args: &[Value<'a>], given: fn(&str) -> Given<'static>) -> Given<'a> {
    match args {
        [Value::String(text)] => given(text),
        _ => no_overload(),
    }
}

fn ask<'a>(args: &[Value<'a>], holds: fn(IpAddr) -> bool) -> Given<'a> {
    match of(args) {
        Some(Opaque::Ip(ip)) => Ok(Value::Bool(holds(*ip))),
        _ => no_overload(),
    }
}

/// How many bytes an address has.
pub(crate) fn bytes(ip: IpAddr) -> u64 {
    if ip.is_ipv4() { 4 } else { 16 }
}

fn ip<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match args {
        [Value::String(text)] => Ok(Value::opaque(Opaque::Ip(parse_ip(text)?))),
        [Value::Opaque(opaque)] => match &**opaque {
            Opaque::Cidr(cidr) => Ok(Value::opaque(Opaque::Ip(cidr.address))),
            _ => no_overload(),
        },
        _ => no_overload(),
    }
}

fn mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// An address without a zone, and no IPv4 address in IPv6's clothes.
fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let zoned = text.contains(':') && text.contains('%');
    let plain = if zoned { text.split('%').next().unwrap_or_default() } else { text };
    let ip = address::parse(if plain.len() + 1 == text.len() { text } else { plain });
    let ip = ip.map_err(|why| {
        EvalError::new(format!(
            "IP Address {text:?} parse error during conversion from string: {why}"
        ))
    })?;
    if zoned {
        return Err(EvalError::new(format!("IP address {text:?} with zone value is not allowed")));
    }
    if mapped(ip) {
        return Err(EvalError::new(format!("IPv4-mapped IPv6 address {text:?} is not allowed")));
    }
    Ok(ip)
}

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    const WHAT: &str = "network address parse error during conversion from string";
    let bad =
        |why: &str| EvalError::new(format!("{WHAT}: {WHAT}: netip.ParsePrefix({text:?}): {why}"));
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| bad("no '/'"))?;
    let address = address::parse(address).map_err(|why| bad(&why))?;
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit())
        && !(bits.len() > 1 && bits.starts_with('0'));
    let bits: u8 = match bits.parse() {
        Ok(bits) if plain => bits,
        _ => return Err(bad(&format!("bad bits after slash: {bits:?}"))),
    };
    if bits > if address.is_ipv4() { 32 } else { 128 } {
        return Err(bad("prefix length out of range"));
    }
    if mapped(address) {
        let message = format!("{WHAT}: IPv4-mapped IPv6 address {text:?} is not allowed");
        return Err(EvalError::new(message));
    }
    Ok(Cidr { address, bits })
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Neither unspecified nor broadcast, loopback, multicast or link-local.
fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified()
        || broadcast
        || ip.is_loopback()
        || ip.is_multicast()
        || is_link_local_unicast(ip))
}

fn contains_ip<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (Some(Opaque::Cidr(cidr)), Some(other)) = (of(args), args.get(1)) else {
        return no_overload();
    };
    let ip = match other {
        Value::String(text) => parse_ip(text)?,
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Ip(ip) => *ip,
            _ => return no_overload(),
        },
        _ => return no_overload(),
    };
    Ok(Value::Bool(cidr.contains(ip)))
}

fn contains_cidr<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (Some(Opaque::Cidr(cidr)), Some(other)) = (of(args), args.get(1)) else {
        return no_overload();
    };
    let other = match other {
        Value::String(text) => parse_cidr(text)?,
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Cidr(cidr) => *cidr,
            _ => return no_overload(),
        },
        _ => return no_overload(),
    };
    Ok(Value::Bool(cidr.bits <= other.bits && cidr.contains(other.address)))
}
