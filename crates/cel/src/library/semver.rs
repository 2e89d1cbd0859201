//! Semantic versions: `semver('1.2.3-rc.1')`, strict or after normalization.

use std::cmp::Ordering;

use super::opaque::Opaque;
use super::{Builtin, Given, no_overload};
use crate::error::EvalError;
use crate::value::Value;

/// A version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    before: Vec<String>,
    build: Vec<String>,
}

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "semver" => |_, args| match read(args) {
            Some(Ok(version)) => Ok(Value::opaque(Opaque::Semver(version))),
            Some(Err(why)) => Err(EvalError::new(why)),
            None => no_overload(),
        },
        "isSemver" => |_, args| match read(args) {
            Some(version) => Ok(Value::Bool(version.is_ok())),
            None => no_overload(),
        },
        "major" => |_, args| number(args, 0),
        "minor" => |_, args| number(args, 1),
        "patch" => |_, args| number(args, 2),
        _ => return None,
    })
}

pub(super) fn version<'v>(value: &'v Value<'_>) -> Option<&'v Semver> {
    match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Semver(version) => Some(version),
            _ => None,
        },
        _ => None,
    }
}

fn number<'a>(args: &[Value<'a>], place: usize) -> Given<'a> {
    match args.first().and_then(version) {
        Some(version) => Ok(Value::Int(i64::try_from(version.numbers[place]).unwrap_or(i64::MAX))),
        None => no_overload(),
    }
}

fn read(args: &[Value<'_>]) -> Option<Result<Semver, String>> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Some(parse(text)),
        [Value::String(text), Value::Bool(true)] => {
            Some(normalize(text).and_then(|text| parse(&text)))
        }
        _ => None,
    }
}

/// Without a `v`, with all three numbers, and those without leading zeros.
fn normalize(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(strip_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".to_owned());
    }
    while parts.len() < 3 {
        parts.push("0".to_owned());
    }
    Ok(parts.join("."))
}

fn strip_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let stripped = part.trim_start_matches('0');
    if stripped.starts_with(|char: char| char.is_ascii_digit()) {
        stripped.to_owned()
    } else {
        format!("0{stripped}")
    }
}

/// Reads a version, strictly.
///
/// # Errors
/// Why it is none.
fn parse(text: &str) -> Result<Semver, String> {
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, rest] = parts.as_slice() else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let (rest, build) = split_tail(rest, '+');
    let (patch, before) = split_tail(rest, '-');
    let numbers = [numeric(major, "Major")?, numeric(minor, "Minor")?, numeric(patch, "Patch")?];
    let before = identifiers(before, "Prerelease")?;
    for part in &before {
        if part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "Numeric PreRelease version must not contain leading zeroes {part:?}"
            ));
        }
    }
    Ok(Semver { numbers, before, build: identifiers(build, "Build meta data")? })
}

fn split_tail(text: &str, sign: char) -> (&str, Option<&str>) {
    match text.split_once(sign) {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    }
}

fn numeric(text: &str, what: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {} number {text:?}",
            what.to_lowercase()
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{what} number must not contain leading zeroes {text:?}"));
    }
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

fn identifiers(text: Option<&str>, what: &str) -> Result<Vec<String>, String> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    text.split('.')
        .map(|part| {
            if part.is_empty() {
                return Err(format!("{what} is empty"));
            }
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(format!(
                    "Invalid character(s) found in {} {part:?}",
                    what.to_lowercase()
                ));
            }
            Ok(part.to_owned())
        })
        .collect()
}

impl Semver {
    /// The order of versions; what was built from does not matter.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => before(&self.before, &other.before),
            }
        })
    }
}

fn before(one: &[String], other: &[String]) -> Ordering {
    let number = |text: &str| text.parse::<u64>().ok();
    for (a, b) in one.iter().zip(other) {
        let order = match (number(a), number(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    one.len().cmp(&other.len())
}
