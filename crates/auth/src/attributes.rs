//! What a request wants to do, as authorizers see it.

use api::selector::{FieldSelector, FieldTerm, LabelSelector, Operator};

use crate::UserInfo;

/// A request, for authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Who asks.
    pub user: UserInfo,
    /// What it is about.
    pub target: Target,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A resource.
    Resource(ResourceAttributes),
    /// A path such as `/healthz`.
    NonResource(NonResource),
}

/// A request to a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceAttributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`,
    /// `impersonate`, `bind`, `escalate`, `approve`, `sign` …
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural name.
    pub resource: String,
    /// `status`, `log` …, or empty.
    pub subresource: String,
    /// The namespace, or empty for cluster-scoped objects and requests across all namespaces.
    pub namespace: String,
    /// The name, or empty.
    pub name: String,
    /// What the field selector of a list, watch or deletecollection requires.
    /// (KEP-4601, authorize with selectors)
    pub field_selector: Vec<SelectorRequirement>,
    /// What its label selector requires.
    pub label_selector: Vec<SelectorRequirement>,
}

/// One requirement of a selector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectorRequirement {
    /// The field or label.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`; fields know the first two only.
    pub operator: String,
    /// The values.
    pub values: Vec<String>,
}

impl SelectorRequirement {
    /// What a field selector in string form requires; nothing when it cannot be read, for then the
    /// request is refused later, and to require less only asks for more.
    #[must_use]
    pub fn of_fields(text: &str) -> Vec<Self> {
        let parsed = FieldSelector::parse(text).unwrap_or_default();
        let requirement = |term: &FieldTerm| Self {
            key: term.field.clone(),
            operator: if term.equal { "In" } else { "NotIn" }.to_owned(),
            values: vec![term.value.clone()],
        };
        parsed.terms().iter().map(requirement).collect()
    }

    /// The same of a label selector.
    #[must_use]
    pub fn of_labels(text: &str) -> Vec<Self> {
        let parsed = LabelSelector::parse(text).unwrap_or_default();
        let known = parsed.requirements().iter().filter_map(|one| {
            // Comparisons of numbers have no form in an access review.
            let operator = match one.operator {
                Operator::In => "In",
                Operator::NotIn => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
                Operator::GreaterThan | Operator::LessThan => return None,
            };
            let (key, values) = (one.key.clone(), one.values.clone());
            Some(Self { key, operator: operator.to_owned(), values })
        });
        known.collect()
    }
}

impl ResourceAttributes {
    /// Whether the field selector lets only objects through whose field has this value.
    #[must_use]
    pub fn selects(&self, field: &str, value: &str) -> bool {
        self.field_selector.iter().any(|one| {
            one.key == field
                && one.operator == "In"
                && one.values.len() == 1
                && one.values[0] == value
        })
    }
}

/// A request to a path that is no resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NonResource {
    /// The HTTP method in lower case.
    pub verb: String,
    /// The path.
    pub path: String,
}

/// An authorizer's opinion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for this reason.
    Allow(String),
    /// No, whatever others think, for this reason.
    Deny(String),
    /// None, for this reason (may be empty).
    NoOpinion(String),
}
