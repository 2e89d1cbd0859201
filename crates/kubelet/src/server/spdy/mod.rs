//! SPDY/3.1, as far as Kubernetes' clients use it: many byte streams over one connection.
//!
//! Server side only, without flow control (the clients' library has none either) and without
//! pushing. [`frame`] and [`header`] are pure; [`session`] moves bytes.

mod frame;
mod header;
pub(crate) mod session;

pub(crate) use session::{Session, Stream, StreamWriter};
