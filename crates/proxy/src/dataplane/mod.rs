//! What carries the packets: a trait, one file an implementation.

use std::net::IpAddr;

use crate::ruleset::{Delta, Ruleset};

pub mod memory;
pub mod nftables;

pub use memory::Memory;
pub use nftables::{Config, Nftables};

/// Why a data plane did not take a change.
#[derive(Debug, thiserror::Error)]
#[error("cannot program the {plane} data plane")]
pub struct DataplaneError {
    /// Which one.
    pub plane: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Something that carries service traffic. Calls come one at a time.
pub trait Dataplane: Send {
    /// Makes the rules exactly these, whatever was there before, in one step.
    ///
    /// # Errors
    /// Nothing was changed then.
    fn replace(&mut self, all: &Ruleset) -> Result<(), DataplaneError>;

    /// Applies what changed since the last successful call, in one step.
    ///
    /// # Errors
    /// Nothing was changed then, and the caller makes good for it with
    /// [`Dataplane::replace`].
    fn sync(&mut self, delta: &Delta) -> Result<(), DataplaneError>;

    /// Whether a new connection may end at this address.
    fn leads_to(&self, ip: IpAddr) -> bool;

    /// Takes every rule away.
    ///
    /// # Errors
    /// Some rules may be left.
    fn clean(&mut self) -> Result<(), DataplaneError>;
}

/// The data planes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataplaneKind {
    /// nftables maps in the kernel.
    Nftables,
    /// Nothing but memory, for nodes that are simulated.
    Memory,
}

impl DataplaneKind {
    /// Makes the data plane.
    #[must_use]
    pub fn open(self, config: Config) -> Box<dyn Dataplane> {
        match self {
            Self::Nftables => Box::new(Nftables::new(config)),
            Self::Memory => Box::new(Memory::default()),
        }
    }
}
