//! Checking an object by its rules: each part by the rules of its place.

use std::sync::Arc;

use api::field::{ErrorKind, FieldError, Path};
use serde_json::Value as Json;

use super::budget::Budget;
use super::compile::{Node, Rule};
use super::ratchet::{Ratchet, Spine};
use super::{Findings, RULES_COST_LIMIT};
use crate::eval::plan::Program;
use crate::eval::{Activation, Bindings};
use crate::value::Value;

/// How long a message that a rule makes may be.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

pub(super) fn check(root: &Node, spine: &Spine, object: &Json, old: Option<&Json>) -> Findings {
    let mut walk = Walk { findings: Findings::default(), budget: Budget::new(RULES_COST_LIMIT) };
    let ratchet = Ratchet::root(object, old, spine);
    walk.node(root, Some(spine), &Path::root(), object, old, ratchet);
    walk.findings
}

struct Walk {
    findings: Findings,
    budget: Budget,
}

/// Where a rule is being checked.
struct Place<'w, 'j, 's> {
    node: &'w Node,
    path: &'w Path,
    object: &'j Json,
    ratchet: Ratchet<'j, 's>,
}

impl Walk {
    fn node<'j, 's>(
        &mut self,
        node: &Node,
        spine: Option<&'s Spine>,
        path: &Path,
        object: &'j Json,
        old: Option<&'j Json>,
        ratchet: Ratchet<'j, 's>,
    ) {
        // Null is checked from outside: `self` is always a value.
        if object.is_null() || self.budget.is_spent() {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        self.rules(&Place { node, path, object, ratchet }, old);
        for nested in &node.all_of {
            self.node(nested, spine, path, object, old, ratchet.nested());
        }
        match object {
            Json::Array(items) => {
                let Some(rules) = &node.items else {
                    return;
                };
                for (index, item) in items.iter().enumerate() {
                    let before = spine.and_then(|spine| spine.counterpart(old, item));
                    let inner = spine.and_then(Spine::items);
                    self.node(rules, inner, &path.index(index), item, before, ratchet.item(index));
                }
            }
            Json::Object(map) => {
                for (name, value) in map {
                    let before = old.and_then(|old| old.get(name));
                    let inner = spine.and_then(|spine| spine.field(name));
                    let (rules, path) = match (&node.additional, node.properties.get(name)) {
                        (_, Some(rules)) => (rules, path.child(name)),
                        (Some(rules), None) => (&**rules, path.key(name)),
                        (None, None) => continue,
                    };
                    self.node(rules, inner, &path, value, before, ratchet.field(name));
                }
            }
            _ => {}
        }
    }

    fn invalid(&mut self, place: &Place<'_, '_, '_>, detail: String) {
        let error = FieldError::invalid(place.path.clone(), place.node.kind.as_str(), detail);
        self.findings.errors.push(error);
    }

    fn rules<'j>(&mut self, place: &Place<'_, 'j, '_>, old: Option<&'j Json>) {
        if place.node.rules.is_empty() {
            return;
        }
        if self.budget.is_empty() {
            self.out_of_budget(place);
            return;
        }
        let Some(decl) = &place.node.decl else {
            self.invalid(place, "rule compiler initialization error: failed to convert to declType for CEL validation rules".to_owned());
            return;
        };
        let (value, before) = match (
            Value::typed(place.object, Some(decl)),
            old.map(|old| Value::typed(old, Some(decl))).transpose(),
        ) {
            (Ok(value), Ok(before)) => (value, before),
            (Err(error), _) | (_, Err(error)) => {
                self.invalid(place, error.to_string());
                return;
            }
        };
        let mut plain = Bindings::new().with("self", value.clone());
        if let Some(before) = &before {
            plain = plain.with("oldSelf", before.clone());
        }
        let optional = Bindings::new()
            .with("self", value)
            .with("oldSelf", Value::Optional(before.map(Arc::new)));
        for rule in &place.node.rules {
            let bindings = if rule.optional_old_self { &optional } else { &plain };
            self.rule(place, rule, bindings, old.is_some());
            if self.budget.is_spent() {
                return;
            }
        }
    }

