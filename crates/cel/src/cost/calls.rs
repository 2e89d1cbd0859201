//! What calls cost at most: by Kubernetes' libraries, by the extensions, by the language.

use super::estimate::{Estimator, Node};
use super::range::{Range, scaled};
use super::runtime::{AUTHORIZATION, FORMAT_PATTERN, LIST, OBJECT, PATTERN, TRAVERSAL};
use crate::syntax::ast::ops;
use crate::types::Type;

/// What a call costs, and how large its result is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    pub(super) cost: Range,
    pub(super) result: Option<Range>,
}

impl Estimate {
    fn new(cost: Range) -> Self {
        Self { cost, result: None }
    }

    fn one() -> Self {
        Self::new(Range::fixed(1))
    }

    fn giving(cost: Range, result: Range) -> Self {
        Self { cost, result: Some(result) }
    }

    pub(super) fn plus(self, cost: Range) -> Self {
        Self { cost: self.cost.plus(cost), ..self }
    }
}

/// The costs of libraries; `None` for what they say nothing of.
pub(super) fn library(
    estimator: &Estimator<'_>,
    function: &str,
    overload: &str,
    target: Option<&Node<'_>>,
    args: &[Node<'_>],
) -> Option<Estimate> {
    if let Some(estimate) = extensions(overload, target, args) {
        return Some(estimate);
    }
    let first = || args.first().map(Node::size);
    let through = |times: f64| first().map(|size| Estimate::new(size.scaled(times * TRAVERSAL)));
    match function {
        "check" => Some(Estimate::new(Range::fixed(AUTHORIZATION))),
        "fieldSelector" | "labelSelector" => first().map(|size| Estimate::new(selector(size))),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            target.map(|target| over_items(estimator, target))
        }
        "url" | "jsonpatch.escapeKey" => {
            first().map(|size| Estimate::giving(size.scaled(TRAVERSAL), size))
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            target.map(|target| Estimate::giving(target.size().scaled(TRAVERSAL), target.size()))
        }
        "replace" => Some(replace(target?, args.first()?, args.get(1)?)),
        "split" => {
            let size = target?.size();
            let most = args.get(1).and_then(Node::number).unwrap_or(size.max);
            Some(Estimate::giving(size.scaled(2.0 * TRAVERSAL), Range::upto(most)))
        }
        "join" => Some(join(estimator, target?, args.first())),
        "find" | "findAll" => {
            let size = target?.size();
            let cost = matching(size, first()?);
            Some(Estimate::giving(cost, Range::upto(size.max)))
        }
        "ip" if overload == "cidr_ip" => Some(Estimate::one()),
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            through(1.0)
        }
        "ip.isCanonical" => through(2.0),
        "containsIP" | "containsCIDR" => first().map(|size| network(overload, size)),
        "validate" => first()
            .map(|size| Estimate::new(size.scaled(TRAVERSAL).scaled(FORMAT_PATTERN * PATTERN))),
        ops::EQUALS => opaque_equality(args),
        _ => None,
    }
}

fn selector(length: Range) -> Range {
    let requirements = length.scaled(0.5).scaled((LIST + OBJECT) as f64);
    Range::fixed(LIST).plus(length.scaled(TRAVERSAL)).plus(requirements)
}

/// One for each item, and going through it if it is a text.
fn over_items(estimator: &Estimator<'_>, target: &Node<'_>) -> Estimate {
    let Some((ty, size)) = estimator.element(target) else {
        return Estimate::new(target.size().scaled(TRAVERSAL));
    };
    let mut each = Range::fixed(1);
    if matches!(ty, Type::String | Type::Bytes) {
        each = each.plus(size.scaled(TRAVERSAL));
    }
    Estimate::new(target.size().times(each))
}

fn replace(target: &Node<'_>, old: &Node<'_>, new: &Node<'_>) -> Estimate {
    let (size, old, new) = (target.size(), old.size(), new.size());
    // An empty text is found around each code point; otherwise the result is longest when the
    // shortest parts are replaced by the longest, if that makes it longer at all.
    let (most, kept_most) = if old.min == 0 {
        (size.max.saturating_add(1), size.max)
    } else if new.max <= old.min {
        (0, size.max)
    } else {
        (divided(size.max, old.min), 0)
    };
    let (least, kept_least) = if old.max == 0 {
        (size.min.saturating_add(1), size.min)
    } else if old.max <= new.min {
        (0, size.min)
    } else {
        (divided(size.min, old.max), 0)
    };
    let times = Range { min: least, max: most };
    let result = times.times(new).plus(Range { min: kept_least, max: kept_most });
    Estimate::giving(size.scaled(2.0 * TRAVERSAL), result)
}

fn divided(value: u64, by: u64) -> u64 {
    value.div_ceil(by)
}

fn join(estimator: &Estimator<'_>, target: &Node<'_>, separator: Option<&Node<'_>>) -> Estimate {
    let list = target.size();
    let mut size = match estimator.element(target) {
        Some((_, item)) => list.times(item),
        None => Range::ZERO,
    };
    if let Some(separator) = separator {
        let gaps = Range { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) };
        size = size.plus(separator.size().times(gaps));
    }
    Estimate::giving(size.scaled(TRAVERSAL), size)
}

/// A pattern over a text; one is added so that an empty text costs too.
fn matching(text: Range, pattern: Range) -> Range {
    text.plus(Range::fixed(1)).scaled(TRAVERSAL).times(pattern.scaled(PATTERN))
}

