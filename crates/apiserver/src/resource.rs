//! What a kind is to the API server: one object-safe trait.
//!
//! The HTTP layer walks a registry of these and never names a kind. A built-in kind is one file in
//! `resources`; a CustomResourceDefinition yields the same trait object. Objects are JSON values in
//! the *storage version*'s form unless a parameter says otherwise.
//!
//! The order of a create: decode (strict, by [`Resource::schema`]) → convert to the storage
//! version → [`Resource::default`] → server-set metadata → [`Resource::prepare_create`] →
//! mutating admission → `default` again → [`Resource::validate_create`] → validating admission →
//! [`Resource::hook`] → store. An update is the same with the old object beside it.

use std::borrow::Cow;
use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::names::{GroupResource, Gvk};
use api::status::{ApiError, ApiResult};
use async_trait::async_trait;
use auth::UserInfo;
use base::clock::Timestamp;
use serde::Serialize;

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster.
    Cluster,
}

/// A kind's identity: what discovery says and where objects are stored.
#[derive(Debug, Clone)]
pub struct ResourceInfo {
    /// The API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The served versions, the preferred one first.
    pub versions: Vec<VersionInfo>,
    /// The version that the kind's rules see objects in, and that they are stored in. Of a version
    /// with rules of its own ([`Resource::in_version`]) it is that version.
    pub storage_version: Cow<'static, str>,
    /// `pods`.
    pub plural: Cow<'static, str>,
    /// `pod`.
    pub singular: Cow<'static, str>,
    /// `Pod`.
    pub kind: Cow<'static, str>,
    /// `PodList`.
    pub list_kind: Cow<'static, str>,
    /// `po`.
    pub short_names: Vec<Cow<'static, str>>,
    /// `all`.
    pub categories: Vec<Cow<'static, str>>,
    /// Whether objects live in a namespace.
    pub scope: Scope,
    /// The verbs that discovery lists: `create,delete,deletecollection,get,list,patch,update,watch`
    /// or fewer.
    pub verbs: Vec<Cow<'static, str>>,
    /// The prefix of the keys, as upstream has it: `/registry/pods`, `/registry/services/specs`.
    /// A key is `PREFIX/NAMESPACE/NAME` or `PREFIX/NAME`.
    pub key_prefix: Cow<'static, str>,
    /// The hash that discovery shows; empty when nothing is stored.
    pub storage_version_hash: Cow<'static, str>,
}

/// One served version of a kind.
#[derive(Debug, Clone)]
pub struct VersionInfo {
    /// `v1`.
    pub name: Cow<'static, str>,
    /// What to warn callers with, when the version is deprecated.
    pub deprecation_warning: Option<Cow<'static, str>>,
    /// Whether discovery lists the version (removed versions that are still converted may not be).
    pub listed: bool,
}

/// A version that upstream has removed, and that is still read and written by conversion.
///
/// It is known by its whole `apiVersion` wherever a version's name is asked for, since it may be
/// another group's than the kind's own: `extensions/v1beta1` for Deployments of `apps`. So all
/// versions of a kind share one storage, one cache and one set of rules, whatever group they are
/// asked for in.
#[derive(Debug, Clone)]
pub struct OldVersion {
    /// `extensions/v1beta1`.
    pub api_version: String,
    /// What callers are warned with.
    pub warning: String,
    /// Whether discovery lists it: last, and without short names and categories.
    pub listed: bool,
}

impl ResourceInfo {
    /// `apps/v1` for `v1`; an [old version](OldVersion)'s name is one already.
    #[must_use]
    pub fn api_version(&self, version: &str) -> String {
        if version.contains('/') {
            return version.to_owned();
        }
        api::names::join_api_version(&self.group, version)
    }

    /// The kind in one of its versions.
    #[must_use]
    pub fn gvk(&self, version: &str) -> Gvk {
        Gvk::from_api_version(&self.api_version(version), &self.kind)
    }

