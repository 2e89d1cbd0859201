//! The API server in this process: its parts put together, and what keeps them up to date.

use std::sync::{Arc, OnceLock};

use access::authn::{AuthenticatorChain, LateApi};
use access::authz::Authorization;
use aggregator::{Aggregation, AuthenticationTrust};
use anyhow::{Context as _, Result, bail};
use apiserver::audit::AuditSink;
use apiserver::{Document, InFlight, Server, StandardOpenApi, VersionInfo};
use audit::{AuditLog, Policy};
use auth::groups;
use auth::token::TokenAuthority;
use base::clock::{SharedClock, Timestamp};
use base::drain::{Drains, Stage};
use flowcontrol::Fairness;
use reconcile::{Caches, Engine};

use super::ground::Ground;
use crate::compose::{Process, admission, authn};
use crate::options::ServerOptions;
use crate::pki::Subject;
use crate::pki::renew::{Renewals, Renewed};
use crate::server::at_rest::AtRest;
use crate::server::flow::FlowKeeper;
use crate::server::front_proxy::request_headers;
use crate::server::process as process_use;
use crate::server::transport::Transport;

/// The API server, and the parts of it that follow the API's own objects.
pub(super) struct ApiServer {
    pub(super) server: Server,
    pub(super) renewals: Renewals,
    services: Arc<webhook::Services>,
    authorization: Authorization,
    aggregation: Arc<Aggregation>,
    at_rest: Arc<AtRest>,
    fairness: Option<Arc<Fairness>>,
    audit: Option<Arc<AuditLog>>,
}

impl ApiServer {
    /// Puts the API server together.
    pub(super) fn build(process: &Process, ground: &Ground, now: Timestamp) -> Result<Self> {
        let options = &process.options;
        let services = Arc::new(webhook::Services::default());
        let aggregation = Aggregation::new(services.clone(), ground.front_proxy.identity.clone());
        let late_api: LateApi = Arc::new(OnceLock::new());
        let authorization = Authorization::default();
        let authenticators = authn::authenticators(process, &ground.tokens, &late_api)?;
        let mut renewals = Renewals::default();
        renewals.leaf(ground.front_proxy.identity.clone());
        let kubelet_client = Renewed::new(ground.authority.clone(), apiserver_client(), now)?;
        renewals.leaf(kubelet_client.clone());
        let kinds = resources::all(&resources::Deps {
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            service_networks: vec![ground.service_network],
            node_ports: 30_000..=32_767,
            nodes: Arc::new(Transport::new(&ground.authority, kubelet_client)?),
            tokens: ground.tokens.clone(),
            authenticator: Arc::new(AuthenticatorChain(authenticators.clone())),
            authorizer: authorization.chain(),
            policy: authorization.policy(),
        });
        let webhooks = Arc::new(webhook::Caller::new(services.clone()));
        let keys = options.encryption_provider_config.as_deref();
        let at_rest = AtRest::open(keys, &options.server_dir(), &kinds)?;
        let jwks_uri = format!("https://{}/openid/v1/jwks", ground.address);
        let seats = options.limits.requests_in_flight_max + options.limits.mutating_in_flight_max;
        let fairness = options.limits.is_fair.then(|| Arc::new(Fairness::new(seats)));
        let audit = open_audit(options, &process.clock)?;
        let server = Server::new(apiserver::ServerOptions {
            admission: admission::plugins(process, &authorization, webhooks)?,
            old_versions: options.has("legacy-apis"),
            flow: flow_control(options, fairness.as_ref()),
            request_timeout: options.limits.request_timeout,
            debug: options.limits.debug,
            audit: audit.clone().map(|audit| -> Arc<dyn AuditSink> { audit }),
            authenticators,
            certificate_roles: Some(ground.front_proxy.roles(&ground.authority)?),
            aggregator: Some(aggregation.clone()),
            metrics_sources: metrics_sources(&aggregation, now),
            authorizers: authorization.authorizers(),
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            readiness: process.readiness.clone(),
            openapi: Some(Arc::new(
                StandardOpenApi::new(&VersionInfo::default().git_version)
                    .with_old_versions(options.has("legacy-apis")),
            )),
            version: VersionInfo::default(),
            advertise_address: ground.address.to_string(),
            documents: issuer_documents(&ground.tokens, &jwks_uri),
            transformer: at_rest.clone(),
            ..apiserver::ServerOptions::new(ground.store.clone(), kinds)
        });
        let api = server.object_api();
        if late_api.set(api.clone()).is_err() {
            bail!("the API server was made twice");
        }
        services.serve_from(Arc::downgrade(&api));
        Ok(Self {
            server,
            renewals,
            services,
            authorization,
            aggregation,
            at_rest,
            fairness,
            audit,
        })
    }

