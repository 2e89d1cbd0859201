//! Named readiness: the process is ready when every part that was named says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The readiness of a process, shared by its parts.
#[derive(Debug, Clone)]
pub struct Readiness {
    parts: Arc<Mutex<BTreeMap<String, Result<(), String>>>>,
    changed: watch::Sender<()>,
}

/// One part's say. Dropping it leaves the part as it last was.
#[derive(Debug, Clone)]
pub struct Part {
    name: String,
    of: Readiness,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { parts: Arc::default(), changed: watch::Sender::new(()) }
    }
}

impl Readiness {
    /// Names a part, which is not ready until it says so.
    #[must_use]
    pub fn part(&self, name: &str) -> Part {
        let part = Part { name: name.to_owned(), of: self.clone() };
        part.unready("not started yet");
        part
    }

    /// Every part's name with `Ok` or the reason why it is not ready, sorted by name.
    #[must_use]
    pub fn report(&self) -> Vec<(String, Result<(), String>)> {
        self.parts.lock().iter().map(|(name, state)| (name.clone(), state.clone())).collect()
    }

    /// Whether every named part is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts.lock().values().all(Result::is_ok)
    }

    /// Tells that a part's state may have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until every named part is ready.
    pub async fn ready(&self) {
        let mut changes = self.changed.subscribe();
        while !self.is_ready() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Part {
    /// The part does its work.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// The part does not do its work, for this reason.
    pub fn unready(&self, why: impl Into<String>) {
        self.set(Err(why.into()));
    }

    fn set(&self, state: Result<(), String>) {
        self.of.parts.lock().insert(self.name.clone(), state);
        self.of.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_waits_for_the_last_part() {
        let readiness = Readiness::default();
        let (a, b) = (readiness.part("a"), readiness.part("b"));
        a.ready();
        assert!(!readiness.is_ready());
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        b.ready();
        waiter.await.unwrap();
        b.unready("the disk is full");
        assert_eq!(readiness.report()[1], ("b".into(), Err("the disk is full".into())));
    }
}
