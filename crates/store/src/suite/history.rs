//! The past: ranges at a revision, compaction, expiry, snapshots.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::bed::{Bed, text};
use crate::{Expect, Range, Revision, StoreError};

pub(super) async fn a_range_reads_the_past(bed: Bed) {
    let a1 = bed.set("a", "1").await;
    let b1 = bed.set("b", "1").await;
    let a2 = bed.set("a", "2").await;
    let gone = bed.delete("b", Expect::Anything).await.expect("a delete").revision;
    let b2 = bed.set("b", "2").await;
    for (at, expected) in
        [(a1, "a=1"), (b1, "a=1 b=1"), (a2, "a=2 b=1"), (gone, "a=2"), (b2, "a=2 b=2")]
    {
        let page = bed.page(Range { at: Some(at), ..bed.range("") }).await;
        let tell = |kv: &crate::KeyValue| format!("{}={}", bed.name(&kv.key), text(&kv.value));
        let told: Vec<_> = page.items.iter().map(tell).collect();
        assert_eq!((told.join(" ").as_str(), page.revision), (expected, at));
    }
    let page = bed.page(Range { at: Some(b2), ..bed.range("b") }).await;
    assert_eq!((page.items[0].create_revision, page.items[0].mod_revision), (b2, b2));
}

pub(super) async fn pages_of_one_revision_fit_together(bed: Bed) {
    for n in 0..30 {
        bed.set(&format!("k/{n:02}"), "old").await;
    }
    let first = bed.page(Range { limit: Some(10), ..bed.range("k/") }).await;
    for n in (0..30).step_by(2) {
        bed.delete(&format!("k/{n:02}"), Expect::Anything).await.expect("a delete");
        bed.set(&format!("k/{n:02}x"), "new").await;
    }
    bed.set("k/29", "new").await;
    let mut seen = bed.names(&first);
    let mut after = first.items.last().map(|kv| kv.key.to_string());
    loop {
        let page = bed
            .page(Range { limit: Some(7), after, at: Some(first.revision), ..bed.range("k/") })
            .await;
        assert_eq!(page.revision, first.revision);
        assert!(page.items.iter().all(|kv| text(&kv.value) == "old"));
        seen.extend(bed.names(&page));
        assert_eq!(page.remaining as usize, 30 - seen.len());
        if page.remaining == 0 {
            break;
        }
        after = page.items.last().map(|kv| kv.key.to_string());
    }
    let expected: Vec<_> = (0..30).map(|n| format!("k/{n:02}")).collect();
    assert_eq!(seen, expected);
}

pub(super) async fn the_future_is_refused(bed: Bed) {
    let newest = bed.set("a", "1").await;
    let range = Range { at: Some(newest + 1000), ..bed.range("") };
    let got = bed.subject.store.range(range).await;
    assert!(
        matches!(got, Err(StoreError::Future { requested, newest: known })
            if requested == newest + 1000 && known == newest),
        "{got:?}"
    );
    let got = bed.subject.store.watch(&bed.key(""), newest + 1000).await;
    assert!(matches!(got.err(), Some(StoreError::Future { .. })));
    let got = bed.subject.store.compact(newest + 1000).await;
    assert!(matches!(got, Err(StoreError::Future { .. })), "{got:?}");
}

pub(super) async fn what_was_compacted_is_refused(bed: Bed) {
    let first = bed.set("a", "1").await;
    let mut early = bed.watch("", first - 1).await;
    early.until(first).await;
    bed.set("b", "1").await;
    let third = bed.set("a", "2").await;
    bed.delete("b", Expect::Anything).await.expect("a delete");
    let last = bed.set("c", "1").await;
    bed.subject.store.compact(third).await.expect("a compaction");
    bed.subject.store.compact(first).await.expect("an older one changes nothing");

    let refused = |error: &StoreError, at: Revision| {
        matches!(error, StoreError::Compacted { requested, oldest }
            if *requested == at && *oldest >= third)
    };
    let range = Range { at: Some(first), ..bed.range("") };
    let error = bed.subject.store.range(range).await.expect_err("an old range");
    assert!(refused(&error, first), "{error:?}");
    let page = bed.page(Range { at: Some(third), ..bed.range("") }).await;
    assert_eq!(bed.names(&page), ["a", "b"], "the oldest that is kept");

    let error = match bed.subject.store.watch(&bed.key(""), first).await {
        Err(error) => error,
        Ok(mut watch) => loop {
            match watch.next().await.expect("an item") {
                Ok(item) => assert!(matches!(item, crate::WatchItem::Progress(_)), "{item:?}"),
                Err(error) => break error,
            }
        },
    };
    assert!(refused(&error, first), "{error:?}");
    let mut late = bed.watch("", third).await;
    late.until(last).await;
    assert_eq!(late.story(), ["-b", "+c=1"]);
    // Who is up to date does not notice.
    early.until(last).await;
    assert_eq!(early.story(), ["+a=1", "+b=1", "+a=2", "-b", "+c=1"]);
    let mut oldest = bed.watch("", 0).await;
    oldest.until(last).await;
    assert!(oldest.story().ends_with(&["-b".into(), "+c=1".into()]), "{:?}", oldest.story());
}

