//! The controllers against the real API server.

mod cluster;
mod network;
mod typecheck;
mod workloads;
