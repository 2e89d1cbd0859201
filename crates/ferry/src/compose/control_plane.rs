//! The control plane: store, API server, and those who act through it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use access::authn::{AuthenticatorChain, LateApi};
use access::authz::Authorization;
use aggregator::{Aggregation, AuthenticationTrust};
use anyhow::{Context as _, Result, bail};
use apiserver::audit::AuditSink;
use apiserver::{Document, InFlight, Server, StandardOpenApi, VersionInfo};
use audit::{AuditLog, Policy};
use auth::token::TokenAuthority;
use auth::{UserInfo, groups, users};
use base::clock::{SharedClock, Timestamp, rfc3339_seconds};
use base::drain::Drains;
use flowcontrol::Fairness;
use ipnet::IpNet;
use parking_lot::Mutex;
use reconcile::{Caches, Engine};
use store::SharedStore;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Process;
use super::addons::Addons;
use crate::options::{Datastore, ServerOptions};
use crate::pki::renew::{Renewals, Renewed};
use crate::pki::sign::RequestSigner;
use crate::pki::tokens::LegacyTokens;
use crate::pki::{self, Authority, Subject, private_dir, write_secret};
use crate::server::at_rest::AtRest;
use crate::server::flow::FlowKeeper;
use crate::server::front_proxy::{FrontProxy, request_headers};
use crate::server::kubernetes_service::{Keeper, KubernetesService};
use crate::server::transport::Transport;
use crate::server::{bootstrap, kubeconfig, process as process_use};

/// The names under which the scheduler and the controllers report that they are ready.
pub(crate) const SCHEDULER_PART: &str = "scheduler";
pub(crate) const CONTROLLERS_PART: &str = "controllers";

/// A running control plane.
pub(crate) struct ControlPlane {
    /// The in-process API server.
    pub(crate) server: Server,
    /// The caches that all parts of the process share.
    pub(crate) caches: Caches,
    /// Where the API server listens.
    pub(crate) address: SocketAddr,
    /// The cluster's authority.
    pub(crate) authority: Arc<Authority>,
    tokens: Arc<TokenAuthority>,
    root_ca: watch::Receiver<String>,
    renewals: Mutex<Renewals>,
    service_network: IpNet,
}

