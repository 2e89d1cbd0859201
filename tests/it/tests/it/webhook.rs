//! Calls to webhooks over real TLS: who is reached, who is believed, what errors read like.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use testkit::{ApiServer, Handler, HttpsServer, Reply, full_api_server};
use webhook::{
    CallError, Caller, ClientConfig, Destination, DialError, ServiceReference, ServiceResolver,
    Services,
};

const LIMIT: Duration = Duration::from_secs(10);

/// Answers what it was asked, after the time that the path says.
fn echo() -> Handler {
    Arc::new(|asked| {
        async move {
            match asked.path.as_str() {
                "/silent" => std::future::pending().await,
                "/moved" => Reply {
                    code: 307,
                    headers: [("location", "/echo".to_owned())].into(),
                    ..Reply::default()
                },
                "/broken" => Reply { code: 500, body: b"oops\n".to_vec(), ..Reply::default() },
                "/garbage" => Reply { body: b"not json".to_vec(), ..Reply::default() },
                "/endless" => Reply { body: vec![b' '; 9 << 20], ..Reply::default() },
                _ => json!({"asked": asked.body, "query": asked.query}).into(),
            }
        }
        .boxed()
    })
}

fn caller(server: Option<&ApiServer>) -> Caller {
    let services = Arc::new(Services::default());
    if let Some(server) = server {
        services.serve_from(Arc::downgrade(&server.server.object_api()));
    }
    Caller::new(services)
}

async fn call(hook: &HttpsServer, path: &str, limit: Duration) -> Result<Value, CallError> {
    let url = format!("https://{}{path}", hook.address);
    let config = ClientConfig::url(&url, hook.ca_pem.clone().into_bytes()).unwrap();
    caller(None).call(&config, &json!({"a": 1}), limit).await
}

#[tokio::test]
async fn a_webhook_is_asked_and_told_how_long_it_may_take() {
    let hook = HttpsServer::start(&["127.0.0.1"], echo()).await;
    let got = call(&hook, "/echo", LIMIT).await.unwrap();
    assert_eq!(got, json!({"asked": {"a": 1}, "query": "timeout=10s"}));
}

#[tokio::test]
async fn connections_are_used_again() {
    let hook = HttpsServer::start(&["127.0.0.1"], echo()).await;
    let url = format!("https://{}/", hook.address);
    let config = ClientConfig::url(&url, hook.ca_pem.clone().into_bytes()).unwrap();
    let caller = caller(None);
    for _ in 0..5 {
        caller.call(&config, &json!({}), LIMIT).await.unwrap();
    }
    assert_eq!(hook.connections(), 1);
}

#[tokio::test]
async fn errors_read_as_upstreams() {
    let hook = HttpsServer::start(&["127.0.0.1"], echo()).await;
    let post = |path: &str, rest: &str| {
        format!("Post \"https://{}{path}?timeout=1s\": {rest}", hook.address)
    };
    let second = Duration::from_secs(1);
    for (path, expected) in [
        ("/silent", post("/silent", "context deadline exceeded")),
        (
            "/broken",
            "an error on the server (\"oops\") has prevented the request from succeeding"
                .to_owned(),
        ),
        (
            "/moved",
            "the server responded with the status code 307 but did not return more information"
                .to_owned(),
        ),
        ("/endless", "the response is longer than 8388608 bytes".to_owned()),
    ] {
        let error = call(&hook, path, second).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.is_timeout(), path == "/silent");
    }
    let error = call(&hook, "/garbage", second).await.unwrap_err().to_string();
    assert!(error.starts_with("couldn't get version/kind; json parse error: "), "{error}");
}

#[tokio::test]
async fn only_the_bundles_authorities_are_believed() {
    let hook = HttpsServer::start(&["127.0.0.1"], echo()).await;
    let other = HttpsServer::start(&["elsewhere.example"], echo()).await;
    let url = format!("https://{}/", hook.address);
    let config = ClientConfig::url(&url, other.ca_pem.clone().into_bytes()).unwrap();
    let error = caller(None).call(&config, &json!({}), LIMIT).await.unwrap_err().to_string();
    let expected =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert!(error.ends_with(expected), "{error}");
    // Nor is a private authority believed because the system's are.
    let config = ClientConfig::url(&url, Vec::new()).unwrap();
    assert!(caller(None).call(&config, &json!({}), LIMIT).await.is_err());

    let error = call(&other, "/", LIMIT).await.unwrap_err().to_string();
    let expected = "x509: certificate is valid for elsewhere.example, not 127.0.0.1";
    assert!(error.ends_with(expected), "{error}");
}

