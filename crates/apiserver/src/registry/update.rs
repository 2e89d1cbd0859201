//! Updating an object: PUT, PATCH and the server's own changes all end here.
//!
//! Invariants: what was read is what is replaced, or the change is made again on the newer
//! object; a change that changes nothing writes nothing; the update that takes the last finalizer
//! of a deleted object removes it.

use std::sync::Arc;

use api::Value;
use api::object;
use api::status::{ApiError, ApiResult};
use store::Expect;

use super::fields::differ_by_times_only;
use super::{Deed, Op, Transform, meta};
use crate::admission::Operation;
use crate::storage::stored::set_resource_version;
use crate::storage::{Stored, WriteError};

/// How often a change is made anew because another writer came between.
const TRIES: usize = 64;

/// What came of an update.
pub(crate) struct Updated {
    pub(crate) deed: Deed,
    /// Whether the object did not exist before.
    pub(crate) created: bool,
}

/// What one try ended in.
enum Try {
    Done(Updated),
    /// Somebody else wrote; this is what is stored now.
    Again(Option<Arc<Stored>>),
}

impl Op<'_> {
    /// Changes the object of this name by `transform`. With `create`, an object that does not
    /// exist is created from `transform(None)`.
    pub(crate) async fn update(
        &mut self,
        name: &str,
        create: bool,
        transform: &Transform<'_>,
    ) -> ApiResult<Updated> {
        let key = self.entry.key(self.namespace, name);
        let mut current = self.core.storage.read(&self.entry.cacher, &key).await?;
        for _ in 0..TRIES {
            let Some(found) = current else {
                if !create {
                    return Err(ApiError::not_found(&self.entry.gr, name));
                }
                let deed = Deed::Stored(self.create_by_update(name, transform).await?);
                return Ok(Updated { deed, created: true });
            };
            match self.try_update(&key, name, &found, transform).await? {
                Try::Done(updated) => return Ok(updated),
                Try::Again(newer) => current = newer,
            }
        }
        Err(ApiError::modified(&self.entry.gr, name))
    }

    async fn create_by_update(
        &mut self,
        name: &str,
        transform: &Transform<'_>,
    ) -> ApiResult<Value> {
        let mut new = transform(None)?;
        // Somebody who names a version means an object that exists.
        if !object::str_at(&new, &["metadata", "resourceVersion"]).trim_matches('0').is_empty() {
            return Err(ApiError::not_found(&self.entry.gr, name));
        }
        let uid = object::uid(&new).to_owned();
        if !uid.is_empty() {
            return Err(self.wrong_uid(name, &uid, ""));
        }
        object::remove(&mut new, &["metadata", "resourceVersion"]);
        if object::kind(&self.options) == "UpdateOptions" {
            self.options["kind"] = "CreateOptions".into();
        }
        self.create_stored(new).await
    }

    async fn try_update(
        &mut self,
        key: &Arc<str>,
        name: &str,
        found: &Arc<Stored>,
        transform: &Transform<'_>,
    ) -> ApiResult<Try> {
        let resource = self.entry.resource.clone();
        let old = self
            .entry
            .shown_one(found.clone())
            .await?
            .decode()
            .map_err(|error| ApiError::internal(format!("{key} is unreadable: {error}")))?;
        let mut new = self.transformed(&old, transform).await?;
        self.check_version(name, &new, &old)?;
        set_resource_version(&mut new, found.rv);
        meta::match_namespace(self, &mut new)?;
        meta::keep_old(&mut new, &old);
        self.warnings.extend(meta::dedup_owners(&mut new));
        resource.default(&mut new);
        self.track_fields(Some(&old), &mut new).await?;
        self.admit(Operation::Update, name, Some(&mut new), Some(&old)).await?;
        meta::dedup_owners(&mut new);
        resource.default(&mut new);
        resource.prepare_update(&self.context(), &mut new, &old);
        self.check_change(&new, &old)?;
        self.validate(Operation::Update, name, Some(&mut new), Some(&old)).await?;
        self.warnings.extend(resource.warnings(&new, Some(&old)));
        self.store_change(key, name, found, old, new).await
    }

    /// Runs the change, and again when it wanted other versions of the object.
    async fn transformed(&self, old: &Value, transform: &Transform<'_>) -> ApiResult<Value> {
        loop {
            let new = transform(Some(old));
            if !self.conversions.fill(self.entry).await? {
                return new;
            }
        }
    }

    /// Whether nothing is to be written: an object that is kept in a version of old is written
    /// in today's.
    fn is_unchanged(&self, found: &Stored, old: &Value, new: &Value) -> bool {
        self.entry.is_kept_form(found) && differ_by_times_only(new, old)
    }

    fn check_version(&self, name: &str, new: &Value, old: &Value) -> ApiResult<()> {
        let uid = object::uid(new);
        if self.demands_uid && !uid.is_empty() && uid != object::uid(old) {
            return Err(self.wrong_uid(name, uid, object::uid(old)));
        }
        let given = object::str_at(new, &["metadata", "resourceVersion"]);
        if matches!(given, "" | "0") {
            if self.entry.resource.allows_unconditional_update() {
                return Ok(());
            }
            // Upstream names the resource here, where every other refusal names the kind.
            let info = self.entry.resource.info();
            let path = api::field::Path::new("metadata").child("resourceVersion");
            let error = api::field::FieldError::invalid(path, 0, "must be specified for an update");
            return Err(ApiError::invalid(&info.group, &info.plural, name, &[error]));
        }
        if given == object::str_at(old, &["metadata", "resourceVersion"]) {
            return Ok(());
        }
        if given.parse::<u64>().is_err() {
            return Err(ApiError::new(
                500,
                "",
                format!("strconv.ParseUint: parsing {given:?}: invalid syntax"),
            ));
        }
        Err(ApiError::modified(&self.entry.gr, name))
    }

    pub(super) fn wrong_uid(&self, name: &str, wanted: &str, found: &str) -> ApiError {
        ApiError::conflict(
            &self.entry.gr,
            name,
            &format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
                self.entry.key(self.namespace, name)
            ),
        )
    }

    fn check_change(&self, new: &Value, old: &Value) -> ApiResult<()> {
        let resource = &self.entry.resource;
        let info = resource.info();
        // The kind looks at it once more, with rules of its own, and all that both find is said.
        let compared = api::validate::object_meta_update(new, old);
        let mut errors = compared.clone();
        errors.extend(resource.validate_changed_meta(new, compared));
        errors.extend(resource.validate_update(&self.context(), new, old));
        ApiError::check(&info.group, &info.kind, object::name(old), &errors)
    }

    async fn store_change(
        &mut self,
        key: &Arc<str>,
        name: &str,
        found: &Arc<Stored>,
        old: Value,
        mut new: Value,
    ) -> ApiResult<Try> {
        if self.is_last_update(&new) {
            return self.finish_deletion(key, name, found, new).await;
        }
        if self.is_unchanged(found, &old, &new) && !self.core.storage.is_stale(key).await? {
            return Ok(Try::Done(Updated { deed: Deed::Stored(old), created: false }));
        }
        let pending = match self.entry.resource.hook() {
            Some(hook) => {
                Some(hook.begin(self.core, Some(&mut new), Some(&old), self.dry_run).await?)
            }
            None => None,
        };
        if self.dry_run {
            if let Some(pending) = pending {
                pending.rollback(self.core).await;
            }
            return Ok(Try::Done(Updated { deed: Deed::Stored(new), created: false }));
        }
        let written = self.write_form(key, &mut new, Expect::Revision(found.rv)).await;
        match (&written, pending) {
            (Ok(_), Some(pending)) => pending.commit(self.core).await,
            (Err(_), Some(pending)) => pending.rollback(self.core).await,
            _ => {}
        }
        match written {
            Ok(()) => Ok(Try::Done(Updated { deed: Deed::Stored(new), created: false })),
            Err(WriteError::Conflict(newer)) => Ok(Try::Again(newer)),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }

    /// Whether nothing keeps a deleted object any longer.
    fn is_last_update(&self, new: &Value) -> bool {
        object::is_deleting(new)
            && object::finalizers(new).next().is_none()
            && object::int_at(new, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
            && self.entry.resource.is_finished(new)
    }

    async fn finish_deletion(
        &mut self,
        key: &Arc<str>,
        name: &str,
        found: &Arc<Stored>,
        mut new: Value,
    ) -> ApiResult<Try> {
        match self.remove(key, name, found.rv, &mut new).await {
            Ok(()) => Ok(Try::Done(Updated { deed: Deed::Gone(new), created: false })),
            Err(WriteError::Conflict(newer)) => Ok(Try::Again(newer)),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }
}
