//! A request and a handful of objects, for the plugins' own tests. The plugins in a whole server are
//! tested in `tests/it`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Value;
use api::names::{GroupResource, Gvk};
use api::object::{kind, name, namespace};
use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use apiserver::admission::{
    AdmissionPlugin, AdmissionRequest, Kinds, Operation, Reinvocation, ServedKind,
};
use apiserver::resource::{ObjectApi, Scope};
use async_trait::async_trait;
use auth::UserInfo;
use serde_json::json;

/// Objects that can be read; writing fails.
#[derive(Default)]
pub(crate) struct Objects(BTreeMap<(String, String, String), Arc<Value>>);

impl Objects {
    /// These objects, by the lower-case plural of their kind.
    pub(crate) fn of<const N: usize>(objects: [Value; N]) -> Self {
        let keyed = objects.into_iter().map(|object| {
            let kind = kind(&object).to_lowercase();
            let plural = if kind.ends_with('s') { format!("{kind}es") } else { format!("{kind}s") };
            let key = (plural, namespace(&object).to_owned(), name(&object).to_owned());
            (key, Arc::new(object))
        });
        Self(keyed.collect())
    }
}

#[async_trait]
impl ObjectApi for Objects {
    async fn get(&self, resource: &GroupResource, ns: &str, name: &str) -> ApiResult<Arc<Value>> {
        let key = (resource.resource.to_string(), ns.to_owned(), name.to_owned());
        self.0.get(&key).cloned().ok_or_else(|| ApiError::not_found(resource, name))
    }

    async fn list(&self, resource: &GroupResource, ns: &str) -> ApiResult<Vec<Arc<Value>>> {
        let all = self.0.iter().filter(|((plural, own, _), _)| {
            **plural == *resource.resource && (ns.is_empty() || own == ns)
        });
        Ok(all.map(|(_, object)| object.clone()).collect())
    }

    async fn create(&self, _: &GroupResource, _: Value, _: bool) -> ApiResult<Value> {
        Err(ApiError::internal("these objects are read only"))
    }

    async fn update(
        &self,
        _: &GroupResource,
        _: Option<&str>,
        _: Value,
        _: bool,
    ) -> ApiResult<Value> {
        Err(ApiError::internal("these objects are read only"))
    }

    async fn modify(
        &self,
        _: &GroupResource,
        _: Option<&str>,
        _: &str,
        _: &str,
        _: bool,
        _: &(dyn for<'v> Fn(&'v mut Value) -> ApiResult<()> + Send + Sync),
    ) -> ApiResult<Value> {
        Err(ApiError::internal("these objects are read only"))
    }

    async fn delete(
        &self,
        _: &GroupResource,
        _: &str,
        _: &str,
        _: &Value,
        _: bool,
    ) -> ApiResult<Value> {
        Err(ApiError::internal("these objects are read only"))
    }
}

/// A request that owns what an [`AdmissionRequest`] borrows.
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) resource: GroupResource,
    pub(crate) kind: Gvk,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) object: Value,
    /// The stored object; `null` for a creation.
    pub(crate) old: Value,
    pub(crate) warnings: Vec<String>,
    pub(crate) user: UserInfo,
    pub(crate) subresource: Option<&'static str>,
}

impl Request {
    /// A request by a nobody in particular in `default`.
    pub(crate) fn new(
        operation: Operation,
        group: &str,
        plural: &str,
        kind: &str,
        object: Value,
    ) -> Self {
        Self {
            operation,
            resource: GroupResource::new(group, plural),
            kind: Gvk::new(group, "v1", kind),
            namespace: "default".to_owned(),
            name: String::new(),
            object,
            old: Value::Null,
            warnings: Vec::new(),
            user: UserInfo::named("ann", &[]),
            subresource: None,
        }
    }

    /// Asks a plugin's `admit`; the object as it left it.
    pub(crate) async fn admit(
        mut self,
        plugin: &dyn AdmissionPlugin,
        api: &Objects,
    ) -> ApiResult<Value> {
        self.ask(plugin, api, true).await?;
        Ok(self.object)
    }

    /// Asks a plugin's `validate`.
    pub(crate) async fn validate(
        mut self,
        plugin: &dyn AdmissionPlugin,
        api: &Objects,
    ) -> ApiResult<()> {
        self.ask(plugin, api, false).await
    }

    /// Asks a plugin's `validate`; the warnings that it gave.
    pub(crate) async fn warnings(
        mut self,
        plugin: &dyn AdmissionPlugin,
        api: &Objects,
    ) -> ApiResult<Vec<String>> {
        self.ask(plugin, api, false).await?;
        Ok(self.warnings)
    }

    async fn ask(
        &mut self,
        plugin: &dyn AdmissionPlugin,
        api: &Objects,
        admit: bool,
    ) -> ApiResult<()> {
        let options = json!({});
        let mut audit = Vec::new();
        let mut request = AdmissionRequest {
            operation: self.operation,
            resource: self.resource.clone(),
            version: "v1",
            kind: self.kind.clone(),
            subresource: self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            is_whole: true,
            object: (!self.object.is_null()).then_some(&mut self.object),
            old: (!self.old.is_null()).then_some(&self.old),
            options: &options,
            user: &self.user,
            dry_run: false,
            warnings: &mut self.warnings,
            audit: &mut audit,
            kinds: &NoKinds,
            authorizers: &[],
            reinvocation: &mut Reinvocation::default(),
        };
        if !plugin.handles(&request) {
            return Ok(());
        }
        if admit {
            plugin.admit(api, &mut request).await
        } else {
            plugin.validate(api, &mut request).await
        }
    }
}

/// Nothing but what the request is about.
struct NoKinds;

#[async_trait]
impl Kinds for NoKinds {
    fn equivalents(&self, _: &GroupResource, _: Option<&str>) -> Vec<ServedKind> {
        Vec::new()
    }

    fn of_kind(&self, _: &Gvk) -> Option<(ServedKind, Scope)> {
        None
    }

    fn schema(&self, _: &ServedKind) -> Schema {
        Schema::Any
    }

    async fn show(&self, stored: &Value, _: &ServedKind) -> ApiResult<Value> {
        Ok(stored.clone())
    }

    async fn take(&self, shown: Value, _: &ServedKind, _: &ServedKind) -> ApiResult<Value> {
        Ok(shown)
    }
}
