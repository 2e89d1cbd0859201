//! The server: what it is made of, and the handles that others hold.

use std::sync::Arc;
use std::time::Duration;

use api::names::GroupResource;
use auth::{UserInfo, users};
use base::clock::SharedClock;
use base::readiness::{Part, Readiness};
use base::rng::SharedRng;
use store::SharedStore;

use crate::admission::AdmissionPlugin;
use crate::aggregation::Aggregator;
use crate::audit::AuditSink;
use crate::authn::{Authenticator, CertificateRoles};
use crate::authz::Authorizer;
use crate::filters::flow::{FlowControl, InFlight};
use crate::metrics::Metrics;
use crate::openapi::{OpenApiSource, StandardOpenApi};
use crate::registry::{Entry, Registry};
use crate::resource::{ObjectApi, Resource};
use crate::storage::{Feed, Identity, Storage, ValueTransformer};
use crate::version::VersionInfo;

/// Renders numbers that somebody else counts, in the text form of `/metrics`.
pub type MetricsSource = Arc<dyn Fn() -> String + Send + Sync>;

/// Everything that a server is made of.
pub struct ServerOptions {
    /// Where objects are.
    pub store: SharedStore,
    /// The kinds that are served from the start.
    pub resources: Vec<Arc<dyn Resource>>,
    /// Whether versions that upstream has removed are served by conversion.
    pub old_versions: bool,
    /// The admission plugins, in their order.
    pub admission: Vec<Arc<dyn AdmissionPlugin>>,
    /// Asked in order; the first that knows the caller decides.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Whose client certificates are front proxies'; all are users' without it.
    pub certificate_roles: Option<Arc<CertificateRoles>>,
    /// Asked in order; without any, everything is allowed.
    pub authorizers: Vec<Arc<dyn Authorizer>>,
    /// Whether callers without credentials are `system:anonymous` instead of refused.
    pub allow_anonymous: bool,
    /// Wall time.
    pub clock: SharedClock,
    /// For names and uids.
    pub rng: SharedRng,
    /// What `/readyz` reports.
    pub readiness: Readiness,
    /// What `/version` says.
    pub version: VersionInfo,
    /// Encryption at rest.
    pub transformer: Arc<dyn ValueTransformer>,
    /// Who may be served now.
    pub flow: Arc<dyn FlowControl>,
    /// How long a request that does not last may take.
    pub request_timeout: Duration,
    /// Whether `/debug` is there.
    pub debug: bool,
    /// Who is told of every request.
    pub audit: Option<Arc<dyn AuditSink>>,
    /// The OpenAPI documents.
    pub openapi: Option<Arc<dyn OpenApiSource>>,
    /// The groups that other servers answer for.
    pub aggregator: Option<Arc<dyn Aggregator>>,
    /// Documents of others at paths of their own (`/.well-known/openid-configuration`,
    /// `/openid/v1/jwks`).
    pub documents: Vec<Document>,
    /// The address that discovery gives to clients, `10.0.0.1:6443`.
    pub advertise_address: String,
    /// What Prometheus text other parts add to `/metrics`.
    pub metrics_sources: Vec<MetricsSource>,
}

impl ServerOptions {
    /// Options with a store and kinds, and defaults for everything else: no admission, everyone is
    /// anonymous, and everything is allowed.
    #[must_use]
    pub fn new(store: SharedStore, resources: Vec<Arc<dyn Resource>>) -> Self {
        Self {
            store,
            resources,
            old_versions: true,
            admission: Vec::new(),
            authenticators: Vec::new(),
            certificate_roles: None,
            authorizers: Vec::new(),
            allow_anonymous: true,
            clock: base::clock::system(),
            rng: SharedRng::from_os(),
            readiness: Readiness::default(),
            version: VersionInfo::default(),
            transformer: Arc::new(Identity),
            flow: Arc::new(InFlight::default()),
            request_timeout: Duration::from_secs(60),
            debug: false,
            audit: None,
            openapi: Some(Arc::new(StandardOpenApi::new(&VersionInfo::default().git_version))),
            aggregator: None,
            documents: Vec::new(),
            advertise_address: "127.0.0.1:6443".to_owned(),
            metrics_sources: Vec::new(),
        }
    }
}

/// A document that somebody else makes and the server hands out.
pub struct Document {
    /// Where.
    pub path: String,
    /// `application/json` …
    pub media_type: &'static str,
    /// What it says now.
    pub text: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What handlers work with.
pub(crate) struct Core {
    pub(crate) storage: Storage,
    pub(crate) registry: Registry,
    pub(crate) admission: Vec<Arc<dyn AdmissionPlugin>>,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) certificate_roles: Option<Arc<CertificateRoles>>,
    pub(crate) authorizers: Vec<Arc<dyn Authorizer>>,
    pub(crate) allow_anonymous: bool,
    pub(crate) clock: SharedClock,
    pub(crate) rng: SharedRng,
    pub(crate) readiness: Readiness,
    pub(crate) version: VersionInfo,
    pub(crate) flow: Arc<dyn FlowControl>,
    pub(crate) request_timeout: Duration,
    pub(crate) debug: bool,
    pub(crate) audit: Option<Arc<dyn AuditSink>>,
    pub(crate) openapi: Option<Arc<dyn OpenApiSource>>,
    pub(crate) aggregator: Option<Arc<dyn Aggregator>>,
    pub(crate) documents: Vec<Document>,
    pub(crate) advertise_address: String,
    pub(crate) metrics: Metrics,
    pub(crate) metrics_sources: Vec<MetricsSource>,
    /// Who the server is when it writes for itself.
    pub(crate) own_user: UserInfo,
}

