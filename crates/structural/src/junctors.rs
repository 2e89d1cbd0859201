//! `allOf`, `anyOf`, `oneOf`, `not`.

use api::Value;

use crate::check::{Found, check as value_check};
use crate::node::Node;
use crate::report::Problem;

/// Checks what a node's junctors say of a value.
pub(crate) fn check(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    name: &str,
    found: &mut Found,
) {
    any(node, value, old, name, found);
    one(node, value, old, name, found);
    all(node, value, old, name, found);
    if let Some(not) = &node.not
        && value_check(not, value, None, name).is_valid()
    {
        let text = format!("\"{name}\" must not validate the schema (not)");
        found.problems.push(Problem::composite(text));
    }
    found.matches += 1;
}

/// The branch that fits best, for those who want to know why none did.
fn better(best: &mut Option<Found>, next: Found) {
    if best.as_ref().is_none_or(|best| next.matches > best.matches) {
        *best = Some(next);
    }
}

fn any(node: &Node, value: &Value, old: Option<&Value>, name: &str, found: &mut Found) {
    let mut best = None;
    for branch in &node.any_of {
        let branch = value_check(branch, value, old, name);
        if branch.is_valid() {
            found.merge(branch);
            return;
        }
        better(&mut best, branch);
    }
    if let Some(best) = best {
        let text = format!("\"{name}\" must validate at least one schema (anyOf)");
        found.problems.push(Problem::composite(text));
        found.merge(best);
    }
}

fn one(node: &Node, value: &Value, old: Option<&Value>, name: &str, found: &mut Found) {
    if node.one_of.is_empty() {
        return;
    }
    let (mut valid, mut best) = (Vec::new(), None);
    for branch in &node.one_of {
        let branch = value_check(branch, value, old, name);
        if branch.is_valid() {
            valid.push(branch);
        } else {
            better(&mut best, branch);
        }
    }
    if valid.len() == 1 {
        valid.into_iter().for_each(|branch| found.merge(branch));
        return;
    }
    let how = match valid.len() {
        0 => "Found none valid".to_owned(),
        many => format!("Found {many} valid alternatives"),
    };
    let text = format!("\"{name}\" must validate one and only one schema (oneOf). {how}");
    found.problems.push(Problem::composite(text));
    if let Some(best) = best.filter(|_| valid.is_empty()) {
        found.merge(best);
    }
}

fn all(node: &Node, value: &Value, old: Option<&Value>, name: &str, found: &mut Found) {
    let mut valid = 0;
    for branch in &node.all_of {
        let branch = value_check(branch, value, old, name);
        valid += usize::from(branch.is_valid());
        found.merge(branch);
    }
    if valid != node.all_of.len() {
        let none = if valid == 0 { ". None validated" } else { "" };
        let text = format!("\"{name}\" must validate all the schemas (allOf){none}");
        found.problems.push(Problem::composite(text));
    }
}
