//! How long to wait before the next try: 10 s, doubling to 300 s, forgotten after 10 quiet minutes.
//!
//! Pure: moments are handed in. The rules are client-go's `util/flowcontrol.Backoff`: the first
//! failure costs nothing, and time counts from the failure, not from when it was noticed.

use std::collections::HashMap;
use std::time::Duration;

use base::clock::{SignedDuration, Timestamp};

/// The first delay.
pub(crate) const INITIAL: Duration = Duration::from_secs(10);
/// The longest delay.
pub(crate) const MAX: Duration = Duration::from_secs(300);

/// The delays of a pod's containers, or of a node's image pulls.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl Entry {
    /// After twice the longest delay without trouble, what was is forgotten.
    fn expired(&self, event: Timestamp) -> bool {
        event.duration_since(self.updated) > signed(MAX * 2)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl Backoff {
    /// How long a try must still wait, after a failure at `failed`, and the whole delay.
    pub(crate) fn remaining(
        &self,
        key: &str,
        failed: Timestamp,
        now: Timestamp,
    ) -> Option<(Duration, Duration)> {
        let entry = self.entries.get(key).filter(|entry| !entry.expired(failed))?;
        let left = signed(entry.delay) - now.duration_since(failed);
        let left = Duration::try_from(left).ok().filter(|left| !left.is_zero())?;
        Some((left, entry.delay))
    }

    /// Notes that a try is made now, after a failure at `failed`.
    pub(crate) fn next(&mut self, key: &str, failed: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key).filter(|entry| !entry.expired(failed)) {
            Some(entry) => (entry.delay * 2).min(MAX),
            None => INITIAL,
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// When the last try was noted.
    pub(crate) fn updated(&self, key: &str) -> Option<Timestamp> {
        self.entries.get(key).map(|entry| entry.updated)
    }

    /// Forgets one.
    pub(crate) fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets what has been quiet for long, so that the map does not grow.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| !entry.expired(now));
    }
}

/// The delay in Go's form: `10s`, `1m20s`, `5m0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn delays_double_to_the_limit_and_are_forgotten() {
        let mut backoff = Backoff::default();
        let mut now = 0;
        let mut delays = Vec::new();
        for _ in 0..8 {
            // The container dies at once each time.
            let wait = backoff.remaining("c", at(now), at(now));
            delays.push(wait.map_or(0, |(left, _)| left.as_secs()));
            now += i64::try_from(wait.map_or(0, |(left, _)| left.as_secs())).unwrap();
            assert_eq!(backoff.remaining("c", at(now - 10_000), at(now)), None);
            backoff.next("c", at(now), at(now));
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.remaining("c", at(now + 601), at(now + 601)), None);
        backoff.next("c", at(now + 601), at(now + 601));
        let (left, whole) = backoff.remaining("c", at(now + 602), at(now + 605)).unwrap();
        assert_eq!((left.as_secs(), whole.as_secs()), (7, 10));
    }

    #[test]
    fn durations_read_as_gos() {
        assert_eq!(go_duration(INITIAL), "10s");
        assert_eq!(go_duration(Duration::from_secs(80)), "1m20s");
        assert_eq!(go_duration(MAX), "5m0s");
    }
}
