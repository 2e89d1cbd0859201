//! Deleting an object: preconditions, propagation, grace, finalizers.
//!
//! The order of decisions is that of apiserver's `registry.Store.Delete`.

use std::sync::Arc;

use api::Value;
use api::object;
use api::status::{ApiError, ApiResult};
use store::{Expect, Revision};

use super::{Deed, Op, meta};
use crate::admission::Operation;
use crate::resource::{DefaultPropagation, Deletion};
use crate::storage::stored::set_resource_version;
use crate::storage::{Stored, WriteError};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const TRIES: usize = 64;

/// `DeleteOptions`, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteRequest {
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Option<String>,
    pub(crate) orphan_dependents: Option<bool>,
}

/// What one try ended in.
enum Try {
    Done(Deed),
    Again(Option<Arc<Stored>>),
}

impl DeleteRequest {
    /// Reads and checks `DeleteOptions`.
    pub(crate) fn of(options: &Value) -> ApiResult<Self> {
        let text =
            |path: &[&str]| object::at(options, path).and_then(Value::as_str).map(str::to_owned);
        let request = Self {
            grace: object::int_at(options, &["gracePeriodSeconds"]),
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            propagation: text(&["propagationPolicy"]),
            orphan_dependents: object::at(options, &["orphanDependents"]).and_then(Value::as_bool),
        };
        let mut errors = Vec::new();
        let path = || api::field::Path::new("propagationPolicy");
        if let Some(policy) = request.propagation.as_deref() {
            if request.orphan_dependents.is_some() {
                errors.push(api::field::FieldError::invalid(
                    path(),
                    policy,
                    "orphanDependents and deletionPropagation cannot be both set",
                ));
            } else if !matches!(policy, "Foreground" | "Background" | "Orphan") {
                errors.push(api::field::FieldError::not_supported_in(
                    path(),
                    policy,
                    &["Foreground", "Background", "Orphan", "nil"],
                ));
            }
        }
        ApiError::check("meta.k8s.io", "DeleteOptions", "", &errors)?;
        Ok(request)
    }

    /// The finalizers that a deletion leaves an object with.
    fn finalizers(&self, object: &Value, default: DefaultPropagation) -> Vec<String> {
        let old: Vec<&str> = object::finalizers(object).collect();
        let orphan = match (self.orphan_dependents, self.propagation.as_deref()) {
            (Some(orphan), _) => orphan,
            (None, Some(policy)) => policy == "Orphan",
            // Somebody who put a finalizer there has decided already.
            (None, None) if old.contains(&ORPHAN) => true,
            (None, None) if old.contains(&FOREGROUND) => false,
            (None, None) => default == DefaultPropagation::Orphan,
        };
        let foreground = match (self.orphan_dependents, self.propagation.as_deref()) {
            (Some(_), _) => false,
            (None, Some(policy)) => policy == "Foreground",
            (None, None) => old.contains(&FOREGROUND) && !old.contains(&ORPHAN),
        };
        let mut new: Vec<String> = old
            .into_iter()
            .filter(|name| *name != ORPHAN && *name != FOREGROUND)
            .map(str::to_owned)
            .collect();
        if orphan {
            new.push(ORPHAN.to_owned());
        }
        if foreground {
            new.push(FOREGROUND.to_owned());
        }
        new
    }
}

