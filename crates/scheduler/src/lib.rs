//! The scheduling framework and its plugins.