impl ControlPlane {
    /// Opens the store, starts the API server, and makes what every cluster has.
    pub(crate) async fn start(process: &Process, drains: &mut Drains) -> Result<Self> {
        let options = &process.options;
        let now = process.clock.now();
        let tls_dir = options.server_dir().join("tls");
        private_dir(&options.data_dir)?;
        private_dir(&options.server_dir())?;
        private_dir(&tls_dir)?;
        // The port first: someone else's server must end this one before it touches any data.
        let bind = SocketAddr::from((options.bind_address, options.https_port));
        let listener = TcpListener::bind(bind).await.with_context(|| {
            format!("cannot listen on {bind}; is another server running? (--https-port)")
        })?;
        let address = SocketAddr::from((process.node_ip, listener.local_addr()?.port()));
        let store = open_store(options).await?;
        let service_network: IpNet = options
            .service_cidr
            .parse()
            .with_context(|| format!("--service-cidr {}", options.service_cidr))?;
        let authority = Arc::new(Authority::open(&tls_dir, "ca", now)?);
        let front_proxy = FrontProxy::open(&tls_dir, now)?;
        let services = Arc::new(webhook::Services::default());
        let aggregation = Aggregation::new(services.clone(), front_proxy.identity.clone());
        let tokens = Arc::new(pki::tokens::open(&tls_dir)?);
        let late_api: LateApi = Arc::new(OnceLock::new());
        let authorization = Authorization::default();
        let authenticators = super::authn::authenticators(process, &tokens, &late_api)?;
        let mut renewals = Renewals::default();
        renewals.leaf(front_proxy.identity.clone());
        let kubelet_client = Renewed::new(authority.clone(), apiserver_client(), now)?;
        renewals.leaf(kubelet_client.clone());
        let deps = resources::Deps {
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            service_networks: vec![service_network],
            node_ports: 30_000..=32_767,
            nodes: Arc::new(Transport::new(&authority, kubelet_client)?),
            tokens: tokens.clone(),
            authenticator: Arc::new(AuthenticatorChain(authenticators.clone())),
            authorizer: authorization.chain(),
            policy: authorization.policy(),
        };
        let webhooks = Arc::new(webhook::Caller::new(services.clone()));
        let kinds = resources::all(&deps);
        let keys = options.encryption_provider_config.as_deref();
        let at_rest = AtRest::open(keys, &options.server_dir(), &kinds)?;
        let jwks_uri = format!("https://{address}/openid/v1/jwks");
        let seats = options.limits.requests_in_flight_max + options.limits.mutating_in_flight_max;
        let fairness = options.limits.is_fair.then(|| Arc::new(Fairness::new(seats)));
        let audit = open_audit(options, &process.clock)?;
        let server = Server::new(apiserver::ServerOptions {
            admission: super::admission::plugins(process, &authorization, webhooks)?,
            old_versions: options.has("legacy-apis"),
            flow: flow_control(options, fairness.as_ref()),
            request_timeout: options.limits.request_timeout,
            debug: options.limits.debug,
            audit: audit.clone().map(|audit| -> Arc<dyn AuditSink> { audit }),
            authenticators,
            certificate_roles: Some(front_proxy.roles(&authority)?),
            aggregator: Some(aggregation.clone()),
            metrics_sources: vec![
                {
                    let aggregation = aggregation.clone();
                    Arc::new(move || aggregation.metrics())
                },
                Arc::new(move || process_use::metrics(now)),
                Arc::new(reconcile::metrics::render),
            ],
            authorizers: authorization.authorizers(),
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            readiness: process.readiness.clone(),
            openapi: Some(Arc::new(StandardOpenApi::new(&VersionInfo::default().git_version))),
            version: VersionInfo::default(),
            advertise_address: address.to_string(),
            documents: issuer_documents(&tokens, &jwks_uri),
            transformer: at_rest.clone(),
            ..apiserver::ServerOptions::new(store, kinds)
        });
        let api = server.object_api();
        if late_api.set(api.clone()).is_err() {
            bail!("the API server was made twice");
        }
        services.serve_from(Arc::downgrade(&api));
        if let Some(audit) = audit {
            // Named before the server, so drained after it: the log ends when nothing is served.
            let stage = drains.stage("audit");
            let drain = stage.token();
            stage.spawn(async move {
                drain.cancelled().await;
                // Its panic was reported where it happened.
                let _ = tokio::task::spawn_blocking(move || audit.close()).await;
            });
        }
        let serving = drains.stage("apiserver");
        serving.spawn(at_rest.follow(server.clone(), serving.token()));
        // Before anybody acts: a collector that did not know a kind would miss its owners.
        let custom = custom_kinds(process, services);
        let definitions = apiextensions::Definitions::start(server.clone(), custom).await;
        serving.spawn(definitions.run(serving.token()));
        let own = UserInfo::named(users::APISERVER, &[groups::MASTERS]);
        let client = kube::Client::new(server.client_service_as(own, "kube-apiserver"), "default");
        let caches = Caches::new(client, process.rng.clone(), serving.token());
        // First, so that it has seen what those who act see.
        authorization.follow(&caches);
        aggregation.follow(&caches);
        if let Some(fairness) = fairness {
            let clock = process.clock.clone();
            let keeper = FlowKeeper::new(api.clone(), fairness.clone(), &caches, clock);
            serving.spawn(keeper.run(serving.token()));
            let drain = serving.token();
            serving.spawn(async move { fairness.keep_adjusting(drain).await });
        }
        let hook = process.readiness.part("poststarthook/bootstrap");
        let public = kubeconfig::public(&format!("https://{address}"), &authority.pem());
        let own = bootstrap::Own {
            service_cidr: &options.service_cidr,
            today: rfc3339_seconds(now)[..10].to_owned(),
            public_kubeconfig: serde_norway::to_string(&public)?,
        };
        bootstrap::bootstrap(&*api, &own)
            .await
            .context("cannot make the objects that every cluster has")?;
        hook.ready();
        let engine = Engine {
            caches: caches.clone(),
            clock: process.clock.clone(),
            rng: process.rng.clone(),
        };
        let trust = AuthenticationTrust {
            client_ca_pem: authority.pem(),
            proxy_ca_pem: front_proxy.authority.pem(),
            headers: request_headers(),
        };
        let local = server.group_versions();
        for one in aggregator::reconcilers(&aggregation, &caches, local, trust) {
            serving.spawn(engine.start(one, caches.client().clone(), serving.token()));
        }
        let clients = [&*authority, &*front_proxy.authority];
        let own = Renewed::new(authority.clone(), own_subject(process, service_network), now)?;
        renewals.leaf(own.clone());
        serving.spawn({
            let (server, drain) = (server.clone(), serving.token());
            let (config, failure) = (tls_config(&clients, own)?, process.failure.clone());
            async move {
                if let Err(error) = apiserver::serve_tls(listener, config, server, drain).await {
                    // Nobody comes in any more: that must end the process, not stay in a log.
                    failure.report(anyhow::anyhow!(error).context("the API server cannot listen"));
                }
            }
        });
        let (ca_changed, root_ca) = watch::channel(authority.pem());
        renewals.authority(authority.clone(), tls_dir.clone(), ca_changed);
        serving.spawn(pki::tokens::follow(tls_dir, tokens.clone(), serving.token()));
        let control_plane = Self {
            server,
            caches,
            address,
            authority,
            tokens,
            root_ca,
            renewals: Mutex::new(renewals),
            service_network,
        };
        control_plane.write_kubeconfig(process)?;
        Ok(control_plane)
    }

