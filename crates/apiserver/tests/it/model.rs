//! Lists and watches under concurrent writers, against a model: no change lost, doubled or out of
//! order, whenever a watch began, wherever it went on, and while history is compacted.
//!
//! Several servers serve one store, so that a client that goes on at another server needs changes
//! which that one's ring has never held. Clients do what reflectors do: list in pages, watch from
//! there, break off, go on from the last version that they saw, and list again when that is too
//! old. What each saw is compared with the log of one watch that was never broken off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::object;
use base::rng::SharedRng;
use serde_json::{Value, json};
use store::SharedStore;

use crate::common::{Fixture, Watch, config_map, fixture_on};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MERGE: &str = "application/merge-patch+json";
const END: &str = "the-end";
const WRITERS: u64 = 4;
const NAMES: u64 = 20;

/// What a client believes: name to version.
type Model = BTreeMap<String, u64>;

/// Every change by its version: the name, and the colour that the object then had; none when it
/// was deleted.
type Log = BTreeMap<u64, (String, Option<String>)>;

/// An event: its version, the object's name, its type.
type Seen = (u64, String, &'static str);

/// One run: what is written by whom, and who looks.
struct Run {
    servers: Vec<Fixture>,
    store: SharedStore,
    seed: u64,
    writes: usize,
    is_over: AtomicBool,
}

async fn write_at_random(f: &Fixture, rng: &SharedRng, writes: usize) {
    for _ in 0..writes {
        let name = format!("m{}", rng.below(NAMES));
        let uri = format!("{MAPS}/{name}");
        let colour = if rng.below(2) == 0 { "red" } else { "blue" };
        match rng.below(6) {
            0 | 1 => {
                let mut made = config_map(&name);
                made["metadata"]["labels"] = json!({ "colour": colour });
                drop(f.post(MAPS, made).await);
            }
            2 => drop(f.delete(&uri, json!({})).await),
            3 => {
                let patch = json!({"metadata": {"labels": {"colour": colour}}});
                drop(f.patch(&uri, MERGE, patch).await);
            }
            _ => {
                let patch = json!({"data": {"n": rng.below(1000).to_string()}});
                drop(f.patch(&uri, MERGE, patch).await);
            }
        }
    }
}

fn colour_of(object: &Value) -> String {
    object::str_at(object, &["metadata", "labels", "colour"]).to_owned()
}

/// Follows everything until the end is seen, and gives back the log.
async fn follow_all(mut watch: Watch) -> Log {
    let mut log = Log::new();
    loop {
        let event = watch.next().await.expect("the watch outlives the writers");
        let (kind, object) = (event["type"].as_str().unwrap(), &event["object"]);
        let rv = object::resource_version(object).unwrap();
        let name = object::name(object).to_owned();
        let colour = (kind != "DELETED").then(|| colour_of(object));
        let is_last = name == END;
        let in_order = log.last_key_value().is_none_or(|(last, _)| *last < rv);
        assert!(in_order, "{kind} {name} at {rv} is out of order");
        log.insert(rv, (name, colour));
        if is_last {
            return log;
        }
    }
}

/// A client with a selector.
struct Client {
    run: Arc<Run>,
    rng: SharedRng,
    /// The only colour that it sees; everything when there is none.
    colour: Option<&'static str>,
    model: Model,
    last: u64,
    /// The events since the last list, which was at this version.
    listed_at: u64,
    events: Vec<Seen>,
    /// The parts of its life that are over, each from a list on.
    lives: Vec<(u64, u64, Vec<Seen>)>,
}

impl Client {
    fn query(&self) -> String {
        self.colour.map(|colour| format!("&labelSelector=colour%3D{colour}")).unwrap_or_default()
    }

    fn server(&self) -> &Fixture {
        &self.run.servers[usize::try_from(self.rng.below(2)).unwrap()]
    }

    /// Lists in pages of some length; a snapshot that is lost on the way is begun anew.
    async fn list(&mut self) {
        'anew: loop {
            let limit = 1 + self.rng.below(8);
            let (mut token, mut model, mut version) = (String::new(), Model::new(), None);
            loop {
                let uri = format!("{MAPS}?limit={limit}{}{token}", self.query());
                let answer = self.server().get(&uri).await;
                if answer.code == 410 {
                    continue 'anew;
                }
                let page = answer.expect(200);
                let rv = object::resource_version(&page).unwrap();
                assert_eq!(*version.get_or_insert(rv), rv, "pages are of one snapshot");
                for one in object::list_at(&page, &["items"]) {
                    let own = object::resource_version(one).unwrap();
                    assert!(own <= rv, "an object of {own} in a list of {rv}");
                    let after = model
                        .last_key_value()
                        .is_none_or(|(last, _)| last.as_str() < object::name(one));
                    assert!(after, "pages are in the order of names");
                    model.insert(object::name(one).to_owned(), own);
                }
                match object::str_at(&page, &["metadata", "continue"]) {
                    "" => break,
                    next => token = format!("&continue={next}"),
                }
            }
            let rv = version.unwrap();
            self.lives.push((self.listed_at, self.last, std::mem::take(&mut self.events)));
            (self.model, self.last, self.listed_at) = (model, rv, rv);
            return;
        }
    }

    /// The last object that it gets to see; it has seen everything when that is there.
    fn end(&self) -> String {
        self.colour.map_or_else(|| END.to_owned(), |colour| format!("{END}-{colour}"))
    }

    /// Watches from where it is for a number of events, or until it has seen everything.
    async fn watch(&mut self, events: u64) {
        let bookmarks = if self.rng.below(2) == 0 { "&allowWatchBookmarks=true" } else { "" };
        let query = self.query();
        let uri = format!("{MAPS}?watch=1&resourceVersion={}{bookmarks}{query}", self.last);
        let request = http::Request::get(&uri).body(axum::body::Body::empty()).unwrap();
        let response = self.server().send(request).await;
        if response.status() == 410 {
            return self.list().await;
        }
        assert_eq!(response.status(), 200);
        let mut watch = Watch::of(response);
        for _ in 0..events {
            let event = watch.next().await.expect("nobody ends the watch");
            self.take(&event);
            if self.model.contains_key(&self.end()) {
                return;
            }
        }
    }

    /// Takes in an event.
    fn take(&mut self, event: &Value) {
        let object = &event["object"];
        let rv = object::resource_version(object).unwrap();
        let name = object::name(object).to_owned();
        let seed = self.run.seed;
        let (kind, known) = match event["type"].as_str().unwrap() {
            "ADDED" => ("ADDED", self.model.insert(name.clone(), rv).is_none()),
            "MODIFIED" => ("MODIFIED", self.model.insert(name.clone(), rv).is_some()),
            "DELETED" => ("DELETED", self.model.remove(&name).is_some()),
            "BOOKMARK" => {
                assert!(rv >= self.last, "seed {seed}: a bookmark goes back");
                self.last = rv;
                return;
            }
            other => panic!("unexpected {other}: {event}"),
        };
        assert!(rv > self.last, "seed {seed}: {kind} {name} at {rv} after {}", self.last);
        assert!(known, "seed {seed}: {kind} {name} at {rv} does not fit");
        self.last = rv;
        self.events.push((rv, name, kind));
    }

    async fn live(mut self) -> Self {
        self.list().await;
        while !self.model.contains_key(&self.end()) {
            match self.rng.below(10) {
                0 => self.list().await,
                _ => {
                    let events = 1 + self.rng.below(40);
                    self.watch(events).await;
                }
            }
        }
        let (listed_at, last) = (self.listed_at, self.last);
        let events = std::mem::take(&mut self.events);
        self.lives.push((listed_at, last, events));
        self
    }

    /// Compares what it saw with what happened.
    fn check(&self, log: &Log) {
        for (from, until, events) in &self.lives {
            let expected = seen_of(log, self.colour, *from, *until);
            assert_eq!(events, &expected, "seed {}, from {from} to {until}", self.run.seed);
        }
    }
}

