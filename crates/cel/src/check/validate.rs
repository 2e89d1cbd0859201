//! Literals that can only fail when evaluated are refused at once: durations, timestamps and
//! patterns that are none (upstream since 1.29).

use crate::library::moment::Moment;
use crate::library::{regexes, time};
use crate::syntax::ast::{Expr, Kind, Literal};
use crate::syntax::source::Issue;

use super::Checked;

/// The problems of literals in calls.
pub(super) fn literals(checked: &Checked, positions: &[u32]) -> Vec<Issue> {
    let mut issues = Vec::new();
    visit(&checked.root, positions, &mut issues);
    issues
}

fn visit(expr: &Expr, positions: &[u32], issues: &mut Vec<Issue>) {
    if let Kind::Call(call) = &expr.kind
        && let Some(Expr { id, kind: Kind::Literal(Literal::String(text)) }) = call.args.first()
    {
        let good = match &*call.function {
            "duration" => time::duration(text).is_ok(),
            "timestamp" => Moment::parse(text).is_ok(),
            "matches" => regexes::compile(text).is_ok(),
            _ => true,
        };
        if !good {
            let message = format!("invalid {} argument", call.function);
            issues.push(Issue { position: positions[*id as usize], message });
        }
    }
    expr.each_child(&mut |child| visit(child, positions, issues));
}