    /// Keeps one more leaf of this process valid while it runs.
    pub(crate) fn renewed(&self, subject: Subject, now: Timestamp) -> Result<Arc<Renewed>> {
        let leaf = Renewed::new(self.authority.clone(), subject, now)?;
        self.renewals.lock().leaf(leaf.clone());
        Ok(leaf)
    }

    /// Starts to renew what expires: after everything that does has been made.
    pub(crate) fn start_renewing(&self, process: &Process, drains: &mut Drains) {
        let stage = drains.stage("renewal");
        let renewals = std::mem::take(&mut *self.renewals.lock());
        stage.spawn(renewals.run(process.clock.clone(), stage.token()));
    }

    /// A client of the API server in this process, under an identity.
    pub(crate) fn client(&self, user: UserInfo, agent: &'static str) -> kube::Client {
        kube::Client::new(self.server.client_service_as(user, agent), "default")
    }

    /// Starts the controllers and the scheduler.
    pub(crate) fn start_acting(&self, process: &Process, drains: &mut Drains) {
        let options = &process.options;
        let acting = drains.stage("controllers");
        if options.has("controllers") {
            let controllers = controllers::ControllersOptions {
                cluster_cidr: options.cluster_cidr.clone(),
                root_ca_pem: self.root_ca.clone(),
                signer: Some(Arc::new(RequestSigner {
                    authority: self.authority.clone(),
                    clock: process.clock.clone(),
                    rng: process.rng.clone(),
                })),
                token_issuer: Some(Arc::new(LegacyTokens(self.tokens.clone()))),
                disabled: BTreeSet::new(),
                ready: Some(process.readiness.part(CONTROLLERS_PART)),
                clock: process.clock.clone(),
                rng: process.rng.clone(),
                ..controllers::ControllersOptions::default()
            };
            let server = self.server.clone();
            let client_for = move |name: &str| {
                let user = controller_identity(name);
                let service = server.client_service_as(user, "kube-controller-manager");
                kube::Client::new(service, "default")
            };
            acting.spawn(controllers::run(
                client_for,
                self.caches.clone(),
                controllers,
                acting.token(),
            ));
        }
        if options.has("scheduler") {
            let user = UserInfo::named(users::SCHEDULER, &[]);
            let client = self.client(user, "kube-scheduler");
            let scheduler = scheduler::SchedulerOptions {
                name: "default-scheduler".to_owned(),
                clock: process.clock.clone(),
                rng: process.rng.clone(),
                ready: process.readiness.part(SCHEDULER_PART),
            };
            acting.spawn(scheduler::run(scheduler, self.caches.clone(), client, acting.token()));
        }
        let keeper = Keeper::new(
            self.caches.clone(),
            KubernetesService {
                cluster_ip: first_address(self.service_network),
                address: self.address.ip(),
                port: self.address.port(),
            },
        );
        let engine = Engine {
            caches: self.caches.clone(),
            clock: process.clock.clone(),
            rng: process.rng.clone(),
        };
        let own = || UserInfo::named(users::APISERVER, &[groups::MASTERS]);
        let client = self.client(own(), "kube-apiserver");
        acting.spawn(engine.start(keeper, client, acting.token()));
        let client = self.client(own(), "ferry-addons");
        acting.spawn(engine.start(Addons::new(process), client, acting.token()));
    }

