//! Random objects of a schema, the same for the same seed: what property tests and benchmarks
//! feed the parts that work by schema.

use serde_json::{Map, Value, json};

use crate::schema::{Field, ListType, Print, Schema, Struct};

/// Structs nested more deeply get no fields but those that are always printed.
const MAX_DEPTH: usize = 8;

/// A small generator of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number in `0..limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next_u64() % limit.max(1) as u64) as usize
    }

    /// A short text, with characters that need escapes and more than one byte among others.
    pub fn text(&mut self) -> String {
        (0..=self.below(8)).map(|_| ['a', 'b', '-', 'é', '7', '"'][self.below(6)]).collect()
    }

    /// Bytes with some of them changed, taken out or put in.
    #[must_use]
    pub fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            let byte = if self.below(2) == 0 {
                b"{}[]\",:0-e.\\ nft\n&*|>%"[self.below(22)]
            } else {
                self.next_u64() as u8
            };
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if self.below(20) == 0 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    }
}

/// A random value of a schema. No part of it is zero, so that it is in canonical form but for the
/// fields that are always printed; items of lists have keys of their own.
#[must_use]
pub fn value(schema: &Schema, rng: &mut Rng) -> Value {
    nested(schema, rng, 0)
}

fn nested(schema: &Schema, rng: &mut Rng, depth: usize) -> Value {
    match schema {
        Schema::String => rng.text().into(),
        Schema::Bytes => "aGVsbG8=".into(),
        Schema::Bool => true.into(),
        Schema::Int32 => (rng.next_u64() as i32 | 1).into(),
        Schema::Int64 => (rng.next_u64().cast_signed() | 1).into(),
        Schema::Double => (rng.below(1000) as f64 + 0.25).into(),
        Schema::Quantity => format!("{}m", 1 + 2 * rng.below(400)).into(),
        Schema::IntOrString if rng.below(2) == 0 => rng.text().into(),
        Schema::IntOrString => (1 + rng.below(60_000)).into(),
        Schema::Time => format!("2026-01-{:02}T01:02:03Z", 1 + rng.below(28)).into(),
        Schema::MicroTime => format!("2026-01-{:02}T01:02:03.000456Z", 1 + rng.below(28)).into(),
        Schema::Object => json!({"x": rng.text()}),
        Schema::Any => json!({"type": rng.text()}),
        Schema::List(list) => {
            let mut items: Vec<Value> = Vec::new();
            for index in 0..=rng.below(3) {
                let mut item = nested(&list.item, rng, depth + 1);
                if let ListType::Map(keys) = &list.list_type {
                    keys.iter().for_each(|key| set_key(&list.item, &mut item, key, index));
                }
                if list.list_type != ListType::Set || !items.contains(&item) {
                    items.push(item);
                }
            }
            Value::Array(items)
        }
        Schema::Map(map) => {
            let entries =
                (0..=rng.below(3)).map(|_| (rng.text(), nested(&map.value, rng, depth + 1)));
            Value::Object(entries.collect())
        }
        Schema::Struct(_) | Schema::Def(_) | Schema::DefAs(..) => {
            schema.as_struct().map_or(Value::Null, |known| fields(known, rng, depth))
        }
    }
}

fn fields(known: &Struct, rng: &mut Rng, depth: usize) -> Value {
    let mut map = Map::new();
    for field in &known.fields {
        if ["apiVersion", "kind", "managedFields"].contains(&&*field.name) {
            continue;
        }
        if depth < MAX_DEPTH && rng.below(3) > 0 {
            let mut value = nested(&field.schema, rng, depth + 1);
            set_merge_keys(field, &mut value);
            map.insert(field.name.to_string(), value);
        } else if field.print == Print::AlwaysOrNull {
            map.insert(field.name.to_string(), Value::Null);
        }
    }
    Value::Object(map)
}

fn set_merge_keys(field: &Field, value: &mut Value) {
    let (Some(key), Some(list)) = (&field.patch.merge_key, field.schema.as_list()) else { return };
    for (index, item) in value.as_array_mut().into_iter().flatten().enumerate() {
        set_key(&list.item, item, key, index);
    }
}

fn set_key(item: &Schema, value: &mut Value, key: &str, index: usize) {
    value[key] = match item.child(key) {
        Some(Schema::Int32 | Schema::Int64) => (index + 1).into(),
        _ => format!("k{index}").into(),
    };
}
