//! What is left of an object's budget.

/// A budget that is spent for good once something does not fit.
#[derive(Debug)]
pub(super) struct Budget(Option<u64>);

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self(Some(limit))
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.is_none()
    }

    /// Nothing more is evaluated.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Whether there is nothing left, though nothing failed to fit yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0 == Some(0)
    }

    /// Takes a cost; false, and the end, when it does not fit.
    pub(super) fn take(&mut self, cost: u64) -> bool {
        self.0 = self.0.and_then(|left| left.checked_sub(cost));
        self.0.is_some()
    }
}
