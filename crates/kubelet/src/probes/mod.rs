//! Probes: one task a probe of a running container; verdicts are kept by container id.
//!
//! The judgement is in [`state`], pure; how each kind asks is in a file of its own.

pub(crate) mod exec;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod manager;
pub(crate) mod state;
pub(crate) mod tcp;

/// What one try of a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered as it should.
    Success,
    /// It answered, with something that a person should know.
    Warning(String),
    /// It did not answer as it should; what it said.
    Failure(String),
    /// It could not be asked: that says nothing about the container.
    Error(String),
}
