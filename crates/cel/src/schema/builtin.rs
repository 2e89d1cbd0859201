//! Object types of built-in kinds, from their schema tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::schema::{ListType, Schema, Struct};

use super::{DeclField, DeclType, ListKind, REQUEST_BYTES_MAX, Shape, escape, scalar};
use crate::types::Type;

/// Definitions nest no deeper than this, unless they contain themselves.
const DEPTH_MAX: usize = 24;

impl DeclType {
    /// The type of a built-in kind, named `name`. A definition that contains itself is `dyn` there,
    /// and so is what may be written in several ways, such as a quantity.
    #[must_use]
    pub fn from_kind(schema: &Schema, name: &str) -> Option<Arc<Self>> {
        let mut open = Vec::new();
        object(schema.as_struct()?, name, &mut open).map(Arc::new)
    }
}

fn dynamic() -> DeclType {
    scalar(Type::Dyn, Shape::Plain, REQUEST_BYTES_MAX - 2, 1)
}

fn decl(schema: &Schema, name: &str, open: &mut Vec<String>) -> DeclType {
    let large = REQUEST_BYTES_MAX - 2;
    match schema {
        Schema::Any | Schema::Object | Schema::Quantity | Schema::IntOrString => dynamic(),
        Schema::String => scalar(Type::String, Shape::Plain, large, 2),
        Schema::Bytes => scalar(Type::Bytes, Shape::Bytes, large, 2),
        Schema::Bool => scalar(Type::Bool, Shape::Plain, 0, 4),
        Schema::Int32 | Schema::Int64 => scalar(Type::Int, Shape::Plain, 0, 1),
        Schema::Double => scalar(Type::Double, Shape::Double, 0, 1),
        Schema::Time | Schema::MicroTime => scalar(Type::Timestamp, Shape::DateTime, 32, 21),
        Schema::List(list) => {
            let item = decl(&list.item, &format!("{name}.@idx"), open);
            let kind = match &list.list_type {
                ListType::Atomic => ListKind::Atomic,
                ListType::Set => ListKind::Set,
                ListType::Map(keys) => {
                    ListKind::Map(keys.iter().map(|key| key.to_string()).collect())
                }
            };
            let ty = Type::list(item.ty.clone());
            scalar(ty, Shape::List(Arc::new(item), kind), large, 2)
        }
        Schema::Map(map) => {
            let value = decl(&map.value, &format!("{name}.@elem"), open);
            let ty = Type::map(Type::String, value.ty.clone());
            scalar(ty, Shape::Map(Arc::new(value)), large, 2)
        }
        Schema::Struct(_) | Schema::Def(_) | Schema::DefAs(..) => match schema.as_struct() {
            Some(of) => object(of, name, open).unwrap_or_else(dynamic),
            None => dynamic(),
        },
    }
}

/// An object; `None` for one that is open already.
fn object(of: &Struct, name: &str, open: &mut Vec<String>) -> Option<DeclType> {
    let known = of.name.to_string();
    if open.len() > DEPTH_MAX || (!known.is_empty() && open.contains(&known)) {
        return None;
    }
    open.push(known);
    let mut fields = BTreeMap::new();
    for field in &of.fields {
        if let Some(escaped) = escape(&field.name) {
            let inner = decl(&field.schema, &format!("{name}.{escaped}"), open);
            let field = DeclField { json_name: (&*field.name).into(), decl: Arc::new(inner) };
            fields.insert(escaped.into(), field);
        }
    }
    open.pop();
    Some(scalar(Type::object(name), Shape::Object(fields), 0, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_kinds_have_types() {
        let pod = api::schema::by_kind("", "v1", "Pod").unwrap();
        let pod = DeclType::from_kind(&pod, "Pod").unwrap();
        let spec = &pod.field("spec").unwrap().decl;
        let of = |name: &str| spec.field(name).unwrap().decl.ty.to_string();
        assert_eq!(of("containers"), "list(Pod.spec.containers.@idx)");
        assert_eq!(of("nodeSelector"), "map(string, string)");
        assert_eq!(of("hostNetwork"), "bool");
        // One that contains itself ends.
        let crd = api::schema::by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        assert!(DeclType::from_kind(&crd.unwrap(), "CRD").is_some());
    }
}