    /// The group and resource, as errors and authorization name it.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.plural)
    }

    /// Whether the kind knows a verb.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

/// What a strategy may know of the request that it prepares an object for.
#[derive(Debug)]
pub struct WriteContext<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// The present moment, from the injected clock.
    pub now: Timestamp,
    /// The namespace of the request; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// `None` for the object itself, `status` and the like for a subresource.
    pub subresource: Option<&'a str>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
}

/// How a deletion goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The object goes at once (finalizers permitting).
    Immediate,
    /// The object stays, marked, for this many seconds, until its keeper deletes it with 0.
    Graceful {
        /// `deletionGracePeriodSeconds`.
        seconds: i64,
    },
    /// The object stays, marked, until its keeper removes the finalizers in its spec (Namespace).
    /// [`Resource::prepare_deletion`] has changed the object.
    Finalized,
}

/// `propagationPolicy` when the caller gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultPropagation {
    /// Dependents go afterwards.
    #[default]
    Background,
    /// Dependents are kept (ReplicationController, Job by `batch/v1`'s old default).
    Orphan,
}

/// A column of the server-side table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The heading, `Ready`.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// `name` for the column that clients take the name from, else empty.
    pub format: Cow<'static, str>,
    /// What `kubectl` does not show.
    pub description: Cow<'static, str>,
    /// 0 always, 1 with `-o wide`.
    pub priority: i32,
}

/// A row of the server-side table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// One cell a column: string, number, boolean or null.
    pub cells: Vec<Value>,
    /// Row conditions (`Completed` for pods that ended), as `TableRowCondition` values.
    pub conditions: Vec<Value>,
}

/// A subresource, as discovery lists it and the HTTP layer dispatches it.
#[derive(Clone)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `log` …
    pub name: Cow<'static, str>,
    /// The group, version and kind of its body where it is not the parent's: `autoscaling/v1 Scale`.
    pub kind: Option<(Cow<'static, str>, Cow<'static, str>, Cow<'static, str>)>,
    /// The verbs that discovery lists.
    pub verbs: Vec<Cow<'static, str>>,
    /// Who does it.
    pub behaviour: SubresourceBehaviour,
}

/// Who does a subresource's work.
#[derive(Clone)]
pub enum SubresourceBehaviour {
    /// The object itself, written through [`Resource::prepare_update`] and
    /// [`Resource::validate_update`] with `subresource` set (`status`, `ephemeralcontainers`,
    /// `resize`, `approval`, `finalize`).
    View,
    /// The scale subresource, by these paths into the object.
    Scale(ScalePaths),
    /// Anything else: binding, eviction, token, log, exec, proxy.
    Custom(Arc<dyn SubresourceHandler>),
}

/// Where a scale finds its numbers.
#[derive(Debug, Clone)]
pub struct ScalePaths {
    /// `["spec", "replicas"]`.
    pub spec_replicas: Vec<Cow<'static, str>>,
    /// `["status", "replicas"]`.
    pub status_replicas: Vec<Cow<'static, str>>,
    /// The path of a `LabelSelector`, or of a selector in string form; empty for none.
    pub selector: Vec<Cow<'static, str>>,
}

/// A request to a custom subresource. Streaming ones (`log`, `exec`, `proxy`) take the HTTP request
/// as it is and answer an HTTP response.
pub struct SubresourceRequest {
    /// Who asks.
    pub user: UserInfo,
    /// The verb of authorization: `create`, `get`, `update` …
    pub verb: &'static str,
    /// Namespace, name of the parent object.
    pub namespace: String,
    /// Name of the parent object.
    pub name: String,
    /// What follows the subresource in the path (`proxy/…`), without its slash.
    pub rest: String,
    /// `dryRun=All` was given.
    pub dry_run: bool,
    /// The body, decoded to JSON by its kind's schema; `None` for a connecting handler, and for a
    /// request without one.
    pub body: Option<Value>,
    /// The HTTP request; for a connecting handler with its body unread.
    pub http: HttpRequest,
}

