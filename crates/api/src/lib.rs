//! The vocabulary that every part speaks: Kubernetes' types at one version, objects as JSON
//! values, `Status` errors, field errors, quantities, selectors, and the tables of schema facts.
//!
//! Invariants: no I/O; no second set of Kubernetes types. A typed object is `k8s-openapi`'s; an
//! object whose kind is known only at run time is a [`Value`] read through [`object`].
//!
//! To add vocabulary: one module a notion, pure, with its rule's source in its docs.

pub use k8s_openapi;
pub use serde_json::Value;

pub mod decode;
pub mod duration;
pub mod field;
pub mod intstr;
pub mod jsonpath;
pub mod names;
pub mod object;
pub mod openapi;
pub mod pod_resources;
pub mod priority;
pub mod proto;
pub mod quantity;
pub mod quota;
pub mod sample;
pub mod schema;
pub mod selector;
pub mod status;
pub mod typed;
pub mod validate;
pub mod yaml;
