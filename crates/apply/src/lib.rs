//! Patches and server-side apply, pure.
