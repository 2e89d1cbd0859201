//! Writers that wait for the log.
//!
//! Bounded by the callers: each holds one place until it is answered. Invariant: what was taken
//! from the queue is answered, or its sender dropped, which the writer sees as "not available".

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::frame;
use crate::{Revision, StoreError, StoreResult, Write, Written};

/// What the log is asked for.
#[derive(Debug)]
pub(in super::super) enum Submission {
    /// A write, and who waits for it.
    Write(Write, oneshot::Sender<StoreResult<Written>>),
    /// History up to here was dropped; nobody waits for that to be on the disk.
    Compacted(Revision),
}

impl Submission {
    /// The bytes that it takes in the log, about.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Write(write, _) => {
                frame::put_len(write.key.len(), write.value.as_ref().map_or(0, bytes::Bytes::len))
            }
            Self::Compacted(_) => 9,
        }
    }

    /// Whether it makes room sooner or later.
    pub(super) fn frees(&self) -> bool {
        matches!(self, Self::Write(Write { value: None, .. }, _) | Self::Compacted(_))
    }
}

/// The queue between writers and the log's thread.
#[derive(Debug, Default)]
pub(in super::super) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Submission>,
    closed: bool,
}

/// How long the log may sleep when nobody waits for it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// There is other work to do.
    None,
    /// Something wants to be done after a while.
    Until(Duration),
    /// Nothing to do.
    Forever,
}

impl Queue {
    pub(in super::super) fn push(&self, submission: Submission) -> StoreResult<()> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(StoreError::Unavailable("it was closed".into()));
        }
        inner.waiting.push_back(submission);
        drop(inner);
        self.ready.notify_one();
        Ok(())
    }

    /// Accepts no more; what waits is still done.
    pub(in super::super) fn close(&self) {
        self.inner.lock().closed = true;
        self.ready.notify_one();
    }

    /// Accepts no more and drops what waits.
    pub(super) fn abandon(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        drop(waiting);
    }

    /// Waits for submissions and takes up to about `bytes_max` of them; `None` when the queue is
    /// closed and empty.
    pub(super) fn take(&self, bytes_max: u64, patience: Patience) -> Option<Vec<Submission>> {
        let mut inner = self.inner.lock();
        if inner.waiting.is_empty() && !inner.closed {
            match patience {
                Patience::None => {}
                Patience::Until(limit) => {
                    self.ready.wait_for(&mut inner, limit);
                }
                Patience::Forever => {
                    self.ready
                        .wait_while(&mut inner, |inner| inner.waiting.is_empty() && !inner.closed);
                }
            }
        }
        if inner.waiting.is_empty() && inner.closed {
            return None;
        }
        let mut bytes = 0;
        let fitting = inner.waiting.iter().take_while(|submission| {
            let fits = bytes == 0 || bytes + submission.len() <= bytes_max;
            bytes += submission.len();
            fits
        });
        let count = fitting.count();
        Some(inner.waiting.drain(..count).collect())
    }
}
