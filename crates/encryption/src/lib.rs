//! Encryption at rest: upstream's envelope (`k8s:enc:PROVIDER:v1:KEY:` before what is encrypted) and
//! its configuration file, so that data and files can be carried to and from any other API server.
//!
//! Pure. [`Encryption`] is made from a file's text; it says for a resource which [`Chain`] of
//! providers holds: the first of them writes, all of them read. To add a provider: one file in
//! `provider/`, its line in `config::provider`.

mod chain;
mod config;
mod provider;

pub use chain::{Chain, Encryption, OpenError};
pub use config::{ConfigError, new_configuration, with_new_key};
