//! The boundary between what is kept and what a version's rules see, for kinds whose versions have
//! rules of their own.
//!
//! Invariants: inside of a request on such a kind every object is in the version of its entry;
//! only here it becomes another. What was made of a stored object stays with it, so a revision is
//! converted once for each version, however many ask. Kinds without a converter pass untouched.

use std::collections::HashMap;
use std::sync::Arc;

use api::Value;
use api::status::{ApiError, ApiResult};
use parking_lot::Mutex;

use super::Entry;
use crate::storage::stored::{encode, set_resource_version};
use crate::storage::{Facts, Stored};

impl Entry {
    /// `apps/v1`, for the version that the entry's rules see.
    fn own_api_version(&self) -> String {
        self.api_version(&self.resource.info().storage_version)
    }

    /// Whether a stored object is in the entry's version already.
    pub(crate) fn shows(&self, object: &Stored) -> bool {
        self.converter.is_none() || object.is_in(&self.own_api_version())
    }

    /// Stored objects in the entry's version.
    pub(crate) async fn shown(&self, mut objects: Vec<Arc<Stored>>) -> ApiResult<Vec<Arc<Stored>>> {
        let Some(converter) = &self.converter else { return Ok(objects) };
        let api_version = self.own_api_version();
        let mut places = Vec::new();
        let mut values = Vec::new();
        for (place, object) in objects.iter_mut().enumerate() {
            if object.is_in(&api_version) {
                continue;
            }
            if let Some(known) = object.form(&api_version) {
                *object = known;
                continue;
            }
            values.push(object.decode().map_err(ApiError::internal)?);
            places.push(place);
        }
        if places.is_empty() {
            return Ok(objects);
        }
        let version = &self.resource.info().storage_version;
        let converted = converter.convert(values, version).await?;
        for (place, value) in places.into_iter().zip(converted) {
            objects[place] = objects[place].keep_form(self.stored_form(&objects[place], value));
        }
        Ok(objects)
    }

    fn stored_form(&self, origin: &Stored, mut value: Value) -> Arc<Stored> {
        let bytes = encode(&mut value).into();
        let facts = Facts::of(&*self.resource, &value);
        Arc::new(Stored::new(origin.key.clone(), origin.rv, bytes, facts))
    }

    /// One stored object in the entry's version.
    pub(crate) async fn shown_one(&self, object: Arc<Stored>) -> ApiResult<Arc<Stored>> {
        if self.converter.is_none() {
            return Ok(object);
        }
        let mut shown = self.shown(vec![object]).await?;
        shown.pop().ok_or_else(|| ApiError::internal("a conversion lost its object"))
    }

    /// Whether the store has an object as it would be written now: in the version that the kind is
    /// kept in, with all defaults.
    pub(super) fn is_kept_form(&self, object: &Stored) -> bool {
        let version = &self.cacher.resource.info().storage_version;
        !object.is_completed
            && (self.converter.is_none() || object.is_in(&self.api_version(version)))
    }

    /// An object as it is kept; `None` when that is how it is already.
    pub(super) async fn kept_form(&self, object: &Value) -> ApiResult<Option<Value>> {
        let Some(converter) = &self.converter else { return Ok(None) };
        let kept = &self.cacher.resource.info().storage_version;
        if *kept == self.resource.info().storage_version {
            return Ok(None);
        }
        let mut converted = converter.convert(vec![object.clone()], kept).await?;
        Ok(converted.pop())
    }

    /// What was just written, as this version shows it: what the kept form cannot say is lost.
    pub(super) async fn shown_value(&self, kept: Value, rv: u64) -> ApiResult<Value> {
        let version = &self.resource.info().storage_version;
        let Some(converter) = &self.converter else { return Ok(kept) };
        let mut shown = converter.convert(vec![kept], version).await?;
        let mut value =
            shown.pop().ok_or_else(|| ApiError::internal("a conversion lost its object"))?;
        set_resource_version(&mut value, rv);
        Ok(value)
    }
}

/// What a request has converted so far. The rules of server-side apply are synchronous and compare
/// a manager's fields in the version that it wrote in: what they miss is noted, made, and the
/// rules run again.
#[derive(Default)]
pub(crate) struct Conversions {
    known: Mutex<HashMap<(String, String), Value>>,
    missed: Mutex<Vec<(String, Value)>>,
}

impl Conversions {
    /// An object in another version, if it was made already.
    pub(super) fn get(&self, object: &Value, version: &str) -> Option<Value> {
        let key = (version.to_owned(), object.to_string());
        let found = self.known.lock().get(&key).cloned();
        if found.is_none() {
            self.missed.lock().push((key.0, object.clone()));
        }
        found
    }

    /// Makes what was missed; whether there was any.
    pub(super) async fn fill(&self, entry: &Entry) -> ApiResult<bool> {
        let missed = std::mem::take(&mut *self.missed.lock());
        let Some(converter) = entry.converter.as_ref().filter(|_| !missed.is_empty()) else {
            return Ok(false);
        };
        for (version, object) in missed {
            let key = (version, object.to_string());
            if self.known.lock().contains_key(&key) {
                continue;
            }
            let converted = converter.convert(vec![object], &key.0).await?.pop();
            let converted =
                converted.ok_or_else(|| ApiError::internal("a conversion lost its object"))?;
            self.known.lock().insert(key, converted);
        }
        Ok(true)
    }
}