fn network(overload: &str, other: Range) -> Estimate {
    // An address has 4 bytes, or 16.
    let address = Range { min: 4, max: 16 };
    let mut cost = address.plus(address).scaled(TRAVERSAL);
    if overload.starts_with("cidr_contains_cidr") {
        cost = cost.plus(address.scaled(TRAVERSAL)).plus(Range::fixed(1));
    }
    if overload.ends_with("_string") {
        cost = cost.plus(other.scaled(TRAVERSAL));
    }
    Estimate::new(cost)
}

/// The values of Kubernetes' types are equal or not at once.
fn opaque_equality(args: &[Node<'_>]) -> Option<Estimate> {
    let [one, other] = args else {
        return None;
    };
    if one.ty != other.ty {
        return None;
    }
    match one.ty.name() {
        "net.IP"
        | "net.CIDR"
        | "kubernetes.Quantity"
        | "kubernetes.Semver"
        | "kubernetes.authorization.Authorizer"
        | "kubernetes.authorization.PathCheck"
        | "kubernetes.authorization.GroupCheck"
        | "kubernetes.authorization.ResourceCheck"
        | "kubernetes.authorization.Decision" => Some(Estimate::one()),
        "kubernetes.NamedFormat" => {
            Some(Estimate::new(Range { min: 1, max: 64 }.scaled(TRAVERSAL)))
        }
        "kubernetes.URL" => {
            let max = other.size.map_or(1, |size| size.max);
            Some(Estimate::new(Range { min: 1, max }.scaled(TRAVERSAL)))
        }
        _ => None,
    }
}

/// The costs that the extensions over lists and sets bring along.
fn extensions(overload: &str, target: Option<&Node<'_>>, args: &[Node<'_>]) -> Option<Estimate> {
    let sets = |factor: f64| {
        let [one, other] = args else {
            return None;
        };
        let cost = one.size().times(other.size()).scaled(factor).plus(Range::fixed(1));
        Some(Estimate::new(cost))
    };
    let list = |factor: f64, size: Range| {
        let cost = size.scaled(factor).plus(Range::fixed(1 + LIST));
        Estimate::giving(cost, size)
    };
    let squared = |size: Range, factor: f64| list(factor, size.times(size));
    match overload {
        "list_sets_contains_list" | "list_sets_intersects_list" => sets(1.0),
        "list_sets_equivalent_list" => sets(2.0),
        "list_slice" => {
            let size = target?.size();
            let start = args.first().and_then(Node::number).unwrap_or(0);
            let end = args.get(1).and_then(Node::number).unwrap_or(size.max);
            Some(list(1.0, Range::fixed(end.saturating_sub(start))))
        }
        "list_flatten" => Some(list(1.0, target?.size())),
        "list_flatten_int" => {
            let depth = args.first().and_then(Node::number).unwrap_or(u64::MAX);
            Some(list(depth as f64, target?.size()))
        }
        "lists_range" => {
            let most = args.first().and_then(Node::number).unwrap_or(u64::MAX);
            Some(list(1.0, Range::fixed(most)))
        }
        "list_reverse" => Some(list(1.0, target?.size())),
        "list_distinct" => Some(squared(target?.size(), 2.0)),
        _ if overload.ends_with("_sort") => {
            Some(squared(target?.size(), 2.0 + text_factor(overload)))
        }
        _ if overload.ends_with("_sortByAssociatedKeys") => {
            Some(squared(args.first()?.size(), 2.0 + text_factor(overload)))
        }
        _ => None,
    }
}

fn text_factor(overload: &str) -> f64 {
    let of_texts = overload.starts_with("list_string_") || overload.starts_with("list_bytes_");
    if of_texts { TRAVERSAL } else { 0.0 }
}

/// The costs of the language's own functions.
pub(super) fn core(overload: &str, target: Option<&Node<'_>>, args: &[Node<'_>]) -> Estimate {
    let size = |place: usize| args.get(place).map_or(Range::UNKNOWN, Node::size);
    match (overload, target) {
        ("string_format", Some(target)) => Estimate::new(target.size().scaled(TRAVERSAL)),
        ("string_to_bytes", _) => {
            let size = size(0);
            let result = Range { min: size.min, max: size.max.saturating_mul(4) };
            Estimate::giving(size.scaled(TRAVERSAL), result)
        }
        ("bytes_to_string", _) => {
            let size = size(0);
            Estimate::giving(size.scaled(TRAVERSAL), Range { min: size.min / 4, max: size.max })
        }
        ("strings_quote", _) => {
            let size = size(0);
            let max = size.max.saturating_mul(2).saturating_add(2);
            let result = Range { min: size.min.saturating_add(2), max };
            Estimate::giving(size.scaled(TRAVERSAL), result)
        }
        ("starts_with_string" | "ends_with_string", _) => Estimate::new(size(0).scaled(TRAVERSAL)),
        ("in_list", _) => Estimate::new(size(1)),
        ("matches_string", Some(target)) => Estimate::new(matching(target.size(), size(0))),
        ("contains_string", Some(target)) => {
            Estimate::new(target.size().scaled(TRAVERSAL).times(size(0).scaled(TRAVERSAL)))
        }
        ("add_list", _) => Estimate::giving(Range::fixed(1), size(0).plus(size(1))),
        ("add_string" | "add_bytes", _) => {
            let sum = size(0).plus(size(1));
            Estimate::giving(sum.scaled(TRAVERSAL), sum)
        }
        ("equals" | "not_equals", _) => Estimate::new(smaller(size(0), size(1))),
        _ if super::runtime::orders_texts(overload) => Estimate::new(smaller(size(0), size(1))),
        _ => Estimate::one(),
    }
}

/// Going through the smaller of two values.
fn smaller(one: Range, other: Range) -> Range {
    let max = one.max.min(other.max);
    let min = u64::from(max > 0);
    Range { min: scaled(min, TRAVERSAL), max: scaled(max, TRAVERSAL) }
}