/// The body of an HTTP request or response.
pub type HttpBody = axum::body::Body;

/// An HTTP request as the server got it.
pub type HttpRequest = axum::extract::Request;

/// An HTTP response as the server sends it.
pub type HttpResponse = axum::response::Response;

/// A subresource with a life of its own.
#[async_trait]
pub trait SubresourceHandler: Send + Sync {
    /// Whether the handler reads the HTTP body itself and authorization is all that the HTTP layer
    /// does before (exec, attach, port-forward, proxy, log).
    fn is_connect(&self) -> bool {
        false
    }

    /// Older versions of its body's kind that have the same fields, and are read as well.
    fn older_versions(&self) -> &'static [&'static str] {
        &[]
    }

    /// What a connection is admitted by: the fields of its options (`PodExecOptions`), read from
    /// the query and the rest of the path. `None` for handlers that connect in order to read
    /// (`log`), which admission is not asked about.
    fn connect_options(&self, _query: &str, _rest: &str) -> Option<Value> {
        None
    }

    /// Does it. For handlers that are not connecting, the answer is an object (200, or 201 for
    /// `create`), encoded as the client accepts; connecting ones return [`SubresourceAnswer::Http`].
    async fn handle(
        &self,
        api: &dyn ObjectApi,
        request: SubresourceRequest,
    ) -> ApiResult<SubresourceAnswer>;
}

/// The answer of a custom subresource.
pub enum SubresourceAnswer {
    /// An object to encode, with its HTTP status.
    Object(u16, Value),
    /// A whole HTTP response.
    Http(HttpResponse),
}

/// What a kind does around the store: take an address, give it back when the write fails.
#[async_trait]
pub trait WriteHook: Send + Sync {
    /// Called after validation and before the store. `new` is `None` for a deletion, `old` for a
    /// creation. May change `new`. With `dry_run`, takes nothing for good.
    async fn begin(
        &self,
        api: &dyn ObjectApi,
        new: Option<&mut Value>,
        old: Option<&Value>,
        dry_run: bool,
    ) -> ApiResult<Box<dyn PendingHook>>;
}

/// What a hook has taken and may have to give back.
#[async_trait]
pub trait PendingHook: Send {
    /// The write is stored.
    async fn commit(self: Box<Self>, api: &dyn ObjectApi);
    /// The write failed.
    async fn rollback(self: Box<Self>, api: &dyn ObjectApi);
}

/// Reading and writing objects inside the server: as the server itself, without authentication,
/// authorization and admission, but with strategies, validation, hooks and the store's rules.
#[async_trait]
pub trait ObjectApi: Send + Sync {
    /// One object, 404 when it does not exist. `resource` as in `pods` or `deployments.apps`'
    /// group and plural; `namespace` empty for cluster-scoped objects.
    async fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> ApiResult<Arc<Value>>;

    /// All objects of a resource in a namespace, or everywhere when it is empty.
    async fn list(&self, resource: &GroupResource, namespace: &str) -> ApiResult<Vec<Arc<Value>>>;

    /// Creates an object; answers what was stored.
    async fn create(
        &self,
        resource: &GroupResource,
        object: Value,
        dry_run: bool,
    ) -> ApiResult<Value>;

    /// Updates an object (or a subresource of it) at the resource version that it carries.
    async fn update(
        &self,
        resource: &GroupResource,
        subresource: Option<&str>,
        object: Value,
        dry_run: bool,
    ) -> ApiResult<Value>;

    /// Reads, changes and writes back until no other writer came between. `change` may be called
    /// several times and fails the whole with its error.
    async fn modify(
        &self,
        resource: &GroupResource,
        subresource: Option<&str>,
        namespace: &str,
        name: &str,
        dry_run: bool,
        change: &(dyn for<'v> Fn(&'v mut Value) -> ApiResult<()> + Send + Sync),
    ) -> ApiResult<Value>;

    /// Deletes an object with `DeleteOptions` (as JSON; `{}` for none).
    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        options: &Value,
        dry_run: bool,
    ) -> ApiResult<Value>;
}

