//! `apiextensions.k8s.io`: kinds that people define.

pub mod custom_resource_definition;
mod pattern;
mod schema;
mod structural;
mod validation;
