//! Create, read, update, delete, list, watch: the ways that every client goes.

use api::object;
use http::Method;
use serde_json::{Value, json};

use crate::common::{config_map, fixture};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_lives_its_life() {
    let f = fixture();
    let made = f.post(MAPS, config_map("a")).await.expect(201);
    assert_eq!(object::str_at(&made, &["metadata", "namespace"]), "default");
    assert!(!object::uid(&made).is_empty());
    let rv = object::resource_version(&made).unwrap();
    f.post(MAPS, config_map("a")).await.expect(409);

    let mut got = f.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(got, made);

    got["data"]["a"] = "2".into();
    let put = f.put(&format!("{MAPS}/a"), got.clone()).await.expect(200);
    assert!(object::resource_version(&put).unwrap() > rv);
    // What changes nothing makes no version.
    let same = f.put(&format!("{MAPS}/a"), put.clone()).await.expect(200);
    assert_eq!(same, put);
    let stale = f.put(&format!("{MAPS}/a"), got).await.expect(409);
    assert_eq!(
        stale["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );

    let gone = f.delete(&format!("{MAPS}/a"), json!({})).await.expect(200);
    assert_eq!(gone["kind"], "Status");
    assert_eq!(gone["details"]["uid"], made["metadata"]["uid"]);
    let missing = f.get(&format!("{MAPS}/a")).await.expect(404);
    assert_eq!(missing["message"], "configmaps \"a\" not found");
}

#[tokio::test]
async fn lists_page_over_a_snapshot() {
    let f = fixture();
    for at in 0..25 {
        f.post(MAPS, config_map(&format!("m{at:02}"))).await.expect(201);
    }
    let first = f.get(&format!("{MAPS}?limit=10")).await.expect(200);
    assert_eq!(first["kind"], "ConfigMapList");
    assert_eq!(first["metadata"]["remainingItemCount"], 15);
    assert!(first["items"][0].get("kind").is_none());
    // What happens meanwhile is not in the following pages.
    f.post(MAPS, config_map("m99")).await.expect(201);
    f.delete(&format!("{MAPS}/m15"), json!({})).await.expect(200);
    let mut token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = names(&first);
    while !token.is_empty() {
        let page = f.get(&format!("{MAPS}?limit=10&continue={token}")).await.expect(200);
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        names.extend(self::names(&page));
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    }
    let expected: Vec<String> = (0..25).map(|at| format!("m{at:02}")).collect();
    assert_eq!(names, expected);
    let newest = f.get(MAPS).await.expect(200);
    assert_eq!(newest["items"].as_array().unwrap().len(), 25);
}

fn names(list: &Value) -> Vec<String> {
    object::list_at(list, &["items"]).iter().map(|one| object::name(one).to_owned()).collect()
}

#[tokio::test]
async fn a_watch_sees_what_happens_and_selectors_cut_it() {
    let f = fixture();
    f.post(MAPS, config_map("old")).await.expect(201);
    let mut all = f.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(all.brief().await.0, "ADDED");
    let mut web = f.watch(&format!("{MAPS}?watch=1&labelSelector=app%3Dweb")).await;

    let mut object = config_map("a");
    object["metadata"]["labels"] = json!({"app": "web"});
    let made = f.post(MAPS, object).await.expect(201);
    let rv = object::resource_version(&made).unwrap();
    assert_eq!(all.brief().await, ("ADDED".into(), "a".into(), rv));
    assert_eq!(web.brief().await, ("ADDED".into(), "a".into(), rv));

    let mut object = made;
    object["metadata"]["labels"] = json!({"app": "db"});
    let put = f.put(&format!("{MAPS}/a"), object).await.expect(200);
    let rv = object::resource_version(&put).unwrap();
    assert_eq!(all.brief().await, ("MODIFIED".into(), "a".into(), rv));
    assert_eq!(web.brief().await, ("DELETED".into(), "a".into(), rv));

    f.delete(&format!("{MAPS}/a"), json!({})).await.expect(200);
    let (kind, name, deleted) = all.brief().await;
    assert_eq!((kind.as_str(), name.as_str()), ("DELETED", "a"));
    assert!(deleted > rv);

    // Replayed from a version of old.
    let mut again = f.watch(&format!("{MAPS}?watch=1&resourceVersion={rv}")).await;
    assert_eq!(again.brief().await, ("DELETED".into(), "a".into(), deleted));
}

#[tokio::test]
async fn initial_events_end_with_their_bookmark() {
    let f = fixture();
    f.post(MAPS, config_map("a")).await.expect(201);
    let uri = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    );
    let mut watch = f.watch(&uri).await;
    assert_eq!(watch.brief().await.0, "ADDED");
    let end = watch.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(end["object"]["kind"], "ConfigMap");
}

#[tokio::test]
async fn discovery_lists_what_is_served() {
    let f = fixture();
    let versions = f.get("/api").await.expect(200);
    assert_eq!(versions["versions"], json!(["v1"]));
    let groups = f.get("/apis/").await.expect(200);
    assert_eq!(groups["groups"][0]["name"], "apps");
    let list = f.get("/apis/apps/v1").await.expect(200);
    assert_eq!(list["resources"][1]["name"], "deployments/scale");
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = f.call(Method::GET, "/apis", &[("accept", accept)], "").await;
    assert_eq!(
        answer.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    assert_eq!(answer.json()["items"][0]["versions"][0]["freshness"], "Current");
    let tag = answer.headers["etag"].to_str().unwrap().to_owned();
    let headers = [("accept", accept), ("if-none-match", tag.as_str())];
    assert_eq!(f.call(Method::GET, "/apis", &headers, "").await.code, 304);
    assert_eq!(f.get("/apis/nope").await.code, 404);
    assert_eq!(f.get("/version").await.expect(200)["minor"], "36");
    f.server.core_ready().await;
    assert_eq!(f.get("/readyz").await.code, 200);
    assert_eq!(f.get("/livez/etcd").await.code, 200);
    assert_eq!(f.get("/livez/no-such-check").await.code, 404);
    assert_eq!(f.get("/healthz/poststarthook/rbac/bootstrap-roles").await.code, 200);
    let slis = f.get("/metrics/slis").await;
    let slis = String::from_utf8_lossy(&slis.bytes).into_owned();
    assert!(slis.contains("kubernetes_healthcheck{name=\"etcd\",type=\"livez\"} 1"), "{slis}");
}
