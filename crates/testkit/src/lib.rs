//! An API server in process, in-memory doubles, seeded faults.
