//! What clients see over time: expired lists, replayed watches, bookmarks.

use api::object;
use serde_json::json;

use crate::common::{config_map, fixture};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(start_paused = true)]
async fn an_expired_list_goes_on_inconsistently() {
    let f = fixture();
    for at in 0..10 {
        f.post(MAPS, config_map(&format!("m{at}"))).await.expect(201);
    }
    let first = f.get(&format!("{MAPS}?limit=3")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let last = f.post(MAPS, config_map("m99")).await.expect(201);
    f.store.compact(object::resource_version(&last).unwrap()).await.unwrap();

    let expired = f.get(&format!("{MAPS}?limit=3&continue={token}")).await.expect(410);
    assert_eq!(expired["reason"], "Expired");
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let next = f.get(&format!("{MAPS}?limit=3&continue={token}")).await.expect(200);
    assert_eq!(next["items"][0]["metadata"]["name"], "m3");
    let token = next["metadata"]["continue"].as_str().unwrap();
    let third = f.get(&format!("{MAPS}?limit=30&continue={token}")).await.expect(200);
    assert_eq!(third["metadata"]["resourceVersion"], next["metadata"]["resourceVersion"]);
    assert_eq!(third["items"].as_array().unwrap().len(), 5);
    f.get(&format!("{MAPS}?limit=3&continue=xyz")).await.expect(400);
    let exact = format!("{MAPS}?resourceVersion=2&resourceVersionMatch=Exact");
    f.get(&exact).await.expect(410);
    let future = f.get(&format!("{MAPS}?resourceVersion=100000")).await.expect(504);
    assert_eq!(future["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_its_history_though_nothing_of_its_kind_changed() {
    let f = fixture();
    for at in 0..4 {
        f.post(MAPS, config_map(&format!("m{at}"))).await.expect(201);
    }
    let first = f.get(&format!("{MAPS}?limit=3")).await.expect(200);
    let next =
        format!("{MAPS}?limit=3&continue={}", first["metadata"]["continue"].as_str().unwrap());
    let pod = json!({"metadata": {"name": "other"}});
    let pod = f.post("/api/v1/namespaces/default/pods", pod).await.expect(201);
    f.get(&next).await.expect(200);
    f.store.compact(object::resource_version(&pod).unwrap()).await.unwrap();
    let expired = f.get(&next).await.expect(410);
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let rest = f.get(&format!("{MAPS}?limit=3&continue={token}")).await.expect(200);
    assert_eq!(rest["items"][0]["metadata"]["name"], "m3");
    assert_ne!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_watch_from_before_the_server_began_is_replayed_or_refused() {
    let f = fixture();
    for at in 0..5 {
        f.post(MAPS, config_map(&format!("m{at}"))).await.expect(201);
    }
    // A second server on the same store has none of this in its ring.
    let second = crate::common::fixture_on(f.store.clone(), |_| {});
    let mut watch = second.watch(&format!("{MAPS}?watch=1&resourceVersion=3")).await;
    for name in ["m2", "m3", "m4"] {
        let (kind, got, _) = watch.brief().await;
        assert_eq!((kind.as_str(), got.as_str()), ("ADDED", name));
    }
    f.delete(&format!("{MAPS}/m0"), json!({})).await.expect(200);
    assert_eq!(watch.brief().await.0, "DELETED");

    f.store.compact(5).await.unwrap();
    let third = crate::common::fixture_on(f.store.clone(), |_| {});
    let refused = third.get(&format!("{MAPS}?watch=1&resourceVersion=2")).await.expect(410);
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("too old resource version: 2"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn quiet_watches_get_bookmarks_and_end_in_time() {
    let f = fixture();
    let made = f.post(MAPS, config_map("a")).await.expect(201);
    let rv = object::resource_version(&made).unwrap();
    let uri =
        format!("{MAPS}?watch=1&resourceVersion={rv}&allowWatchBookmarks=true&timeoutSeconds=150");
    let mut watch = f.watch(&uri).await;
    let started = tokio::time::Instant::now();
    f.post("/api/v1/namespaces/default/pods", json!({"metadata": {"name": "other"}}))
        .await
        .expect(201);
    let mut seen = Vec::new();
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "BOOKMARK");
        assert!(object::resource_version(&event["object"]).unwrap() > rv);
        seen.push(started.elapsed().as_secs());
    }
    assert!(seen.len() >= 3, "{seen:?}");
    assert_eq!(started.elapsed().as_secs(), 150);
}
