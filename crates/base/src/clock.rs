//! Wall time, injected. The one module that may read the machine's clock.
//!
//! Waiting goes through tokio's clock (`tokio::time`), which tests pause. Wall time, the kind that
//! ends up in `creationTimestamp`, comes from a [`Clock`]. [`SimulatedClock`] ties the two
//! together: under paused time it moves exactly as far as tokio's clock does.

use std::sync::Arc;

pub use jiff::{SignedDuration, Timestamp};

/// A source of wall time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;
}

/// A shared clock, as parts hold it.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The machine's clock, shared.
#[must_use]
pub fn system() -> SharedClock {
    Arc::new(SystemClock)
}

/// Wall time that starts at a given moment and moves with tokio's clock, paused or not.
#[derive(Debug)]
pub struct SimulatedClock {
    epoch: Timestamp,
    started: tokio::time::Instant,
}

impl SimulatedClock {
    /// A clock that reads `epoch` now. Must be called inside a tokio runtime.
    #[must_use]
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self { epoch, started: tokio::time::Instant::now() }
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.started.elapsed())
            .expect("a process does not run for 292 billion years");
        self.epoch.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

/// The form of `metav1.Time`: RFC 3339, UTC, whole seconds (`2006-01-02T15:04:05Z`).
#[must_use]
pub fn rfc3339_seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The form of `metav1.MicroTime`: RFC 3339, UTC, six fractional digits.
#[must_use]
pub fn rfc3339_micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_forms_of_kubernetes_time() {
        let at: Timestamp = "2026-01-02T03:04:05.6789Z".parse().unwrap();
        assert_eq!(rfc3339_seconds(at), "2026-01-02T03:04:05Z");
        assert_eq!(rfc3339_micros(at), "2026-01-02T03:04:05.678900Z");
    }

    #[tokio::test(start_paused = true)]
    async fn simulated_time_moves_with_tokios_clock() {
        let epoch: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = SimulatedClock::starting_at(epoch);
        tokio::time::advance(std::time::Duration::from_secs(90)).await;
        assert_eq!(rfc3339_seconds(clock.now()), "2026-01-01T00:01:30Z");
    }
}
