//! What is wrong with the rules of a schema that somebody wants to store: what does not compile,
//! what costs too much, what speaks of `oldSelf` where there is none.

use std::sync::Arc;

use api::field::{ErrorKind, ErrorList, FieldError, Path, go_json};
use serde_json::Value as Json;

use super::compile::{self, Rule};
use crate::schema::{DeclType, REQUEST_BYTES_MAX, escape};

/// What one rule may cost at most, at all places where it is checked.
const RULE_COST_MAX: u64 = 10_000_000;

/// What all rules of a schema together may cost at most.
const SCHEMA_COST_MAX: u64 = 100_000_000;

/// Deeper schemas are refused by what judges their structure.
const DEPTH_MAX: usize = 64;

/// How many of the most expensive rules are named.
const NAMED_MAX: usize = 4;

/// The problems of the rules of a version's `openAPIV3Schema`, which is at `path`. For schemas that
/// are structural: others may lack what types are made from.
#[must_use]
pub fn problems(schema: &Json, path: &Path) -> ErrorList {
    let mut walk = Walk { errors: ErrorList::new(), total: 0, expensive: Vec::new() };
    let decl = DeclType::from_schema(schema, "@self", true);
    walk.node(schema, path, decl.as_ref(), Some(1), None, 0);
    if walk.total > SCHEMA_COST_MAX {
        for (path, _) in std::mem::take(&mut walk.expensive) {
            let text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            walk.errors.push(FieldError::forbidden(path, text));
        }
        let text = too_expensive(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
            walk.total,
            SCHEMA_COST_MAX,
        );
        walk.errors.push(FieldError::forbidden(path.clone(), text));
    }
    walk.errors
}

struct Walk {
    errors: ErrorList,
    total: u64,
    expensive: Vec<(Path, u64)>,
}

impl Walk {
    /// `count` is how often the node can be there at most, `None` when nothing bounds it;
    /// `uncorrelated` is the part above whose values have no counterpart before a change.
    fn node(
        &mut self,
        schema: &Json,
        path: &Path,
        decl: Option<&Arc<DeclType>>,
        count: Option<u64>,
        uncorrelated: Option<&Path>,
        depth: usize,
    ) {
        if depth > DEPTH_MAX {
            return;
        }
        let element = decl.and_then(|decl| decl.element());
        let inner_count = count.and_then(|count| Some(count.saturating_mul(most(schema)?)));
        if let Some(inner @ Json::Object(_)) = schema.get("additionalProperties") {
            let path = path.child("additionalProperties");
            self.node(inner, &path, element, inner_count, uncorrelated, depth + 1);
        }
        for (name, inner) in
            schema.get("properties").and_then(Json::as_object).into_iter().flatten()
        {
            let made;
            let field = match escape(name) {
                Some(escaped) => {
                    decl.and_then(|decl| decl.field(&escaped)).map(|field| &field.decl)
                }
                None => {
                    made = DeclType::from_schema(inner, "@self", compile::is_embedded(inner));
                    made.as_ref()
                }
            };
            let path = path.child("properties").key(name);
            self.node(inner, &path, field, inner_count, uncorrelated, depth + 1);
        }
        if let Some(inner @ Json::Object(_)) = schema.get("items") {
            let keyed = schema.get("x-kubernetes-list-type").and_then(Json::as_str) == Some("map");
            let uncorrelated = if keyed { uncorrelated } else { Some(path) };
            let path = path.child("items");
            self.node(inner, &path, element, inner_count, uncorrelated, depth + 1);
        }
        self.rules(schema, path, decl, count, uncorrelated);
    }