    /// Writes the administrator's kubeconfig into the data directory, and where a flag says.
    fn write_kubeconfig(&self, process: &Process) -> Result<()> {
        let options = &process.options;
        let admin = Subject {
            common_name: "kubernetes-admin".to_owned(),
            organizations: vec![groups::MASTERS.to_owned()],
            ..Subject::default()
        };
        let leaf = self.authority.leaf(&admin, process.clock.now())?;
        let host = match options.bind_address {
            any if any.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            one => one,
        };
        let url = format!("https://{}", SocketAddr::from((host, self.address.port())));
        let config = kubeconfig::kubeconfig(&url, &self.authority.pem(), &leaf);
        let text = serde_norway::to_string(&config).context("cannot write the kubeconfig")?;
        let own = options.server_dir().join("kubeconfig.yaml");
        for path in [Some(&own), options.write_kubeconfig.as_ref()].into_iter().flatten() {
            if let Some(dir) =
                path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists())
            {
                private_dir(dir)?;
            }
            write_secret(path, text.as_bytes())?;
        }
        Ok(())
    }
}

/// What custom resources need of the process.
fn custom_kinds(process: &Process, services: Arc<webhook::Services>) -> apiextensions::Options {
    apiextensions::Options {
        clock: process.clock.clone(),
        rng: process.rng.clone(),
        caller: Arc::new(webhook::Caller::new(services)),
    }
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

/// The engine of a datastore. Opening the embedded one reads its files, so it has a thread of its
/// own.
async fn open_store(options: &ServerOptions) -> Result<SharedStore> {
    match &options.datastore {
        Datastore::Embedded => {
            let dir = options.server_dir().join("db");
            let settings = store::embedded::EmbeddedOptions::new(dir.clone());
            let open = move || store::embedded::open(settings);
            let opened = tokio::task::spawn_blocking(open).await.context("opening the store")?;
            Ok(opened.with_context(|| format!("cannot open the store in {}", dir.display()))?)
        }
        Datastore::Etcd(members) => {
            let settings = store::etcd::EtcdOptions {
                endpoints: members.clone(),
                ca_file: options.datastore_cafile.clone(),
                cert_file: options.datastore_certfile.clone(),
                key_file: options.datastore_keyfile.clone(),
                ..store::etcd::EtcdOptions::default()
            };
            let connected = store::etcd::connect(settings).await;
            Ok(connected.context("cannot use --datastore")?)
        }
    }
}

/// Who a controller is: its own service account, with the rights of its own role.
fn controller_identity(name: &str) -> UserInfo {
    match controllers::account(name) {
        Some(account) => UserInfo::of_service_account("kube-system", account),
        None => UserInfo::named(users::CONTROLLER_MANAGER, &[]),
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

/// Who the API server is to its clients: all its names and addresses.
fn own_subject(process: &Process, service_network: IpNet) -> Subject {
    let domain = &process.options.cluster_domain;
    let mut dns_names: Vec<String> = ["localhost", "kubernetes", "kubernetes.default"]
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    dns_names.push("kubernetes.default.svc".to_owned());
    dns_names.push(format!("kubernetes.default.svc.{domain}"));
    dns_names.push(process.options.node_name.clone());
    let mut addresses =
        vec![IpAddr::from([127, 0, 0, 1]), process.node_ip, first_address(service_network)];
    if !process.options.bind_address.is_unspecified() {
        addresses.push(process.options.bind_address);
    }
    Subject { common_name: "kube-apiserver".to_owned(), dns_names, addresses, ..Subject::default() }
}

/// TLS for a server of the cluster: its certificate, and clients by a certificate of one of these
/// authorities or by nothing.
pub(crate) fn tls_config(
    clients: &[&Authority],
    certificate: Arc<Renewed>,
) -> Result<rustls::ServerConfig> {
    // An authority's key outlives its certificates, so this needs no renewal.
    let mut roots = rustls::RootCertStore::empty();
    for authority in clients {
        roots.roots.extend(authority.roots()?.roots.iter().cloned());
    }
    let clients = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .context("the verifier of client certificates")?;
    Ok(rustls::ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate))
}

/// The first host of a network: the `kubernetes` Service has it.
fn first_address(network: IpNet) -> IpAddr {
    network.hosts().next().unwrap_or_else(|| network.addr())
}
