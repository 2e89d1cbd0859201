//! What the fields of every kind are: types, list types and keys, patch strategies, defaults, and
//! how Go prints them. One structure for built-in kinds (from the fact tables) and for custom
//! resources (from their structural schemas).
//!
//! Invariants: a built-in definition is read from its table row on first use and lives as long as
//! the program; a custom resource's tree is owned, shared by `Arc`, and goes with its definition.
//! Nothing is done at start-up.

mod structural;
mod table;

use std::sync::Arc;

use serde_json::Value;

pub use structural::{StructuralError, fill_defaults, from_structural};
pub use table::{Def, all_kinds, by_kind, by_name, definition_names};

/// The type of a value.
#[derive(Debug, Clone)]
pub enum Schema {
    /// Any JSON value, kept as it is.
    Any,
    /// A JSON object, kept as it is (`RawExtension`, `FieldsV1`).
    Object,
    /// A string.
    String,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating point number.
    Double,
    /// A quantity: string or number in, canonical string out.
    Quantity,
    /// A number or a string.
    IntOrString,
    /// A time with whole seconds.
    Time,
    /// A time with microseconds.
    MicroTime,
    /// A list.
    List(Arc<List>),
    /// A map with string keys.
    Map(Arc<Map>),
    /// A struct that is owned: a custom resource's.
    Struct(Arc<Struct>),
    /// A built-in definition.
    Def(Def),
    /// A built-in definition that this field treats as one value or not, whatever the definition
    /// says.
    DefAs(Def, Granularity),
}

/// Whether writers own the fields of a value one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Granularity {
    /// Each field has its owners.
    #[default]
    Granular,
    /// The value has one owner, and is replaced as a whole.
    Atomic,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// Items are scalars, each there once.
    Set,
    /// Items are maps, told apart by these fields.
    Map(Vec<Box<str>>),
}

/// A list's schema.
#[derive(Debug)]
pub struct List {
    /// What an item is.
    pub item: Schema,
    /// How items are told apart.
    pub list_type: ListType,
}

/// A map's schema.
#[derive(Debug)]
pub struct Map {
    /// What a value is.
    pub value: Schema,
    /// Whether writers own the entries one by one.
    pub granularity: Granularity,
}

/// A struct's schema.
#[derive(Debug, Default)]
pub struct Struct {
    /// The definition's name, `io.k8s.api.core.v1.Pod`; empty for parts of custom resources.
    pub name: Box<str>,
    /// The fields, sorted by name.
    pub fields: Vec<Field>,
    /// Whether writers own the fields one by one.
    pub granularity: Granularity,
    /// What fields that are not listed are: `None` when there may be none.
    pub unknown: Option<Schema>,
    /// Whether the struct is a whole object with `apiVersion`, `kind` and `metadata`
    /// (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    /// The unions, as the fact table writes them.
    pub unions: Option<Value>,
    /// The fields that Go prints even when nobody set them, by their place in `fields`.
    pub always: Vec<u16>,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// The JSON name.
    pub name: Box<str>,
    /// Its type.
    pub schema: Schema,
    /// Whether it must be there.
    pub required: bool,
    /// Whether `null` is a value of it (custom resources only).
    pub nullable: bool,
    /// How Go prints it.
    pub print: Print,
    /// Its default; of built-in kinds it says what an absent list-map key stands for.
    pub default: Option<Value>,
    /// The values that it takes; empty for any.
    pub enumeration: Vec<Value>,
    /// How a strategic merge patch changes it.
    pub patch: PatchStrategy,
    /// The Go type, for error texts: `[]v1.Container`.
    pub go_type: Box<str>,
}

/// How Go prints a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Print {
    /// As it is: a custom resource's field.
    #[default]
    Verbatim,
    /// Left out when zero (`omitempty` on a value).
    OmitZero,
    /// Left out when unset; zero is a value of it (`omitempty` on a pointer).
    OmitUnset,
    /// Always there; its zero when unset.
    Always,
    /// Always there, `null` when unset (a pointer without `omitempty`).
    AlwaysOrNull,
}

/// How a strategic merge patch changes a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged, not replaced.
    pub merge: bool,
    /// The patch may carry `$retainKeys`.
    pub retain_keys: bool,
    /// The field by which items of a merged list of maps are told apart.
    pub merge_key: Option<Box<str>>,
}

impl Struct {
    /// A field by its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|index| &self.fields[index])
    }

    /// The place of a field in `fields`.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()
    }

    /// The Go name of the type, `Pod`.
    #[must_use]
    pub fn go_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

impl Schema {
    /// The struct that this is, if it is one.
    #[must_use]
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(owned) => Some(owned),
            Self::Def(def) | Self::DefAs(def, _) => Some(def.get()),
            _ => None,
        }
    }

    /// The list that this is, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// The map that this is, if it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether writers own a value of this type as a whole.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        match self {
            Self::List(list) => list.list_type == ListType::Atomic,
            Self::Map(map) => map.granularity == Granularity::Atomic,
            Self::DefAs(_, granularity) => *granularity == Granularity::Atomic,
            Self::Struct(owned) => owned.granularity == Granularity::Atomic,
            Self::Def(def) => def.get().granularity == Granularity::Atomic,
            // Without a schema, maps are granular: custom resources that preserve unknown fields
            // are tracked field by field.
            Self::Any | Self::Object => false,
            _ => true,
        }
    }

    /// The schema of a field of a struct, or of a value of a map; `None` when there is no such
    /// field.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Schema> {
        const ANY: &Schema = &Schema::Any;
        match self {
            Self::Any | Self::Object => Some(ANY),
            Self::Map(map) => Some(&map.value),
            other => {
                let fields = other.as_struct()?;
                fields.field(name).map(|field| &field.schema).or(fields.unknown.as_ref())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_definitions_carry_all_facts() {
        let pod = by_name("io.k8s.api.core.v1.PodSpec").unwrap();
        let containers = pod.as_struct().unwrap().field("containers").unwrap();
        assert!(containers.required && containers.patch.merge);
        assert_eq!(containers.patch.merge_key.as_deref(), Some("name"));
        assert_eq!(containers.go_type.as_ref(), "[]v1.Container");
        let list = containers.schema.as_list().unwrap();
        assert_eq!(list.list_type, ListType::Map(vec!["name".into()]));
        let ports = list.item.child("ports").and_then(Schema::as_list).unwrap();
        let protocol = ports.item.as_struct().unwrap().field("protocol").unwrap();
        assert_eq!(protocol.default, Some("TCP".into()));
        assert_eq!(protocol.print, Print::OmitZero);
        assert!(pod.child("nodeSelector").unwrap().is_atomic());
        assert!(!pod.child("overhead").unwrap().is_atomic());
    }

    #[test]
    fn kinds_are_found_by_group_version_kind() {
        let deployment = by_kind("apps", "v1", "Deployment").unwrap();
        assert_eq!(&*deployment.as_struct().unwrap().name, "io.k8s.api.apps.v1.Deployment");
        assert!(by_kind("", "v1", "Pod").is_some());
        assert!(by_kind("", "v1", "Nothing").is_none());
    }

    #[test]
    fn every_definition_can_be_read() {
        for name in definition_names() {
            let _ = by_name(name).unwrap();
        }
    }
}
