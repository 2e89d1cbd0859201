//! Seeded concurrent writers and watchers against a model: whatever order the store chose, its
//! revisions, its ranges and every watch must tell the same story.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::Rng;

use super::bed::{Bed, Watched, text};
use crate::{Event, Expect, Range, Revision, StoreError};

const WRITERS: u64 = 8;

/// A change that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    revision: Revision,
    name: String,
    value: Option<String>,
    previous: Option<Revision>,
}

impl Done {
    fn of(bed: &Bed, event: &Event) -> Self {
        Self {
            revision: event.revision,
            name: bed.name(&event.key),
            value: event.value.as_ref().map(|kv| text(&kv.value)),
            previous: event.previous.as_ref().map(|kv| kv.mod_revision),
        }
    }
}

/// One writer: random changes of a few keys, each with a condition that may not hold.
async fn write_randomly(bed: Bed, writer: u64, count: usize) -> Vec<Done> {
    let mut rng = bed.rng(writer);
    let mut done = Vec::new();
    let mut known: BTreeMap<String, Option<Revision>> = BTreeMap::new();
    for n in 0..count {
        let name =
            format!("{}/{}", ["p", "q", "pp"][rng.random_range(0..3)], rng.random_range(0..6));
        let value = rng.random_bool(0.75).then(|| format!("{writer}-{n}"));
        let expect = match (rng.random_range(0..4), known.get(&name)) {
            (0, _) => Expect::Anything,
            (_, Some(Some(revision))) => Expect::Revision(*revision),
            _ => Expect::Absent,
        };
        let mut write = bed.change(&name, value.as_deref(), expect);
        if rng.random_bool(0.3) {
            write.durability = crate::Durability::Relaxed;
        }
        match bed.subject.store.write(write).await {
            Ok(written) => {
                let previous = written.previous.map(|kv| kv.mod_revision);
                known.insert(name.clone(), value.is_some().then_some(written.revision));
                // A delete of nothing changes nothing.
                if value.is_some() || previous.is_some() {
                    done.push(Done { revision: written.revision, name, value, previous });
                }
            }
            Err(StoreError::Conflict { current, .. }) => {
                known.insert(name, current.map(|kv| kv.mod_revision));
            }
            Err(error) => panic!("writer {writer}: {error}"),
        }
    }
    done
}

/// Runs all writers and gives what they did, in order of revision.
async fn write_all(bed: &Bed) -> Vec<Done> {
    let count = bed.subject.model_writes / WRITERS as usize;
    let writers =
        (0..WRITERS).map(|writer| tokio::spawn(write_randomly(bed.clone(), writer, count)));
    let mut done = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        done.extend(writer.await.expect("a writer"));
    }
    done.sort_by_key(|done| done.revision);
    for pair in done.windows(2) {
        assert!(pair[0].revision < pair[1].revision, "given twice: {pair:?}");
    }
    done
}

/// The state after all changes up to a revision.
fn state_at(done: &[Done], at: Revision) -> BTreeMap<String, (Revision, String)> {
    let mut state = BTreeMap::new();
    for done in done.iter().take_while(|done| done.revision <= at) {
        match &done.value {
            Some(value) => state.insert(done.name.clone(), (done.revision, value.clone())),
            None => state.remove(&done.name),
        };
    }
    state
}

fn check_story(bed: &Bed, watch: &Watched, done: &[Done], prefix: &str, after: Revision) {
    let expected: Vec<_> = done
        .iter()
        .filter(|done| done.revision > after && done.name.starts_with(prefix))
        .cloned()
        .collect();
    let got: Vec<_> = watch.events.iter().map(|event| Done::of(bed, event)).collect();
    if let Some(at) =
        (0..got.len().max(expected.len())).find(|at| got.get(*at) != expected.get(*at))
    {
        panic!(
            "seed {}: watch of {prefix:?} after {after}: event {at} is {:?}, not {:?}",
            bed.seed,
            got.get(at),
            expected.get(at)
        );
    }
}

pub(super) async fn concurrent_writers_and_watchers_agree(bed: Bed) {
    let start = bed.revision().await;
    let mut watches = Vec::new();
    for prefix in ["", "p", "p/", "q/", "pp/3"] {
        watches.push((prefix, bed.watch(prefix, start).await));
    }
    let done = write_all(&bed).await;
    let end = bed.revision().await;
    let last = done.last().expect("some changes").revision;
    assert!(end >= last);
    for (prefix, watch) in &mut watches {
        watch.until(end).await;
        check_story(&bed, watch, &done, prefix, start);
    }
    let mut rng = bed.rng(1000);
    for _ in 0..20 {
        let at = rng.random_range(start..=end);
        let page = bed.page(Range { at: Some(at), ..bed.range("") }).await;
        let got: BTreeMap<_, _> = page
            .items
            .iter()
            .map(|kv| (bed.name(&kv.key), (kv.mod_revision, text(&kv.value))))
            .collect();
        assert_eq!(got, state_at(&done, at), "seed {}: the state at {at}", bed.seed);
    }
}

pub(super) async fn watches_started_in_the_middle_lose_nothing(bed: Bed) {
    let start = bed.revision().await;
    let watching = async {
        let mut rng = bed.rng(2000);
        let mut watches = Vec::new();
        for n in 0..24 {
            let now = bed.revision().await;
            let after = rng.random_range(start..=now);
            let prefix = ["", "p/", "q"][n % 3];
            let mut watch = bed.watch(prefix, after).await;
            // Some are read at once, some only at the end.
            if rng.random_bool(0.5) {
                watch.until(now).await;
            }
            watches.push((prefix, after, watch));
        }
        watches
    };
    let (done, watches) = tokio::join!(write_all(&bed), watching);
    let end = bed.revision().await;
    for (prefix, after, mut watch) in watches {
        watch.until(end).await;
        check_story(&bed, &watch, &done, prefix, after);
    }
}

pub(super) async fn one_of_many_wins_each_revision(bed: Bed) {
    let rounds = (bed.subject.model_writes / 100).clamp(5, 50);
    let mut revision = bed.set("counter", "0").await;
    for round in 0..rounds {
        let tries = (0..WRITERS).map(|writer| {
            let bed = bed.clone();
            let value = format!("{round}-{writer}");
            tokio::spawn(
                async move { bed.put("counter", &value, Expect::Revision(revision)).await },
            )
        });
        let mut winners = Vec::new();
        for attempt in tries.collect::<Vec<_>>() {
            match attempt.await.expect("a writer") {
                Ok(written) => winners.push(written.revision),
                Err(StoreError::Conflict { current, .. }) => assert!(current.is_some()),
                Err(error) => panic!("{error}"),
            }
        }
        let [winner] = winners[..] else { panic!("round {round}: {winners:?}") };
        assert_eq!(winner, revision + 1);
        revision = winner;
    }
    let kv: Arc<_> = bed.get("counter").await.expect("the key").into();
    assert_eq!(kv.mod_revision, revision);
}
