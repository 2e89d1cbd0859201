//! Connections that the kernel remembers, and how to make it forget some of them.
