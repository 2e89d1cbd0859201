//! Writes, conflicts, ranges and pages.

use super::bed::{Bed, is_conflict, text};
use crate::{Durability, Expect, Range};

pub(super) async fn a_key_is_created_once(bed: Bed) {
    assert_eq!(bed.get("a").await, None);
    let first = bed.put("a", "1", Expect::Absent).await.expect("the first create");
    assert_eq!(first.previous, None);
    let again = bed.put("a", "2", Expect::Absent).await;
    assert!(is_conflict(&again, Some(first.revision)), "{again:?}");
    let kv = bed.get("a").await.expect("the key");
    assert_eq!((kv.create_revision, kv.mod_revision), (first.revision, first.revision));
    assert_eq!(text(&kv.value), "1");
    bed.delete("a", Expect::Anything).await.expect("the delete");
    let second = bed.put("a", "3", Expect::Absent).await.expect("a create after a delete");
    let kv = bed.get("a").await.expect("the key");
    assert_eq!(kv.create_revision, second.revision, "a new life has a new create revision");
}

pub(super) async fn compare_and_set_takes_the_newest_revision_only(bed: Bed) {
    let absent = bed.put("a", "0", Expect::Revision(1)).await;
    assert!(is_conflict(&absent, None), "{absent:?}");
    let first = bed.set("a", "1").await;
    let second = bed.put("a", "2", Expect::Revision(first)).await.expect("the right revision");
    assert_eq!(
        second.previous.map(|kv| (text(&kv.value), kv.mod_revision)),
        Some(("1".into(), first))
    );
    let stale = bed.put("a", "3", Expect::Revision(first)).await;
    assert!(is_conflict(&stale, Some(second.revision)), "{stale:?}");
    let future = bed.put("a", "3", Expect::Revision(second.revision + 1)).await;
    assert!(is_conflict(&future, Some(second.revision)), "{future:?}");
    let kv = bed.get("a").await.expect("the key");
    assert_eq!((kv.create_revision, kv.mod_revision), (first, second.revision));
}

pub(super) async fn deletes_say_what_they_deleted(bed: Bed) {
    let before = bed.revision().await;
    let nothing = bed.delete("a", Expect::Anything).await.expect("a delete of nothing");
    assert_eq!((nothing.revision, nothing.previous), (before, None));
    let absent = bed.delete("a", Expect::Revision(before)).await;
    assert!(is_conflict(&absent, None), "{absent:?}");
    let absent = bed.delete("a", Expect::Absent).await;
    assert!(is_conflict(&absent, None), "{absent:?}");
    let created = bed.set("a", "1").await;
    let there = bed.delete("a", Expect::Absent).await;
    assert!(is_conflict(&there, Some(created)), "{there:?}");
    let stale = bed.delete("a", Expect::Revision(created - 1)).await;
    assert!(is_conflict(&stale, Some(created)), "{stale:?}");
    let deleted = bed.delete("a", Expect::Revision(created)).await.expect("the delete");
    assert!(deleted.revision > created);
    assert_eq!(deleted.previous.map(|kv| text(&kv.value)), Some("1".into()));
    assert_eq!(bed.get("a").await, None);
}

pub(super) async fn revisions_grow_by_change(bed: Bed) {
    let mut last = bed.revision().await;
    assert!(last > 0, "0 is before the first change");
    for round in 0..5 {
        for name in ["a", "b"] {
            let revision = bed.set(name, &round.to_string()).await;
            assert_eq!(revision, last + 1, "every change takes the next number");
            last = revision;
        }
    }
    let refused = bed.put("a", "x", Expect::Absent).await;
    assert!(refused.is_err());
    assert_eq!(bed.revision().await, last, "what did not happen takes no number");
    let (_, revision) = bed.subject.store.get("/no/such/key").await.expect("a get");
    assert_eq!(revision, last);
}

pub(super) async fn values_are_bytes(bed: Bed) {
    for (name, value) in [("empty", vec![]), ("zeros", vec![0; 3]), ("all", (0..=255).collect())] {
        let mut write = bed.change(name, Some(""), Expect::Absent);
        write.value = Some(value.clone().into());
        bed.subject.store.write(write).await.expect("a put");
        assert_eq!(bed.get(name).await.expect("the key").value, value);
    }
}

