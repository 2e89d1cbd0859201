//! In-process integration tests live in `tests/`.
