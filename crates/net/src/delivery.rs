//! Whether what the programs of a network namespace have sent has arrived.
//!
//! A program that ends leaves its last answers to the kernel, which sends them on, and again when
//! they get lost. When its namespace goes at once, they go with it, and a client waits for an
//! answer that was given. Under load this is no rarity: packets wait for their turn in the
//! kernel, and those of a link that goes are thrown away.

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use tokio::io::unix::AsyncFd;

use crate::Error;
use crate::netlink::{Channel, DUMP, Encoder, REQUEST};
use crate::netns::NetNs;

/// `SOCK_DIAG_BY_FAMILY` of the kernel's `sock_diag.h`.
const BY_FAMILY: u16 = 20;
const TCP: u8 = 6;
/// The states of a connection that its program has closed and whose last bytes its peer has not
/// acknowledged: `FIN_WAIT1`, `LAST_ACK`, `CLOSING` of the kernel's `tcp_states.h`.
const UNACKNOWLEDGED: u32 = 1 << 4 | 1 << 9 | 1 << 11;
/// The groups that hear of every TCP socket that ends, for IPv4 and IPv6.
const DESTROYED: [u32; 2] = [1, 3];

/// The closed TCP connections of a namespace with bytes still under way.
pub struct Undelivered {
    channel: Channel,
    /// Hears of sockets that end.
    ends: AsyncFd<Socket>,
}

impl std::fmt::Debug for Undelivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Undelivered")
    }
}

impl Undelivered {
    /// Of a namespace. Must be called on a runtime.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the kernel does not tell of its sockets.
    pub fn of(netns: &NetNs) -> Result<Self, Error> {
        let fail = |error| Error::io("open a netlink socket for connections", error);
        let open = || -> std::io::Result<_> {
            let mut events = Socket::new(NETLINK_SOCK_DIAG)?;
            events.bind_auto()?;
            for group in DESTROYED {
                events.add_membership(group)?;
            }
            events.set_non_blocking(true)?;
            Ok((Channel::open(NETLINK_SOCK_DIAG)?, events))
        };
        let (channel, events) = netns.run(open)?.map_err(fail)?;
        #[expect(unsafe_code, reason = "the reactor must not outlive the descriptor")]
        // SAFETY: the socket keeps one descriptor from its making until it is dropped, which the
        // registration that owns it does after itself.
        let ends = unsafe { AsyncFd::register(events) };
        let ends = ends.map_err(|refused| fail(refused.into()))?;
        Ok(Self { channel, ends })
    }

    /// How many there are now.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn count(&mut self) -> Result<usize, Error> {
        let mut count = 0;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut encoder = Encoder::default();
            encoder.message(BY_FAMILY, REQUEST | DUMP, 0, |e| {
                e.raw(&[u8::try_from(family).unwrap_or_default(), TCP, 0, 0]);
                e.raw(&UNACKNOWLEDGED.to_ne_bytes());
                // Any addresses, any ports.
                e.raw(&[0; 48]);
            });
            self.channel
                .request(encoder.as_mut_slice(), |kind, _| count += usize::from(kind == BY_FAMILY))
                .map_err(|refusal| refusal.on("list connections"))?;
        }
        Ok(count)
    }

    /// Waits until there are none. A peer that is gone keeps it waiting for minutes: whoever
    /// cannot wait puts a limit on it.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn none(&mut self) -> Result<(), Error> {
        while self.count()? > 0 {
            let heard = self.ends.readable().await;
            let mut heard = heard.map_err(|error| Error::io("wait for connections", error))?;
            // What is said does not matter, nor that it was more than fits.
            let mut message = Vec::with_capacity(4096);
            while heard.get_inner().recv(&mut message, 0).is_ok() {
                message.clear();
            }
            heard.clear_ready();
        }
        Ok(())
    }
}
