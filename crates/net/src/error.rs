//! What goes wrong when talking to the kernel.

use std::io;
use std::net::IpAddr;

/// What went wrong, and on what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a request.
    #[error("cannot {what}{}", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Kernel {
        /// What was attempted, on what.
        what: String,
        /// The kernel's own explanation, when it gave one.
        detail: Option<String>,
        /// The error number.
        #[source]
        source: io::Error,
    },
    /// A file, a sysctl or a socket.
    #[error("cannot {what}")]
    Io {
        /// What was attempted, on what.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The kernel's answer could not be read.
    #[error("cannot read the kernel's answer to {what}: {why}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// Every address of the pool is in use.
    #[error(
        "no free address in {pool}: all {size} are in use; remove pods or give the node a larger pod CIDR"
    )]
    PoolExhausted {
        /// The pool.
        pool: ipnet::IpNet,
        /// How many addresses it has.
        size: u128,
    },
    /// A link that must be there is not.
    #[error("there is no link {0}")]
    NoLink(String),
    /// A host port that another pod holds.
    #[error("host port {port}/{protocol} on {ip} is held by another pod")]
    HostPortTaken {
        /// The address on which it is held.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// `tcp`, `udp` or `sctp`.
        protocol: String,
    },
    /// A thread that did the work ended before it answered.
    #[error("the thread for {0} ended before it answered")]
    Thread(&'static str),
}

impl Error {
    /// An I/O failure.
    pub fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }

    /// The error number, when the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { source, .. } | Self::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the thing was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::ENXIO))
            || matches!(self, Self::NoLink(_))
    }

    /// Whether the thing was there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
}
