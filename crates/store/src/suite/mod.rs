//! The conformance suite that every engine passes: what a [`Store`](crate::Store) promises, as
//! cases.
//!
//! For tests only; other crates may run it on their own wrappers of a store. A case uses keys of
//! its own, assumes nothing about revisions before it, and panics when a promise is broken. Runs
//! that involve chance print their seed first.
//!
//! To add a case: a function here or in a sibling, and its line in [`CASES`].

mod basics;
mod bed;
mod etcd;
mod history;
mod model;
mod watching;

use std::time::Duration;

use futures::future::BoxFuture;

pub use self::bed::Bed;
pub use self::etcd::Etcd;
use crate::SharedStore;

/// An engine under test.
#[derive(Clone)]
pub struct Subject {
    /// The store.
    pub store: SharedStore,
    /// The shortest TTL that the engine keeps to.
    pub ttl_grain: Duration,
    /// How many changes the concurrent cases make.
    pub model_writes: usize,
}

/// One case of the suite.
pub struct Case {
    /// Its name, which is part of its keys.
    pub name: &'static str,
    run: fn(Bed) -> BoxFuture<'static, ()>,
}

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        /// Every case.
        pub const CASES: &[Case] = &[
            $(Case { name: stringify!($name), run: |bed| Box::pin($module::$name(bed)) }),*
        ];
    };
}

cases![
    basics::a_key_is_created_once,
    basics::compare_and_set_takes_the_newest_revision_only,
    basics::deletes_say_what_they_deleted,
    basics::revisions_grow_by_change,
    basics::values_are_bytes,
    basics::ranges_are_ordered_and_keep_to_their_prefix,
    basics::pages_count_what_remains,
    basics::odd_ranges,
    basics::relaxed_writes_are_seen_like_others,
    basics::large_values,
    history::a_range_reads_the_past,
    history::pages_of_one_revision_fit_together,
    history::the_future_is_refused,
    history::what_was_compacted_is_refused,
    history::keys_expire,
    history::a_later_write_replaces_the_ttl,
    history::a_snapshot_is_of_one_revision,
    watching::a_watch_replays_and_goes_on,
    watching::a_watch_sees_its_prefix_only,
    watching::events_carry_what_was_before,
    watching::progress_can_be_asked_for,
    watching::watches_of_overlapping_prefixes,
    watching::who_does_not_read_stops_nobody,
    watching::a_dropped_watch_is_gone,
    model::concurrent_writers_and_watchers_agree,
    model::watches_started_in_the_middle_lose_nothing,
    model::one_of_many_wins_each_revision,
];

/// Runs every case on a store, one after another; panics with the names of those that failed.
///
/// # Panics
/// When a case fails.
pub async fn run(subject: &Subject, seed: u64) {
    println!("store suite: seed {seed}");
    let mut failed = Vec::new();
    for case in CASES {
        let bed = Bed::new(subject.clone(), case.name, seed);
        let limit = Duration::from_secs(120);
        let run = tokio::time::timeout(limit, base::task::contain(case.name, (case.run)(bed)));
        match run.await {
            Ok(Ok(())) => println!("store suite: {} ok", case.name),
            Ok(Err(panicked)) => failed.push(format!("{}: {panicked}", case.name)),
            Err(_) => failed.push(format!("{}: not done after {limit:?}", case.name)),
        }
    }
    assert!(
        failed.is_empty(),
        "seed {seed}: {} cases failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
