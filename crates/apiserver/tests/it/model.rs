//! Lists and watches under concurrent writers, against a model: no change lost, doubled or out of
//! order, whenever a watch began; and what happens when history is compacted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::object;
use base::rng::SharedRng;
use serde_json::{Value, json};

use crate::common::{Fixture, Watch, config_map, fixture};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MERGE: &str = "application/merge-patch+json";

/// What a client that lists and watches believes: name to version.
type Model = BTreeMap<String, u64>;

async fn write_at_random(f: &Fixture, rng: &SharedRng, writes: usize) {
    for _ in 0..writes {
        let name = format!("m{}", rng.below(20));
        let uri = format!("{MAPS}/{name}");
        match rng.below(4) {
            0 => drop(f.post(MAPS, config_map(&name)).await),
            1 => drop(f.delete(&uri, json!({})).await),
            _ => {
                let patch = json!({"data": {"n": rng.below(1000).to_string()}});
                drop(f.patch(&uri, MERGE, patch).await);
            }
        }
    }
}

/// Follows a watch until it has seen `until`, checking each event against what it knows.
async fn follow(mut watch: Watch, mut model: Model, mut last: u64, until: u64) -> Model {
    while last < until {
        let (kind, name, rv) = watch.brief().await;
        assert!(rv > last, "{kind} {name}: {rv} after {last}");
        last = rv;
        let known = match kind.as_str() {
            "ADDED" => model.insert(name.clone(), rv).is_none(),
            "MODIFIED" => model.insert(name.clone(), rv).is_some(),
            "DELETED" => model.remove(&name).is_some(),
            other => panic!("unexpected {other}"),
        };
        assert!(known, "{kind} {name} at {rv} does not fit");
    }
    model
}

fn model_of(list: &Value) -> (Model, u64) {
    let rv = object::resource_version(list).unwrap();
    let items = object::list_at(list, &["items"]);
    let model = items
        .iter()
        .map(|one| (object::name(one).to_owned(), object::resource_version(one).unwrap()))
        .collect();
    (model, rv)
}

async fn run(seed: u64) {
    let f = Arc::new(fixture());
    let writers: Vec<_> = (0..4)
        .map(|at| {
            let (f, rng) = (f.clone(), SharedRng::seeded(seed * 100 + at));
            tokio::spawn(async move { write_at_random(&f, &rng, 150).await })
        })
        .collect();
    let mut watchers = Vec::new();
    for _ in 0..6 {
        let (model, rv) = model_of(&f.get(MAPS).await.expect(200));
        let watch = f.watch(&format!("{MAPS}?watch=1&resourceVersion={rv}")).await;
        watchers.push((watch, model, rv));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    f.post(MAPS, config_map("the-end")).await.expect(201);
    let (expected, _) = model_of(&f.get(MAPS).await.expect(200));
    let until = expected["the-end"];
    for (watch, model, rv) in watchers {
        assert_eq!(follow(watch, model, rv, until).await, expected, "seed {seed}");
    }
    // From the very beginning, over what the ring still has or the store replays.
    let watch = f.watch(&format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let first = f.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    let (model, _) = model_of(&first.expect(200));
    assert_eq!(follow(watch, model, 1, until).await, expected, "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_see_every_change_once_and_in_order() {
    for seed in 1..=5 {
        run(seed).await;
    }
}

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
    assert_eq!(refused["message"], "too old resource version: 2");
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
