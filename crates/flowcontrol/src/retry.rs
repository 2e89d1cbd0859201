//! How long refused callers are told to stay away: one second, up to eight while many come.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const SECONDS_MAX: u32 = 8;

/// The `Retry-After` of a level, moved once a second by how many were refused in the last one.
#[derive(Debug)]
pub(crate) struct RetryAfter {
    seconds: AtomicU32,
    second: AtomicU64,
    refused: AtomicU32,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { seconds: AtomicU32::new(1), second: AtomicU64::new(0), refused: AtomicU32::new(0) }
    }
}

impl RetryAfter {
    /// Counts a refusal in this second; answers what the caller is told.
    pub(crate) fn refused(&self, second: u64) -> u32 {
        let before = self.second.swap(second, Relaxed);
        if before != second {
            let refused = self.refused.swap(0, Relaxed);
            let now = self.seconds.load(Relaxed);
            // Seconds without a refusal bring it down as well.
            let quiet = second.saturating_sub(before + 1).min(u64::from(SECONDS_MAX)) as u32;
            let moved = if refused < now {
                now.saturating_sub(1)
            } else if refused >= 3 * now {
                now * 2
            } else {
                now
            };
            self.seconds.store(moved.saturating_sub(quiet).clamp(1, SECONDS_MAX), Relaxed);
        }
        self.refused.fetch_add(1, Relaxed);
        self.seconds.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_refusals_and_shrinks_without() {
        let retry = RetryAfter::default();
        let mut told = Vec::new();
        for second in 10..16 {
            for _ in 0..100 {
                retry.refused(second);
            }
            told.push(retry.refused(second));
        }
        assert_eq!(told, [1, 2, 4, 8, 8, 8]);
        assert_eq!(retry.refused(16), 8);
        assert_eq!(retry.refused(17), 7);
        assert_eq!(retry.refused(100), 1);
    }
}
