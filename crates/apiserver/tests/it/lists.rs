//! What lists and watches are of, and how they look: versions, counts, names, shapes.

use api::Value;
use api::object;
use http::Method;
use serde_json::json;

use crate::common::{Fixture, config_map, fixture, fixture_on};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

async fn make(f: &Fixture, name: &str, labels: Value) -> u64 {
    let mut made = config_map(name);
    made["metadata"]["labels"] = labels;
    object::resource_version(&f.post(MAPS, made).await.expect(201)).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    object::list_at(list, &["items"]).iter().map(object::name).collect()
}

#[tokio::test]
async fn the_version_says_which_state_is_meant() {
    let f = fixture();
    let first = make(&f, "a", json!({})).await;
    let second = make(&f, "b", json!({})).await;
    let check = async |query: &str, expected: &[&str], rv: u64| {
        let list = f.get(&format!("{MAPS}?{query}")).await.expect(200);
        assert_eq!(names(&list), expected, "{query}");
        let got = object::resource_version(&list).unwrap();
        assert!(got == rv || (rv == 0 && got >= second), "{query}: {got}");
    };
    check("", &["a", "b"], 0).await;
    check(&format!("resourceVersion={first}&resourceVersionMatch=Exact"), &["a"], first).await;
    check(&format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan"), &["a", "b"], 0)
        .await;
    check(&format!("resourceVersion={first}"), &["a", "b"], 0).await;
    // With a limit and no rule, a version of old means exactly that.
    check(&format!("resourceVersion={first}&limit=5"), &["a"], first).await;
    check("resourceVersion=0&limit=1", &["a", "b"], 0).await;
    let future = second + 1000;
    for query in ["", "&resourceVersionMatch=Exact", "&resourceVersionMatch=NotOlderThan"] {
        let error = f.get(&format!("{MAPS}?resourceVersion={future}{query}")).await.expect(504);
        let cause = &error["details"]["causes"][0];
        assert_eq!(cause["reason"], "ResourceVersionTooLarge", "{query}");
        assert_eq!(cause["message"], "Too large resource version");
        // A snapshot is not waited for.
        let again = error["details"]["retryAfterSeconds"].as_i64();
        assert_eq!(again, (!query.contains("Exact")).then_some(1), "{query}");
    }
}

#[tokio::test]
async fn a_list_is_of_what_is_stored_now_whoever_stored_it() {
    let f = fixture();
    make(&f, "a", json!({})).await;
    let other = fixture_on(f.store.clone(), |_| {});
    assert_eq!(names(&other.get(MAPS).await.expect(200)), ["a"]);
    for at in 0..50 {
        let name = format!("b{at:02}");
        make(&f, &name, json!({})).await;
        let list = other.get(&format!("{MAPS}?fieldSelector=metadata.name%3D{name}")).await;
        assert_eq!(names(&list.expect(200)), [name.as_str()]);
    }
}

#[tokio::test]
async fn what_remains_is_counted_where_it_is_known() {
    let f = fixture();
    for at in 0..7 {
        make(&f, &format!("m{at}"), json!({"even": (at % 2 == 0).to_string()})).await;
    }
    let page = f.get(&format!("{MAPS}?limit=3")).await.expect(200);
    assert_eq!(page["metadata"]["remainingItemCount"], 4);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let page = f.get(&format!("{MAPS}?limit=4&continue={token}")).await.expect(200);
    assert_eq!(names(&page).len(), 4);
    assert!(page["metadata"].get("remainingItemCount").is_none(), "{page}");
    assert!(page["metadata"].get("continue").is_none(), "{page}");
    // Nobody knows how many of the rest match.
    let page = f.get(&format!("{MAPS}?limit=2&labelSelector=even%3Dtrue")).await.expect(200);
    assert_eq!(names(&page), ["m0", "m2"]);
    assert!(page["metadata"].get("remainingItemCount").is_none());
    let token = page["metadata"]["continue"].as_str().unwrap();
    let uri = format!("{MAPS}?limit=9&labelSelector=even%3Dtrue&continue={token}");
    assert_eq!(names(&f.get(&uri).await.expect(200)), ["m4", "m6"]);
    let page = f.get(&format!("{MAPS}?limit=100")).await.expect(200);
    assert!(page["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn one_name_may_be_watched() {
    let f = fixture();
    for name in ["a", "b"] {
        make(&f, name, json!({})).await;
    }
    let by_field = format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Db");
    let by_path = "/api/v1/watch/namespaces/default/configmaps/b".to_owned();
    for uri in [by_field, by_path] {
        let mut watch = f.watch(&uri).await;
        assert_eq!(watch.brief().await.1, "b");
        let patch = |n: &str| json!({"data": {"n": n, "of": &uri}});
        for name in ["a", "b"] {
            let merge = "application/merge-patch+json";
            f.patch(&format!("{MAPS}/{name}"), merge, patch(name)).await.expect(200);
        }
        let (kind, name, _) = watch.brief().await;
        assert_eq!((kind.as_str(), name.as_str()), ("MODIFIED", "b"), "{uri}");
    }
}

#[tokio::test]
async fn a_watch_of_old_is_told_where_its_beginning_ends() {
    let f = fixture();
    make(&f, "a", json!({})).await;
    for query in ["", "&resourceVersion=0"] {
        let mut watch = f.watch(&format!("{MAPS}?watch=1&allowWatchBookmarks=true{query}")).await;
        assert_eq!(watch.brief().await.0, "ADDED");
        let end = watch.next().await.unwrap();
        assert_eq!(end["type"], "BOOKMARK");
        assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    }
}

#[tokio::test]
async fn shapes_of_lists_and_watches() {
    let f = fixture();
    make(&f, "a", json!({})).await;
    for (include, expected) in [
        ("", Some("PartialObjectMetadata")),
        ("&includeObject=Metadata", Some("PartialObjectMetadata")),
        ("&includeObject=Object", Some("ConfigMap")),
        ("&includeObject=None", None),
    ] {
        let check = |table: &Value| {
            assert_eq!(
                (&table["kind"], &table["apiVersion"]),
                (&json!("Table"), &json!("meta.k8s.io/v1"))
            );
            let row = &table["rows"][0];
            assert_eq!(row["cells"][0], "a", "{include}");
            let kind = row["object"]["kind"].as_str();
            assert!(row.get("object").is_some(), "{include}");
            assert_eq!(kind, expected, "{include}");
        };
        let list =
            f.call(Method::GET, &format!("{MAPS}?x=1{include}"), &[("accept", TABLE)], "").await;
        check(&list.expect(200));
        let mut watch = f.watch_as(&format!("{MAPS}?watch=1{include}"), TABLE).await;
        check(&watch.next().await.unwrap()["object"]);
    }
    let odd =
        f.call(Method::GET, &format!("{MAPS}?includeObject=x"), &[("accept", TABLE)], "").await;
    odd.expect(400);
    for (accept, uri) in [(PARTIAL_LIST, MAPS.to_owned()), (PARTIAL, format!("{MAPS}/a"))] {
        let found = f.call(Method::GET, &uri, &[("accept", accept)], "").await.expect(200);
        let kind = if uri == MAPS { "PartialObjectMetadataList" } else { "PartialObjectMetadata" };
        assert_eq!(
            (&found["kind"], &found["apiVersion"]),
            (&json!(kind), &json!("meta.k8s.io/v1"))
        );
    }
    let uri = format!("{MAPS}?watch=1&allowWatchBookmarks=true");
    let mut watch = f.watch_as(&uri, PARTIAL).await;
    for expected in ["ADDED", "BOOKMARK"] {
        let event = watch.next().await.unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["kind"]),
            (&json!(expected), &json!("PartialObjectMetadata"))
        );
        assert!(event["object"].get("data").is_none());
    }
}
