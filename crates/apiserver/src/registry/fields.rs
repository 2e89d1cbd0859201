//! Whose fields are whose: `managedFields`, kept on every write by the rules of the `apply` crate.

use std::borrow::Cow;

use api::Value;
use api::object;
use api::status::ApiResult;
use apply::ssa::{ApplyOptions, track_update};

use super::Op;

const MANAGED: [&str; 2] = ["metadata", "managedFields"];

impl Op<'_> {
    /// Notes in the new object's `managedFields` what this write changes.
    pub(super) async fn track_fields(&self, old: Option<&Value>, new: &mut Value) -> ApiResult<()> {
        if !self.tracks {
            return Ok(());
        }
        if self.entry.converter.is_none() {
            return self.track_once(old, new);
        }
        loop {
            let mut tried = new.clone();
            self.track_once(old, &mut tried)?;
            if !self.conversions.fill(self.entry).await? {
                *new = tried;
                return Ok(());
            }
        }
    }

    fn track_once(&self, old: Option<&Value>, new: &mut Value) -> ApiResult<()> {
        let schema = self.entry.resource.body_schema(self.version);
        self.with_options(|options| {
            if self.version == self.entry.resource.info().storage_version {
                let untracked = std::mem::take(new);
                *new = track_update(old, untracked, &schema, options);
                return Ok(());
            }
            // Fields are noted in the version that the client speaks.
            let resource = &self.entry.resource;
            let shown = resource.convert(new.clone(), self.version)?;
            let live = old.map(|old| resource.convert(old.clone(), self.version)).transpose()?;
            let mut tracked = track_update(live.as_ref(), shown, &schema, options);
            match object::remove(&mut tracked, &MANAGED) {
                Some(managed) => object::set(new, &MANAGED, managed),
                None => drop(object::remove(new, &MANAGED)),
            }
            Ok(())
        })
    }

    /// Calls `run` with the options of this write's field manager.
    pub(crate) fn with_options<T>(&self, run: impl FnOnce(&ApplyOptions<'_>) -> T) -> T {
        let resource = &self.entry.resource;
        let api_version = self.entry.api_version(self.version);
        // For managers that wrote in another of the kind's versions.
        let convert = |value: &Value, to: &str| {
            let version = self.entry.version_of(to)?;
            let converted = if self.entry.converter.is_some() {
                self.conversions.get(value, version)?
            } else {
                resource.convert(value.clone(), version).ok()?
            };
            Some((converted, Cow::Owned(resource.body_schema(version))))
        };
        let mut options = ApplyOptions::new(self.manager, &api_version, self.core.clock.now());
        options.subresource = self.subresource.unwrap_or_default();
        options.reset_fields = self.entry.reset_fields(self.subresource);
        options.convert = Some(&convert);
        run(&options)
    }
}

/// Whether two objects differ in nothing but the times of their managed fields. Ends at the first
/// other difference, which most writes have.
pub(super) fn differ_by_times_only(new: &Value, old: &Value) -> bool {
    let same_but = |new: Option<&Value>, old: Option<&Value>, except: &str| {
        let (Some(new), Some(old)) =
            (new.and_then(Value::as_object), old.and_then(Value::as_object))
        else {
            return new == old;
        };
        let has = |map: &serde_json::Map<String, Value>| map.contains_key(except);
        let rest = |map: &serde_json::Map<String, Value>| map.len() - usize::from(has(map));
        rest(new) == rest(old)
            && new.iter().all(|(key, value)| key == except || old.get(key) == Some(value))
    };
    let (managed, before) = (object::list_at(new, &MANAGED), object::list_at(old, &MANAGED));
    managed.len() == before.len()
        && same_but(Some(new), Some(old), "metadata")
        && same_but(new.get("metadata"), old.get("metadata"), "managedFields")
        && managed.iter().zip(before).all(|(new, old)| same_but(Some(new), Some(old), "time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_alone_are_no_change() {
        let object = |time: &str, data: &str| {
            json!({
                "metadata": {"name": "a", "managedFields": [{"manager": "m", "time": time}]},
                "data": data,
            })
        };
        let old = object("1", "x");
        assert!(differ_by_times_only(&object("2", "x"), &old));
        assert!(!differ_by_times_only(&object("2", "y"), &old));
        assert!(!differ_by_times_only(&json!({"metadata": {"name": "a"}, "data": "x"}), &old));
    }
}
