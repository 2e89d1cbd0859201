//! The visitor: walks a body and its schema together.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::leaf::{
    add_always, canonical_base64, canonical_micro_time, canonical_time, go_type_name, is_zero, zero,
};
use super::{DecodeError, Decoded};
use crate::schema::{Print, Schema, Struct};
use crate::{quantity, yaml};

/// Upstream reports no more strict errors than this.
const MAX_STRICT_ERRORS: usize = 100;

/// What is found on the way.
#[derive(Default)]
pub(super) struct Context {
    strict: RefCell<Vec<String>>,
    /// The first wrong type: Go goes on after it, so that strict errors are found as well.
    wrong: RefCell<Option<String>>,
}

impl Context {
    fn strict(&self, what: &str, path: &Path<'_>, field: &str) {
        let mut found = self.strict.borrow_mut();
        let text = format!("{what} field \"{}\"", path.strict(field));
        if found.len() < MAX_STRICT_ERRORS && !found.contains(&text) {
            found.push(text);
        }
    }

    fn wrong(&self, text: impl FnOnce() -> String) {
        self.wrong.borrow_mut().get_or_insert_with(text);
    }

    pub(super) fn finish(self, object: Value, schema: &Schema) -> Result<Decoded, DecodeError> {
        if let Some(text) = self.wrong.into_inner() {
            return Err(DecodeError(text));
        }
        // `null` at the root is Go's zero object.
        let object =
            if object.is_null() && schema.as_struct().is_some() { zero(schema) } else { object };
        Ok(Decoded { object, strict: self.strict.into_inner() })
    }
}

/// Where the visitor is. Lives on the stack; made into text only for an error.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

enum Part<'a> {
    Root,
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl Path<'_> {
    /// `spec.containers[0].image`.
    fn strict(&self, field: &str) -> String {
        let mut text = String::new();
        self.write(&mut text, true);
        if !text.is_empty() {
            text.push('.');
        }
        text + field
    }

    /// `spec.containers.image`: Go's field stack knows neither indices nor map keys.
    fn go(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, false);
        text
    }

    fn write(&self, text: &mut String, strict: bool) {
        if let Some(parent) = self.parent {
            parent.write(text, strict);
        }
        match self.part {
            Part::Field(name) => push_name(text, name),
            Part::Key(name) if strict => push_name(text, name),
            Part::Index(index) if strict => text.push_str(&format!("[{index}]")),
            _ => {}
        }
    }
}

fn push_name(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push('.');
    }
    text.push_str(name);
}

/// One value to read: its schema and where it is.
pub(super) struct Node<'a> {
    schema: &'a Schema,
    ctx: &'a Context,
    path: Path<'a>,
    /// The Go struct that the value is a field of.
    owner: &'a str,
    /// The Go type of the field, less what lists and maps have taken off; empty when not known.
    go_type: &'a str,
    /// Whether Go's rules hold, not a custom resource's.
    go: bool,
}

pub(super) fn root<'a>(schema: &'a Schema, ctx: &'a Context) -> Node<'a> {
    let path = Path { parent: None, part: Part::Root };
    let go = !matches!(schema, Schema::Struct(_) | Schema::Any);
    Node { schema, ctx, path, owner: "", go_type: "", go }
}

const ANY: &Schema = &Schema::Any;

impl<'a> Node<'a> {
    fn child<'b>(&'b self, schema: &'b Schema, part: Part<'b>, go_type: &'b str) -> Node<'b> {
        Node {
            schema,
            ctx: self.ctx,
            path: Path { parent: Some(&self.path), part },
            owner: self.owner,
            go_type,
            go: self.go || matches!(schema, Schema::Def(_) | Schema::DefAs(..)),
        }
    }

