//! API aggregation: APIServices, and the groups that other servers answer for.
//!
//! [`Aggregation`] is what the API server asks: who answers for a group's version, what that says
//! of itself, and the way there, as the caller and under the front proxy's own certificate.
//! [`reconcilers`] are the loops that belong to it: upstream runs them in the API server, and so
//! they run wherever that runs, whatever else is switched off. They act through the client like
//! everybody else.
//!
//! Invariants: a server that is down makes its own versions stale and nothing else; nothing is
//! asked of another server but by a caller's request, or by the probe that says whether it is
//! there; what a caller says of itself in the front proxy's headers never leaves.

mod availability;
mod client;
mod discovery;
mod documents;
mod forward;
mod openapi;
mod registration;
mod table;
mod trust;

use std::sync::Arc;

use api::k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use apiserver::aggregation::{Aggregator, RemoteDocument, ServedVersions};
use apiserver::resource::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use auth::UserInfo;
use reconcile::{Caches, Reconciler};
use rustls::client::ResolvesClientCert;
use webhook::ServiceResolver;

pub use trust::AuthenticationTrust;

use client::Clients;
use documents::Documents;
use table::Table;

/// Who the server is when it asks other servers for itself.
fn own_user() -> UserInfo {
    UserInfo::named("system:kube-aggregator", &[auth::groups::MASTERS])
}

/// The groups that other servers answer for.
pub struct Aggregation {
    table: ArcSwap<Table>,
    clients: Clients,
    documents: Documents,
}

impl Aggregation {
    /// An aggregation that finds Services by a resolver and shows a certificate: the front
    /// proxy's, asked for anew at each connection. It knows of no APIService before
    /// [`Aggregation::follow`].
    #[must_use]
    pub fn new(
        services: Arc<dyn ServiceResolver>,
        identity: Arc<dyn ResolvesClientCert>,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: ArcSwap::default(),
            clients: Clients::new(services, identity),
            documents: Documents::default(),
        })
    }

    /// Keeps to the APIServices of a cache. The cache's process owns both, so neither outlives
    /// the other.
    pub fn follow(self: &Arc<Self>, caches: &Caches) {
        let cache = caches.of::<APIService>();
        let (own, known) = (Arc::downgrade(self), cache.clone());
        cache.subscribe(move |_| {
            if let Some(own) = own.upgrade() {
                own.table.store(Arc::new(Table::of(&known.list())));
            }
        });
    }

    /// What `/metrics` says of it.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = String::from(
            "# HELP aggregator_unavailable_apiservice Gauge of APIServices which are marked as unavailable broken down by APIService name.\n\
             # TYPE aggregator_unavailable_apiservice gauge\n",
        );
        for row in &self.table.load().rows {
            if let Some(remote) = &row.remote {
                let (name, down) = (row.name(), u8::from(!remote.is_available));
                text.push_str(&format!(
                    "aggregator_unavailable_apiservice{{name={name:?}}} {down}\n"
                ));
            }
        }
        text
    }
}

/// The loops of aggregation: local APIServices are there, the others say whether they are
/// available, and the ConfigMap tells whom to believe. `local` are the groups and versions that
/// the server serves itself.
#[must_use]
pub fn reconcilers(
    aggregation: &Arc<Aggregation>,
    caches: &Caches,
    local: Vec<(String, String)>,
    trust: AuthenticationTrust,
) -> Vec<Arc<dyn Reconciler>> {
    vec![
        Arc::new(registration::Registration::new(caches, local)),
        Arc::new(availability::Availability::new(caches, aggregation.clone())),
        Arc::new(trust::Keeper::new(caches, trust)),
    ]
}

#[async_trait]
impl Aggregator for Aggregation {
    fn is_remote(&self, group: &str, version: &str) -> bool {
        self.table.load().remote(group, version).is_some()
    }

    async fn forward(
        &self,
        group: &str,
        version: &str,
        user: &UserInfo,
        request: HttpRequest,
    ) -> HttpResponse {
        let remote = self.table.load().remote(group, version).cloned();
        match remote {
            Some(remote) if remote.is_available => {
                forward::forward(&self.clients, &remote, user, request).await
            }
            // It went, or became this server's own, a moment ago.
            _ => forward::unavailable("service unavailable"),
        }
    }

    async fn versions(&self) -> Arc<ServedVersions> {
        self.documents.versions(&self.clients, &self.table.load_full()).await
    }

    async fn openapi_v2(&self) -> Vec<RemoteDocument> {
        self.documents.openapi_v2(&self.clients, &self.table.load_full()).await
    }

    async fn openapi_v3(&self) -> Vec<RemoteDocument> {
        self.documents.openapi_v3(&self.clients, &self.table.load_full()).await
    }
}
