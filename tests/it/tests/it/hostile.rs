//! What no honest client sends: every body, header, path and query ends in upstream's code, none in
//! a panic, a 500 or a wait without end.

use api::Value;
use api::names::join_api_version;
use api::sample::{self, Rng};
use api::schema::{self, Schema};
use auth::UserInfo;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use testkit::ApiServer;
use tower::ServiceExt as _;

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
/// An answer that takes longer is none.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

struct Hostile(ApiServer);

impl Hostile {
    async fn start() -> Self {
        let hostile = Self(testkit::full_api_server());
        hostile.0.server.core_ready().await;
        for namespace in ["default", "kube-system"] {
            let body = json!({"metadata": {"name": namespace}}).to_string();
            hostile.ask("POST", "/api/v1/namespaces", JSON, body).await;
        }
        let account = json!({"metadata": {"name": "default"}}).to_string();
        hostile.ask("POST", "/api/v1/namespaces/default/serviceaccounts", JSON, account).await;
        let map = json!({"metadata": {"name": "m"}, "data": {"a": "b"}}).to_string();
        assert_eq!(hostile.ask("POST", MAPS, JSON, map).await.0, 201);
        hostile
    }

    async fn ask(
        &self,
        method: &str,
        uri: &str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> (u16, Value) {
        let request = Request::builder().method(method).uri(uri).header("content-type", kind);
        // A path that is none never reaches a server.
        let Ok(request) = request.body(Full::new(body.into())) else { return (0, Value::Null) };
        let service = self.0.server.client_service(UserInfo::named("t", &["system:masters"]));
        let answered = tokio::time::timeout(PATIENCE, service.oneshot(request)).await;
        let answer = answered.unwrap_or_else(|_| panic!("{method} {uri} is not answered")).unwrap();
        let code = answer.status().as_u16();
        if code == 101 || uri.contains("watch") {
            return (code, Value::Null);
        }
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

#[tokio::test]
async fn bodies_that_are_none() {
    let hostile = Hostile::start().await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000));
    let bomb = (0..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
        let many = vec![format!("*a{level}"); 9].join(",");
        format!("{text}a{next}: &a{next} [{many}]\n", next = level + 1)
    });
    let map = |data: &str| format!("{{\"metadata\":{{\"name\":\"x\"}},\"data\":{data}}}");
    let cases: Vec<(&str, &str, Vec<u8>, u16)> = vec![
        (MAPS, JSON, b"{".to_vec(), 400),
        (MAPS, JSON, b"".to_vec(), 400),
        // An object without anything: what it lacks is said.
        (MAPS, JSON, b"null".to_vec(), 422),
        (MAPS, JSON, b"[]".to_vec(), 400),
        (MAPS, JSON, b"\"x\"".to_vec(), 400),
        (MAPS, JSON, b"{} {}".to_vec(), 400),
        (MAPS, JSON, deep("[", "]").into_bytes(), 400),
        (MAPS, JSON, deep("{\"a\":", "}").into_bytes(), 400),
        (MAPS, JSON, map("[]").into_bytes(), 400),
        (MAPS, JSON, map("{\"a\":1}").into_bytes(), 400),
        (MAPS, JSON, vec![b' '; 4 * 1024 * 1024], 413),
        (MAPS, YAML, b"a: [b".to_vec(), 400),
        (MAPS, YAML, b"\t- a".to_vec(), 400),
        (MAPS, YAML, bomb.into_bytes(), 400),
        (MAPS, YAML, deep("[", "]").into_bytes(), 400),
        (MAPS, PROTOBUF, b"{}".to_vec(), 400),
        (MAPS, PROTOBUF, b"k8s\0".to_vec(), 422),
        (MAPS, PROTOBUF, b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(), 400),
        (MAPS, "application/cbor", b"\xd9\xd9\xf7\xa0".to_vec(), 415),
        (MAPS, "text/plain", b"{}".to_vec(), 415),
        (PODS, JSON, map("{}").into_bytes(), 422),
        (PODS, JSON, br#"{"apiVersion":"v1","kind":"ConfigMap"}"#.to_vec(), 400),
        (PODS, JSON, br#"{"apiVersion":"v2","kind":"Pod"}"#.to_vec(), 400),
        (PODS, JSON, br#"{"spec":{"priority":1e400}}"#.to_vec(), 400),
        (PODS, JSON, br#"{"spec":{"priority":99999999999}}"#.to_vec(), 400),
        (PODS, JSON, br#"{"spec":{"terminationGracePeriodSeconds":0.5}}"#.to_vec(), 400),
        (PODS, JSON, br#"{"metadata":{"name":{"a":1}}}"#.to_vec(), 400),
    ];
    for (uri, kind, body, expected) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let (code, answer) = hostile.ask("POST", uri, kind, body).await;
        assert_eq!(code, expected, "{kind} {shown}: {answer}");
        assert_eq!(answer["status"], "Failure", "{kind} {shown}: {answer}");
        assert_eq!(answer["code"], expected, "{kind} {shown}: {answer}");
    }
}

#[tokio::test]
async fn patches_and_deletions_that_are_none() {
    let hostile = Hostile::start().await;
    let one = &format!("{MAPS}/m");
    for (method, kind, body, expected) in [
        ("PATCH", "application/json-patch+json", "{", 400),
        ("PATCH", "application/json-patch+json", "{}", 400),
        ("PATCH", "application/json-patch+json", r#"[{"op":"remove","path":"/nope"}]"#, 422),
        ("PATCH", "application/json-patch+json", r#"[{"op":"fly","path":"/data"}]"#, 422),
        ("PATCH", "application/merge-patch+json", "[1", 400),
        ("PATCH", "application/merge-patch+json", r#"{"data":7}"#, 422),
        ("PATCH", "application/strategic-merge-patch+json", "nope", 400),
        ("PATCH", "application/apply-patch+yaml", "a: [", 400),
        ("PATCH", "application/x-patch", "{}", 415),
        ("PATCH", JSON, "{}", 415),
        ("PUT", JSON, r#"{"metadata":{"name":"other"}}"#, 400),
        ("PUT", JSON, "{}", 400),
        ("DELETE", JSON, "{", 400),
        ("DELETE", JSON, r#"{"gracePeriodSeconds":"x"}"#, 400),
        ("DELETE", JSON, r#"{"propagationPolicy":"Sideways"}"#, 422),
        ("TRACE", JSON, "", 405),
    ] {
        let uri =
            if kind.contains("apply") { format!("{one}?fieldManager=f") } else { one.clone() };
        let (code, answer) = hostile.ask(method, &uri, kind, body.to_owned()).await;
        assert_eq!(code, expected, "{method} {kind} {body}: {answer}");
    }
    assert_eq!(hostile.ask("GET", one, JSON, "").await.0, 200);
}

#[tokio::test]
async fn queries_that_are_none() {
    let hostile = Hostile::start().await;
    for (query, expected) in [
        ("labelSelector=a%3D%3D%3D", 400),
        ("labelSelector=%21%21", 400),
        ("fieldSelector=spec.nope%3Dx", 400),
        ("fieldSelector=a", 400),
        ("continue=garbage", 400),
        ("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTUsInN0YXJ0IjoiLi4vIn0", 400),
        ("resourceVersion=x", 400),
        ("limit=x", 400),
        ("timeoutSeconds=x&watch=1", 400),
        ("timeout=x", 400),
        ("resourceVersionMatch=Exact", 422),
        ("watch=maybe&limit=1", 200),
        ("%%%&&==&limit=1", 200),
    ] {
        let (code, answer) = hostile.ask("GET", &format!("{MAPS}?{query}"), JSON, "").await;
        assert_eq!(code, expected, "{query}: {answer}");
    }
    for (path, expected) in [
        ("/api/v1/namespaces/default/configmaps/..%2F..%2Fsecrets", 404),
        ("/api/v1/namespaces//configmaps", 404),
        ("/api/v1/namespaces/default/configmaps/m/nope", 404),
        ("/api/v1/namespaces/default/nopes", 404),
        ("/api/v9/pods", 404),
        ("/apis/apps/v1/namespaces/default/deployments/%00", 404),
        ("/debug/pprof/", 404),
        ("/debug/api_priority_and_fairness/dump_queues", 404),
        ("/readyz/nope", 404),
        ("/nope", 404),
    ] {
        let (code, answer) = hostile.ask("GET", path, JSON, "").await;
        assert_eq!(code, expected, "{path}: {answer}");
    }
}

/// Every kind's creation with bodies that were whole once, in all three forms.
#[tokio::test]
async fn no_mutation_of_any_kinds_body_makes_the_server_fail() {
    let hostile = Hostile::start().await;
    let (mut rng, mut kinds) = (Rng::seeded(17), 0);
    for resource in resources::all(&testkit::deps(&base::rng::SharedRng::seeded(1))) {
        let info = resource.info();
        if !info.has_verb("create") {
            continue;
        }
        let version = &info.storage_version;
        let api_version = join_api_version(&info.group, version);
        let Some(schema) = schema::by_kind(&info.group, version, &info.kind) else { continue };
        let root = if info.group.is_empty() { "/api/" } else { "/apis/" };
        let place = match info.scope {
            apiserver::resource::Scope::Namespaced => "namespaces/default/",
            apiserver::resource::Scope::Cluster => "",
        };
        let uri = format!("{root}{api_version}/{place}{}", info.plural);
        for round in 0..9 {
            let (kind, whole) = body(&schema, &api_version, &info.kind, round, &mut rng);
            let sent = if round < 3 { whole } else { rng.mutated(&whole) };
            let shown = String::from_utf8_lossy(&sent).into_owned();
            let (code, answer) = hostile.ask("POST", &uri, kind, sent).await;
            assert!((200..500).contains(&code), "{uri} {kind} {code}: {answer}\n{shown}");
        }
        kinds += 1;
    }
    assert!(kinds >= 60, "only {kinds} kinds have been tried");
}

fn body(
    schema: &Schema,
    api_version: &str,
    kind: &str,
    round: usize,
    rng: &mut Rng,
) -> (&'static str, Vec<u8>) {
    let mut object = sample::value(schema, rng);
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // Upstream answers 500 to a creation that has one, and so do we.
        meta.remove("resourceVersion");
    }
    match round % 3 {
        0 => (JSON, object.to_string().into_bytes()),
        // JSON is YAML.
        1 => (YAML, object.to_string().into_bytes()),
        _ => {
            let canonical = api::decode::value(object, schema).unwrap().object;
            (PROTOBUF, api::proto::encode(&canonical).unwrap())
        }
    }
}

#[tokio::test]
async fn no_path_and_no_query_makes_the_server_fail() {
    let hostile = Hostile::start().await;
    let (mut rng, mut answered) = (Rng::seeded(23), 0);
    let pieces = [
        "api",
        "apis",
        "v1",
        "apps",
        "namespaces",
        "default",
        "pods",
        "configmaps",
        "m",
        "status",
        "scale",
        "watch",
        "proxy",
        "%2F",
        "..",
        "",
        "openapi",
        "v2",
        "readyz",
        "%ff",
        "ü",
        "log",
    ];
    let terms = [
        "watch=0",
        "limit=1",
        "limit=-1",
        "continue=x",
        "labelSelector=a",
        "fieldSelector=%3D",
        "resourceVersion=0",
        "dryRun=All",
        "dryRun=x",
        "fieldValidation=x",
        "pretty=1",
        "timeout=1s",
        "timeout=-1s",
        "sendInitialEvents=1",
        "a%",
        "=",
        "fieldManager=%01",
        "force=1",
        "gracePeriodSeconds=-9",
    ];
    for _ in 0..3000 {
        let mut uri = String::new();
        for _ in 0..=rng.below(8) {
            uri.push('/');
            uri.push_str(pieces[rng.below(pieces.len())]);
        }
        for index in 0..rng.below(4) {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(terms[rng.below(terms.len())]);
        }
        let method = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"][rng.below(7)];
        let (code, answer) = hostile.ask(method, &uri, JSON, "{}").await;
        let fine = code < 500 || code == 504;
        assert!(fine, "{method} {uri}: {code} {answer}");
        answered += usize::from(code > 0);
    }
    assert!(answered >= 2000, "only {answered} paths were such that they could be sent");
}