    /// Notes a wrong type; what Go does then is leave the value unset.
    fn wrong(&self, found: &str) -> Value {
        self.ctx.wrong(|| {
            // These read themselves, outside of Go's struct context.
            let own = match self.schema {
                Schema::IntOrString => Some("int32"),
                Schema::Time | Schema::MicroTime => Some("string"),
                _ => None,
            };
            let go_type = match self.go_type {
                "" => Cow::Owned(go_type_name(self.schema)),
                known => Cow::Borrowed(known),
            };
            let found =
                if own.is_some() { found.split(' ').next().unwrap_or(found) } else { found };
            match own {
                Some(own) => format!("json: cannot unmarshal {found} into Go value of type {own}"),
                None if self.owner.is_empty() => {
                    format!("json: cannot unmarshal {found} into Go value of type {go_type}")
                }
                None => format!(
                    "json: cannot unmarshal {found} into Go struct field {}.{} of type {go_type}",
                    self.owner,
                    self.path.go()
                ),
            }
        });
        Value::Null
    }

    fn text(&self, text: Cow<'_, str>) -> Value {
        let canonical = match self.schema {
            Schema::String | Schema::Any | Schema::IntOrString => {
                return Value::String(text.into_owned());
            }
            _ if !self.go => return Value::String(text.into_owned()),
            Schema::Quantity => quantity::canonical(&text).map_err(|error| error.to_string()),
            Schema::Time => canonical_time(&text),
            Schema::MicroTime => canonical_micro_time(&text),
            Schema::Bytes => canonical_base64(&text).map(|changed| match changed {
                Some(changed) => Cow::Owned(changed),
                None => Cow::Borrowed(&*text),
            }),
            // RawExtension keeps any JSON value that Go gives it.
            Schema::Object => return Value::String(text.into_owned()),
            _ => return self.wrong("string"),
        };
        match canonical {
            Ok(Cow::Owned(changed)) => Value::String(changed),
            Ok(Cow::Borrowed(same)) if same.len() == text.len() => Value::String(text.into_owned()),
            Ok(Cow::Borrowed(part)) => Value::String(part.to_owned()),
            Err(error) => {
                self.ctx.wrong(|| error);
                Value::Null
            }
        }
    }

    fn int(&self, number: Number) -> Value {
        match self.schema {
            Schema::Any | Schema::Object | Schema::Double => Value::Number(number),
            _ if !self.go => Value::Number(number),
            Schema::Int64 if number.is_i64() => Value::Number(number),
            Schema::Int32 if number.as_i64().is_some_and(|int| i32::try_from(int).is_ok()) => {
                Value::Number(number)
            }
            Schema::IntOrString => match number.as_i64().map(i32::try_from) {
                Some(Ok(_)) => Value::Number(number),
                _ => {
                    self.ctx.wrong(|| {
                        format!(
                            "json: cannot unmarshal number {number} into Go value of type int32"
                        )
                    });
                    Value::Null
                }
            },
            Schema::Int32 | Schema::Int64 => self.wrong(&format!("number {number}")),
            Schema::Quantity => self.text(Cow::Owned(number.to_string())),
            _ => self.wrong("number"),
        }
    }

