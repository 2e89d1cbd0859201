//! Supervised tasks: a panic in one is contained, logged with its name and counted.

use std::any::Any;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many panics were contained since the process started.
#[must_use]
pub fn panics_total() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// A contained panic: the message it was raised with.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

/// Runs a future; a panic inside it becomes an error instead of ending the task.
///
/// # Errors
/// [`Panicked`] when the future panicked.
pub async fn contain<F: Future>(what: impl Display, future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|payload| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let message = message(&*payload);
        tracing::error!(%what, message, "a panic was contained");
        Panicked(message)
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_contained_and_counted() {
        let before = panics_total();
        let got = contain("test", async { panic!("boom {}", 1) }).await;
        assert_eq!(got.unwrap_err().0, "boom 1");
        assert!(panics_total() > before);
    }
}
