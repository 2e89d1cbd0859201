//! Randomness, injected: one seed replays a run.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A shared source of randomness that is not for secrets. Keys and tokens come from `ring`.
#[derive(Debug, Clone)]
pub struct SharedRng(Arc<Mutex<StdRng>>);

impl SharedRng {
    /// A source that gives the same numbers for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A source seeded by the operating system.
    #[must_use]
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.lock().random_range(0..bound) }
    }

    /// Sixteen random bytes, as a UUID needs them.
    #[must_use]
    pub fn bytes16(&self) -> [u8; 16] {
        self.0.lock().random()
    }

    /// `len` characters of the alphabet that Kubernetes uses for generated names: no vowels, no
    /// look-alikes, so that no word comes out. (apimachinery `util/rand`)
    #[must_use]
    pub fn name_suffix(&self, len: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut rng = self.0.lock();
        (0..len).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays() {
        let (a, b) = (SharedRng::seeded(7), SharedRng::seeded(7));
        assert_eq!(a.name_suffix(5), b.name_suffix(5));
        assert_eq!(a.bytes16(), b.bytes16());
        assert!(a.below(10) < 10);
    }
}
