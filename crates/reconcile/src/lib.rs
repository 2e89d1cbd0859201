//! The type-erased reconcile engine, shared caches, work queues, leader election.
