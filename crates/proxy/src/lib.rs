//! Services and endpoints to a data plane.
