//! What validation finds, in kube-openapi's words, and as field errors.

use api::Value;
use api::field::{ErrorKind, ErrorList, FieldError, Path};

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// The validator's name of the value, `spec.ports[0].name`; `None` for what names no field.
    pub(crate) name: Option<String>,
    pub(crate) kind: ErrorKind,
    pub(crate) value: Option<Value>,
    pub(crate) detail: String,
}

impl Problem {
    /// A value of the wrong form.
    pub(crate) fn invalid(name: &str, value: Value, why: &str) -> Self {
        let detail = format!("{name} in body {why}");
        Self { name: Some(name.to_owned()), kind: ErrorKind::Invalid, value: Some(value), detail }
    }

    /// A value of another type; `found` is shown as the value.
    pub(crate) fn wrong_type(name: &str, wanted: &str, found: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            kind: ErrorKind::TypeInvalid,
            value: Some(found.into()),
            detail: format!("{name} in body must be of type {wanted}: {found:?}"),
        }
    }

    /// A field that must be there.
    pub(crate) fn required(name: &str, field: &str) -> Self {
        Self {
            name: Some(format!("{name}.{field}")),
            kind: ErrorKind::Required,
            value: None,
            detail: String::new(),
        }
    }

    /// What a junctor says, which names no field.
    pub(crate) fn composite(detail: String) -> Self {
        Self { name: None, kind: ErrorKind::Invalid, value: Some("".into()), detail }
    }

    /// Where, without the dot that a field of the root is named with.
    fn path(&self, at: &Path) -> Path {
        match self.name.as_deref().map(|name| name.trim_start_matches('.')) {
            None | Some("") => at.clone(),
            Some(name) => at.child(name),
        }
    }
}

/// The findings as field errors below a path.
pub(crate) fn errors(problems: Vec<Problem>, at: &Path) -> ErrorList {
    problems
        .into_iter()
        .map(|problem| {
            let path = problem.path(at);
            FieldError { kind: problem.kind, path, value: problem.value, detail: problem.detail }
        })
        .collect()
}
