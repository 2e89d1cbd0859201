//! The values of Kubernetes' libraries, which only functions look into.

use std::net::IpAddr;

use api::quantity::Quantity;

use super::authorize::{AuthorizerValue, Decision, PathCheck, ResourceCheck};
use super::formats::Format;
use super::net::{self, Cidr};
use super::semver::Semver;
use super::url::Url;
use crate::types::Type;

/// A value of a library.
#[derive(Debug, Clone)]
pub enum Opaque {
    /// `url(…)`.
    Url(Url),
    /// `ip(…)`.
    Ip(IpAddr),
    /// `cidr(…)`.
    Cidr(Cidr),
    /// `quantity(…)`.
    Quantity(Quantity),
    /// `semver(…)`.
    Semver(Semver),
    /// `format.dns1123Label()` and the like.
    Format(Format),
    /// The variable `authorizer`.
    Authorizer(AuthorizerValue),
    /// `authorizer.path(…)`.
    PathCheck(PathCheck),
    /// `authorizer.group(…)`.
    GroupCheck(AuthorizerValue, String),
    /// `authorizer.group(…).resource(…)`.
    ResourceCheck(ResourceCheck),
    /// What a check gave.
    Decision(Decision),
}

impl Opaque {
    pub(crate) fn type_of(&self) -> Type {
        let name = match self {
            Self::Ip(_) => return Type::Opaque("net.IP".into(), [].into()),
            Self::Cidr(_) => return Type::Opaque("net.CIDR".into(), [].into()),
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Self::PathCheck(_) => "kubernetes.authorization.PathCheck",
            Self::GroupCheck(..) => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck(_) => "kubernetes.authorization.ResourceCheck",
            Self::Decision(_) => "kubernetes.authorization.Decision",
        };
        Type::object(name)
    }

    /// The size for costs: of addresses, in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(ip) => net::bytes(*ip),
            Self::Cidr(cidr) => u64::from(cidr.bits).div_ceil(8),
            _ => 1,
        }
    }

    /// How long the pattern behind a format is taken to be.
    pub(crate) fn pattern_length(&self) -> u64 {
        match self {
            Self::Format(format) => format.pattern_length(),
            _ => 0,
        }
    }

    /// What `string()` gives.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Ip(ip) => Some(ip.to_string()),
            Self::Cidr(cidr) => Some(cidr.to_string()),
            _ => None,
        }
    }

    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Quantity(a), Self::Quantity(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a == b,
            (Self::Format(a), Self::Format(b)) => a == b,
            _ => false,
        }
    }
}
