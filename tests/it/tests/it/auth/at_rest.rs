//! Encryption at rest through the whole server: what is in the store, and keys that change.

use std::sync::Arc;

use api::names::GroupResource;
use api::status::{ApiError, ApiResult};
use apiserver::ValueTransformer;
use bytes::Bytes;
use encryption::{Encryption, new_configuration, with_new_key};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use parking_lot::RwLock;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Encrypts Secrets by the configuration of the moment.
struct Keys(RwLock<Encryption>);

impl Keys {
    fn with<T>(&self, key: &str, act: impl FnOnce(&encryption::Chain) -> T) -> Option<T> {
        let secrets = GroupResource::new("", "secrets");
        let encryption = self.0.read();
        encryption.of(&secrets).filter(|_| key.starts_with("/registry/secrets/")).map(act)
    }
}

impl ValueTransformer for Keys {
    fn encrypt(&self, key: &str, plain: Bytes) -> ApiResult<Bytes> {
        let sealed = self.with(key, |chain| chain.seal(&plain, key));
        sealed
            .map_or(Ok(plain.clone()), |sealed| sealed.map(Bytes::from).map_err(ApiError::internal))
    }

    fn decrypt(&self, key: &str, stored: Bytes) -> ApiResult<Bytes> {
        let plain = self.with(key, |chain| chain.open(&stored, key));
        plain.map_or(Ok(stored.clone()), |plain| plain.map(Bytes::from).map_err(ApiError::internal))
    }

    fn is_stale(&self, key: &str, stored: &[u8]) -> bool {
        self.with(key, |chain| !chain.is_current(stored)).unwrap_or(false)
    }
}

struct Bench {
    server: testkit::ApiServer,
    keys: Arc<Keys>,
}

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

impl Bench {
    fn start(configuration: &Value) -> Self {
        let keys = Arc::new(Keys(RwLock::new(configuration.to_string().parse().unwrap())));
        let rng = base::rng::SharedRng::seeded(1);
        let server = testkit::api_server_with(resources::all(&testkit::deps(&rng)), |options| {
            options.transformer = keys.clone();
        });
        Self { server, keys }
    }

    fn use_keys(&self, configuration: &Value) {
        *self.keys.0.write() = configuration.to_string().parse().unwrap();
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Full::from(bytes))
            .unwrap();
        let response = self.server.server.service().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn stored(&self, name: &str) -> Vec<u8> {
        let key = format!("/registry/secrets/default/{name}");
        self.server.store.get(&key).await.unwrap().0.unwrap().value.to_vec()
    }
}

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"password": "hidden"}})
}

#[tokio::test]
async fn secrets_are_encrypted_and_an_update_of_nothing_brings_the_new_key() {
    let first = new_configuration("key1").unwrap();
    let bench = Bench::start(&first);
    let (code, made) = bench.ask("POST", SECRETS, secret("a")).await;
    assert_eq!(code, 201);
    let stored = bench.stored("a").await;
    assert!(stored.starts_with(b"k8s:enc:secretbox:v1:key1:"));
    // With the same key, an update that changes nothing writes nothing.
    let path = format!("{SECRETS}/a");
    let (_, same) = bench.ask("PUT", &path, made.clone()).await;
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(bench.stored("a").await, stored);
    bench.use_keys(&with_new_key(&first, "key2").unwrap());
    let (code, rewritten) = bench.ask("PUT", &path, made.clone()).await;
    assert_eq!(code, 200);
    assert_ne!(rewritten["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert!(bench.stored("a").await.starts_with(b"k8s:enc:secretbox:v1:key2:"));
    let (_, read) = bench.ask("GET", &path, Value::Null).await;
    assert_eq!(read["data"]["password"], "aGlkZGVu");
    // Other kinds are as they were.
    let maps = "/api/v1/namespaces/default/configmaps";
    bench.ask("POST", maps, json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await;
    let map = bench.server.store.get("/registry/configmaps/default/m").await.unwrap().0.unwrap();
    assert!(map.value.starts_with(b"{"));
}

#[tokio::test]
async fn without_its_key_one_secret_is_an_error_and_the_others_are_not() {
    let first = new_configuration("key1").unwrap();
    let bench = Bench::start(&first);
    bench.ask("POST", SECRETS, secret("lost")).await;
    let other = new_configuration("key2").unwrap();
    bench.use_keys(&other);
    bench.ask("POST", SECRETS, secret("kept")).await;
    let (code, answer) = bench.ask("GET", &format!("{SECRETS}/kept"), Value::Null).await;
    assert_eq!((code, &answer["data"]["password"]), (200, &json!("aGlkZGVu")));
    // What the cache still has is not what the store gives out: read it as it is stored.
    bench.server.server.reload(&GroupResource::new("", "secrets")).await;
    let (code, answer) = bench.ask("GET", &format!("{SECRETS}/kept"), Value::Null).await;
    assert_eq!(code, 200, "{answer}");
    let failed = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let (code, answer) = bench.ask("GET", &format!("{SECRETS}/lost"), Value::Null).await;
            if code != 200 {
                return (code, answer);
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    let (code, answer) = failed.await.expect("it is read from the store");
    assert_eq!(code, 500);
    let words = "no matching key was found for the provided Secretbox transformer";
    assert!(answer["message"].as_str().unwrap().contains(words), "{answer}");
    let (code, list) = bench.ask("GET", SECRETS, Value::Null).await;
    assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 1));
    // With its key it is back.
    bench.use_keys(&first);
    let (code, _) = bench.ask("GET", &format!("{SECRETS}/lost"), Value::Null).await;
    assert_eq!(code, 200);
}
