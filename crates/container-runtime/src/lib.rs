//! The CRI traits and their conformance suite.
