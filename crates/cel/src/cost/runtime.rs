//! What each step of an evaluation costs, in upstream's units (about 50 ns each).
//!
//! A call's cost goes by its name and overload, as the checker found it; where only the evaluation
//! decides between overloads, it is 1, as upstream has it.

use crate::syntax::ast::ops;
use crate::value::Value;

/// A name, or a field.
pub(crate) const NAME: u64 = 1;
/// A list that is made.
pub(crate) const LIST: u64 = 10;
/// A map that is made.
pub(crate) const MAP: u64 = 30;
/// An object that is made.
pub(crate) const OBJECT: u64 = 40;

/// What going through a text costs for each code point.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// What a pattern costs for each code point.
pub(crate) const PATTERN: f64 = 0.25;
/// What asking the authorizer costs: two questions an expression.
pub(crate) const AUTHORIZATION: u64 = 350_000;
/// How long the pattern behind a named format is taken to be.
pub(crate) const FORMAT_PATTERN: f64 = 128.0;

/// How large a value may be before sums and membership are charged by size.
const ORDINARY: u64 = 1_000;

/// How the cost of a call is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing.
    Free,
    /// Always the same.
    Fixed(u64),
    /// Going through the first argument, so many times.
    Traverse(u8),
    /// Going through the second argument.
    Second,
    /// The number of items of the second argument.
    Items,
    /// Going through the smaller of two arguments.
    Smaller,
    /// Going through both arguments.
    Both,
    /// A pattern over a text.
    Match,
    /// A text in a text.
    Contains,
    /// Going through all that a list holds.
    Deep,
    /// Going through the result twice.
    Result,
    /// Reading a selector into its requirements.
    Selector,
    /// An address in a network; whether the address is a text.
    ContainsIp(bool),
    /// A network in a network; whether the other is a text.
    ContainsCidr(bool),
    /// A text against a named format.
    Validate,
    /// As many as the result has items.
    ResultItems,
    /// The items that a flattened list had.
    Flatten,
    /// A sum whose kind the evaluation decides, or one of lists.
    Sum,
    /// Membership whose kind the evaluation decides.
    Membership,
    /// Each item of an argument with each, twice.
    Square(u8),
    /// Each item of one list with each of another; so many times.
    Product(u8),
}

/// The rule for a call; `overload` is empty when there are several.
pub(crate) fn rule(function: &str, overload: &str) -> Rule {
    by_name(function, overload).unwrap_or_else(|| by_overload(overload))
}

fn by_name(function: &str, overload: &str) -> Option<Rule> {
    Some(match function {
        "check" => Rule::Fixed(AUTHORIZATION),
        "fieldSelector" | "labelSelector" => Rule::Selector,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => Rule::Deep,
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => Rule::Traverse(1),
        "ip" if overload == "cidr_ip" => Rule::Fixed(1),
        "ip" => Rule::Traverse(1),
        "replace" | "split" | "ip.isCanonical" => Rule::Traverse(2),
        "join" => Rule::Result,
        "find" | "findAll" => Rule::Match,
        "containsIP" => Rule::ContainsIp(overload == "cidr_contains_ip_string"),
        "containsCIDR" => Rule::ContainsCidr(overload == "cidr_contains_cidr_string"),
        "validate" => Rule::Validate,
        "sets.contains" | "sets.intersects" => Rule::Product(1),
        "sets.equivalent" => Rule::Product(2),
        "slice" | "lists.range" | "reverse" => Rule::ResultItems,
        "flatten" => Rule::Flatten,
        "distinct" | "sort" => Rule::Square(0),
        "@sortByAssociatedKeys" => Rule::Square(1),
        ops::EQUALS | ops::NOT_EQUALS => Rule::Smaller,
        // Upstream charges 1 for these, whatever their size. What is of no ordinary size is charged
        // here for what it does, lest a limit be none.
        ops::ADD if matches!(overload, "" | "add_list") => Rule::Sum,
        ops::IN if overload.is_empty() => Rule::Membership,
        _ => return None,
    })
}

fn by_overload(overload: &str) -> Rule {
    match overload {
        "starts_with_string" | "ends_with_string" => Rule::Second,
        "string_to_bytes" | "bytes_to_string" | "strings_quote" | "string_format" => {
            Rule::Traverse(1)
        }
        "in_list" => Rule::Items,
        "add_string" | "add_bytes" => Rule::Both,
        "matches_string" | "matches" => Rule::Match,
        "contains_string" => Rule::Contains,
        _ if orders_texts(overload) => Rule::Smaller,
        _ => Rule::Fixed(1),
    }
}

