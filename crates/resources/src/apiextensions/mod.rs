//! `apiextensions.k8s.io`: kinds that people define.

pub mod custom_resource_definition;
mod structural;
mod validation;
