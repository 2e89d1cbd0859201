//! A cluster in process: API server with all kinds and admission, caches, controllers, and a
//! hollow node that says of every pod that it runs.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use access::authn::{AuthenticatorChain, BootstrapTokens, LateApi, ServiceAccountTokens};
use access::authz::Authorization;
use api::status::{ApiError, ApiResult};
use api::typed::Kind;
use apiserver::authn::Authenticator;
use apiserver::authz::Authorizer;
use apiserver::resource::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use auth::token::TokenAuthority;
use auth::{Attributes, Decision, UserInfo};
use base::drain::Drain;
use base::rng::SharedRng;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use parking_lot::Mutex;
use reconcile::{Caches, Delete, Event, Key, Patch, Writer};
use serde_json::json;
use testkit::ApiServer;

/// How long anything may take; a state that is not reached by then is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster that lives as long as this value.
pub(crate) struct Cluster {
    pub(crate) writer: Writer,
    pub(crate) caches: Caches,
    pub(crate) server: ApiServer,
    pub(crate) authorization: Authorization,
    refusals: Refusals,
    drain: Drain,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.drain.cancel();
        let refused = self.refusals.0.lock().clone();
        // Whatever else a test is about: no part of the cluster asked for what its role forbids.
        assert!(
            refused.is_empty() || std::thread::panicking(),
            "parts were refused what they need: {refused:#?}"
        );
    }
}

/// What the parts of the cluster asked for and were not allowed.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<Vec<String>>>);

/// The authorizers of production, with a note of every refusal of one of the cluster's own parts.
struct Noted {
    chain: Arc<dyn Authorizer>,
    refusals: Refusals,
}

#[async_trait]
impl Authorizer for Noted {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let decision = self.chain.authorize(attributes).await;
        let user = attributes.user.username.as_str();
        // Nobody in particular is no part of the cluster.
        if user.starts_with("system:")
            && user != auth::users::ANONYMOUS
            && !matches!(decision, Decision::Allow(_))
        {
            self.refusals.0.lock().push(format!("{user}: {:?}", attributes.target));
        }
        decision
    }
}

/// A cluster with all controllers, the namespace `default`, and a node that runs everything.
pub(crate) async fn start() -> Cluster {
    let cluster = without_node().await;
    hollow_node(&cluster);
    cluster
}

/// The same without a node: pods stay as they are made.
pub(crate) async fn without_node() -> Cluster {
    let rng = SharedRng::seeded(7);
    let services = Arc::new(webhook::Services::default());
    let webhooks = Arc::new(webhook::Caller::new(services.clone()));
    let (authorization, refusals) = (Authorization::default(), Refusals::default());
    let key = auth::token::generate_key().expect("the system gives randomness");
    let tokens = TokenAuthority::new("https://it", &["https://it"], &key, &[]);
    let tokens = Arc::new(tokens.expect("a key made just now"));
    let late_api = LateApi::default();
    let authenticators: Vec<Arc<dyn Authenticator>> = vec![
        Arc::new(ServiceAccountTokens {
            authority: tokens.clone(),
            clock: base::clock::system(),
            api: late_api.clone(),
        }),
        Arc::new(BootstrapTokens { clock: base::clock::system(), api: late_api.clone() }),
    ];
    let chain: Arc<dyn Authenticator> = Arc::new(AuthenticatorChain(authenticators.clone()));
    let deps = deps(&rng, &authorization, tokens.clone(), chain);
    let server = testkit::api_server_with(resources::all(&deps), |options| {
        options.authenticators = authenticators;
        let noted = Noted { chain: authorization.chain(), refusals: refusals.clone() };
        options.authorizers = vec![Arc::new(noted)];
        let deps = admission::Deps::new(rng.clone(), base::clock::system(), webhooks)
            .authorized_by(authorization.chain(), authorization.policy());
        options.admission = admission::standard(&deps);
    });
    let api = server.server.object_api();
    assert!(late_api.set(api.clone()).is_ok(), "set once");
    services.serve_from(Arc::downgrade(&api));
    let drain = Drain::new();
    let caches = Caches::new(server.client(), rng, drain.clone());
    authorization.follow(&caches);
    access::bootstrap::rbac(&*api).await.expect("the default roles");
    let options = controllers::ControllersOptions {
        root_ca_pem: tokio::sync::watch::channel("-----BEGIN CERTIFICATE-----\n".to_owned()).1,
        token_issuer: Some(Arc::new(LegacyTokens(tokens))),
        ..controllers::ControllersOptions::default()
    };
    let writer = Writer::new(server.client(), "it");
    let of_each = server.clone();
    let client_for = move |name: &str| {
        of_each.client_as(match controllers::account(name) {
            Some(account) => UserInfo::of_service_account("kube-system", account),
            None => UserInfo::named(auth::users::CONTROLLER_MANAGER, &[]),
        })
    };
    tokio::spawn(controllers::run(client_for, caches.clone(), options, drain.clone()));
    let cluster = Cluster { writer, caches, server, authorization, refusals, drain };
    cluster.namespace("default").await;
    cluster
}

