//! Creating an object.

use std::sync::Arc;

use api::Value;
use api::object;
use api::status::{ApiError, ApiResult};
use store::{Durability, Expect};

use super::{Op, meta};
use crate::admission::Operation;
use crate::storage::stored::{encode, set_resource_version};
use crate::storage::{Facts, ObjectWrite, Stored, WriteError};

/// Tries of a generated name; apiserver's `maxNameGenerationCreateAttempts`.
const NAME_TRIES: usize = 8;

impl Op<'_> {
    /// Creates an object given in the caller's version; answers it in the storage version.
    pub(crate) async fn create(&mut self, body: Value) -> ApiResult<Value> {
        let new = self.storage_form(body)?;
        self.create_stored(new).await
    }

    /// Creates an object given in the storage version.
    pub(super) async fn create_stored(&mut self, mut new: Value) -> ApiResult<Value> {
        meta::match_namespace(self, &mut new)?;
        self.entry.resource.default(&mut new);
        self.admit_new(&mut new).await?;
        let generated = object::name(&new).is_empty()
            && object::at(&new, &["metadata", "generateName"]).is_some();
        if !generated {
            return self.create_once(new).await;
        }
        for attempt in 1.. {
            match self.create_once(new.clone()).await {
                Err(error) if error.reason() == "AlreadyExists" => {
                    if attempt == NAME_TRIES {
                        return Err(self.no_unique_name(&error));
                    }
                }
                other => return other,
            }
        }
        unreachable!("the loop above returns at its last try")
    }

    /// Asks who may change the object. They see it without what only the server decides: its
    /// generated name, uid and time come after.
    async fn admit_new(&mut self, new: &mut Value) -> ApiResult<()> {
        meta::forget_old_life(new);
        self.warnings.extend(meta::dedup_owners(new));
        self.track_fields(None, new).await?;
        let name = object::name(new).to_owned();
        self.admit(Operation::Create, &name, Some(new), None).await?;
        meta::match_namespace(self, new)?;
        meta::dedup_owners(new);
        self.entry.resource.default(new);
        Ok(())
    }

    fn no_unique_name(&self, error: &ApiError) -> ApiError {
        let name = error.status().details.as_ref().and_then(|found| found.name.clone());
        let name = name.unwrap_or_default();
        let text = format!(
            "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
            self.entry.gr
        );
        ApiError::new(409, "AlreadyExists", text).about(&self.entry.gr, &name)
    }

    async fn create_once(&mut self, mut new: Value) -> ApiResult<Value> {
        let resource = self.entry.resource.clone();
        meta::fill_new(self, &mut new);
        resource.prepare_create(&self.context(), &mut new);
        self.check_new(&new)?;
        let name = object::name(&new).to_owned();
        self.validate(Operation::Create, &name, Some(&mut new), None).await?;
        self.warnings.extend(resource.warnings(&new, None));
        self.store_new(&name, new).await
    }

    fn check_new(&self, new: &Value) -> ApiResult<()> {
        let resource = &self.entry.resource;
        let info = resource.info();
        let mut errors = api::validate::object_meta(
            new,
            self.entry.is_namespaced(),
            &|name: &str, prefix: bool| resource.validate_name(name, prefix),
        );
        errors.extend(resource.validate_create(&self.context(), new));
        ApiError::check(&info.group, &info.kind, object::name(new), &errors)
    }

    async fn store_new(&mut self, name: &str, mut new: Value) -> ApiResult<Value> {
        // Upstream's storage refuses it, when all others have had their say; a dry run does not
        // come so far.
        let version = object::str_at(&new, &["metadata", "resourceVersion"]);
        if !self.dry_run && !matches!(version, "" | "0") {
            let text = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::new(500, "", text));
        }
        let key = self.entry.key(self.namespace, name);
        let exists = || ApiError::already_exists(&self.entry.gr, name);
        if self.dry_run && self.core.storage.read(&self.entry.cacher, &key).await?.is_some() {
            return Err(exists());
        }
        let pending = match self.entry.resource.hook() {
            Some(hook) => Some(hook.begin(self.core, Some(&mut new), None, self.dry_run).await?),
            None => None,
        };
        if self.dry_run {
            if let Some(pending) = pending {
                pending.rollback(self.core).await;
            }
            return Ok(new);
        }
        let written = self.write_form(&key, &mut new, Expect::Absent).await;
        match (&written, pending) {
            (Ok(_), Some(pending)) => pending.commit(self.core).await,
            (Err(_), Some(pending)) => pending.rollback(self.core).await,
            _ => {}
        }
        match written {
            Ok(()) => Ok(new),
            Err(WriteError::Conflict(_)) => Err(exists()),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }

    /// Writes an object in the form in which its kind is kept; it becomes what was stored, with
    /// its new version.
    pub(super) async fn write_form(
        &mut self,
        key: &Arc<str>,
        new: &mut Value,
        expect: Expect,
    ) -> Result<(), WriteError> {
        let Some(mut kept) = self.entry.kept_form(new).await.map_err(WriteError::Failed)? else {
            let (rv, bytes) = self.write(key, Some(new), expect).await?;
            set_resource_version(new, rv);
            self.written =
                bytes.map(|bytes| Arc::new(Stored::new(key.clone(), rv, bytes, Facts::default())));
            return Ok(());
        };
        let (rv, _) = self.write(key, Some(&mut kept), expect).await?;
        *new = self.entry.shown_value(kept, rv).await.map_err(WriteError::Failed)?;
        Ok(())
    }

    /// Serializes and writes an object, or deletes its key; gives what was written.
    pub(super) async fn write(
        &self,
        key: &Arc<str>,
        object: Option<&mut Value>,
        expect: Expect,
    ) -> Result<(store::Revision, Option<bytes::Bytes>), WriteError> {
        let resource = &self.entry.resource;
        let value = object.map(|object| {
            let bytes = bytes::Bytes::from(encode(object));
            (bytes, Facts::of(&**resource, object))
        });
        let durability =
            if resource.is_relaxed() { Durability::Relaxed } else { Durability::Synced };
        let ttl = resource.ttl();
        let bytes = value.as_ref().map(|(bytes, _)| bytes.clone());
        let write = ObjectWrite { key: key.clone(), value, expect, durability, ttl };
        let rv = self.core.storage.write(&self.entry.cacher, write).await?;
        if resource.configures_server() {
            // It counts from the moment in which its writer hears of it. When the caches lag so
            // much that this fails, it counts when they are there.
            let _ = self.core.storage.fresh(rv).await;
        }
        Ok((rv, bytes))
    }

    /// Turns the caller's object into the storage version.
    pub(crate) fn storage_form(&self, body: Value) -> ApiResult<Value> {
        let info = self.entry.resource.info();
        if self.version == info.storage_version {
            return Ok(body);
        }
        self.entry.resource.convert(body, &info.storage_version)
    }
}