    fn float(&self, float: f64) -> Value {
        let number = yaml::go_number(float);
        match self.schema {
            Schema::Quantity if self.go => self.text(Cow::Owned(float.to_string())),
            Schema::Any | Schema::Object | Schema::Double => {
                number.map_or(Value::Null, Value::Number)
            }
            _ if !self.go => number.map_or(Value::Null, Value::Number),
            Schema::Int32 | Schema::Int64 | Schema::IntOrString => {
                self.wrong(&format!("number {float:?}"))
            }
            _ => self.wrong("number"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(match self.schema {
            Schema::Bool | Schema::Any | Schema::Object => Value::Bool(flag),
            _ if !self.go => Value::Bool(flag),
            _ => self.wrong("bool"),
        })
    }

    fn visit_i64<E: Error>(self, int: i64) -> Result<Value, E> {
        Ok(self.int(int.into()))
    }

    fn visit_u64<E: Error>(self, int: u64) -> Result<Value, E> {
        Ok(self.int(int.into()))
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<Value, E> {
        Ok(self.float(float))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(self.text(Cow::Borrowed(text)))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(self.text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let (item, item_type) = match self.schema {
            Schema::List(list) => (&list.item, self.go_type.strip_prefix("[]").unwrap_or("")),
            Schema::Any | Schema::Object => (ANY, ""),
            _ if !self.go => (ANY, ""),
            _ => {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(self.wrong("array"));
            }
        };
        let mut items = Vec::new();
        while let Some(value) =
            seq.next_element_seed(self.child(item, Part::Index(items.len()), item_type))?
        {
            items.push(if value.is_null() && self.go { zero(item) } else { value });
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let schema = self.schema;
        if let Some(known) = schema.as_struct() {
            if self.go {
                self.owner = known.go_name();
            }
            return self.visit_struct(known, map);
        }
        let (value, value_type) = match schema {
            Schema::Map(map) => {
                let inner = self.go_type.strip_prefix("map[").and_then(|rest| rest.split_once(']'));
                (&map.value, inner.map(|(_, value)| value).unwrap_or_default())
            }
            Schema::Any | Schema::Object => (ANY, ""),
            _ if !self.go => (ANY, ""),
            _ => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(self.wrong("object"));
            }
        };
        let mut out = Map::new();
        while let Some(Key(key)) = map.next_key_seed(KeySeed)? {
            if out.contains_key(&*key) && !matches!(schema, Schema::Object) {
                self.ctx.strict("duplicate", &self.path, &key);
            }
            let found = map.next_value_seed(self.child(value, Part::Key(&key), value_type))?;
            let found = if found.is_null() && self.go { zero(value) } else { found };
            out.insert(key.into_owned(), found);
        }
        Ok(Value::Object(out))
    }
}

impl Node<'_> {
    fn visit_struct<'de, A: MapAccess<'de>>(
        self,
        known: &Struct,
        mut map: A,
    ) -> Result<Value, A::Error> {
        let mut out = Map::new();
        let mut seen = Seen::default();
        while let Some(Key(key)) = map.next_key_seed(KeySeed)? {
            let Some(index) = known.position(&key) else {
                match &known.unknown {
                    Some(schema) => {
                        if out.contains_key(&*key) {
                            self.ctx.strict("duplicate", &self.path, &key);
                        }
                        let found = map.next_value_seed(self.child(schema, Part::Key(&key), ""))?;
                        out.insert(key.into_owned(), found);
                    }
                    None => {
                        self.ctx.strict("unknown", &self.path, &key);
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                continue;
            };
            let field = &known.fields[index];
            if seen.again(index) {
                self.ctx.strict("duplicate", &self.path, &key);
            }
            let part = Part::Field(&field.name);
            let found = map.next_value_seed(self.child(&field.schema, part, &field.go_type))?;
            match field.print {
                Print::Verbatim => {}
                // Go leaves a field as it is when it meets `null`.
                _ if found.is_null() => continue,
                Print::OmitZero if is_zero(&found) => {
                    out.remove(&*key);
                    continue;
                }
                _ => {}
            }
            out.insert(key.into_owned(), found);
        }
        if self.go {
            add_always(known, &mut out);
        }
        Ok(Value::Object(out))
    }
}

/// Which fields have come.
#[derive(Default)]
struct Seen {
    first: u128,
    rest: Vec<usize>,
}

impl Seen {
    fn again(&mut self, index: usize) -> bool {
        if index < 128 {
            let bit = 1u128 << index;
            let seen = self.first & bit != 0;
            self.first |= bit;
            return seen;
        }
        let seen = self.rest.contains(&index);
        self.rest.push(index);
        seen
    }
}

/// A key, borrowed from the body where it has no escapes.
struct Key<'de>(Cow<'de, str>);

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }

    fn visit_string<E: Error>(self, key: String) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key)))
    }
}
