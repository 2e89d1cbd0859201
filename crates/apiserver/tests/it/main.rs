//! The API server in process, on the memory store, with a few kinds of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod basics;
mod chain;
mod common;
mod deletes;
mod forms;
mod history;
mod lists;
mod model;
mod patches;
mod sharing;
mod tls;
