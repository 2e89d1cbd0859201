//! One file a controller.
