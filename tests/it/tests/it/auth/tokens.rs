//! Tokens of service accounts, and the ends of them.

use serde_json::{Value, json};

use crate::cluster::{self, Cluster};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn request(cluster: &Cluster, account: &str, spec: Value) -> String {
    let body =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let path = format!("{ACCOUNTS}/{account}/token");
    let made = cluster.admin().must("POST", &path, body).await;
    made["status"]["token"].as_str().unwrap().to_owned()
}

async fn review(cluster: &Cluster, token: &str, audiences: &[&str]) -> Value {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    cluster.admin().must("POST", path, body).await["status"].clone()
}

async fn who(cluster: &Cluster, token: &str) -> (u16, Value) {
    let (code, told) = cluster
        .bearer(token)
        .ask(
            "POST",
            WHO,
            json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}),
        )
        .await;
    (code, told["status"]["userInfo"].clone())
}

/// Waits until a token is answered so: the authenticator reads the watch cache, which is a moment
/// behind.
async fn until(cluster: &Cluster, token: &str, code: u16) {
    let answered = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while who(cluster, token).await.0 != code {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    answered.await.expect("the token is answered so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_its_account_and_with_its_pod() {
    let cluster = cluster::without_node().await;
    let admin = cluster.admin();
    let account = || json!({"metadata": {"name": "bot"}});
    let made = admin.must("POST", ACCOUNTS, account()).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "bot",
        "containers": [{"name": "c", "image": "i"}]}});
    let pod = admin.must("POST", PODS, pod).await;
    let plain = request(&cluster, "bot", json!({})).await;
    let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p",
        "uid": pod["metadata"]["uid"]}});
    let bound = request(&cluster, "bot", bound).await;
    let (code, user) = who(&cluster, &bound).await;
    assert_eq!(code, 201);
    assert_eq!(user["username"], "system:serviceaccount:default:bot");
    assert_eq!(user["uid"], made["metadata"]["uid"]);
    assert_eq!(user["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    let id = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    assert!(id.starts_with("JTI=") && id.len() == 40, "{id}");
    // The pod goes: its token is void, the account's other one is not.
    admin.must("DELETE", &format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await;
    until(&cluster, &bound, 401).await;
    assert_eq!(who(&cluster, &plain).await.0, 201);
    let status = review(&cluster, &bound, &[]).await;
    let words = "[invalid bearer token, service account token has been invalidated]";
    assert_eq!((status.get("authenticated"), &status["error"]), (None, &json!(words)));
    // The account goes, and another of its name comes.
    admin.must("DELETE", &format!("{ACCOUNTS}/bot"), Value::Null).await;
    until(&cluster, &plain, 401).await;
    admin.must("POST", ACCOUNTS, account()).await;
    assert_eq!(who(&cluster, &plain).await.0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_for_its_audiences() {
    let cluster = cluster::without_node().await;
    let vault = request(&cluster, "default", json!({"audiences": ["vault"]})).await;
    assert_eq!(who(&cluster, &vault).await.0, 401);
    let status = review(&cluster, &vault, &["vault", "other"]).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    let status = review(&cluster, &vault, &["other"]).await;
    assert_eq!(
        status["error"],
        "[invalid bearer token, token audiences [\"vault\"] is invalid for the target audiences [\"other\"]]"
    );
    let short = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 60}});
    let path = format!("{ACCOUNTS}/default/token");
    let words = "may not specify a duration less than 10 minutes";
    cluster.admin().refused("POST", &path, short, 422, words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_token_is_made_noted_and_ends_with_its_secret() {
    let cluster = cluster::without_node().await;
    let admin = cluster.admin();
    let secret = json!({"type": "kubernetes.io/service-account-token", "metadata": {"name": "old",
        "annotations": {"kubernetes.io/service-account.name": "default"}}});
    admin.must("POST", SECRETS, secret).await;
    let filled = cluster
        .until::<k8s_openapi::api::core::v1::Secret>("default", "old", |secret| {
            secret.data.as_ref().is_some_and(|data| data.contains_key("token"))
        })
        .await;
    let data = filled.data.clone().unwrap();
    assert!(data.contains_key("ca.crt") && data["namespace"].0 == b"default");
    let token = String::from_utf8(data["token"].0.clone()).unwrap();
    let (code, user) = who(&cluster, &token).await;
    assert_eq!((code, &user["username"]), (201, &json!("system:serviceaccount:default:default")));
    let used = admin.must("GET", &format!("{SECRETS}/old"), Value::Null).await;
    let label = &used["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"];
    assert_eq!(label.as_str().unwrap().len(), 10);
    let marked =
        json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}});
    admin.must("PATCH", &format!("{SECRETS}/old"), marked).await;
    until(&cluster, &token, 401).await;
    let unmarked =
        json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": null}}});
    admin.must("PATCH", &format!("{SECRETS}/old"), unmarked).await;
    until(&cluster, &token, 201).await;
    admin.must("DELETE", &format!("{SECRETS}/old"), Value::Null).await;
    until(&cluster, &token, 401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_token_signs_in_and_is_cleaned_up() {
    let cluster = cluster::without_node().await;
    for name in ["kube-system", "kube-public"] {
        cluster.namespace(name).await;
    }
    let admin = cluster.admin();
    let token = |id: &str, expiration: &str| {
        json!({"type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": format!("bootstrap-token-{id}")},
            "stringData": {"token-id": id, "token-secret": "0123456789abcdef",
                "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
                "auth-extra-groups": "system:bootstrappers:workers", "expiration": expiration}})
    };
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    admin.must("POST", secrets, token("abcdef", "2999-01-01T00:00:00Z")).await;
    let (code, user) = who(&cluster, "abcdef.0123456789abcdef").await;
    assert_eq!((code, &user["username"]), (201, &json!("system:bootstrap:abcdef")));
    let groups = ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"];
    assert_eq!(user["groups"], json!(groups));
    assert_eq!(who(&cluster, "abcdef.0123456789abcdeX").await.0, 401);
    assert_eq!(who(&cluster, "abcdeg.0123456789abcdef").await.0, 401);
    // Its signature comes into cluster-info, and goes with it.
    let info = json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "x"}});
    admin.must("POST", "/api/v1/namespaces/kube-public/configmaps", info).await;
    let signed = |map: &k8s_openapi::api::core::v1::ConfigMap| {
        map.data.as_ref().is_some_and(|data| data.contains_key("jws-kubeconfig-abcdef"))
    };
    cluster.until("kube-public", "cluster-info", signed).await;
    // One that has expired goes at once.
    admin.must("POST", secrets, token("ghijkl", "2020-01-01T00:00:00Z")).await;
    let gone = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        let path = format!("{secrets}/bootstrap-token-ghijkl");
        while admin.ask("GET", &path, Value::Null).await.0 != 404 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    gone.await.expect("an expired token goes");
    admin.must("DELETE", &format!("{secrets}/bootstrap-token-abcdef"), Value::Null).await;
    cluster.until("kube-public", "cluster-info", |map| !signed(map)).await;
}
