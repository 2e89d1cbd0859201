//! The messages: static rows made by `build.rs`, read on first use.

use std::sync::OnceLock;

include!(concat!(env!("OUT_DIR"), "/proto_table.rs"));

/// There are fewer than this many messages; a test watches it.
const MAX_MESSAGES: usize = 1024;

static READ: [OnceLock<Message>; MAX_MESSAGES] = [const { OnceLock::new() }; MAX_MESSAGES];

/// A message, its fields by number.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    pub(super) fields: Vec<Field>,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) label: Label,
    pub(super) kind: Kind,
    /// The JSON name; empty for a message whose fields are its parent's in JSON.
    pub(super) json: &'static str,
    /// Whether Go has a pointer there: unset is not written.
    pub(super) pointer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    One,
    Repeated,
    /// A map from strings.
    Map,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    /// A message as its table row has it.
    Message(u16),
    /// A message without fields, which has no row.
    Empty,
    // The messages that have a JSON form of their own.
    Quantity,
    Time,
    MicroTime,
    Duration,
    IntOrString,
    /// `RawExtension`, `JSON`, `FieldsV1`: JSON in bytes.
    Json,
    /// `Verbs`, `ExtraValue`: a list of strings.
    Strings,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
}

/// A message by its name.
pub(super) fn by_name(name: &str) -> Option<&'static Message> {
    let index = MESSAGES.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    u16::try_from(index).ok().map(by_index)
}

/// A message by its place in the table.
pub(super) fn by_index(index: u16) -> &'static Message {
    let index = usize::from(index);
    READ[index].get_or_init(|| {
        let (name, row) = MESSAGES[index];
        let mut fields: Vec<_> = row.lines().filter_map(field).collect();
        fields.sort_by_key(|field| field.number);
        Message { name, fields }
    })
}

/// The message of a custom resource definition's schema.
pub(super) fn json_schema_props() -> &'static Message {
    by_index(json_schema_props_index())
}

/// Its place in the table.
pub(super) fn json_schema_props_index() -> u16 {
    const NAME: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let index = MESSAGES.binary_search_by(|(known, _)| (*known).cmp(NAME));
    index.ok().and_then(|index| u16::try_from(index).ok()).unwrap_or_default()
}

fn field(line: &'static str) -> Option<Field> {
    let mut columns = line.split('\t');
    let number = columns.next()?.parse().ok()?;
    let label = match columns.next()? {
        "repeated" => Label::Repeated,
        "map" => Label::Map,
        _ => Label::One,
    };
    let kind = kind(columns.next()?)?;
    let json = columns.next()?;
    let json = if json == "(inline)" { "" } else { json };
    Some(Field { number, label, kind, json, pointer: columns.next() == Some("p") })
}

fn kind(name: &'static str) -> Option<Kind> {
    Some(match name {
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "double" => Kind::Double,
        _ => match name.rsplit('.').next()? {
            "Quantity" | "QuantityValue" => Kind::Quantity,
            "Time" => Kind::Time,
            "MicroTime" => Kind::MicroTime,
            "Duration" => Kind::Duration,
            "IntOrString" => Kind::IntOrString,
            "RawExtension" | "FieldsV1" | "JSON" => Kind::Json,
            "Verbs" | "ExtraValue" => Kind::Strings,
            "JSONSchemaPropsOrArray" => Kind::SchemaOrArray,
            "JSONSchemaPropsOrBool" => Kind::SchemaOrBool,
            "JSONSchemaPropsOrStringArray" => Kind::SchemaOrStrings,
            _ => match MESSAGES.binary_search_by(|(known, _)| (*known).cmp(name)) {
                Ok(index) => Kind::Message(u16::try_from(index).ok()?),
                Err(_) => Kind::Empty,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_can_be_read_whole() {
        assert!(MESSAGES.len() < MAX_MESSAGES);
        for (index, (name, row)) in MESSAGES.iter().enumerate() {
            let message = by_index(u16::try_from(index).unwrap());
            assert_eq!(message.fields.len(), row.lines().count(), "{name}");
        }
    }
}
