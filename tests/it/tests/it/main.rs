//! In-process integration tests: the real API server on the memory store, driven by those who
//! act, in one binary. One module an area.

mod cluster;
mod controllers;
