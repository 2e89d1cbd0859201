//! Objects into answers: whole, as metadata, as tables; one or a list.
//!
//! Invariant: an object that is asked for whole, as JSON and in the version it is stored in, is
//! copied, not parsed.

use std::borrow::Cow;

use api::Value;
use api::object;
use api::status::{ApiError, ApiResult};
use base::clock::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::codec;
use crate::negotiate::{Include, MetaVersion, Output, Shape};
use crate::registry::Entry;
use crate::storage::Stored;
use crate::storage::list::ListPage;
use crate::storage::stored::{write_json, write_number, write_ordered};

/// How objects of a kind are shown to one client.
pub(crate) struct Renderer<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) version: &'a str,
    /// `apps/v1` of that version.
    pub(crate) api_version: Cow<'a, str>,
    pub(crate) output: Output,
    pub(crate) now: Timestamp,
}

#[derive(Deserialize)]
struct OnlyMetadata<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(entry: &'a Entry, version: &'a str, output: Output, now: Timestamp) -> Self {
        Self { entry, version, api_version: entry.api_version(version).into(), output, now }
    }

    /// A stored object as an answer.
    pub(crate) fn stored(&self, object: &Stored) -> ApiResult<Vec<u8>> {
        let mut json = Vec::with_capacity(object.bytes.len() + 256);
        self.stored_json(object, object.rv, true, &mut json)?;
        json.push(b'\n');
        codec::transcode(json, self.output.format, self.output.is_pretty)
    }

    /// Appends a stored object in its shape, as JSON, at a resource version. `columns`: a table
    /// carries its column definitions.
    pub(crate) fn stored_json(
        &self,
        object: &Stored,
        rv: u64,
        columns: bool,
        out: &mut Vec<u8>,
    ) -> ApiResult<()> {
        match self.output.shape {
            Shape::Whole if object.is_in(&self.api_version) => object.write_at(rv, out),
            Shape::Whole => write_ordered(&self.converted(object, rv)?, out),
            Shape::Partial(version) => {
                partial_open(version, out);
                write_metadata(object, rv, out)?;
                out.push(b'}');
            }
            Shape::Table(version, include) => {
                let list = json!({ "resourceVersion": rv.to_string() });
                self.table_open(version, &list, columns, out);
                self.stored_row(object, rv, version, include, out)?;
                out.extend_from_slice(b"]}");
            }
        }
        Ok(())
    }

    /// An object that was just written, in its stored form, as an answer.
    pub(crate) fn value(&self, object: Value) -> ApiResult<Vec<u8>> {
        let shown = match self.output.shape {
            Shape::Whole => self.to_version(object)?,
            Shape::Partial(version) => partial_value(&object, version),
            Shape::Table(version, include) => {
                let rv = object::str_at(&object, &["metadata", "resourceVersion"]);
                let list = if rv.is_empty() { json!({}) } else { json!({ "resourceVersion": rv }) };
                let mut json = Vec::new();
                self.table_open(version, &list, true, &mut json);
                self.row(object, version, include, &mut json)?;
                json.extend_from_slice(b"]}\n");
                return codec::transcode(json, self.output.format, self.output.is_pretty);
            }
        };
        codec::encode(&shown, self.output.format, self.output.is_pretty)
    }

    /// A page of a list as an answer.
    pub(crate) fn list(&self, page: &ListPage) -> ApiResult<Vec<u8>> {
        let bytes: usize = page.objects.iter().map(|one| one.bytes.len() + 40).sum();
        let mut json = Vec::with_capacity(bytes + 256);
        let metadata = list_metadata(page);
        match self.output.shape {
            Shape::Table(version, include) => {
                self.table_open(version, &metadata, true, &mut json);
                for (at, object) in page.objects.iter().enumerate() {
                    separate(at, &mut json);
                    self.stored_row(object, object.rv, version, include, &mut json)?;
                }
            }
            _ => {
                self.list_open(&metadata, &mut json);
                for (at, object) in page.objects.iter().enumerate() {
                    separate(at, &mut json);
                    self.item(object, &mut json)?;
                }
            }
        }
        json.extend_from_slice(b"]}\n");
        codec::transcode(json, self.output.format, self.output.is_pretty)
    }

    /// Objects that are in no store as a list.
    pub(crate) fn list_values(&self, objects: Vec<Value>) -> ApiResult<Vec<u8>> {
        let mut json = Vec::new();
        let metadata = json!({});
        if let Shape::Table(version, include) = self.output.shape {
            self.table_open(version, &metadata, true, &mut json);
            for (at, object) in objects.into_iter().enumerate() {
                separate(at, &mut json);
                self.row(object, version, include, &mut json)?;
            }
        } else {
            self.list_open(&metadata, &mut json);
            for (at, mut object) in objects.into_iter().enumerate() {
                separate(at, &mut json);
                if let Shape::Partial(version) = self.output.shape {
                    object = partial_value(&object, version);
                }
                write_ordered(&object, &mut json);
            }
        }
        json.extend_from_slice(b"]}\n");
        codec::transcode(json, self.output.format, self.output.is_pretty)
    }

    fn item(&self, object: &Stored, out: &mut Vec<u8>) -> ApiResult<()> {
        match self.output.shape {
            Shape::Whole if object.is_in(&self.api_version) => {
                if self.entry.resource.is_custom() {
                    object.write_to(out);
                } else {
                    object.write_item(out);
                }
                Ok(())
            }
            Shape::Whole => {
                let mut value = self.converted(object, object.rv)?;
                if let (false, Some(map)) = (self.entry.resource.is_custom(), value.as_object_mut())
                {
                    map.remove("apiVersion");
                    map.remove("kind");
                }
                write_ordered(&value, out);
                Ok(())
            }
            _ => self.stored_json(object, object.rv, false, out),
        }
    }

    fn list_open(&self, metadata: &Value, out: &mut Vec<u8>) {
        let (kind, api_version) = match self.output.shape {
            Shape::Partial(version) => ("PartialObjectMetadataList", version.api_version()),
            _ => (&*self.entry.resource.info().list_kind, &*self.api_version),
        };
        out.extend_from_slice(b"{\"kind\":");
        write_json(kind, out);
        out.extend_from_slice(b",\"apiVersion\":");
        write_json(api_version, out);
        out.extend_from_slice(b",\"metadata\":");
        write_json(metadata, out);
        out.extend_from_slice(b",\"items\":[");
    }

    fn table_open(&self, version: MetaVersion, list: &Value, columns: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"");
        out.extend_from_slice(version.api_version().as_bytes());
        out.extend_from_slice(b"\",\"metadata\":");
        write_json(list, out);
        out.extend_from_slice(b",\"columnDefinitions\":");
        if columns {
            write_json(self.entry.resource.columns(), out);
        } else {
            // As Go writes a list that was never made.
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"rows\":[");
    }

    fn stored_row(
        &self,
        object: &Stored,
        rv: u64,
        version: MetaVersion,
        include: Include,
        out: &mut Vec<u8>,
    ) -> ApiResult<()> {
        let mut value = object.decode().map_err(ApiError::internal)?;
        crate::storage::stored::set_resource_version(&mut value, rv);
        self.row(value, version, include, out)
    }

    /// The row of an object in its stored form.
    fn row(
        &self,
        object: Value,
        version: MetaVersion,
        include: Include,
        out: &mut Vec<u8>,
    ) -> ApiResult<()> {
        let row = self.entry.resource.row(&object, self.now);
        out.extend_from_slice(b"{\"cells\":");
        write_json(&row.cells, out);
        if !row.conditions.is_empty() {
            out.extend_from_slice(b",\"conditions\":");
            write_json(&row.conditions, out);
        }
        match include {
            Include::None => out.extend_from_slice(b",\"object\":null"),
            Include::Metadata => {
                out.extend_from_slice(b",\"object\":");
                partial_open(version, out);
                write_json(&object["metadata"], out);
                out.push(b'}');
            }
            Include::Object => {
                out.extend_from_slice(b",\"object\":");
                write_ordered(&self.to_version(object)?, out);
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// A stored object in the client's version.
    fn converted(&self, object: &Stored, rv: u64) -> ApiResult<Value> {
        let mut value = object.decode().map_err(ApiError::internal)?;
        crate::storage::stored::set_resource_version(&mut value, rv);
        self.to_version(value)
    }

    fn to_version(&self, object: Value) -> ApiResult<Value> {
        if object::api_version(&object) == self.api_version {
            return Ok(object);
        }
        self.entry.resource.convert(object, self.version)
    }
}

fn separate(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

fn partial_open(version: MetaVersion, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
    out.extend_from_slice(version.api_version().as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
}

fn partial_value(object: &Value, version: MetaVersion) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version.api_version(),
        "metadata": object["metadata"],
    })
}

/// Copies a stored object's metadata with a resource version.
fn write_metadata(object: &Stored, rv: u64, out: &mut Vec<u8>) -> ApiResult<()> {
    let found: OnlyMetadata<'_> =
        serde_json::from_slice(&object.bytes).map_err(ApiError::internal)?;
    let text = found.metadata.get();
    let rest = text.strip_prefix('{').unwrap_or("}");
    out.extend_from_slice(b"{\"resourceVersion\":\"");
    write_number(rv, out);
    out.push(b'"');
    if !rest.starts_with('}') {
        out.push(b',');
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

fn list_metadata(page: &ListPage) -> Value {
    let mut metadata = json!({ "resourceVersion": page.rv.to_string() });
    if !page.continue_token.is_empty() {
        metadata["continue"] = page.continue_token.clone().into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}