    fn rules(
        &mut self,
        schema: &Json,
        path: &Path,
        decl: Option<&Arc<DeclType>>,
        count: Option<u64>,
        uncorrelated: Option<&Path>,
    ) {
        let written = schema.get("x-kubernetes-validations").and_then(Json::as_array);
        let Some(written) = written.filter(|written| !written.is_empty()) else {
            return;
        };
        let list = path.child("x-kubernetes-validations");
        let Some(decl) = decl else {
            let text =
                "internal error: failed to retrieve type information for x-kubernetes-validations";
            self.push(ErrorKind::Internal, list, text.to_owned());
            return;
        };
        // What nothing bounds can be there as often as it fits into a request.
        let count = count.unwrap_or(REQUEST_BYTES_MAX / (decl.min_size + 1));
        let rules = compile::list(schema, schema, Some(decl));
        for (index, (rule, written)) in rules.iter().zip(written).enumerate() {
            let at = list.index(index);
            self.rule(rule, written, &at, decl, count);
            if rule.uses_old_self() {
                if let Some(part) = uncorrelated {
                    let text = format!(
                        "oldSelf cannot be used on the uncorrelatable portion of the schema within {part}"
                    );
                    let value = rule.text.as_str();
                    self.errors.push(FieldError::invalid(at.child("rule"), value, text));
                }
            } else if matches!(&rule.program, Ok(Some(_)))
                && let Some(set) = written.get("optionalOldSelf").filter(|set| !set.is_null())
            {
                let text = "may not be set if oldSelf is not used in rule";
                let at = at.child("optionalOldSelf");
                self.errors.push(FieldError::invalid(at, set.clone(), text));
            }
        }
    }

    fn rule(&mut self, rule: &Rule, written: &Json, at: &Path, decl: &DeclType, count: u64) {
        match &rule.program {
            Ok(None) => {}
            Ok(Some(program)) => {
                let cost = program.estimate(decl).max.saturating_mul(count);
                self.charge(at.child("rule"), "estimated rule cost", cost);
            }
            Err(why) => self.refused(at.child("rule"), written, why),
        }
        match &rule.message_expression {
            None => {}
            Some(Ok(program)) => {
                let cost = program.estimate(decl).max;
                let at = at.child("messageExpression");
                self.charge(at, "estimated messageExpression cost", cost);
            }
            Some(Err(why)) => self.refused(at.child("messageExpression"), written, why),
        }
    }

    fn push(&mut self, kind: ErrorKind, path: Path, detail: String) {
        self.errors.push(FieldError { kind, path, value: None, detail });
    }

    /// Upstream shows the whole rule, by its fields' Go names and in their order.
    fn refused(&mut self, path: Path, written: &Json, why: &str) {
        let shown = |name: &str| go_json(written.get(name).unwrap_or(&"".into()));
        let or_null = |name: &str| go_json(written.get(name).unwrap_or(&Json::Null));
        let value = format!(
            r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{},"FieldPath":{},"OptionalOldSelf":{}}}"#,
            shown("rule"),
            shown("message"),
            shown("messageExpression"),
            or_null("reason"),
            shown("fieldPath"),
            or_null("optionalOldSelf"),
        );
        self.push(ErrorKind::Invalid, path, format!("{value}: {why}"));
    }

    fn charge(&mut self, path: Path, what: &str, cost: u64) {
        if cost > RULE_COST_MAX {
            let text = too_expensive(what, cost, RULE_COST_MAX);
            self.errors.push(FieldError::forbidden(path.clone(), text));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_COST_MAX / 100 {
            self.expensive.push((path, cost));
            self.expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            self.expensive.truncate(NAMED_MAX);
        }
    }
}

/// By how much a schema multiplies what is in it; `None` when it does not say.
fn most(schema: &Json) -> Option<u64> {
    let limit = |name: &str| {
        let limit = schema.get(name)?.as_i64()?;
        Some(u64::try_from(limit).unwrap_or(0))
    };
    match schema.get("type").and_then(Json::as_str) {
        Some("object") if schema.get("additionalProperties").is_some() => limit("maxProperties"),
        Some("array") => limit("maxItems"),
        _ => Some(1),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a factor is shown with one digit")]
fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
