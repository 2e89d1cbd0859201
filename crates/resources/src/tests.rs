//! Tests over the list of kinds.
