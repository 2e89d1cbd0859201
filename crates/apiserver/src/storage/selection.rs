//! What a list or watch is restricted to: selectors, resolved for one kind and matched against
//! [`Facts`] without parsing an object.

use api::Value;
use api::selector::{FieldSelector, LabelSelector};
use api::status::{ApiError, ApiResult};

use super::stored::{Facts, Stored};
use crate::resource::{Resource, Scope};

/// Label and field selector.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    field: Field,
    equal: bool,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    /// The place in the kind's list.
    Selectable(usize),
}

impl Selection {
    /// Parses `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(resource: &dyn Resource, labels: &str, fields: &str) -> ApiResult<Self> {
        let labels = LabelSelector::parse(labels)?;
        let fields = FieldSelector::parse(fields)?
            .terms()
            .iter()
            .map(|term| {
                let field = resolve(resource, &term.field)?;
                Ok(Term { field, equal: term.equal, value: term.value.clone() })
            })
            .collect::<ApiResult<_>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether everything matches.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_empty()
    }

    /// Whether an object matches.
    pub(crate) fn matches(&self, resource: &dyn Resource, object: &Stored) -> bool {
        if self.is_everything() {
            return true;
        }
        let info = resource.info();
        let (namespace, name) = object.ns_name(&info.key_prefix, info.scope == Scope::Namespaced);
        self.matches_facts(&object.facts, namespace, name)
    }

    fn matches_facts(&self, facts: &Facts, namespace: &str, name: &str) -> bool {
        self.labels.matches_with(|key| facts.label(key))
            && self.fields.iter().all(|term| {
                let actual = match term.field {
                    Field::Name => name,
                    Field::Namespace => namespace,
                    Field::Selectable(index) => facts.field(index),
                };
                (actual == term.value) == term.equal
            })
    }

    /// Whether an object that is no cache entry matches.
    pub(crate) fn matches_value(&self, resource: &dyn Resource, object: &Value) -> bool {
        self.is_everything()
            || self.matches_facts(
                &Facts::of(resource, object),
                api::object::namespace(object),
                api::object::name(object),
            )
    }
}

fn resolve(resource: &dyn Resource, name: &str) -> ApiResult<Field> {
    match name {
        "metadata.name" => return Ok(Field::Name),
        "metadata.namespace" => return Ok(Field::Namespace),
        _ => {}
    }
    let known = resource.selectable_fields();
    let place = known.iter().position(|field| *field == name).filter(|_| resource.selects(name));
    place.map(Field::Selectable).ok_or_else(|| {
        ApiError::bad_request(if known.is_empty() && !resource.is_custom() {
            format!(
                "{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        } else {
            format!("field label not supported: {name}")
        })
    })
}