    fn out_of_budget(&mut self, place: &Place<'_, '_, '_>) {
        self.budget.end();
        self.invalid(place, "validation failed due to running out of cost budget, no further validation rules will be run".to_owned());
    }

    fn rule(
        &mut self,
        place: &Place<'_, '_, '_>,
        rule: &Rule,
        bindings: &Bindings<'_>,
        has_old: bool,
    ) {
        let program = match &rule.program {
            Ok(Some(program)) => program,
            Ok(None) => return,
            Err(why) => return self.invalid(place, format!("rule compile error: {why}")),
        };
        // A transition needs both sides, unless the rule says that it does without.
        if rule.uses_old_self() && !has_old && !rule.optional_old_self {
            return;
        }
        let outcome = program.evaluate(bindings);
        if !self.budget.take(outcome.cost) {
            return self.out_of_budget(place);
        }
        let shown = rule.shown();
        match outcome.result {
            Ok(Value::Bool(true)) => {}
            Ok(_) => self.broken(place, rule, bindings),
            Err(error) if error.is_over_budget() => {
                self.budget.end();
                self.invalid(place, format!("'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"));
            }
            Err(error) if error.to_string().starts_with("no such overload") => {
                self.invalid(place, format!("'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"));
            }
            Err(error) => self.invalid(place, format!("{error} evaluating rule: {shown}")),
        }
    }

    /// A rule that does not hold.
    fn broken(&mut self, place: &Place<'_, '_, '_>, rule: &Rule, bindings: &Bindings<'_>) {
        let path = match &rule.field_path {
            Some(path) => place.path.child(path),
            None => place.path.clone(),
        };
        let detail = match &rule.message_expression {
            Some(Ok(program)) => match self.message(program, bindings) {
                Ok(message) => message,
                Err(problem) => {
                    let error = FieldError::invalid(path, place.node.kind.as_str(), problem);
                    self.add(place, rule, error);
                    self.budget.end();
                    return;
                }
            },
            _ => None,
        };
        let detail = detail.unwrap_or_else(|| {
            let message = rule.message.trim();
            if message.is_empty() {
                format!("failed rule: {}", rule.shown())
            } else {
                message.to_owned()
            }
        });
        let whole = matches!(place.node.kind.as_str(), "object" | "array");
        let value = (!whole).then(|| place.object.clone());
        let (kind, value, detail) = match rule.reason.as_str() {
            "FieldValueForbidden" => (ErrorKind::Forbidden, None, detail),
            "FieldValueRequired" => (ErrorKind::Required, None, detail),
            "FieldValueDuplicate" => (ErrorKind::Duplicate, value, String::new()),
            _ => (ErrorKind::Invalid, value, detail),
        };
        self.add(place, rule, FieldError { kind, path, value, detail });
    }

    /// An error, or a warning where it was there before.
    fn add(&mut self, place: &Place<'_, '_, '_>, rule: &Rule, error: FieldError) {
        if !rule.uses_old_self() && place.ratchet.tolerates() {
            self.findings.warnings.push(error.to_string());
        } else {
            self.findings.errors.push(error);
        }
    }

    /// The message that a rule makes; nothing when it makes none that can be shown.
    ///
    /// # Errors
    /// When it costs too much.
    fn message(
        &mut self,
        program: &Program,
        bindings: &dyn Activation<'_>,
    ) -> Result<Option<String>, String> {
        let outcome = program.evaluate(bindings);
        if !self.budget.take(outcome.cost) {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned());
        }
        let value = match outcome.result {
            Ok(value) => value,
            Err(error) if error.is_over_budget() => {
                return Err("no further validation rules will be run due to call cost exceeds limit for messageExpression".to_owned());
            }
            Err(_) => return Ok(None),
        };
        let message = value.as_text().unwrap_or_default().trim();
        let fits =
            !message.is_empty() && message.len() <= MESSAGE_BYTES_MAX && !message.contains('\n');
        Ok(fits.then(|| message.to_owned()))
    }
}