/// What a client with a selector sees of a log after one version up to another.
fn seen_of(log: &Log, colour: Option<&str>, from: u64, until: u64) -> Vec<Seen> {
    let matches = |own: &Option<String>| match (own, colour) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(own), Some(wanted)) => own == wanted,
    };
    let mut state: BTreeMap<&str, &Option<String>> = BTreeMap::new();
    let mut seen = Vec::new();
    for (rv, (name, now)) in log.range(..=until) {
        let before = state.insert(name, now).is_some_and(matches);
        let kind = match (before, matches(now)) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => continue,
        };
        if *rv > from {
            seen.push((*rv, name.clone(), kind));
        }
    }
    seen
}

/// Compacts everything but the latest changes, again and again.
async fn compact(run: Arc<Run>) {
    let rng = SharedRng::seeded(run.seed + 77);
    while !run.is_over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let newest = run.store.revision().await.unwrap();
        let until = newest.saturating_sub(rng.below(30));
        // Another round may have gone further.
        let _ = run.store.compact(until).await;
    }
}

async fn run(store: SharedStore, seed: u64, writes: usize, compacts: bool) {
    println!("seed {seed}");
    let first = fixture_on(store.clone(), |_| {});
    first.post(MAPS, config_map("m0")).await.expect(201);
    let second = fixture_on(store.clone(), |_| {});
    let run = Arc::new(Run {
        servers: vec![first, second],
        store,
        seed,
        writes,
        is_over: AtomicBool::new(false),
    });
    let start = run.servers[0].get(MAPS).await.expect(200);
    let from = object::resource_version(&start).unwrap();
    // The log begins with the one object that there is.
    let mut log = Log::from([(from, ("m0".to_owned(), Some(String::new())))]);
    let watch = run.servers[0].watch(&format!("{MAPS}?watch=1&resourceVersion={from}")).await;
    let following = tokio::spawn(follow_all(watch));
    let writers: Vec<_> = (0..WRITERS)
        .map(|at| {
            let (run, rng) = (run.clone(), SharedRng::seeded(seed * 100 + at));
            tokio::spawn(async move {
                let server = &run.servers[usize::try_from(at % 2).unwrap()];
                write_at_random(server, &rng, run.writes).await;
            })
        })
        .collect();
    let compacting = compacts.then(|| tokio::spawn(compact(run.clone())));
    let clients: Vec<_> = (0..6_u64)
        .map(|at| {
            let client = Client {
                run: run.clone(),
                rng: SharedRng::seeded(seed * 1000 + at),
                colour: [None, Some("red"), Some("blue")][usize::try_from(at % 3).unwrap()],
                model: Model::new(),
                last: from,
                listed_at: from,
                events: Vec::new(),
                lives: Vec::new(),
            };
            tokio::spawn(client.live())
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for colour in ["red", "blue"] {
        let mut end = config_map(&format!("{END}-{colour}"));
        end["metadata"]["labels"] = json!({ "colour": colour });
        run.servers[1].post(MAPS, end).await.expect(201);
    }
    run.servers[1].post(MAPS, config_map(END)).await.expect(201);
    run.is_over.store(true, Ordering::SeqCst);
    log.extend(following.await.unwrap());
    if let Some(compacting) = compacting {
        compacting.await.unwrap();
    }
    for client in clients {
        let client = client.await.unwrap();
        client.check(&log);
        let uri = format!("{MAPS}?{}", client.query());
        let list = client.server().get(&uri).await.expect(200);
        let now: Model = object::list_at(&list, &["items"])
            .iter()
            .map(|one| (object::name(one).to_owned(), object::resource_version(one).unwrap()))
            .collect();
        assert_eq!(client.model, now, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_every_change_once_and_in_order() {
    for seed in 1..=3 {
        run(store::memory(), seed, 100, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_every_change_once_under_compaction() {
    for seed in 5..=7 {
        run(store::memory(), seed, 100, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_every_change_once_on_etcd() {
    let mut etcd = store::suite::Etcd::start(None);
    for (seed, compacts) in [(9, false), (10, true)] {
        let store = etcd.connect(etcd.options()).await;
        run(store, seed, 40, compacts).await;
        // The next run begins with nothing.
        etcd.kill();
        etcd = store::suite::Etcd::start(None);
    }
}
