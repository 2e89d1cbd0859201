//! What a runtime answers when it cannot: the gRPC codes that CRI implementations use.
//!
//! Kubelets tell these apart by code, never by text, so each is a variant of its own.

/// The result of a CRI call.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed CRI call; the text says what was attempted and on what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The sandbox, container or image is not known. Stop and remove treat this as done.
    #[error("not found: {0}")]
    NotFound(String),
    /// A thing of that identity exists already.
    #[error("already exists: {0}")]
    AlreadyExists(String),
    /// The object is not in a state that allows the call, for example exec in an exited container.
    #[error("failed precondition: {0}")]
    FailedPrecondition(String),
    /// The request makes no sense as it is; trying again does not help.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// The registry refused the credentials, or the host refused the deed.
    #[error("permission denied: {0}")]
    PermissionDenied(String),
    /// The call took longer than it was allowed to.
    #[error("deadline exceeded: {0}")]
    DeadlineExceeded(String),
    /// A limit was met: disk full, no more addresses, too many processes.
    #[error("resource exhausted: {0}")]
    ResourceExhausted(String),
    /// The runtime, its shim or the registry cannot be reached now; trying again may help.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// This runtime cannot do that.
    #[error("unimplemented: {0}")]
    Unimplemented(String),
    /// Something went wrong inside the runtime.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The name of the gRPC code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotFound(_) => "NotFound",
            Error::AlreadyExists(_) => "AlreadyExists",
            Error::FailedPrecondition(_) => "FailedPrecondition",
            Error::InvalidArgument(_) => "InvalidArgument",
            Error::PermissionDenied(_) => "PermissionDenied",
            Error::DeadlineExceeded(_) => "DeadlineExceeded",
            Error::ResourceExhausted(_) => "ResourceExhausted",
            Error::Unavailable(_) => "Unavailable",
            Error::Unimplemented(_) => "Unimplemented",
            Error::Internal(_) => "Internal",
        }
    }

    /// The text without the code.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Error::NotFound(text)
            | Error::AlreadyExists(text)
            | Error::FailedPrecondition(text)
            | Error::InvalidArgument(text)
            | Error::PermissionDenied(text)
            | Error::DeadlineExceeded(text)
            | Error::ResourceExhausted(text)
            | Error::Unavailable(text)
            | Error::Unimplemented(text)
            | Error::Internal(text) => text,
        }
    }

    /// Whether the error is [`Error::NotFound`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound(_))
    }
}