impl Cluster {
    /// Forgets what was refused so far: the test asked for it.
    pub(crate) fn expect_refusals(&self) {
        self.refusals.0.lock().clear();
    }

    /// Makes a namespace and waits for its default service account.
    pub(crate) async fn namespace(&self, name: &str) {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        match self.writer.create(&namespace).await {
            Err(failure) if !failure.is_already_exists() => panic!("{failure}"),
            _ => {}
        }
        self.until::<k8s_openapi::api::core::v1::ServiceAccount>(name, "default", |_| true).await;
    }

    /// Creates an object from JSON.
    pub(crate) async fn create<K: Kind>(&self, object: serde_json::Value) -> K {
        let object = K::decode(object.to_string().as_bytes()).expect("a test's own object");
        self.writer.create(&object).await.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Applies a merge patch.
    pub(crate) async fn merge<K: Kind>(&self, name: &str, patch: serde_json::Value) -> K {
        let key = Key::new("default", name);
        let patched = self.writer.patch::<K>(&key, "", Patch::Merge(patch)).await;
        patched.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Waits until an object is there and as wanted.
    pub(crate) async fn until<K: Kind + std::fmt::Debug>(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&K) -> bool,
    ) -> Arc<K> {
        let found = self
            .eventually(|caches| {
                caches.of::<K>().get(namespace, name).filter(|object| wanted(object))
            })
            .await;
        found.unwrap_or_else(|| {
            let last = self.caches.of::<K>().get(namespace, name);
            panic!("{namespace}/{name} did not become what was wanted; it is {last:#?}")
        })
    }

    /// Waits until the objects of a type in `default` are as wanted.
    pub(crate) async fn until_all<K: Kind + std::fmt::Debug>(
        &self,
        wanted: impl Fn(&[Arc<K>]) -> bool,
    ) -> Vec<Arc<K>> {
        let found = self
            .eventually(|caches| {
                let cache = caches.of::<K>();
                Some(cache.list_in("default")).filter(|all| cache.has_synced() && wanted(all))
            })
            .await;
        found.unwrap_or_else(|| {
            let last = self.caches.of::<K>().list_in("default");
            panic!("they did not become what was wanted; they are {last:#?}")
        })
    }

    async fn eventually<T>(&self, mut look: impl FnMut(&Caches) -> Option<T>) -> Option<T> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if let Some(found) = look(&self.caches) {
                return Some(found);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    }
}

/// Says of every pod that it runs and is ready, and takes away what is deleted.
fn hollow_node(cluster: &Cluster) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Arc<Pod>>();
    cluster.caches.of::<Pod>().subscribe(move |event| {
        if !matches!(event, Event::Deleted(_)) {
            // Fails only when the test is over.
            let _over = sender.send(event.object().clone());
        }
    });
    let writer = cluster.writer.clone();
    tokio::spawn(async move {
        let addresses = AtomicU32::new(u32::from(Ipv4Addr::new(10, 42, 0, 1)));
        while let Some(pod) = receiver.recv().await {
            run(&writer, &pod, &addresses).await;
        }
    });
}

async fn run(writer: &Writer, pod: &Pod, addresses: &AtomicU32) {
    let key = Key::of(&pod.metadata);
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() {
        let how = Delete { grace_seconds: Some(0), ..Delete::uid(pod.metadata.uid.as_deref()) };
        let _gone = writer.delete::<Pod>(&key, how).await;
    } else if phase == Some("Pending") {
        let ip = Ipv4Addr::from(addresses.fetch_add(1, Ordering::Relaxed)).to_string();
        let status = json!({"metadata": {"uid": pod.metadata.uid}, "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": base::clock::rfc3339_seconds(base::clock::Clock::now(&base::clock::SystemClock))}],
        }});
        let _gone = writer.patch::<Pod>(&key, "status", Patch::Strategic(status)).await;
    }
}

struct Nobody;

#[async_trait]
impl resources::NodeTransport for Nobody {
    async fn send(&self, _: &resources::Target, _: HttpRequest) -> ApiResult<HttpResponse> {
        Err(ApiError::unavailable("there is no node here"))
    }
}

struct LegacyTokens(Arc<TokenAuthority>);

impl controllers::TokenIssuer for LegacyTokens {
    fn issue(&self, ns: &str, account: &str, uid: &str, secret: &str) -> Result<String, String> {
        let claims = auth::legacy_token::LegacyClaims::new(ns, account, uid, secret);
        self.0.sign_legacy(&claims).map_err(|error| error.to_string())
    }
}

fn deps(
    rng: &SharedRng,
    authorization: &Authorization,
    tokens: Arc<TokenAuthority>,
    authenticator: Arc<dyn Authenticator>,
) -> resources::Deps {
    resources::Deps {
        clock: base::clock::system(),
        rng: rng.clone(),
        service_networks: vec!["10.96.0.0/12".parse().expect("a network")],
        node_ports: 30_000..=32_767,
        nodes: Arc::new(Nobody),
        tokens,
        authenticator,
        authorizer: authorization.chain(),
        policy: authorization.policy(),
    }
}
