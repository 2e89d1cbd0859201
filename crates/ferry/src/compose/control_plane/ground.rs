//! What a control plane stands on: its port, its store, its keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use auth::token::TokenAuthority;
use base::clock::Timestamp;
use ipnet::IpNet;
use store::SharedStore;
use tokio::net::TcpListener;

use crate::compose::Process;
use crate::options::{Datastore, ServerOptions};
use crate::pki::{self, Authority, private_dir};
use crate::server::front_proxy::FrontProxy;

/// What is there before anything is served.
pub(super) struct Ground {
    pub(super) listener: TcpListener,
    /// Where the API server listens.
    pub(super) address: SocketAddr,
    pub(super) store: SharedStore,
    pub(super) service_network: IpNet,
    /// Where the keys are.
    pub(super) tls_dir: PathBuf,
    pub(super) authority: Arc<Authority>,
    pub(super) front_proxy: FrontProxy,
    pub(super) tokens: Arc<TokenAuthority>,
}

impl Ground {
    /// Takes the port, opens the store, reads or makes the keys.
    pub(super) async fn open(process: &Process, now: Timestamp) -> Result<Self> {
        let options = &process.options;
        let tls_dir = options.server_dir().join("tls");
        private_dir(&options.data_dir)?;
        private_dir(&options.server_dir())?;
        private_dir(&tls_dir)?;
        // The port first: someone else's server must end this one before it touches any data.
        let bind = SocketAddr::from((options.bind_address, options.https_port));
        let listener = TcpListener::bind(bind).await.with_context(|| {
            format!("cannot listen on {bind}; is another server running? (--https-port)")
        })?;
        Ok(Self {
            address: SocketAddr::from((process.node_ip, listener.local_addr()?.port())),
            listener,
            store: open_store(options).await?,
            service_network: options
                .service_cidr
                .parse()
                .with_context(|| format!("--service-cidr {}", options.service_cidr))?,
            authority: Arc::new(Authority::open(&tls_dir, "ca", now)?),
            front_proxy: FrontProxy::open(&tls_dir, now)?,
            tokens: Arc::new(pki::tokens::open(&tls_dir)?),
            tls_dir,
        })
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
