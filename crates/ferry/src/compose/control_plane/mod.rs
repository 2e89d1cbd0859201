//! The control plane: store, API server, and those who act through it.

mod acting;
mod api_server;
mod ground;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use auth::token::TokenAuthority;
use auth::{UserInfo, groups, users};
use base::clock::{Timestamp, rfc3339_seconds};
use base::drain::{Drains, Stage};
use ipnet::IpNet;
use parking_lot::Mutex;
use reconcile::{Caches, Engine};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::api_server::ApiServer;
use self::ground::Ground;
use super::Process;
use crate::pki::renew::{Renewals, Renewed};
use crate::pki::{self, Authority, Subject, private_dir, write_secret};
use crate::server::{bootstrap, kubeconfig};

/// The names under which the scheduler and the controllers report that they are ready.
pub(crate) const SCHEDULER_PART: &str = "scheduler";
pub(crate) const CONTROLLERS_PART: &str = "controllers";

/// A running control plane.
pub(crate) struct ControlPlane {
    /// The in-process API server.
    pub(crate) server: apiserver::Server,
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
        let now = process.clock.now();
        let ground = Ground::open(process, now).await?;
        let mut api = ApiServer::build(process, &ground, now)?;
        api.keep_audit(drains);
        let serving = drains.stage("apiserver");
        api.start_definitions(process, &serving).await;
        let own = UserInfo::named(users::APISERVER, &[groups::MASTERS]);
        let client = api.server.client_service_as(own, "kube-apiserver");
        let client = kube::Client::new(client, "default");
        let caches = Caches::new(client, process.rng.clone(), serving.token())
            .reduced(&process.options.node_name);
        api.follow(process, &caches, &serving);
        make_own_objects(process, &ground, &api, now).await?;
        api.aggregate(&ground, &engine(process, &caches), &serving);
        let own = own_subject(process, ground.service_network);
        let own = Renewed::new(ground.authority.clone(), own, now)?;
        let mut renewals = api.renewals;
        renewals.leaf(own.clone());
        let clients = [&*ground.authority, &*ground.front_proxy.authority];
        let config = tls_config(&clients, own)?;
        listen(process, ground.listener, config, api.server.clone(), &serving);
        let (ca_changed, root_ca) = watch::channel(ground.authority.pem());
        renewals.authority(ground.authority.clone(), ground.tls_dir.clone(), ca_changed);
        let follow = pki::tokens::follow(ground.tls_dir, ground.tokens.clone(), serving.token());
        serving.spawn(follow);
        let control_plane = Self {
            server: api.server,
            caches,
            address: ground.address,
            authority: ground.authority,
            tokens: ground.tokens,
            root_ca,
            renewals: Mutex::new(renewals),
            service_network: ground.service_network,
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

/// The engine of reconcilers that live with the API server.
fn engine(process: &Process, caches: &Caches) -> Engine {
    Engine { caches: caches.clone(), clock: process.clock.clone(), rng: process.rng.clone() }
}

/// Makes the objects that every cluster has, and says that they are there.
async fn make_own_objects(
    process: &Process,
    ground: &Ground,
    api: &ApiServer,
    now: Timestamp,
) -> Result<()> {
    let hook = process.readiness.part("poststarthook/bootstrap");
    let url = format!("https://{}", ground.address);
    let public = kubeconfig::public(&url, &ground.authority.pem());
    let own = bootstrap::Own {
        service_cidr: &process.options.service_cidr,
        today: rfc3339_seconds(now)[..10].to_owned(),
        public_kubeconfig: serde_norway::to_string(&public)?,
    };
    bootstrap::bootstrap(&*api.server.object_api(), &own)
        .await
        .context("cannot make the objects that every cluster has")?;
    hook.ready();
    Ok(())
}

/// Lets clients in.
fn listen(
    process: &Process,
    listener: TcpListener,
    config: rustls::ServerConfig,
    server: apiserver::Server,
    serving: &Stage,
) {
    let (drain, failure) = (serving.token(), process.failure.clone());
    serving.spawn(async move {
        if let Err(error) = apiserver::serve_tls(listener, config, server, drain).await {
            // Nobody comes in any more: that must end the process, not stay in a log.
            failure.report(anyhow::anyhow!(error).context("the API server cannot listen"));
        }
    });
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
