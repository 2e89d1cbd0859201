//! Aggregation with a real second API server: its own group of kinds, TLS on the loopback, callers
//! by the first one's front proxy, tokens and permissions reviewed by the first one.

mod second;

use std::sync::Arc;
use std::time::Duration;

use aggregator::{Aggregation, AuthenticationTrust};
use api::Value;
use api::object::{at, list_at, str_at};
use apiserver::authn::RequestHeaders;
use auth::UserInfo;
use base::drain::Drain;
use base::rng::SharedRng;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::client::Body;
use reconcile::{Caches, Engine, Key, Patch, Writer};
use serde_json::json;
use tower::ServiceExt as _;

use second::Second;

const PATIENCE: Duration = Duration::from_secs(20);
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";
const API: &str = "v1alpha1.wardle.example.com";
const CONFIG: &str = "application/json";

/// The first server, with everything of aggregation.
pub(crate) struct First {
    server: testkit::ApiServer,
    caches: Caches,
    writer: Writer,
    aggregation: Arc<Aggregation>,
    drain: Drain,
}

impl Drop for First {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

/// An answer, read whole.
struct Answer {
    code: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: {}", self.code, String::from_utf8_lossy(&self.body)))
    }

    fn expect(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

impl First {
    /// A first server whose network leads Services to `second`.
    async fn start(network: Arc<second::Network>, pki: &second::Pki) -> Self {
        let rng = SharedRng::seeded(3);
        let mut deps = testkit::deps(&rng);
        deps.authenticator = Arc::new(second::KnownTokens);
        deps.authorizer = Arc::new(second::EverybodyButMallory);
        let aggregation = Aggregation::new(network, pki.front_proxy());
        let server = testkit::api_server_with(resources::all(&deps), |options| {
            let webhooks = Arc::new(webhook::Caller::new(Arc::new(webhook::Services::default())));
            let deps = admission::Deps::new(rng.clone(), base::clock::system(), webhooks);
            options.admission = admission::standard(&deps);
            options.aggregator = Some(aggregation.clone());
        });
        let drain = Drain::new();
        let caches = Caches::new(server.client(), rng.clone(), drain.clone());
        aggregation.follow(&caches);
        let trust = AuthenticationTrust {
            client_ca_pem: pki.users_ca_pem(),
            proxy_ca_pem: pki.proxy_ca_pem(),
            headers: RequestHeaders {
                allowed_names: vec!["front-proxy-client".to_owned()],
                ..RequestHeaders::default()
            },
        };
        let local = server.server.group_versions();
        let engine = Engine { caches: caches.clone(), clock: base::clock::system(), rng };
        for one in aggregator::reconcilers(&aggregation, &caches, local, trust) {
            tokio::spawn(engine.start(one, server.client(), drain.clone()));
        }
        let writer = Writer::new(server.client(), "it");
        let first = Self { server, caches, writer, aggregation, drain };
        for namespace in ["default", "kube-system"] {
            let made = json!({"metadata": {"name": namespace}});
            first.post("/api/v1/namespaces", &made).await.expect(201);
        }
        first
    }

    async fn call(&self, user: &UserInfo, request: http::Request<Body>) -> Answer {
        let service = self.server.server.client_service(user.clone());
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes().to_vec();
        Answer { code: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn send(&self, method: &str, uri: &str, content: &str, body: &Value) -> Answer {
        let builder = http::Request::builder().method(method).uri(uri);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = builder.header("content-type", content).body(Body::from(body.into_bytes()));
        self.call(&admin(), request.unwrap()).await
    }

    async fn post(&self, uri: &str, body: &Value) -> Answer {
        self.send("POST", uri, CONFIG, body).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.get_as(uri, CONFIG).await
    }

    async fn get_as(&self, uri: &str, accept: &str) -> Answer {
        let request = http::Request::get(uri).header("accept", accept).body(Body::empty());
        self.call(&admin(), request.unwrap()).await
    }

    /// Waits until an APIService is as wanted.
    async fn until(&self, name: &str, wanted: impl Fn(&APIService) -> bool) -> Arc<APIService> {
        let cache = self.caches.of::<APIService>();
        let (told, mut heard) = tokio::sync::watch::channel(());
        cache.subscribe(move |_| {
            // Nobody listens once it was found.
            let _ = told.send(());
        });
        let wait = async {
            loop {
                if let Some(found) = cache.get("", name).filter(|found| wanted(found)) {
                    return found;
                }
                heard.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("{name} is {:#?}", cache.get("", name)))
    }

    /// Registers the second server's group.
    async fn register(&self, ca_pem: &str) {
        let bundle = second::base64(ca_pem);
        let api = json!({"metadata": {"name": API}, "spec": {
            "group": "wardle.example.com", "version": "v1alpha1", "caBundle": bundle,
            "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": {"namespace": "default", "name": "sample-api", "port": 7443}}});
        self.post("/apis/apiregistration.k8s.io/v1/apiservices", &api).await.expect(201);
    }

    /// Makes the Service, and its endpoint.
    async fn expose(&self) {
        let service = json!({"metadata": {"name": "sample-api"}, "spec": {
            "ports": [{"name": "https", "port": 7443, "targetPort": 443}]}});
        self.post("/api/v1/namespaces/default/services", &service).await.expect(201);
        self.endpoint(true).await;
    }

    async fn endpoint(&self, ready: bool) {
        let uri = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "sample-api-1", "namespace": "default",
                         "labels": {"kubernetes.io/service-name": "sample-api"}},
            "addressType": "IPv4", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": ready}}]});
        let uri = format!("{uri}/sample-api-1?fieldManager=it&force=true");
        self.send("PATCH", &uri, "application/apply-patch+yaml", &slice).await.json();
    }
}

fn admin() -> UserInfo {
    UserInfo::named("admin", &[auth::groups::MASTERS])
}

fn condition<'a>(api: &'a APIService, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = api.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
    Some((&found.status, text(&found.reason), text(&found.message)))
}

fn is_available(api: &APIService) -> bool {
    condition(api, "Available") == Some(("True", "Passed", "all checks passed"))
}

/// Both servers, the second registered and available.
async fn both() -> (First, Second) {
    let pki = second::Pki::new();
    let network = Arc::new(second::Network::default());
    let first = First::start(network.clone(), &pki).await;
    let second = Second::start(&pki, &first.server).await;
    network.lead("default", "sample-api", second.address);
    first.expose().await;
    first.register(&pki.server_ca_pem()).await;
    first.until(API, is_available).await;
    (first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_serves_itself_has_apiservices() {
    let pki = second::Pki::new();
    let first = First::start(Arc::default(), &pki).await;
    let apps = first.until("v1.apps", |_| true).await;
    let spec = apps.spec.as_ref().unwrap();
    assert_eq!((spec.group_priority_minimum, spec.version_priority), (17_800, 15));
    let label = "kube-aggregator.kubernetes.io/automanaged";
    assert_eq!(apps.metadata.labels.as_ref().unwrap()[label], "onstart");
    let local = ("True", "Local", "Local APIServices are always available");
    assert_eq!(condition(&apps, "Available"), Some(local));
    let core = first.until("v1.", |_| true).await;
    assert_eq!(core.spec.as_ref().unwrap().group_priority_minimum, 18_000);

    // Whoever deletes a built-in one has the last word; that of a custom group is kept.
    let crd = json!({"metadata": {"name": "gadgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
        "versions": [{"name": "v1", "served": true, "storage": true,
                      "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    first.post(crds, &crd).await.expect(201);
    let custom = first.until("v1.example.com", |_| true).await;
    let spec = custom.spec.as_ref().unwrap();
    assert_eq!((spec.group_priority_minimum, spec.version_priority), (1000, 100));
    assert_eq!(custom.metadata.labels.as_ref().unwrap()[label], "true");
    let apis = "/apis/apiregistration.k8s.io/v1/apiservices";
    for name in ["v1.batch", "v1.example.com"] {
        first.send("DELETE", &format!("{apis}/{name}"), CONFIG, &Value::Null).await.expect(200);
    }
    let uid = custom.metadata.uid.clone();
    first.until("v1.example.com", |again| again.metadata.uid != uid).await;
    assert_eq!(first.get(&format!("{apis}/v1.batch")).await.code, 404);
    first.send("DELETE", &format!("{crds}/gadgets.example.com"), CONFIG, &Value::Null).await;

    // Other servers are told whom to believe.
    let maps = first.caches.of::<ConfigMap>();
    maps.synced().await;
    let key = Key::new("kube-system", "extension-apiserver-authentication");
    let told = second::eventually(async || first.writer.get::<ConfigMap>(&key).await.ok()).await;
    let told = told.data.unwrap();
    assert_eq!(told["client-ca-file"], pki.users_ca_pem());
    assert_eq!(told["requestheader-client-ca-file"], pki.proxy_ca_pem());
    assert_eq!(told["requestheader-allowed-names"], r#"["front-proxy-client"]"#);
    assert_eq!(told["requestheader-extra-headers-prefix"], r#"["X-Remote-Extra-"]"#);
    assert_eq!(told["requestheader-username-headers"], r#"["X-Remote-User"]"#);
}

fn flunder(name: &str) -> Value {
    json!({
        "apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder",
        "metadata": {"name": name}, "spec": {"size": 1},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_reach_the_other_server_as_their_callers() {
    let (first, second) = both().await;
    let mut ann = UserInfo::named("ann", &["system:authenticated", "devs"]);
    ann.uid = "u-1".to_owned();
    ann.extra.insert("example.com/scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    // What she says of herself in the front proxy's headers is dropped.
    let request = http::Request::post(FLUNDERS)
        .header("content-type", CONFIG)
        .header("x-remote-user", "root")
        .header("x-remote-group", "system:masters")
        .header("x-remote-extra-more", "x")
        .header("authorization", "Bearer hers")
        .body(Body::from(flunder("a").to_string().into_bytes()));
    let made = first.call(&ann, request.unwrap()).await;
    assert_eq!(made.expect(201)["metadata"]["name"], "a");
    assert_eq!(second.last_user(), ann);

    // A permission is asked of the first server.
    let request = http::Request::get(FLUNDERS).body(Body::empty()).unwrap();
    let refused = first.call(&UserInfo::named("mallory", &[]), request).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("User \"mallory\" cannot list"));

    // All methods, and a watch that streams.
    let mut watch = second::Lines::of(&first, &format!("{FLUNDERS}?watch=1")).await;
    assert_eq!(watch.next().await["type"], "ADDED");
    let patch = json!({"spec": {"size": 2}});
    let uri = format!("{FLUNDERS}/a");
    let patched = first.send("PATCH", &uri, "application/merge-patch+json", &patch).await;
    assert_eq!(patched.expect(200)["spec"]["size"], 2);
    let seen = watch.next().await;
    assert_eq!((&seen["type"], &seen["object"]["spec"]["size"]), (&json!("MODIFIED"), &json!(2)));
    let table = first.get_as(FLUNDERS, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table.expect(200)["rows"][0]["cells"][0], "a");
    first.post(FLUNDERS, &flunder("b")).await.expect(201);
    first.send("DELETE", FLUNDERS, CONFIG, &Value::Null).await.expect(200);
    let list = first.get(FLUNDERS).await.expect(200);
    assert_eq!((list["kind"].clone(), list_at(&list, &["items"]).len()), (json!("FlunderList"), 0));
    for expected in ["ADDED", "DELETED", "DELETED"] {
        assert_eq!(watch.next().await["type"], expected);
    }
    // What is not there is not there by the other server's word.
    assert_eq!(
        first.get(&format!("{FLUNDERS}/none")).await.expect(404)["details"]["group"],
        "wardle.example.com"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgraded_connections_go_through() {
    let (first, _second) = both().await;
    let made = flunder("a");
    first.post(FLUNDERS, &made).await.expect(201);
    let event = second::first_websocket_message(&first, &format!("{FLUNDERS}?watch=1")).await;
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("a"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_front_proxy_is_believed_and_tokens_are_reviewed() {
    let (_first, second) = both().await;
    let ask = async |certificate, headers: &[(&str, &str)]| {
        second.ask(certificate, FLUNDERS, headers).await
    };
    let claim = [("x-remote-user", "ann"), ("x-remote-group", "system:masters")];
    use second::Certificate::{FrontProxy, None, OtherProxy, User};
    // Headers without the certificate are nothing, and so is somebody else's certificate.
    assert_eq!(ask(None, &claim).await, 401);
    assert_eq!(ask(OtherProxy, &claim).await, 0, "TLS lets no such certificate in");
    assert_eq!(ask(FrontProxy, &claim).await, 200);
    // A proxy that names nobody is nobody; a user's certificate counts as the user's only.
    assert_eq!(ask(FrontProxy, &[]).await, 401);
    assert_eq!(ask(User, &[("x-remote-user", "mallory")]).await, 200);
    assert_eq!(second.last_user().username, "carol");
    assert_eq!(ask(None, &[("authorization", "Bearer known")]).await, 200);
    assert_eq!(second.last_user().username, "system:serviceaccount:default:known");
    assert_eq!(ask(None, &[("authorization", "Bearer unknown")]).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn availability_is_what_is_found_and_others_conditions_stay() {
    let pki = second::Pki::new();
    let network = Arc::new(second::Network::default());
    let first = First::start(network.clone(), &pki).await;
    let second = Second::start(&pki, &first.server).await;
    first.register(&pki.server_ca_pem()).await;
    let is_down = |reason: &'static str| {
        move |api: &APIService| condition(api, "Available").is_some_and(|found| found.1 == reason)
    };
    let missing = first.until(API, is_down("ServiceNotFound")).await;
    let text = "service/sample-api in \"default\" is not present";
    assert_eq!(condition(&missing, "Available"), Some(("False", "ServiceNotFound", text)));
    let refused = first.get(FLUNDERS).await;
    assert_eq!((refused.code, &*refused.body), (503, b"service unavailable\n".as_slice()));

    // Somebody else's condition stays, whatever becomes of ours.
    let status = json!([{"op": "add", "path": "/status/conditions/-",
        "value": {"type": "StatusUpdated", "status": "True", "reason": "E2E"}}]);
    let key = Key::new("", API);
    first.writer.patch::<APIService>(&key, "status", Patch::Json(status)).await.unwrap();
    first.expose().await;
    first.until(API, is_down("FailedDiscoveryCheck")).await;
    network.lead("default", "sample-api", second.address);
    let passed = first.until(API, is_available).await;
    assert_eq!(condition(&passed, "StatusUpdated"), Some(("True", "E2E", "")));
    assert!(first.aggregation.metrics().contains("{name=\"v1alpha1.wardle.example.com\"} 0"));
    first.get(FLUNDERS).await.expect(200);
    first.endpoint(false).await;
    let down = first.until(API, is_down("MissingEndpoints")).await;
    let text = "endpointslices for service/sample-api in \"default\" have no addresses with port name \"https\"";
    assert_eq!(condition(&down, "Available"), Some(("False", "MissingEndpoints", text)));
    first.endpoint(true).await;
    let passed = first.until(API, is_available).await;
    assert_eq!(condition(&passed, "StatusUpdated"), Some(("True", "E2E", "")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_and_openapi_are_one() {
    let (first, second) = both().await;
    let groups = first.get("/apis").await.expect(200);
    let names: Vec<&str> =
        list_at(&groups, &["groups"]).iter().map(|group| str_at(group, &["name"])).collect();
    assert_eq!((names[0], names[1]), ("apiregistration.k8s.io", "apps"));
    // Only what upstream has removed comes later.
    assert_eq!(names[names.len() - 2..], ["wardle.example.com", "extensions"]);
    let group = first.get("/apis/wardle.example.com/").await.expect(200);
    assert_eq!(group["preferredVersion"]["groupVersion"], "wardle.example.com/v1alpha1");
    let resources = first.get("/apis/wardle.example.com/v1alpha1").await.expect(200);
    assert_eq!(resources["resources"][0]["name"], "flunders");

    // Higher than everything built in, it comes right after the group that is always first.
    let patch = json!({"spec": {"groupPriorityMinimum": 19_000}});
    first.writer.patch::<APIService>(&Key::new("", API), "", Patch::Merge(patch)).await.unwrap();
    let is_first = |api: &APIService| {
        api.spec.as_ref().is_some_and(|spec| spec.group_priority_minimum == 19_000)
    };
    first.until(API, is_first).await;
    let all = aggregated(&first).await;
    let (at_1, versions) = wardle(&all);
    assert_eq!(at_1, 1);
    assert_eq!(versions["freshness"], "Current");
    assert_eq!(versions["resources"][0]["resource"], "flunders");
    assert_eq!(versions["resources"][0]["responseKind"]["kind"], "Flunder");

    let v3 = first.get("/openapi/v3").await.expect(200);
    let url =
        v3["paths"]["apis/wardle.example.com/v1alpha1"]["serverRelativeURL"].as_str().unwrap();
    let document = first.get(url).await;
    assert!(document.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let schemas = &document.expect(200)["components"]["schemas"];
    assert!(schemas["com.example.wardle.v1alpha1.Flunder"].is_object(), "{schemas}");
    let v2 = first.get("/openapi/v2").await.expect(200);
    assert!(
        v2["paths"][format!(
            "{}{}",
            "/apis/wardle.example.com/v1alpha1/namespaces/{namespace}", "/flunders"
        )]
        .is_object()
    );
    assert!(v2["definitions"]["com.example.wardle.v1alpha1.Flunder"].is_object());
    assert!(v2["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let v2 = first.get_as("/openapi/v2", protobuf).await;
    assert!(v2.body.windows(28).any(|part| part == b"com.example.wardle.v1alpha1."));

    // A server that is down makes its own versions stale, and nothing else.
    second.stop().await;
    first.endpoint(false).await;
    first.until(API, |api| !is_available(api)).await;
    let all = aggregated(&first).await;
    let (_, versions) = wardle(&all);
    assert_eq!(versions["freshness"], "Stale");
    assert_eq!(versions["resources"][0]["resource"], "flunders");
    let apps = list_at(&all, &["items"])
        .iter()
        .find(|one| at(one, &["metadata", "name"]) == Some(&json!("apps")));
    assert_eq!(apps.unwrap()["versions"][0]["freshness"], "Current");
    assert_eq!(first.get("/apis/wardle.example.com/v1alpha1").await.code, 503);

    // Gone is gone.
    let uri = format!("/apis/apiregistration.k8s.io/v1/apiservices/{API}");
    first.send("DELETE", &uri, CONFIG, &Value::Null).await.expect(200);
    let gone = async || {
        let all = aggregated(&first).await;
        let is_it = |one: &Value| str_at(one, &["metadata", "name"]) == "wardle.example.com";
        (!list_at(&all, &["items"]).iter().any(is_it)).then_some(())
    };
    second::eventually(gone).await;
    assert_eq!(first.get(FLUNDERS).await.code, 404);
}

async fn aggregated(first: &First) -> Value {
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let answer = first.get_as("/apis", accept).await;
    assert_eq!(answer.headers["content-type"], accept);
    answer.expect(200)
}

fn wardle(all: &Value) -> (usize, Value) {
    let items = list_at(all, &["items"]);
    let is_it = |one: &Value| str_at(one, &["metadata", "name"]) == "wardle.example.com";
    let place = items.iter().position(is_it).unwrap_or_else(|| panic!("{all}"));
    (place, items[place]["versions"][0].clone())
}
