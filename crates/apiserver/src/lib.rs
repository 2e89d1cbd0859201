//! The generic API server: HTTP, the registry of kinds, storage and watch caches, admission,
//! discovery. It names no concrete kind and no engine.
//!
//! The way of a request: `authn → authz → admission → resource → store → watchers`.
//!
//! To add a kind: implement [`resource::Resource`] and put it into the list given to
//! [`ServerOptions`]; nothing here changes.

pub mod admission;
pub mod aggregation;
pub mod audit;
pub mod authn;
pub mod authz;
mod chain;
mod client;
mod codec;
mod discovery;
mod filters;
mod handlers;
mod health;
mod journal;
mod metrics;
mod negotiate;
mod openapi;
mod patch;
mod proto;
mod registry;
pub mod relay;
mod render;
mod request;
pub mod resource;
mod response;
mod serve;
mod server;
mod storage;
#[cfg(test)]
mod test_kind;
mod version;
mod watch;

pub use client::ServerService;
pub use filters::flow::{
    FlowControl, FlowPermit, FlowRefusal, FlowRequest, InFlight, RequestSize, is_exempt,
};
pub use openapi::{OpenApiSource, StandardOpenApi};
pub use serve::{PeerAddress, RenewedConfig, serve_tls, serve_tls_with, subject_of};
pub use server::{Document, MetricsSource, Server, ServerOptions};
pub use storage::{Identity, ValueTransformer};
pub use version::VersionInfo;