pub(super) async fn ranges_are_ordered_and_keep_to_their_prefix(bed: Bed) {
    for name in ["b/2", "b/10", "a", "b/1", "c", "b", "bb", "b/é", "b/\u{7f}"] {
        bed.set(name, name).await;
    }
    let page = bed.page(bed.range("b/")).await;
    assert_eq!(bed.names(&page), ["b/1", "b/10", "b/2", "b/\u{7f}", "b/é"]);
    assert_eq!((page.remaining, page.revision), (0, bed.revision().await));
    assert_eq!(text(&page.items[1].value), "b/10");
    let page = bed.page(bed.range("b")).await;
    assert_eq!(bed.names(&page), ["b", "b/1", "b/10", "b/2", "b/\u{7f}", "b/é", "bb"]);
    assert!(bed.page(bed.range("nothing")).await.items.is_empty());
}

pub(super) async fn pages_count_what_remains(bed: Bed) {
    for n in 0..25 {
        bed.set(&format!("k/{n:02}"), "v").await;
    }
    bed.set("l", "outside").await;
    bed.delete("k/24", Expect::Anything).await.expect("a delete");
    let mut range = Range { limit: Some(10), ..bed.range("k/") };
    let mut seen = Vec::new();
    for (items, remaining) in [(10, 14), (10, 4), (4, 0)] {
        let page = bed.page(range.clone()).await;
        assert_eq!((page.items.len(), page.remaining), (items, remaining));
        seen.extend(bed.names(&page));
        range.after = page.items.last().map(|kv| kv.key.to_string());
    }
    let expected: Vec<_> = (0..24).map(|n| format!("k/{n:02}")).collect();
    assert_eq!(seen, expected);
    let page = bed.page(range).await;
    assert_eq!((page.items.len(), page.remaining), (0, 0));
}

pub(super) async fn odd_ranges(bed: Bed) {
    bed.set("k/a", "v").await;
    bed.set("k/b", "v").await;
    let after = |after: &str| Range { after: Some(bed.key(after).to_string()), ..bed.range("k/") };
    assert_eq!(bed.names(&bed.page(after("k/a")).await), ["k/b"]);
    assert_eq!(bed.names(&bed.page(after("k/aa")).await), ["k/b"], "after a key that is not there");
    assert!(bed.page(after("k/b")).await.items.is_empty());
    assert!(bed.page(after("z")).await.items.is_empty(), "after the end of the prefix");
    assert_eq!(bed.names(&bed.page(after("a")).await), ["k/a", "k/b"], "before the prefix");
    let all = Range { limit: Some(100), ..bed.range("k/") };
    assert_eq!(bed.page(all).await.items.len(), 2);
    let everything = bed.page(Range::default()).await;
    assert!(everything.items.iter().any(|kv| kv.key == bed.key("k/a")), "the empty prefix");
}

pub(super) async fn relaxed_writes_are_seen_like_others(bed: Bed) {
    let mut watch = bed.watch("", bed.revision().await).await;
    for n in 0..10 {
        let mut write = bed.change("lease", Some(&n.to_string()), Expect::Anything);
        write.durability = if n % 2 == 0 { Durability::Relaxed } else { Durability::Synced };
        let written = bed.subject.store.write(write).await.expect("a put");
        let kv = bed.get("lease").await.expect("what was acknowledged can be read");
        assert_eq!((kv.mod_revision, text(&kv.value)), (written.revision, n.to_string()));
    }
    watch.until(bed.revision().await).await;
    assert_eq!(watch.events.len(), 10);
}

pub(super) async fn large_values(bed: Bed) {
    // The largest that an API server takes is some 1.5 MiB; etcd's limit is there too.
    let value = "x".repeat(1_400_000);
    let mut watch = bed.watch("", bed.revision().await).await;
    for n in 0..12 {
        bed.set(&n.to_string(), &value).await;
    }
    let page = bed.page(bed.range("")).await;
    assert_eq!(page.items.len(), 12);
    assert!(page.items.iter().all(|kv| kv.value.len() == value.len()));
    watch.until(page.revision).await;
    assert_eq!(watch.events.len(), 12);
    for n in 0..12 {
        bed.delete(&n.to_string(), Expect::Anything).await.expect("a delete");
    }
}
