//! Calls to webhooks: admission's, conversion's, and whoever else is named by a `clientConfig`.
//!
//! Invariants: a call ends by its deadline; what a server says is bounded before it is read; a
//! redirect is not followed, since the address was chosen by whoever may write configurations and
//! not by the one who answers; errors read as upstream's, because people search for them.
//!
//! Who is asked is a [`ClientConfig`]; how a Service becomes an address is a [`ServiceResolver`]'s
//! to say; [`Caller`] asks.

mod anyone;
mod caller;
mod config;
mod connect;
mod dial;
mod error;
mod services;
mod trust;

pub use caller::Caller;
pub use config::{ClientConfig, ServiceReference};
pub use connect::Connector;
pub use dial::{Destination, dial};
pub use error::{CallError, DialError};
pub use services::{ServiceResolver, Services};
pub use trust::{Trust, client_config};
