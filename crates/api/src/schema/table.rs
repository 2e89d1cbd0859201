//! The built-in definitions: static rows made by `build.rs`, read on first use.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::{Field, Granularity, List, ListType, Map, PatchStrategy, Print, Schema, Struct};

include!(concat!(env!("OUT_DIR"), "/schema_table.rs"));

/// There are fewer than this many definitions; a test watches it.
const MAX_DEFINITIONS: usize = 1024;

static READ: [OnceLock<Struct>; MAX_DEFINITIONS] = [const { OnceLock::new() }; MAX_DEFINITIONS];

/// A built-in definition, cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Def(u16);

impl Def {
    /// The definition, read from its row when it is asked for the first time.
    #[must_use]
    pub fn get(self) -> &'static Struct {
        let index = usize::from(self.0);
        READ[index].get_or_init(|| {
            let (name, row) = DEFINITIONS[index];
            read(name, row)
        })
    }

    /// The definition's name, without reading its row.
    #[must_use]
    pub fn name(self) -> &'static str {
        DEFINITIONS[usize::from(self.0)].0
    }
}

/// A definition by its name, `io.k8s.api.core.v1.Pod`.
#[must_use]
pub fn by_name(name: &str) -> Option<Schema> {
    let index = DEFINITIONS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    Some(match name.strip_prefix("io.k8s.apimachinery.pkg.").unwrap_or_default() {
        "api.resource.Quantity" => Schema::Quantity,
        "apis.meta.v1.Time" => Schema::Time,
        "apis.meta.v1.MicroTime" => Schema::MicroTime,
        "apis.meta.v1.FieldsV1" | "apis.meta.v1.Patch" | "runtime.RawExtension" => Schema::Object,
        "util.intstr.IntOrString" => Schema::IntOrString,
        _ if name.contains(".apiextensions.v1.JSON") && !name.ends_with("Props") => Schema::Any,
        _ => Schema::Def(Def(u16::try_from(index).ok()?)),
    })
}

/// The definition of a kind; an empty group is the core group.
#[must_use]
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<Schema> {
    let key = format!("{group}/{version}/{kind}");
    let index = KINDS.binary_search_by(|(known, _)| (*known).cmp(&key)).ok()?;
    Some(Schema::Def(Def(KINDS[index].1)))
}

/// The names of all definitions, sorted.
pub fn definition_names() -> impl Iterator<Item = &'static str> {
    DEFINITIONS.iter().map(|(name, _)| *name)
}

/// All kinds, as `(group, version, kind, definition)`.
pub fn all_kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Def)> {
    KINDS.iter().filter_map(|(key, def)| {
        let mut parts = key.split('/');
        Some((parts.next()?, parts.next()?, parts.next()?, Def(*def)))
    })
}

fn read(name: &str, row: &str) -> Struct {
    let mut lines = row.split('\n');
    let (flags, unions) = lines.next().and_then(|line| line.split_once('\t')).unwrap_or_default();
    let fields: Vec<_> = lines.map(read_field).collect();
    let always = (0u16..)
        .zip(&fields)
        .filter(|(_, field)| matches!(field.print, Print::Always | Print::AlwaysOrNull))
        .map(|(index, _)| index)
        .collect();
    Struct {
        name: name.into(),
        fields,
        granularity: if flags == "A" { Granularity::Atomic } else { Granularity::Granular },
        unions: serde_json::from_str(unions).ok(),
        always,
        ..Struct::default()
    }
}

fn read_field(line: &str) -> Field {
    let mut columns = line.split('\t');
    let mut next = || columns.next().unwrap_or_default();
    let (name, code, flags) = (next(), next(), next());
    let (keys, merge_key, default, go_type) = (next(), next(), next(), next());
    let schema = read_type(&mut code.chars(), flags, keys);
    let print = print(&schema, flags);
    let has = |flag| flags.contains(flag);
    Field {
        name: name.into(),
        print,
        schema,
        required: has('r'),
        nullable: false,
        default: serde_json::from_str::<Value>(default).ok(),
        enumeration: Vec::new(),
        patch: PatchStrategy {
            merge: has('m'),
            retain_keys: has('k'),
            merge_key: (!merge_key.is_empty()).then(|| merge_key.into()),
        },
        go_type: go_type.into(),
    }
}

/// `omitempty` does nothing for Go's structs: a struct that is no pointer is always printed, and
/// so are the types that print themselves.
fn print(schema: &Schema, flags: &str) -> Print {
    let [pointer, omit, zero] = ['p', 'o', 'z'].map(|flag| flags.contains(flag));
    let is_go_struct = matches!(
        schema,
        Schema::Def(_)
            | Schema::DefAs(..)
            | Schema::Quantity
            | Schema::IntOrString
            | Schema::Time
            | Schema::MicroTime
            | Schema::Object
    );
    match (pointer, omit) {
        (true, true) => Print::OmitUnset,
        (true, false) => Print::AlwaysOrNull,
        (false, true) if is_go_struct && !zero => Print::Always,
        (false, true) => Print::OmitZero,
        (false, false) => Print::Always,
    }
}

fn read_type(code: &mut std::str::Chars<'_>, flags: &str, keys: &str) -> Schema {
    let has = |flag| flags.contains(flag);
    match code.next().unwrap_or('*') {
        's' => Schema::String,
        'b' => Schema::Bytes,
        'B' => Schema::Bool,
        'i' => Schema::Int32,
        'l' => Schema::Int64,
        'd' => Schema::Double,
        'q' => Schema::Quantity,
        'n' => Schema::IntOrString,
        't' => Schema::Time,
        'm' => Schema::MicroTime,
        'o' => Schema::Object,
        '[' => {
            let list_type = if has('S') {
                ListType::Set
            } else if has('M') {
                ListType::Map(keys.split(',').map(Into::into).collect())
            } else {
                ListType::Atomic
            };
            Schema::List(Arc::new(List { item: read_type(code, "", ""), list_type }))
        }
        '{' => {
            let granularity = if has('A') { Granularity::Atomic } else { Granularity::Granular };
            Schema::Map(Arc::new(Map { value: read_type(code, "", ""), granularity }))
        }
        '#' => {
            let id: String = code.take_while(|digit| *digit != ';').collect();
            let def = Def(id.parse().unwrap_or_default());
            if has('G') {
                Schema::DefAs(def, Granularity::Granular)
            } else if has('A') {
                Schema::DefAs(def, Granularity::Atomic)
            } else {
                Schema::Def(def)
            }
        }
        _ => Schema::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_all_definitions() {
        assert!(DEFINITIONS.len() < MAX_DEFINITIONS);
    }
}