/// Creates an object by a path that ends with the plural.
async fn create(server: &ApiServer, group: &str, plural: &str, object: Value) {
    let resource = api::names::GroupResource::new(group, plural);
    server.server.object_api().create(&resource, object, false).await.unwrap();
}

fn reference(name: &str) -> ServiceReference {
    ServiceReference { namespace: "default".to_owned(), name: name.to_owned(), port: 8443 }
}

async fn service(server: &ApiServer, name: &str, spec: Value) {
    let object = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec});
    create(server, "", "services", object).await;
}

/// Where a Service leads.
async fn check(server: &ApiServer, name: &str, expected: Result<&[&str], &str>) {
    let services = Services::default();
    services.serve_from(Arc::downgrade(&server.server.object_api()));
    let got = services.resolve(&reference(name)).await;
    let got = got.map(|found| {
        let text = |one: &Destination| match one {
            Destination::Address(address) => address.to_string(),
            Destination::Name(name, port) => format!("{name}:{port}"),
        };
        found.iter().map(text).collect::<Vec<_>>()
    });
    match expected {
        Ok(expected) => assert_eq!(got.unwrap(), expected, "{name}"),
        Err(expected) => assert_eq!(got.unwrap_err().to_string(), expected, "{name}"),
    }
}

#[tokio::test]
async fn services_lead_to_addresses() {
    let server = full_api_server();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "default"}});
    create(&server, "", "namespaces", namespace).await;
    let ports = json!([{"name": "other", "port": 1}, {"name": "hook", "port": 8443}]);
    service(&server, "headless", json!({"clusterIP": "None", "ports": ports})).await;
    service(&server, "usual", json!({"clusterIP": "10.96.7.7", "ports": ports})).await;
    service(&server, "else", json!({"ports": [{"port": 1}]})).await;
    service(&server, "outside", json!({"type": "ExternalName", "externalName": "a.example"})).await;
    for name in ["headless", "usual"] {
        if name == "headless" {
            check(&server, name, Err("no endpoints available for service \"headless\"")).await;
        }
        let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default",
            "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "other", "port": 9}, {"name": "hook", "port": 8444}],
        "endpoints": [
            {"addresses": ["10.0.0.9"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
        ]});
        create(&server, "discovery.k8s.io", "endpointslices", slice).await;
    }
    // A list of the newest state waits for the caches, which is where resolvers look.
    let slices: kube::Api<EndpointSlice> = kube::Api::all(server.client());
    slices.list(&kube::api::ListParams::default()).await.unwrap();
    check(&server, "headless", Ok(&["10.0.0.1:8444"])).await;
    check(&server, "usual", Ok(&["10.96.7.7:8443", "10.0.0.1:8444"])).await;
    check(&server, "outside", Ok(&["a.example:8443"])).await;
    check(&server, "else", Err("no service port 8443 found for service \"else\"")).await;
}

/// Says of every Service that it is here.
struct Here(SocketAddr);

#[async_trait]
impl ServiceResolver for Here {
    async fn resolve(&self, _: &ServiceReference) -> Result<Vec<Destination>, DialError> {
        Ok(vec![Destination::Address(self.0)])
    }
}

#[tokio::test]
async fn a_services_certificate_is_made_out_to_its_name() {
    let hook = HttpsServer::start(&["hook.default.svc"], echo()).await;
    let ca = hook.ca_pem.clone().into_bytes();
    let caller = Caller::new(Arc::new(Here(hook.address)));
    let config = ClientConfig::service(reference("hook"), "p", ca.clone());
    caller.call(&config, &json!({}), LIMIT).await.unwrap();
    let config = ClientConfig::service(reference("other"), "p", ca);
    let error = caller.call(&config, &json!({}), LIMIT).await.unwrap_err().to_string();
    assert!(error.ends_with("is valid for hook.default.svc, not other.default.svc"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let server = full_api_server();
    let config = ClientConfig::service(reference("ghost"), "", Vec::new());
    let error = caller(Some(&server)).call(&config, &json!({}), LIMIT).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Post \"https://ghost.default.svc:8443/?timeout=10s\": service \"ghost\" not found"
    );
}
