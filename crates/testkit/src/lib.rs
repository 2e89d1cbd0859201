//! An API server in process on the memory store: the test double of everything that talks to one.
//!
//! Invariant: nothing here pretends. What tests get is the server, the store and the kinds that
//! run in production, with a seeded source of randomness.

mod https;
mod kinds;

use std::sync::Arc;

use apiserver::resource::Resource;
use apiserver::{Server, ServerOptions};
use auth::UserInfo;
use base::drain::Drain;
use base::rng::SharedRng;
use store::SharedStore;

pub use https::{Asked, Handler, HttpsServer, Reply};
pub use kinds::{SERVICE_NETWORK, deps};

/// The seed of names and uids, unless a test takes its own.
const SEED: u64 = 1;

/// A server in process.
#[derive(Clone)]
pub struct ApiServer {
    /// The server.
    pub server: Server,
    /// Its store.
    pub store: SharedStore,
}

/// A server with these kinds on a new memory store. Everybody may do everything.
#[must_use]
pub fn api_server(resources: Vec<Arc<dyn Resource>>) -> ApiServer {
    api_server_with(resources, |_| {})
}

/// The same, with changed options.
#[must_use]
pub fn api_server_with(
    resources: Vec<Arc<dyn Resource>>,
    change: impl FnOnce(&mut ServerOptions),
) -> ApiServer {
    let store: SharedStore = store::memory();
    let mut options = ServerOptions::new(store.clone(), resources);
    options.rng = SharedRng::seeded(SEED);
    change(&mut options);
    ApiServer { server: Server::new(options), store }
}

/// A server with every built-in kind, custom kinds, and every admission plugin.
#[must_use]
pub fn full_api_server() -> ApiServer {
    full_api_server_with(|_| {})
}

/// The same, with changed options.
#[must_use]
pub fn full_api_server_with(change: impl FnOnce(&mut ServerOptions)) -> ApiServer {
    let rng = SharedRng::seeded(SEED);
    let services = Arc::new(webhook::Services::default());
    let caller = Arc::new(webhook::Caller::new(services.clone()));
    let made = api_server_with(resources::all(&deps(&rng)), |options| {
        options.rng = rng.clone();
        let deps = admission::Deps::new(rng.clone(), base::clock::system(), caller.clone());
        options.admission = admission::standard(&deps);
        change(options);
    });
    services.serve_from(Arc::downgrade(&made.server.object_api()));
    let options = apiextensions::Options { clock: base::clock::system(), rng, caller };
    let server = made.server.clone();
    tokio::spawn(async move {
        apiextensions::Definitions::start(server, options).await.run(Drain::new()).await;
    });
    made
}

impl ApiServer {
    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client_as(UserInfo::named("testkit", &[auth::groups::MASTERS]))
    }

    /// A client with an identity.
    #[must_use]
    pub fn client_as(&self, user: UserInfo) -> kube::Client {
        kube::Client::new(self.server.client_service(user), "default")
    }
}
