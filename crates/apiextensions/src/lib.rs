//! Custom resources: a CustomResourceDefinition becomes a kind, while the server runs.
//!
//! [`definition`] reads a definition, [`kind`] makes it an [`apiserver::resource::Resource`],
//! [`conversion`] turns its objects from version to version, [`controller`] follows the definitions:
//! accepts their names, serves and unserves them, empties those that are deleted.
//!
//! Invariants: nothing is served whose names are not accepted, and a definition is Established only
//! once its objects are loaded; a change of a definition replaces the kind as a whole, so no request
//! sees half of it. Instances are bytes as those of built-in kinds are, and are parsed no oftener.
//!
//! What is wrong with a definition is said where the kind CustomResourceDefinition is (`resources`);
//! what is wrong with an instance is said by `structural`, and by `cel` for
//! `x-kubernetes-validations`.

mod controller;
mod conversion;
mod definition;
mod kind;

pub use controller::{Definitions, Options};
