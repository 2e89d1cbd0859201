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
    pub(super) fn track_fields(&self, old: Option<&Value>, new: &mut Value) -> ApiResult<()> {
        if !self.tracks {
            return Ok(());
        }
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
        let info = resource.info();
        let api_version = self.entry.api_version(self.version);
        // For managers that wrote in another of the kind's versions.
        let convert = |value: &Value, to: &str| {
            let (group, version) = api::names::split_api_version(to);
            if group != info.group || !info.versions.iter().any(|one| one.name == version) {
                return None;
            }
            let converted = resource.convert(value.clone(), version).ok()?;
            Some((converted, Cow::Owned(resource.body_schema(version))))
        };
        let mut options = ApplyOptions::new(self.manager, &api_version, self.core.clock.now());
        options.subresource = self.subresource.unwrap_or_default();
        options.reset_fields = self.entry.reset_fields(self.subresource);
        options.convert = Some(&convert);
        run(&options)
    }
}

/// Whether two objects differ in nothing but the times of their managed fields.
pub(super) fn differ_by_times_only(new: &Value, old: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut entries = object::list_at(object, &MANAGED).to_vec();
        for entry in &mut entries {
            object::remove(entry, &["time"]);
        }
        entries
    };
    if object::at(new, &MANAGED) == object::at(old, &MANAGED) || timeless(new) != timeless(old) {
        return false;
    }
    let mut bare = new.clone();
    match object::at(old, &MANAGED) {
        Some(managed) => object::set(&mut bare, &MANAGED, managed.clone()),
        None => drop(object::remove(&mut bare, &MANAGED)),
    }
    bare == *old
}
