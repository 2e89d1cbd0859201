//! The API server in process, on the memory store, with a few kinds of its own.

mod basics;
mod common;
mod deletes;
mod forms;
mod patches;