pub(super) fn orders_texts(overload: &str) -> bool {
    ["less_", "less_equals_", "greater_", "greater_equals_"].iter().any(|order| {
        overload.strip_prefix(order).is_some_and(|of| matches!(of, "string" | "bytes"))
    })
}

/// A size times a factor, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "costs saturate"
)]
pub(crate) fn scale(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// What a call with these arguments cost.
pub(crate) fn cost(rule: Rule, args: &[Value<'_>], result: Option<&Value<'_>>) -> u64 {
    let size = |place: usize| args.get(place).map_or(1, Value::size);
    let made = result.map_or(1, Value::size);
    match rule {
        Rule::Free => 0,
        Rule::Fixed(cost) => cost,
        Rule::Traverse(times) => scale(size(0), f64::from(times) * TRAVERSAL),
        Rule::Second => scale(size(1), TRAVERSAL),
        Rule::Items => size(1),
        Rule::Smaller => scale(size(0).min(size(1)), TRAVERSAL),
        Rule::Both => scale(size(0).saturating_add(size(1)), TRAVERSAL),
        Rule::Match => scale(size(0) + 1, TRAVERSAL).saturating_mul(scale(size(1), PATTERN)),
        Rule::Contains => scale(size(0), TRAVERSAL).saturating_mul(scale(size(1), TRAVERSAL)),
        Rule::Deep => args.first().map_or(0, deep),
        Rule::Result => scale(made, 2.0 * TRAVERSAL),
        Rule::Selector => selector(size(1)),
        Rule::ContainsIp(text) => {
            scale(2 * size(0), TRAVERSAL) + if text { scale(size(1), TRAVERSAL) } else { 0 }
        }
        Rule::ContainsCidr(text) => {
            scale(2 * size(0), TRAVERSAL)
                + scale(size(0), TRAVERSAL)
                + 1
                + if text { scale(size(1), TRAVERSAL) } else { 0 }
        }
        Rule::Validate => {
            let pattern = args.first().map_or(0, pattern_length);
            scale(size(1) + 1, TRAVERSAL).saturating_mul(scale(pattern, PATTERN))
        }
        Rule::Sum => {
            let both = size(0).saturating_add(size(1));
            1 + both.saturating_sub(ORDINARY) / 10
        }
        Rule::Membership => match args.get(1) {
            Some(Value::List(list)) => 1 + (list.len() as u64).saturating_sub(ORDINARY),
            _ => 1,
        },
        Rule::ResultItems => 1 + LIST + made,
        Rule::Flatten => {
            let depth = match args.get(1) {
                Some(Value::Int(depth)) => u64::try_from(*depth).unwrap_or(0),
                _ => 1,
            };
            // Upstream goes by what goes in; what comes out may be more.
            1 + LIST + size(0).saturating_mul(depth).max(made)
        }
        Rule::Square(place) => 1 + LIST + square(args.get(usize::from(place))),
        Rule::Product(times) => {
            1 + u64::from(times).saturating_mul(size(0).saturating_mul(size(1)))
        }
    }
}

/// How long the pattern behind a format is.
fn pattern_length(format: &Value<'_>) -> u64 {
    match format {
        Value::Opaque(opaque) => opaque.pattern_length(),
        _ => 0,
    }
}

/// Each item with each, twice; and a little more when they are texts.
fn square(list: Option<&Value<'_>>) -> u64 {
    let Some(Value::List(list)) = list else {
        return 0;
    };
    let texts = matches!(list.get(0), Ok(Some(Value::String(_) | Value::Bytes(_))));
    let size = list.len() as u64;
    scale(size.saturating_mul(size), if texts { 2.0 + TRAVERSAL } else { 2.0 })
}

/// What reading a selector of a length costs.
pub(crate) fn selector(length: u64) -> u64 {
    LIST + scale(length, TRAVERSAL) + scale(scale(length, 0.5), (LIST + OBJECT) as f64)
}

/// What going through a value and all in it costs.
fn deep(value: &Value<'_>) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "upstream rounds down here"
    )]
    let text = |bytes: usize| (bytes as f64 * TRAVERSAL) as u64;
    match value {
        Value::String(of) => text(of.len()),
        Value::Bytes(of) => text(of.len()),
        Value::List(list) => list
            .iter()
            .filter_map(Result::ok)
            .fold(0, |sum: u64, item| sum.saturating_add(deep(&item))),
        Value::Map(map) => {
            map.entries().unwrap_or_default().iter().fold(0, |sum, (key, value)| {
                sum.saturating_add(deep(key)).saturating_add(deep(value))
            })
        }
        _ => 1,
    }
}
