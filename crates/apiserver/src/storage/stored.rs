//! One object as it is kept: its bytes and the little that serving needs to know of them.
//!
//! Invariant: the bytes start with `{"apiVersion":"…","kind":"…","metadata":{` and hold no
//! `resourceVersion`: the store's revision is the version, spliced in when the object is served.
//! Labels and selectable fields are copied out once, so that selectors never parse.

use std::sync::{Arc, OnceLock};

use api::Value;
use bytes::Bytes;
use parking_lot::Mutex;
use store::Revision;

use crate::resource::Resource;

/// An object in a watch cache.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The key in the store.
    pub(crate) key: Arc<str>,
    /// The revision of its last change.
    pub(crate) rv: Revision,
    /// The object, serialized.
    pub(crate) bytes: Bytes,
    /// Labels and selectable fields.
    pub(crate) facts: Facts,
    /// Where `"metadata":{` ends.
    splice_at: usize,
    parsed: OnceLock<Arc<Value>>,
    /// The object in other versions, as far as somebody asked for them.
    forms: OnceLock<Box<Mutex<Vec<Arc<Stored>>>>>,
    /// Whether the store has less: defaults were filled in when it was read.
    pub(crate) is_completed: bool,
}

/// Labels and selectable fields, in one allocation: `key value key value … field field …`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    text: Box<str>,
    ends: Box<[u32]>,
    labels: u16,
}

impl Facts {
    /// Copies what selectors need out of an object in its stored form.
    pub(crate) fn of(resource: &dyn Resource, object: &Value) -> Self {
        let mut text = String::new();
        let mut ends = Vec::new();
        let mut push = |piece: &str| {
            text.push_str(piece);
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        };
        let mut labels = 0_u16;
        for (key, value) in api::object::labels(object) {
            push(key);
            push(value);
            labels += 1;
        }
        for field in resource.selectable_fields() {
            push(&resource.field(object, field));
        }
        Self { text: text.into(), ends: ends.into(), labels }
    }

    fn piece(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.text[start..self.ends[index] as usize]
    }

    /// A label's value.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        (0..usize::from(self.labels))
            .find(|pair| self.piece(pair * 2) == key)
            .map(|pair| self.piece(pair * 2 + 1))
    }

    /// The value of the selectable field at this place of the kind's list.
    pub(crate) fn field(&self, index: usize) -> &str {
        let at = usize::from(self.labels) * 2 + index;
        if at < self.ends.len() { self.piece(at) } else { "" }
    }
}

impl Stored {
    /// An object from the store, whose facts are known already.
    pub(crate) fn new(key: Arc<str>, rv: Revision, bytes: Bytes, facts: Facts) -> Self {
        let splice_at = splice_point(&bytes);
        let (parsed, forms) = (OnceLock::new(), OnceLock::new());
        Self { key, rv, bytes, facts, splice_at, parsed, forms, is_completed: false }
    }

    /// An object from the store; parses it for its facts.
    pub(crate) fn parse(
        resource: &dyn Resource,
        key: Arc<str>,
        rv: Revision,
        bytes: Bytes,
    ) -> serde_json::Result<Self> {
        let mut object: Value = serde_json::from_slice(&bytes)?;
        let is_completed = resource.complete_stored(&mut object);
        let bytes = if is_completed { Bytes::from(encode(&mut object)) } else { bytes };
        let facts = Facts::of(resource, &object);
        Ok(Self { is_completed, ..Self::new(key, rv, bytes, facts) })
    }

    /// The object in another version, if it was made already.
    pub(crate) fn form(&self, api_version: &str) -> Option<Arc<Stored>> {
        let forms = self.forms.get()?.lock();
        forms.iter().find(|form| form.is_in(api_version)).cloned()
    }

    /// Keeps the object in another version; gives back the one that was there first.
    pub(crate) fn keep_form(&self, made: Arc<Stored>) -> Arc<Stored> {
        let mut forms = self.forms.get_or_init(Box::default).lock();
        let same = |form: &&Arc<Stored>| form.bytes == made.bytes;
        if let Some(known) = forms.iter().find(same) {
            return known.clone();
        }
        forms.push(made.clone());
        made
    }