    /// Lets the audit end when nothing is served any more: named before the server, its stage is
    /// drained after it.
    pub(super) fn keep_audit(&mut self, drains: &mut Drains) {
        let Some(audit) = self.audit.take() else { return };
        let stage = drains.stage("audit");
        let drain = stage.token();
        stage.spawn(async move {
            drain.cancelled().await;
            // Its panic was reported where it happened.
            let _ = tokio::task::spawn_blocking(move || audit.close()).await;
        });
    }

    /// Starts custom resources. Before anybody acts: a collector that did not know a kind would
    /// miss its owners.
    pub(super) async fn start_definitions(&self, process: &Process, serving: &Stage) {
        serving.spawn(self.at_rest.clone().follow(self.server.clone(), serving.token()));
        let custom = apiextensions::Options {
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            caller: Arc::new(webhook::Caller::new(self.services.clone())),
        };
        let definitions = apiextensions::Definitions::start(self.server.clone(), custom).await;
        serving.spawn(definitions.run(serving.token()));
    }

    /// Lets those parts that are made of the API's objects follow them.
    pub(super) fn follow(&mut self, process: &Process, caches: &Caches, serving: &Stage) {
        // First, so that it has seen what those who act see.
        self.authorization.follow(caches);
        self.aggregation.follow(caches);
        if let Some(fairness) = self.fairness.take() {
            let (api, clock) = (self.server.object_api(), process.clock.clone());
            let keeper = FlowKeeper::new(api, fairness.clone(), caches, clock);
            serving.spawn(keeper.run(serving.token()));
            let drain = serving.token();
            serving.spawn(async move { fairness.keep_adjusting(drain).await });
        }
    }

    /// Starts to watch over the servers behind this one.
    pub(super) fn aggregate(&self, ground: &Ground, engine: &Engine, serving: &Stage) {
        let trust = AuthenticationTrust {
            client_ca_pem: ground.authority.pem(),
            proxy_ca_pem: ground.front_proxy.authority.pem(),
            headers: request_headers(),
        };
        let (caches, local) = (&engine.caches, self.server.group_versions());
        for one in aggregator::reconcilers(&self.aggregation, caches, local, trust) {
            serving.spawn(engine.start(one, caches.client().clone(), serving.token()));
        }
    }
}

/// Numbers that other parts of the process have for `/metrics`.
fn metrics_sources(
    aggregation: &Arc<Aggregation>,
    now: Timestamp,
) -> Vec<apiserver::MetricsSource> {
    let aggregation = aggregation.clone();
    vec![
        Arc::new(move || aggregation.metrics()),
        Arc::new(move || process_use::metrics(now)),
        Arc::new(reconcile::metrics::render),
    ]
}

/// The audit, when it is asked for.
fn open_audit(options: &ServerOptions, clock: &SharedClock) -> Result<Option<Arc<AuditLog>>> {
    let Some(audit) = &options.audit else { return Ok(None) };
    let path = audit.policy_file.display();
    let text = std::fs::read(&audit.policy_file)
        .with_context(|| format!("cannot read --audit-policy-file {path}"))?;
    let policy = Policy::parse(&text).with_context(|| format!("--audit-policy-file {path}"))?;
    let log = AuditLog::open(policy, &audit.log, clock.clone())
        .with_context(|| format!("cannot open --audit-log-path {}", audit.log.path.display()))?;
    Ok(Some(Arc::new(log)))
}

/// Who may be served: by priority and fairness, or by the number of requests alone.
fn flow_control(
    options: &ServerOptions,
    fairness: Option<&Arc<Fairness>>,
) -> Arc<dyn apiserver::FlowControl> {
    let limits = &options.limits;
    let number = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    match fairness {
        Some(fairness) => fairness.clone(),
        None => Arc::new(InFlight::new(
            number(limits.requests_in_flight_max),
            number(limits.mutating_in_flight_max),
        )),
    }
}

/// The documents by which others verify service-account tokens.
fn issuer_documents(tokens: &Arc<TokenAuthority>, jwks_uri: &str) -> Vec<Document> {
    let discovery = tokens.discovery(jwks_uri).to_string();
    let tokens = tokens.clone();
    vec![
        Document {
            path: "/.well-known/openid-configuration".to_owned(),
            media_type: "application/json",
            text: Arc::new(move || discovery.clone()),
        },
        Document {
            path: "/openid/v1/jwks".to_owned(),
            media_type: "application/jwk-set+json",
            text: Arc::new(move || tokens.jwks().to_string()),
        },
    ]
}

/// Who the API server is to kubelets.
fn apiserver_client() -> Subject {
    Subject {
        common_name: "kube-apiserver-kubelet-client".to_owned(),
        organizations: vec![groups::MASTERS.to_owned()],
        ..Subject::default()
    }
}
