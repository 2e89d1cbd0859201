//! The warnings of `status.typeChecking`: what an expression gets wrong about the kinds that its
//! policy is for.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value as Json;

use super::variables::{Composer, Variables};
use crate::schema::DeclType;

/// A kind that a policy is for.
#[derive(Debug, Clone)]
pub struct KindToCheck {
    /// The group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// Its objects' type.
    pub decl: Arc<DeclType>,
}

/// An expression that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where the expression stands: `spec.validations[0].expression`.
    pub field_ref: String,
    /// What does not fit, kind by kind.
    pub warning: String,
}

/// Checks the expressions of a ValidatingAdmissionPolicy against the kinds that it is for, sorted;
/// `params` is the type of its parameters, if it is known.
#[must_use]
pub fn type_check(
    policy: &Json,
    kinds: &[KindToCheck],
    params: Option<&Arc<DeclType>>,
) -> Vec<Warning> {
    let spec = &policy["spec"];
    let list = |name: &str| spec[name].as_array().map_or(&[][..], Vec::as_slice);
    let variables =
        Variables { params: !spec["paramKind"].is_null(), authorizer: true, patches: false };
    let composers: Vec<(&KindToCheck, Composer)> = kinds
        .iter()
        .map(|kind| {
            let mut composer = Composer::new(variables.typed_env(Some(&kind.decl), params));
            for variable in list("variables") {
                let text = |name: &str| variable[name].as_str().unwrap_or_default();
                // What is wrong with a variable shows where it is used.
                drop(composer.add(text("name"), text("expression")));
            }
            (kind, composer)
        })
        .collect();
    let mut warnings = Vec::new();
    for (index, validation) in list("validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = validation[field].as_str().unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let mut warning = String::new();
            for (kind, composer) in &composers {
                if let Err(error) = composer.env().compile(text) {
                    let shown = shown(kind);
                    if !warning.is_empty() {
                        warning.push('\n');
                    }
                    let _written = writeln!(warning, "{shown}: {error}");
                }
            }
            if !warning.is_empty() {
                let field_ref = format!("spec.validations[{index}].{field}");
                warnings.push(Warning { field_ref, warning });
            }
        }
    }
    warnings
}

fn shown(kind: &KindToCheck) -> String {
    let KindToCheck { group, version, kind, .. } = kind;
    if group.is_empty() {
        format!("{version}, Kind={kind}")
    } else {
        format!("{group}/{version}, Kind={kind}")
    }
}
