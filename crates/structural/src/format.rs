//! Formats of strings, those that upstream validates; others are words without effect.

use std::sync::OnceLock;

use api::validate;
use base64::Engine as _;
use regex::Regex;

use crate::node::Type;

/// A format that is validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// `int32`.
    Int32,
    /// A format of strings, by its name.
    Text(Box<str>),
}

/// The names of formats, less their dashes.
const TEXT: [&str; 27] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "quantity",
    "k8sshortname",
    "k8slongname",
];

/// Whether a format means something for a value of a schema's type.
#[must_use]
pub fn is_known_format(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" => TEXT.contains(&format.replace('-', "").as_str()),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

impl Format {
    /// The format of a value of a type, if it is one that is validated.
    pub(crate) fn of(kind: Type, name: &str) -> Option<Self> {
        match (kind, name) {
            (Type::Integer, "int32") => Some(Self::Int32),
            (Type::Any | Type::String, _) if TEXT.contains(&name.replace('-', "").as_str()) => {
                Some(Self::Text(name.into()))
            }
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Int32 => "int32",
            Self::Text(name) => name,
        }
    }

    /// Whether a text has the format.
    pub(crate) fn accepts(&self, text: &str) -> bool {
        let Self::Text(name) = self else { return true };
        match name.replace('-', "").as_str() {
            "uri" => is_uri(text),
            "email" => matched(2, text),
            "hostname" => text.len() <= 253 && matched(3, text) && has_top(text),
            "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
            "ipv6" => text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_ok(),
            "cidr" => validate::net::parse_cidr(text).is_some(),
            "mac" => matched(4, text),
            "bsonobjectid" => matched(5, text),
            "uuid" => matched(6, text),
            "uuid3" => matched(7, text),
            "uuid4" => matched(8, text),
            "uuid5" => matched(9, text),
            "isbn" => is_isbn10(text) || is_isbn13(text),
            "isbn10" => is_isbn10(text),
            "isbn13" => is_isbn13(text),
            "creditcard" => is_credit_card(text),
            "ssn" => matched(10, text),
            "hexcolor" => matched(0, text),
            "rgbcolor" => matched(1, text),
            "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
            "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            "datetime" => is_date_time(text),
            "duration" => matched(12, text) || matched(11, text),
            "quantity" => text.parse::<api::quantity::Quantity>().is_ok(),
            "k8sshortname" => validate::dns1123_label(text).is_empty(),
            "k8slongname" => validate::dns1123_subdomain(text).is_empty(),
            _ => true,
        }
    }
}

/// Whether a host's name of several parts ends in more than one letter.
fn has_top(text: &str) -> bool {
    text.trim_end_matches('.').rsplit_once('.').is_none_or(|(_, top)| top.len() > 1)
}

/// The type as error texts name it.
pub(crate) fn schema_type(kind: Type) -> &'static str {
    match kind {
        Type::Any => "",
        Type::Object => "object",
        Type::Array => "array",
        Type::String => "string",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        Type::IntOrString => "integer,string",
    }
}

const PATTERNS: [&str; 13] = [
    r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$",
    r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$",
    r#"^(?:[^<>]*<)?[^\s@<>()\[\],;:"]+@[^\s@<>()\[\],;:"]+>?$"#,
    r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$",
    r"^(?:[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?:(?:[:-][0-9A-Fa-f]{2}){2}|(?:[:-][0-9A-Fa-f]{2}){14})?|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2,3})$",
    r"^[0-9a-fA-F]{24}$",
    r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$",
    r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$",
    r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$",
    r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$",
    r"^\d{3}[- ]?\d{2}[- ]?\d{4}$",
    r"^\s*\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|h|d|w|nano(second)?s?|micro(second)?s?|milli(second)?s?|sec(ond)?s?|min(ute)?s?|h(ou)?rs?|days?|weeks?)\s*$",
    r"^[+-]?(?:0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$",
];

fn matched(which: usize, text: &str) -> bool {
    static COMPILED: [OnceLock<Regex>; PATTERNS.len()] =
        [const { OnceLock::new() }; PATTERNS.len()];
    let compiled = COMPILED[which].get_or_init(|| {
        Regex::new(PATTERNS[which]).expect("the patterns are constants, and tested")
    });
    compiled.is_match(text)
}

/// What Go's `url.ParseRequestURI` takes: an absolute URI or an absolute path.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|one| one.is_control() || one == ' ') {
        return false;
    }
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|one| one.is_ascii_alphanumeric() || "+-.".contains(one))
    };
    text.starts_with('/') || scheme.is_some_and(is_scheme)
}

fn is_date_time(text: &str) -> bool {
    let is_separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
    is_separated && text.replace(' ', "T").parse::<jiff::Timestamp>().is_ok()
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|one| one.to_digit(10)).collect()
}

fn is_isbn10(text: &str) -> bool {
    let text = text.replace(['-', ' '], "");
    let (body, last) = text.split_at(text.len().saturating_sub(1));
    let numbers = digits(body);
    let check = match last {
        "X" | "x" => Some(10),
        other => other.parse().ok(),
    };
    let Some(check) = check.filter(|_: &u32| numbers.len() == 9 && body.len() == 9) else {
        return false;
    };
    let sum: u32 = (1..).zip(&numbers).map(|(weight, digit)| weight * digit).sum();
    (sum + 10 * check).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let text = text.replace(['-', ' '], "");
    let numbers = digits(&text);
    let weighed = |(at, digit): (usize, &u32)| digit * if at % 2 == 0 { 1 } else { 3 };
    text.len() == 13
        && numbers.len() == 13
        && numbers.iter().enumerate().map(weighed).sum::<u32>() % 10 == 0
}

fn is_credit_card(text: &str) -> bool {
    let numbers = digits(text);
    let doubled = |(at, digit): (usize, &u32)| match (at % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) => twice / 10 + twice % 10,
    };
    (13..=19).contains(&numbers.len())
        && numbers.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (name, good, bad) in [
            ("uri", "https://a.io/b", "a b"),
            ("email", "a@b.io", "a.b.io"),
            ("hostname", "a-b.io", "-a"),
            ("hostname", "a", "a.b"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "fd00::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0"),
            ("mac", "00:00:5e:00:53:01", "00:00"),
            ("uuid", "a987fbc9-4bed-3078-cf07-9141ba07c9f3", "a987"),
            (
                "uuid4",
                "57b73598-8764-4ad0-a76a-679bb6640eb1",
                "a987fbc9-4bed-3078-cf07-9141ba07c9f3",
            ),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("isbn10", "0321751043", "0321751044"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "111-11-1111", "111"),
            ("hexcolor", "#fff", "#ff"),
            ("rgbcolor", "rgb(1,2,255)", "rgb(1,2,256)"),
            ("byte", "YQ==", "Y"),
            ("date", "2026-01-31", "2026-02-30"),
            ("date-time", "2026-01-31T10:00:00Z", "2026-01-31"),
            ("duration", "1h30m", "soon"),
            ("k8s-short-name", "a-b", "A"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507"),
        ] {
            let format = Format::of(Type::String, name).unwrap();
            assert!(format.accepts(good), "{name} {good}");
            assert!(!format.accepts(bad), "{name} {bad}");
        }
        assert_eq!(Format::of(Type::String, "int32"), None);
        assert_eq!(Format::of(Type::String, "no-such-format"), None);
    }
}