/// A running API server. Cheap to clone; stops when the last handle is gone.
#[derive(Clone)]
pub struct Server {
    pub(crate) core: Arc<Core>,
}

impl Server {
    /// Starts a server: its caches begin to load, and requests wait for them. Must be called
    /// inside a tokio runtime.
    #[must_use]
    pub fn new(options: ServerOptions) -> Self {
        let registry = Registry::new(options.resources, options.old_versions);
        let snapshot = registry.snapshot();
        let cachers: Vec<_> = snapshot
            .entries()
            .iter()
            .filter(|entry| is_kept(entry))
            .map(|entry| entry.cacher.clone())
            .collect();
        let part = options.readiness.part("informer-sync");
        let feed = Feed::start(options.store.clone(), options.transformer.clone(), &cachers);
        tokio::spawn(report_loaded(part, cachers));
        Self {
            core: Arc::new(Core {
                storage: Storage { store: options.store, transformer: options.transformer, feed },
                registry,
                admission: options.admission,
                authenticators: options.authenticators,
                certificate_roles: options.certificate_roles,
                authorizers: options.authorizers,
                allow_anonymous: options.allow_anonymous,
                clock: options.clock,
                rng: options.rng,
                readiness: options.readiness,
                version: options.version,
                flow: options.flow,
                request_timeout: options.request_timeout,
                debug: options.debug,
                audit: options.audit,
                openapi: options.openapi,
                aggregator: options.aggregator,
                documents: options.documents,
                advertise_address: options.advertise_address,
                metrics: Metrics::default(),
                metrics_sources: options.metrics_sources,
                own_user: UserInfo::named(users::APISERVER, &[auth::groups::MASTERS]),
            }),
        }
    }

    /// The server's own reads and writes, past authorization and admission.
    #[must_use]
    pub fn object_api(&self) -> Arc<dyn ObjectApi> {
        self.core.clone()
    }

    /// Waits until the caches are loaded and every other part of the process that was named says
    /// that it is ready.
    pub async fn core_ready(&self) {
        self.core.readiness.ready().await;
    }

    /// Serves one more kind, or another form of one that is served. Returns when its objects are
    /// loaded; requests may come before, and wait.
    pub async fn add_resource(&self, resource: Arc<dyn Resource>) {
        let (entry, replaced) = self.core.registry.put(resource);
        if is_kept(&entry) {
            self.core.storage.feed.add(entry.cacher.clone()).await;
        }
        if let Some(replaced) = replaced {
            self.core.storage.feed.remove(replaced.cacher.clone()).await;
        }
    }

    /// Serves a kind no longer; its watches end.
    pub async fn remove_resource(&self, resource: &GroupResource) {
        if let Some(removed) = self.core.registry.remove(resource) {
            self.core.storage.feed.remove(removed.cacher.clone()).await;
        }
    }

    /// Fires when objects of a kind that is served may have changed: the server's own parts follow
    /// kinds by it, and look then at what there is. Several changes may fire once.
    #[must_use]
    pub fn changes(&self, resource: &GroupResource) -> Option<tokio::sync::watch::Receiver<()>> {
        let snapshot = self.core.registry.snapshot();
        snapshot.by_resource(resource).map(|entry| entry.cacher.changes())
    }

    /// The kind that is served under a name.
    #[must_use]
    pub fn resource(&self, resource: &GroupResource) -> Option<Arc<dyn Resource>> {
        let snapshot = self.core.registry.snapshot();
        snapshot.by_resource(resource).map(|entry| entry.resource.clone())
    }

    /// Namespace and name of every object of a kind, without reading one.
    pub async fn object_names(&self, resource: &GroupResource) -> Vec<(String, String)> {
        let snapshot = self.core.registry.snapshot();
        let Some(entry) = snapshot.by_resource(resource).cloned() else { return Vec::new() };
        drop(snapshot);
        entry.cacher.loaded().await;
        let namespaced = entry.is_namespaced();
        let prefix = entry.resource.info().key_prefix.clone();
        let view = entry.cacher.view(&entry.cacher.prefix, None, None, 0, |_| true);
        let name = |object: &Arc<crate::storage::Stored>| {
            let (namespace, name) = object.ns_name(&prefix, namespaced);
            (namespace.to_owned(), name.to_owned())
        };
        view.objects.iter().map(name).collect()
    }

    /// The groups and versions that this server serves itself and lists, but for those that
    /// upstream has removed.
    #[must_use]
    pub fn group_versions(&self) -> Vec<(String, String)> {
        let snapshot = self.core.registry.snapshot();
        let all = snapshot.group_versions();
        all.into_iter()
            .flat_map(|(group, versions)| versions.into_iter().map(move |version| (group, version)))
            .filter(|(group, version)| !snapshot.is_old(group, version))
            .map(|(group, version)| (group.to_owned(), version.to_owned()))
            .collect()
    }

    /// Loads the objects of a kind anew from the store, after the way in which they are decrypted
    /// has changed. Watches of the kind end, and their clients begin anew.
    pub async fn reload(&self, resource: &GroupResource) {
        let entry = self.core.registry.snapshot().by_resource(resource).cloned();
        if let Some(entry) = entry.filter(|entry| is_kept(entry)) {
            self.core.storage.feed.reload(entry.cacher.clone()).await;
        }
    }

    /// Makes discovery anew.
    pub fn refresh_discovery(&self) {
        self.core.registry.refresh();
    }
}

/// Whether objects of the kind are in the store.
fn is_kept(entry: &Entry) -> bool {
    entry.resource.virtual_handler().is_none()
}

async fn report_loaded(part: Part, cachers: Vec<Arc<crate::storage::Cacher>>) {
    for cacher in cachers {
        cacher.loaded().await;
    }
    part.ready();
}
