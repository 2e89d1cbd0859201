//! Which occurrences become new Events, which count an old one up, and which are dropped.
//!
//! Pure, but for what it remembers. The rules are client-go's `tools/record/events_cache.go`:
//! the same words about the same thing are one Event with a count; ten different messages of one
//! reason within ten minutes are combined; an object gets 25 at once and then one in five minutes.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;

/// Something worth telling about an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Occurrence {
    /// The object.
    pub(crate) regarding: ObjectReference,
    /// `Normal` or `Warning`.
    pub(crate) kind: &'static str,
    /// One word in camel case.
    pub(crate) reason: String,
    /// One sentence.
    pub(crate) message: String,
}

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// A new Event under this name.
    Create {
        /// Its name.
        name: String,
        /// Its message, possibly marked as combined.
        message: String,
    },
    /// An Event that exists counts up.
    Count {
        /// Its name.
        name: String,
        /// Its message.
        message: String,
        /// The new count.
        count: i32,
        /// When it occurred first.
        first: Timestamp,
    },
    /// Nothing: the object has had its share.
    Drop,
}

const COMBINE_AFTER: usize = 10;
const COMBINE_WITHIN: SignedDuration = SignedDuration::from_mins(10);
const BURST: f64 = 25.0;
const SECONDS_PER_TOKEN: f64 = 300.0;
/// How much is remembered of each sort; the oldest half goes when it is full.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Correlator {
    similar: HashMap<String, Similar>,
    written: HashMap<String, Written>,
    buckets: HashMap<String, Bucket>,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Written {
    name: String,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    last: Timestamp,
}

impl Correlator {
    /// Decides about one occurrence.
    pub(crate) fn decide(&mut self, occurrence: &Occurrence, now: Timestamp) -> Decision {
        self.forget();
        let object = identity(&occurrence.regarding);
        let group = format!("{object}|{}|{}", occurrence.kind, occurrence.reason);
        let (key, message) = self.combine(&group, occurrence, now);
        if !self.allowed(object, now) {
            return Decision::Drop;
        }
        if let Some(written) = self.written.get_mut(&key) {
            written.count = written.count.saturating_add(1);
            written.last = now;
            let (name, count, first) = (written.name.clone(), written.count, written.first);
            return Decision::Count { name, message, count, first };
        }
        let object_name = occurrence.regarding.name.as_deref().unwrap_or_default();
        let name = format!("{object_name}.{:x}", now.as_nanosecond());
        self.written.insert(key, Written { name: name.clone(), count: 1, first: now, last: now });
        Decision::Create { name, message }
    }

    fn combine(
        &mut self,
        group: &str,
        occurrence: &Occurrence,
        now: Timestamp,
    ) -> (String, String) {
        let similar = self
            .similar
            .entry(group.to_owned())
            .or_insert_with(|| Similar { messages: HashSet::new(), last: now });
        if now.duration_since(similar.last) > COMBINE_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        let known = similar.messages.contains(&occurrence.message);
        if !known && similar.messages.len() + 1 >= COMBINE_AFTER {
            let message = format!("(combined from similar events): {}", occurrence.message);
            return (group.to_owned(), message);
        }
        similar.messages.insert(occurrence.message.clone());
        let field = occurrence.regarding.field_path.as_deref().unwrap_or_default();
        (format!("{group}|{field}|{}", occurrence.message), occurrence.message.clone())
    }

    fn allowed(&mut self, object: String, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(object).or_insert(Bucket { tokens: BURST, last: now });
        let earned = now.duration_since(bucket.last).as_secs_f64() / SECONDS_PER_TOKEN;
        bucket.tokens = (bucket.tokens + earned.max(0.0)).min(BURST);
        bucket.last = now;
        let allowed = bucket.tokens >= 1.0;
        bucket.tokens -= f64::from(u8::from(allowed));
        allowed
    }

    fn forget(&mut self) {
        forget_older_half(&mut self.similar, |similar| similar.last);
        forget_older_half(&mut self.written, |written| written.last);
        forget_older_half(&mut self.buckets, |bucket| bucket.last);
    }
}

fn forget_older_half<T>(map: &mut HashMap<String, T>, last: impl Fn(&T) -> Timestamp) {
    if map.len() < REMEMBERED {
        return;
    }
    let mut times: Vec<_> = map.values().map(&last).collect();
    let (_, median, _) = times.select_nth_unstable(REMEMBERED / 2);
    let median = *median;
    map.retain(|_, value| last(value) > median);
}

fn identity(regarding: &ObjectReference) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    [
        part(&regarding.api_version),
        part(&regarding.kind),
        part(&regarding.namespace),
        part(&regarding.name),
        part(&regarding.uid),
    ]
    .join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(message: &str) -> Occurrence {
        Occurrence {
            regarding: ObjectReference { name: Some("web".into()), ..ObjectReference::default() },
            kind: "Normal",
            reason: "Pulled".into(),
            message: message.into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn the_same_words_count_up() {
        let mut correlator = Correlator::default();
        let Decision::Create { name, .. } = correlator.decide(&occurrence("x"), at(0)) else {
            panic!("the first is new");
        };
        let got = correlator.decide(&occurrence("x"), at(5));
        let expected = Decision::Count { name, message: "x".into(), count: 2, first: at(0) };
        assert_eq!(got, expected);
    }

    #[test]
    fn many_messages_are_combined() {
        let mut correlator = Correlator::default();
        let decisions: Vec<_> =
            (0..12).map(|n| correlator.decide(&occurrence(&format!("m{n}")), at(n))).collect();
        assert!(matches!(&decisions[8], Decision::Create { message, .. } if message == "m8"));
        assert!(matches!(&decisions[9], Decision::Create { message, .. }
            if message == "(combined from similar events): m9"));
        assert!(matches!(&decisions[10], Decision::Count { message, count: 2, .. }
            if message == "(combined from similar events): m10"));
    }

    #[test]
    fn an_object_gets_its_share_and_no_more() {
        let mut correlator = Correlator::default();
        let written = (0..40)
            .filter(|_| correlator.decide(&occurrence("x"), at(0)) != Decision::Drop)
            .count();
        assert_eq!(written, 25);
        assert_ne!(correlator.decide(&occurrence("x"), at(301)), Decision::Drop);
        assert_eq!(correlator.decide(&occurrence("x"), at(302)), Decision::Drop);
    }
}