impl Op<'_> {
    /// Deletes the object of this name.
    pub(crate) async fn delete(&mut self, name: &str, request: &DeleteRequest) -> ApiResult<Deed> {
        let key = self.entry.key(self.namespace, name);
        let mut current = self.core.storage.read(&self.entry.cacher, &key).await?;
        for _ in 0..TRIES {
            let Some(found) = current else {
                return Err(ApiError::not_found(&self.entry.gr, name));
            };
            match self.try_delete(&key, name, &found, request).await? {
                Try::Done(deed) => return Ok(deed),
                Try::Again(newer) => current = newer,
            }
        }
        Err(ApiError::modified(&self.entry.gr, name))
    }

    async fn try_delete(
        &mut self,
        key: &Arc<str>,
        name: &str,
        found: &Arc<Stored>,
        request: &DeleteRequest,
    ) -> ApiResult<Try> {
        let resource = self.entry.resource.clone();
        let old = self
            .entry
            .shown_one(found.clone())
            .await?
            .decode()
            .map_err(|error| ApiError::internal(format!("{key} is unreadable: {error}")))?;
        self.check_preconditions(name, &old, request)?;
        self.admit(Operation::Delete, name, None, Some(&old)).await?;
        self.validate(Operation::Delete, name, None, Some(&old)).await?;

        let mut new = old.clone();
        let finalizers = request.finalizers(&old, resource.default_propagation());
        meta::set_finalizers(&mut new, &finalizers);
        let deletion = resource.prepare_deletion(&self.context(), &mut new, request.grace);
        match deletion {
            Deletion::Graceful { seconds } if seconds > 0 => {
                if !self.mark_graceful(&mut new, &old, seconds) {
                    // Deleted already, and no sooner than before.
                    if finalizers.iter().eq(object::finalizers(&old)) {
                        return Ok(Try::Done(Deed::Stored(old)));
                    }
                    keep_deletion(&mut new, &old);
                }
                self.store_deletion(key, found, &old, new).await
            }
            Deletion::Immediate | Deletion::Graceful { .. } if finalizers.is_empty() => {
                self.remove_now(key, name, found, new).await
            }
            _ => {
                self.mark_immediate(&mut new, &old);
                self.store_deletion(key, found, &old, new).await
            }
        }
    }

    fn check_preconditions(
        &self,
        name: &str,
        old: &Value,
        request: &DeleteRequest,
    ) -> ApiResult<()> {
        let info = self.entry.resource.info();
        // Upstream names the kind here, where every other conflict names the resource.
        let kind = api::names::GroupResource::new(&info.group, &info.kind);
        if let Some(uid) = request.uid.as_deref().filter(|uid| *uid != object::uid(old)) {
            return Err(ApiError::conflict(
                &kind,
                name,
                &format!(
                    "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                    object::uid(old)
                ),
            ));
        }
        let stored = object::str_at(old, &["metadata", "resourceVersion"]);
        if let Some(given) = request.resource_version.as_deref().filter(|rv| *rv != stored) {
            return Err(ApiError::conflict(
                &kind,
                name,
                &format!(
                    "the ResourceVersion in the precondition ({given}) does not match the ResourceVersion in record ({stored}). The object might have been modified"
                ),
            ));
        }
        Ok(())
    }

    /// Marks an object that goes after its grace. `false` when it is marked already and would not
    /// go sooner.
    fn mark_graceful(&self, new: &mut Value, old: &Value, seconds: i64) -> bool {
        let now = self.core.clock.now();
        let due = |seconds: i64| {
            let at = now.checked_add(base::clock::SignedDuration::from_secs(seconds));
            base::clock::rfc3339_seconds(at.unwrap_or(base::clock::Timestamp::MAX))
        };
        if object::is_deleting(old) {
            let before = object::int_at(old, &["metadata", "deletionGracePeriodSeconds"]);
            if before.is_some_and(|before| seconds >= before) {
                return false;
            }
        } else if object::generation(old) > 0 {
            object::set(new, &["metadata", "generation"], object::generation(old) + 1);
        }
        object::set(new, &["metadata", "deletionTimestamp"], due(seconds));
        object::set(new, &["metadata", "deletionGracePeriodSeconds"], seconds);
        true
    }

    /// Marks an object that goes as soon as its finalizers have gone.
    fn mark_immediate(&self, new: &mut Value, old: &Value) {
        if !object::is_deleting(old) {
            if object::generation(old) > 0 {
                object::set(new, &["metadata", "generation"], object::generation(old) + 1);
            }
            let now = base::clock::rfc3339_seconds(self.core.clock.now());
            object::set(new, &["metadata", "deletionTimestamp"], now);
        }
        object::set(new, &["metadata", "deletionGracePeriodSeconds"], 0);
    }

    async fn store_deletion(
        &mut self,
        key: &Arc<str>,
        found: &Arc<Stored>,
        old: &Value,
        mut new: Value,
    ) -> ApiResult<Try> {
        if new == *old || self.dry_run {
            return Ok(Try::Done(Deed::Stored(new)));
        }
        match self.write_form(key, &mut new, Expect::Revision(found.rv)).await {
            Ok(()) => Ok(Try::Done(Deed::Stored(new))),
            Err(WriteError::Conflict(newer)) => Ok(Try::Again(newer)),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }

    async fn remove_now(
        &mut self,
        key: &Arc<str>,
        name: &str,
        found: &Arc<Stored>,
        mut last: Value,
    ) -> ApiResult<Try> {
        match self.remove(key, name, found.rv, &mut last).await {
            Ok(()) => Ok(Try::Done(Deed::Gone(last))),
            Err(WriteError::Conflict(newer)) => Ok(Try::Again(newer)),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }

    /// Takes the key out of the store; `last` gets the deletion's resource version.
    pub(super) async fn remove(
        &self,
        key: &Arc<str>,
        _name: &str,
        rv: Revision,
        last: &mut Value,
    ) -> Result<(), WriteError> {
        if self.dry_run {
            return Ok(());
        }
        let pending = match self.entry.resource.hook() {
            Some(hook) => Some(
                hook.begin(self.core, None, Some(last), false).await.map_err(WriteError::Failed)?,
            ),
            None => None,
        };
        let written = self.write(key, None, Expect::Revision(rv)).await;
        match (&written, pending) {
            (Ok(_), Some(pending)) => pending.commit(self.core).await,
            (Err(_), Some(pending)) => pending.rollback(self.core).await,
            _ => {}
        }
        let (rv, _) = written?;
        set_resource_version(last, rv);
        Ok(())
    }
}

fn keep_deletion(new: &mut Value, old: &Value) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        if let Some(value) = object::at(old, &["metadata", field]) {
            object::set(new, &["metadata", field], value.clone());
        }
    }
}