/// A kind.
pub trait Resource: Send + Sync + 'static {
    /// Names, versions, verbs, where it is stored.
    fn info(&self) -> &ResourceInfo;

    /// The versions that upstream has removed and that are served by conversion.
    fn old_versions(&self) -> &[OldVersion] {
        &[]
    }

    /// Its subresources.
    fn subresources(&self) -> Vec<Subresource> {
        Vec::new()
    }

    /// The schema's definition name (`io.k8s.api.core.v1.Pod`) for a version, by which bodies are
    /// decoded strictly, merged and described. `None`: everything is taken as it is.
    fn schema(&self, version: &str) -> Option<&str>;

    /// The schema by which bodies of a version are decoded. A CustomResourceDefinition gives its
    /// own; built-in kinds are found by their definition's name.
    fn body_schema(&self, version: &str) -> api::schema::Schema {
        self.schema(version).and_then(api::schema::by_name).unwrap_or(api::schema::Schema::Any)
    }

    /// Turns an object into another of the kind's versions.
    ///
    /// # Errors
    /// 400 when the object cannot be said in that version.
    fn convert(&self, object: Value, to_version: &str) -> ApiResult<Value> {
        let mut object = object;
        object["apiVersion"] = self.info().api_version(to_version).into();
        Ok(object)
    }

    /// The kind as one of its versions has it, where versions have rules of their own: custom kinds
    /// default, validate and show an object by the schema of the version that the caller speaks.
    /// Its info names that version as the storage version, and no rule of it sees another.
    fn in_version(&self, _version: &str) -> Option<Arc<dyn Resource>> {
        None
    }

    /// Who turns stored objects into the versions of [`Resource::in_version`] and back.
    fn converter(&self) -> Option<Arc<dyn Converter>> {
        None
    }

    /// Fills in what the caller left out (stage D and G of the defaults table).
    fn default(&self, object: &mut Value);

    /// Clears and sets what a creator may not decide: status, generation 1, and the kind's own.
    fn prepare_create(&self, ctx: &WriteContext<'_>, object: &mut Value);

    /// Keeps what an updater may not change: status on the main resource, spec on `status`;
    /// raises `metadata.generation` when the spec changed.
    fn prepare_update(&self, ctx: &WriteContext<'_>, object: &mut Value, old: &Value);

    /// What is wrong with a new object. Metadata has been checked already.
    fn validate_create(&self, ctx: &WriteContext<'_>, object: &Value) -> ErrorList;

    /// What the kind finds wrong with the metadata of a changed object; `compared` is what a
    /// comparison with the old object found.
    fn validate_changed_meta(&self, _new: &Value, compared: ErrorList) -> ErrorList {
        compared
    }

    /// What is wrong with a change.
    fn validate_update(&self, ctx: &WriteContext<'_>, object: &Value, old: &Value) -> ErrorList;

    /// How names are checked: upstream's rule for `metadata.name`, as messages. Default: DNS
    /// subdomain (RFC 1123). `prefix` is true for a `generateName`.
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String>;

    /// Warnings that a writer gets in `Warning` headers.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// How an object is deleted; may change it (Namespace's phase). `grace` is what the caller
    /// asked for.
    fn prepare_deletion(
        &self,
        _ctx: &WriteContext<'_>,
        _object: &mut Value,
        _grace: Option<i64>,
    ) -> Deletion {
        Deletion::Immediate
    }

    /// What becomes of dependents when the caller does not say.
    fn default_propagation(&self) -> DefaultPropagation {
        DefaultPropagation::Background
    }

    /// Whether updates without a resource version are allowed.
    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// Whether a PUT of an object that does not exist creates it (Lease, Event and some others).
    fn allows_create_on_update(&self) -> bool {
        false
    }

    /// The fields that field selectors know besides `metadata.name` and `metadata.namespace`.
    fn selectable_fields(&self) -> &[Cow<'static, str>] {
        &[]
    }

    /// Whether field selectors of this version know a field; the list may be that of all versions.
    fn selects(&self, field: &str) -> bool {
        self.selectable_fields().iter().any(|known| known == field)
    }

    /// The value of a selectable field.
    fn field<'a>(&self, object: &'a Value, name: &str) -> Cow<'a, str> {
        let path: Vec<_> = name.split('.').collect();
        match api::object::at(object, &path) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(other.to_string()),
            None => Cow::Borrowed(""),
        }
    }

    /// Fields that a write through an endpoint resets, so that nobody owns them by it: the status
    /// by the object itself, the spec by `status`; dots between names.
    fn reset_fields(&self, subresource: Option<&str>) -> Vec<&'static str> {
        match subresource {
            Some("status") => vec!["spec"],
            None if self.subresources().iter().any(|one| one.name == "status") => vec!["status"],
            _ => Vec::new(),
        }
    }

    /// Whether a deletion answers the object that is gone, and not that it succeeded.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Whether the kind comes from a CustomResourceDefinition: items of its lists keep their
    /// `apiVersion` and `kind`, and strategic merge patches are refused.
    fn is_custom(&self) -> bool {
        false
    }

    /// What OpenAPI says of a custom kind's version.
    fn openapi(&self, _version: &str) -> Option<api::openapi::CustomKind> {
        None
    }

    /// Fills in what an object that was stored long ago lacks (defaults of a newer schema).
    /// Whether anything changed.
    fn complete_stored(&self, _object: &mut Value) -> bool {
        false
    }

    /// Whether nothing but `metadata` keeps a deleted object: a namespace is also kept by
    /// `spec.finalizers`.
    fn is_finished(&self, object: &Value) -> bool {
        self.is_custom() || api::object::list_at(object, &["spec", "finalizers"]).is_empty()
    }

    /// The columns of the table.
    fn columns(&self) -> &[Column];

    /// The row of an object.
    fn row(&self, object: &Value, now: Timestamp) -> Row;

    /// What happens around the store.
    fn hook(&self) -> Option<Arc<dyn WriteHook>> {
        None
    }

    /// Writes that need not wait for the disk (Leases and Events).
    fn is_relaxed(&self) -> bool {
        false
    }

    /// Whether objects tell the server itself what to do (webhooks, policies): a write is
    /// acknowledged once this server sees it.
    fn configures_server(&self) -> bool {
        false
    }

    /// How long an object lives after its last write (Events).
    fn ttl(&self) -> Option<std::time::Duration> {
        None
    }

    /// For a virtual kind (TokenReview, SubjectAccessReview, ComponentStatus): who answers instead
    /// of the store.
    fn virtual_handler(&self) -> Option<Arc<dyn VirtualResource>> {
        None
    }
}

/// Conversion that may have to ask somebody else: a custom kind's webhook. What it made of a stored
/// object is remembered as long as that object is the newest, so each is converted once.
#[async_trait]
pub trait Converter: Send + Sync {
    /// Turns objects, which need not all be in the same version, into one of the kind's versions;
    /// in the same order.
    async fn convert(&self, objects: Vec<Value>, to_version: &str) -> ApiResult<Vec<Value>>;
}

/// A kind that is computed, not stored.
#[async_trait]
pub trait VirtualResource: Send + Sync {
    /// Answers `create` (reviews).
    async fn create(
        &self,
        _api: &dyn ObjectApi,
        _user: &UserInfo,
        _namespace: &str,
        _object: Value,
    ) -> ApiResult<Value> {
        Err(ApiError::no_such_path())
    }

    /// Answers `list` and `get` (component statuses).
    async fn list(&self, _api: &dyn ObjectApi, _namespace: &str) -> ApiResult<Vec<Value>> {
        Err(ApiError::no_such_path())
    }
}