pub(super) async fn keys_expire(bed: Bed) {
    let ttl = bed.subject.ttl_grain;
    let mut watch = bed.watch("", bed.revision().await).await;
    let started = Instant::now();
    bed.set_ttl("short", "1", ttl).await;
    bed.set("stays", "1").await;
    bed.set_ttl("long", "1", Duration::from_secs(3600)).await;
    while watch.events.iter().all(|event| event.value.is_some()) {
        watch.next().await.expect("a watch that is read");
    }
    assert!(started.elapsed() >= ttl, "it went after {:?}", started.elapsed());
    assert!(started.elapsed() < ttl * 3 + Duration::from_secs(5), "late: {:?}", started.elapsed());
    assert_eq!(watch.story(), ["+short=1", "+stays=1", "+long=1", "-short"]);
    let gone = watch.events.last().expect("the deletion");
    assert_eq!(gone.previous.as_ref().map(|kv| text(&kv.value)), Some("1".into()));
    assert_eq!(bed.get("short").await, None);
    assert!(bed.get("stays").await.is_some());
    assert!(bed.get("long").await.is_some());
}

pub(super) async fn a_later_write_replaces_the_ttl(bed: Bed) {
    let ttl = bed.subject.ttl_grain;
    bed.set_ttl("kept", "1", ttl).await;
    bed.set_ttl("longer", "1", ttl).await;
    bed.set_ttl("deleted", "1", ttl).await;
    bed.set("kept", "2").await;
    bed.set_ttl("longer", "2", ttl * 3600).await;
    bed.delete("deleted", Expect::Anything).await.expect("a delete");
    bed.set("deleted", "2").await;
    let mut watch = bed.watch("", bed.revision().await).await;
    // When a key that was written after all of them is gone, theirs would be too.
    bed.set_ttl("witness", "1", ttl * 2).await;
    while watch.events.iter().all(|event| event.value.is_some()) {
        watch.next().await.expect("a watch that is read");
    }
    assert_eq!(watch.story(), ["+witness=1", "-witness"]);
    for name in ["kept", "longer", "deleted"] {
        assert_eq!(bed.value(name).await.as_deref(), Some("2"), "{name}");
    }
}

pub(super) async fn a_snapshot_is_of_one_revision(bed: Bed) {
    for n in 0..50 {
        bed.set(&format!("{n:02}"), "old").await;
    }
    let before = bed.revision().await;
    let (revision, mut stream) = bed.subject.store.snapshot().await.expect("a snapshot");
    assert_eq!(revision, before);
    for n in 0..50 {
        bed.set(&format!("{n:02}"), "new").await;
        bed.set(&format!("{n:02}x"), "new").await;
    }
    let (mut names, mut last) = (Vec::new(), None);
    while let Some(kv) = stream.next().await {
        let kv = kv.expect("a value of the snapshot");
        assert!(last < Some(kv.key.clone()), "in key order");
        assert!(kv.mod_revision <= revision);
        if kv.key.starts_with(&bed.root) {
            assert_eq!(text(&kv.value), "old");
            names.push(bed.name(&kv.key));
        }
        last = Some(kv.key);
    }
    let expected: Vec<_> = (0..50).map(|n| format!("{n:02}")).collect();
    assert_eq!(names, expected);
}
