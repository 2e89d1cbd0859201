//! The registry as hooks, admission and in-process parts see it: the server's own reads and writes.

use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::object;
use api::status::{ApiError, ApiResult};
use async_trait::async_trait;
use serde_json::json;

use super::{Deed, DeleteRequest, Entry, Op};
use crate::resource::ObjectApi;
use crate::server::Core;
use crate::storage::list::range_prefix;

/// Who owns the fields that the server itself writes.
const MANAGER: &str = "kube-apiserver";

impl Core {
    fn entry(&self, resource: &GroupResource) -> ApiResult<Arc<Entry>> {
        self.registry.snapshot().by_resource(resource).cloned().ok_or_else(ApiError::no_such_path)
    }

    fn own_op<'a>(&'a self, entry: &'a Entry, namespace: &'a str, dry_run: bool) -> Op<'a> {
        Op {
            core: self,
            entry,
            version: &entry.resource.info().storage_version,
            namespace,
            subresource: None,
            user: &self.own_user,
            dry_run,
            manager: MANAGER,
            options: json!({}),
            admit: false,
            tracks: true,
            demands_uid: true,
            warnings: Vec::new(),
            audit: Vec::new(),
            written: None,
            conversions: Arc::default(),
            journal: None,
        }
    }
}

#[async_trait]
impl ObjectApi for Core {
    async fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> ApiResult<Arc<Value>> {
        let entry = self.entry(resource)?;
        if let Some(handler) = entry.resource.virtual_handler() {
            let all = handler.list(self, namespace).await?;
            let found = all.into_iter().find(|one| object::name(one) == name);
            return found.map(Arc::new).ok_or_else(|| ApiError::not_found(resource, name));
        }
        let key = entry.key(namespace, name);
        // What the cache does not have yet may have been written a moment ago.
        let found = match entry.cacher.get(&key) {
            Some(found) => Some(found),
            None => self.storage.read(&entry.cacher, &key).await?,
        };
        let found = found.ok_or_else(|| ApiError::not_found(resource, name))?;
        let found = entry.shown_one(found).await?;
        found.value(entry.cacher.keeps_parsed()).map_err(ApiError::internal)
    }

    async fn list(&self, resource: &GroupResource, namespace: &str) -> ApiResult<Vec<Arc<Value>>> {
        let entry = self.entry(resource)?;
        if let Some(handler) = entry.resource.virtual_handler() {
            let all = handler.list(self, namespace).await?;
            return Ok(all.into_iter().map(Arc::new).collect());
        }
        entry.cacher.loaded().await;
        let keep = entry.cacher.keeps_parsed();
        let prefix = range_prefix(&entry.cacher, namespace);
        let view = entry.cacher.view(&prefix, None, None, 0, |_| true);
        let objects = entry.shown(view.objects).await?;
        objects.iter().map(|one| one.value(keep).map_err(ApiError::internal)).collect()
    }

    async fn create(
        &self,
        resource: &GroupResource,
        object: Value,
        dry_run: bool,
    ) -> ApiResult<Value> {
        let entry = self.entry(resource)?;
        let namespace = object::namespace(&object).to_owned();
        self.own_op(&entry, &namespace, dry_run).create(object).await
    }

    async fn update(
        &self,
        resource: &GroupResource,
        subresource: Option<&str>,
        object: Value,
        dry_run: bool,
    ) -> ApiResult<Value> {
        let entry = self.entry(resource)?;
        let (namespace, name) =
            (object::namespace(&object).to_owned(), object::name(&object).to_owned());
        let mut op = self.own_op(&entry, &namespace, dry_run);
        op.subresource = subresource;
        let updated = op.update(&name, false, &|_| Ok(object.clone())).await?;
        Ok(updated.deed.into_value())
    }

    async fn modify(
        &self,
        resource: &GroupResource,
        subresource: Option<&str>,
        namespace: &str,
        name: &str,
        dry_run: bool,
        change: &(dyn for<'v> Fn(&'v mut Value) -> ApiResult<()> + Send + Sync),
    ) -> ApiResult<Value> {
        let entry = self.entry(resource)?;
        let mut op = self.own_op(&entry, namespace, dry_run);
        op.subresource = subresource;
        let transform = |old: Option<&Value>| {
            let mut new = old.cloned().ok_or_else(|| ApiError::not_found(resource, name))?;
            change(&mut new)?;
            Ok(new)
        };
        Ok(op.update(name, false, &transform).await?.deed.into_value())
    }

    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        options: &Value,
        dry_run: bool,
    ) -> ApiResult<Value> {
        let entry = self.entry(resource)?;
        let request = DeleteRequest::of(options)?;
        let mut op = self.own_op(&entry, namespace, dry_run);
        Ok(op.delete(name, &request).await?.into_value())
    }
}

impl Deed {
    /// The object, stored or gone.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Stored(value) | Self::Gone(value) => value,
        }
    }
}
