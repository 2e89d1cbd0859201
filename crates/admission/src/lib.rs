//! One file an admission plugin.
