//! A schema's rules, compiled, in a tree that has only the nodes with rules in or below them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::field_path;
use crate::env::Env;
use crate::eval::plan::Program;
use crate::schema::{DeclType, escape};
use crate::types::Type;

/// Deeper schemas are not followed: they are refused before they are stored.
const DEPTH_MAX: usize = 64;

/// The name of what `self` is, which no expression can spell.
const SELF: &str = "@self";

/// A part of a schema.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) rules: Vec<Rule>,
    /// The type through which `self` is read; `None` when expressions cannot see it.
    pub(super) decl: Option<Arc<DeclType>>,
    /// The schema's `type`.
    pub(super) kind: String,
    pub(super) items: Option<Box<Node>>,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional: Option<Box<Node>>,
    pub(super) all_of: Vec<Node>,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) text: String,
    pub(super) message: String,
    pub(super) reason: String,
    pub(super) field_path: Option<String>,
    pub(super) optional_old_self: bool,
    /// The program, or why there is none; nothing for an empty rule.
    pub(super) program: Result<Option<Program>, String>,
    pub(super) message_expression: Option<Result<Program, String>>,
}

impl Rule {
    pub(super) fn uses_old_self(&self) -> bool {
        matches!(&self.program, Ok(Some(program)) if program.uses("oldSelf"))
    }

    /// What an error calls the rule.
    pub(super) fn shown(&self) -> &str {
        let message = self.message.trim();
        if message.is_empty() { self.text.trim() } else { message }
    }
}

/// The tree of a version's schema.
pub(super) fn root(schema: &Json) -> Option<Node> {
    let decl = DeclType::from_schema(schema, SELF, true);
    node(schema, schema, decl.as_ref(), 0)
}

/// The tree of a part of a schema, which is an object with metadata only where it says so.
pub(super) fn part(schema: &Json) -> Option<Node> {
    let decl = DeclType::from_schema(schema, SELF, is_embedded(schema));
    node(schema, schema, decl.as_ref(), 0)
}

/// The tree of the rules of `rules` over the structure of `schema`; they differ below `allOf`.
fn node(rules: &Json, schema: &Json, decl: Option<&Arc<DeclType>>, depth: usize) -> Option<Node> {
    if depth > DEPTH_MAX {
        return None;
    }
    let own = list(rules, schema, decl);
    let below = |name: &str, decl: Option<&Arc<DeclType>>| {
        let (rules, schema) = (rules.get(name)?, schema.get(name)?);
        if !schema.is_object() {
            return None;
        }
        node(rules, schema, decl, depth + 1).map(Box::new)
    };
    let element = decl.and_then(|decl| decl.element());
    let mut properties = BTreeMap::new();
    for (name, property) in rules.get("properties").and_then(Json::as_object).into_iter().flatten()
    {
        // Only what is on the schema's spine can have rules.
        let Some(schema) = schema.get("properties").and_then(|known| known.get(name)) else {
            continue;
        };
        let made;
        let field = match escape(name) {
            Some(escaped) => decl.and_then(|decl| decl.field(&escaped)).map(|field| &field.decl),
            // What cannot be named from outside has rules of its own all the same.
            None => {
                made = DeclType::from_schema(schema, SELF, is_embedded(schema));
                made.as_ref()
            }
        };
        if let Some(field) = field
            && let Some(node) = node(property, schema, Some(field), depth + 1)
        {
            properties.insert(name.clone(), node);
        }
    }
    let all_of = rules.get("allOf").and_then(Json::as_array).into_iter().flatten();
    let all_of: Vec<Node> =
        all_of.filter_map(|nested| node(nested, schema, decl, depth + 1)).collect();
    let found = Node {
        rules: own,
        decl: decl.cloned(),
        kind: schema.get("type").and_then(Json::as_str).unwrap_or_default().to_owned(),
        items: below("items", element),
        properties,
        additional: below("additionalProperties", element),
        all_of,
    };
    let is_empty = found.rules.is_empty()
        && found.items.is_none()
        && found.properties.is_empty()
        && found.additional.is_none()
        && found.all_of.is_empty();
    (!is_empty).then_some(found)
}

pub(super) fn is_embedded(schema: &Json) -> bool {
    schema.get("x-kubernetes-embedded-resource") == Some(&Json::Bool(true))
}

/// The rules of one node, compiled; not those below it.
pub(super) fn list(rules: &Json, schema: &Json, decl: Option<&Arc<DeclType>>) -> Vec<Rule> {
    let rules = rules.get("x-kubernetes-validations").and_then(Json::as_array);
    let Some(rules) = rules.filter(|rules| !rules.is_empty()) else {
        return Vec::new();
    };
    let envs = decl.map(|decl| {
        let env = Env::new().with_decl("self", Arc::clone(decl));
        let optional = env.clone().with("oldSelf", Type::optional(decl.ty.clone()));
        (env.with_decl("oldSelf", Arc::clone(decl)), optional)
    });
    rules.iter().map(|rule| compiled(rule, schema, envs.as_ref())).collect()
}

fn compiled(rule: &Json, schema: &Json, envs: Option<&(Env, Env)>) -> Rule {
    let text = |name: &str| rule.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let optional_old_self = rule.get("optionalOldSelf") == Some(&Json::Bool(true));
    let source = text("rule");
    let env = envs.map(|(plain, optional)| if optional_old_self { optional } else { plain });
    let program = match env {
        _ if source.trim().is_empty() => Ok(None),
        None => Err("failed to convert to declType for CEL validation rules".to_owned()),
        Some(env) => match env.compile(&source) {
            Err(error) => Err(format!("compilation failed: {error}")),
            Ok(program) if *program.result_type() == Type::Bool => Ok(Some(program)),
            Ok(_) => Err("cel expression must evaluate to a bool".to_owned()),
        },
    };
    let message_source = text("messageExpression");
    let message_expression = match (env, &program) {
        (Some(env), Ok(Some(_))) if !message_source.is_empty() => {
            Some(match env.compile(&message_source) {
                Err(error) => Err(format!("messageExpression compilation failed: {error}")),
                Ok(program) if *program.result_type() == Type::String => Ok(program),
                Ok(_) => Err("messageExpression must evaluate to a string".to_owned()),
            })
        }
        _ => None,
    };
    let path = text("fieldPath");
    let field_path =
        if path.is_empty() { None } else { field_path::normalized(&path, schema).ok() };
    Rule {
        text: source,
        message: text("message"),
        reason: text("reason"),
        field_path,
        optional_old_self,
        program,
        message_expression,
    }
}
