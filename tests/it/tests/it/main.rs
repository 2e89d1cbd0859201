//! In-process integration tests: the real API server on the memory store, driven by those who
//! act, in one binary. One module an area.

#![expect(clippy::unwrap_used, reason = "a helper of a test that cannot go on fails the test")]

mod admission;
mod aggregation;
mod auth;
mod cluster;
mod controllers;
mod hooks;
mod hostile;
mod node;
mod scheduling;
mod webhook;