    /// The object's namespace and name, from its key.
    pub(crate) fn ns_name<'a>(&'a self, prefix: &str, namespaced: bool) -> (&'a str, &'a str) {
        let rest = self.key.get(prefix.len()..).unwrap_or_default().trim_start_matches('/');
        if namespaced { rest.split_once('/').unwrap_or(("", rest)) } else { ("", rest) }
    }

    /// Appends the object with its resource version.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        self.write_at(self.rv, out);
    }

    /// Appends the object with another resource version: a deletion's event carries the
    /// deletion's.
    pub(crate) fn write_at(&self, rv: Revision, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.splice_at]);
        self.write_metadata(rv, out);
    }

    /// Appends the object without its `apiVersion` and `kind`, as items of typed lists are.
    pub(crate) fn write_item(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"metadata\":{");
        self.write_metadata(self.rv, out);
    }

    fn write_metadata(&self, rv: Revision, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"resourceVersion\":\"");
        write_number(rv, out);
        let rest = &self.bytes[self.splice_at..];
        out.extend_from_slice(if rest.first() == Some(&b'}') { b"\"" } else { b"\"," });
        out.extend_from_slice(rest);
    }

    /// The object parsed, with its resource version; kept only when `keep` is set.
    pub(crate) fn value(&self, keep: bool) -> serde_json::Result<Arc<Value>> {
        if let Some(parsed) = self.parsed.get() {
            return Ok(parsed.clone());
        }
        let parsed = Arc::new(self.decode()?);
        if keep {
            return Ok(self.parsed.get_or_init(|| parsed).clone());
        }
        Ok(parsed)
    }

    /// The object parsed anew, with its resource version.
    pub(crate) fn decode(&self) -> serde_json::Result<Value> {
        decode(&self.bytes, self.rv)
    }

    /// Whether the object is in this `apiVersion`, so that its bytes can be served as they are.
    pub(crate) fn is_in(&self, api_version: &str) -> bool {
        const OPEN: &str = "{\"apiVersion\":\"";
        self.bytes.get(OPEN.len()..OPEN.len() + api_version.len()) == Some(api_version.as_bytes())
            && self.bytes.get(OPEN.len() + api_version.len()) == Some(&b'"')
            && self.splice_at > 0
    }
}

/// Parses an object out of the store and gives it its resource version.
pub(crate) fn decode(bytes: &[u8], rv: Revision) -> serde_json::Result<Value> {
    let mut object: Value = serde_json::from_slice(bytes)?;
    set_resource_version(&mut object, rv);
    Ok(object)
}

/// Sets `metadata.resourceVersion`.
pub(crate) fn set_resource_version(object: &mut Value, rv: Revision) {
    api::object::set(object, &["metadata", "resourceVersion"], rv.to_string());
}

/// Serializes an object for the store: `apiVersion`, `kind` and `metadata` first, without its
/// resource version. The object gets its resource version back.
pub(crate) fn encode(object: &mut Value) -> Vec<u8> {
    let version = api::object::remove(object, &["metadata", "resourceVersion"]);
    let mut out = Vec::with_capacity(1024);
    write_ordered(object, &mut out);
    if let Some(version) = version {
        api::object::set(object, &["metadata", "resourceVersion"], version);
    }
    // It stays for as long as the object: room that is left over would too.
    out.shrink_to_fit();
    out
}

/// Writes an object with `apiVersion`, `kind` and `metadata` first.
pub(crate) fn write_ordered(object: &Value, out: &mut Vec<u8>) {
    const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];
    let Some(map) = object.as_object() else {
        write_json(object, out);
        return;
    };
    let first = FIRST.iter().filter_map(|key| map.get_key_value(*key));
    let rest = map.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
    out.push(b'{');
    for (at, (key, value)) in first.chain(rest).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json(key, out);
        out.push(b':');
        write_json(value, out);
    }
    out.push(b'}');
}

/// Writes anything that cannot fail to serialize.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a JSON value serializes into memory");
}

/// Writes a number in decimal.
pub(crate) fn write_number(number: u64, out: &mut Vec<u8>) {
    write_json(&number, out);
}

/// Where the metadata's fields begin; 0 when the bytes are not of our form.
fn splice_point(bytes: &[u8]) -> usize {
    const MARK: &[u8] = b"\"metadata\":{";
    // `apiVersion` and `kind` come before and are short: a group, a version, a kind.
    let head = &bytes[..bytes.len().min(1024)];
    head.windows(MARK.len()).position(|window| window == MARK).map_or(0, |at| at + MARK.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored(mut object: Value) -> Stored {
        let bytes = Bytes::from(encode(&mut object));
        Stored::new("/registry/x/ns/a".into(), 42, bytes, Facts::default())
    }

    #[test]
    fn the_version_is_spliced_into_the_bytes() {
        let object = json!({"spec": {"metadata": {"x": 1}}, "kind": "K", "apiVersion": "g/v1",
            "metadata": {"name": "a", "resourceVersion": "7"}});
        let kept = stored(object);
        assert!(kept.is_in("g/v1") && !kept.is_in("g/v"));
        let mut out = Vec::new();
        kept.write_to(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"apiVersion":"g/v1","kind":"K","metadata":{"resourceVersion":"42","name":"a"},"spec":{"metadata":{"x":1}}}"#
        );
        let mut out = Vec::new();
        kept.write_item(&mut out);
        assert!(out.starts_with(br#"{"metadata":{"resourceVersion":"42","name":"a"}"#));
        assert_eq!(kept.ns_name("/registry/x", true), ("ns", "a"));
    }
}
