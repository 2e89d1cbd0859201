//! What a controller has done and its cache does not show yet.
//!
//! A controller that creates three pods and is called again before its cache shows them would
//! create three more. It therefore expects them, and holds still until each was seen or refused.
//! (Kubernetes `pkg/controller/controller_utils.go`)

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::key::Key;

/// After this long an expectation is given up: the event was missed, and acting on what the
/// cache shows is better than never acting again.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Expected creations (by number) and deletions (by UID) of each key.
#[derive(Debug, Default)]
pub struct Expectations(Mutex<HashMap<Key, Expected>>);

#[derive(Debug)]
struct Expected {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Whether all that was expected has been seen, or waited for long enough.
    #[must_use]
    pub fn fulfilled(&self, key: &Key) -> bool {
        let mut all = self.0.lock();
        let Some(expected) = all.get(key) else { return true };
        let met = expected.creations == 0 && expected.deletions.is_empty();
        if met || expected.since.elapsed() > TIMEOUT {
            all.remove(key);
            return true;
        }
        false
    }

    /// Expects so many creations.
    pub fn expect_creations(&self, key: &Key, count: usize) {
        self.change(key, |expected| expected.creations += count);
    }

    /// Expects the deletion of these UIDs.
    pub fn expect_deletions(&self, key: &Key, uids: impl IntoIterator<Item = String>) {
        self.change(key, |expected| expected.deletions.extend(uids));
    }

    /// A creation was seen, or will not come.
    pub fn creation_seen(&self, key: &Key) {
        if let Some(expected) = self.0.lock().get_mut(key) {
            expected.creations = expected.creations.saturating_sub(1);
        }
    }

    /// A deletion was seen, or will not come.
    pub fn deletion_seen(&self, key: &Key, uid: &str) {
        if let Some(expected) = self.0.lock().get_mut(key) {
            expected.deletions.remove(uid);
        }
    }

    /// The key is gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    fn change(&self, key: &Key, change: impl FnOnce(&mut Expected)) {
        let mut all = self.0.lock();
        let expected = all.entry(key.clone()).or_insert_with(|| Expected {
            creations: 0,
            deletions: HashSet::new(),
            since: Instant::now(),
        });
        expected.since = Instant::now();
        change(expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn held_until_seen_or_given_up() {
        let expectations = Expectations::default();
        let key = Key::new("n", "rs");
        assert!(expectations.fulfilled(&key));
        expectations.expect_creations(&key, 2);
        expectations.expect_deletions(&key, ["u".to_owned()]);
        expectations.creation_seen(&key);
        expectations.creation_seen(&key);
        assert!(!expectations.fulfilled(&key));
        expectations.deletion_seen(&key, "u");
        assert!(expectations.fulfilled(&key));
        expectations.expect_creations(&key, 1);
        tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
        assert!(expectations.fulfilled(&key));
    }
}
