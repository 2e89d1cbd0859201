//! nftables, encoded by hand: what services, policy and the pod network need, and no more.
//!
//! [`Batch`] gathers changes and commits them in one transaction: the kernel takes all of them or
//! none, and a packet sees the rules from before or from after. [`Nft`] is the socket. Names of
//! types follow nft's own language; `nft list ruleset` shows what is written here as if nft had
//! written it.
//!
//! Adding an expression takes a variant of [`Expr`], its attributes in `expr.rs`, and a line in
//! the test that lists it back.

mod batch;
mod expr;
mod list;
mod replace;
mod set;

pub use batch::{Batch, Chain, ChainKind, Family, Hook, HookPoint, Policy, Table, priority};
pub use expr::{
    Bitwise, Cmp, CtDirection, CtKey, DynsetOp, Expr, FibResult, MetaKey, NatKind, PayloadBase,
    Reg, Reject, VERDICT, Verdict,
};
pub use list::ElementData;
pub use replace::grace;
pub use set::{Data, Element, Set, SetData, Type};

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::Error;
use crate::netlink::{self, Channel, Refusal};
use crate::netns::NetNs;

/// A socket to nftables of one network namespace.
pub struct Nft {
    channel: Channel,
}

impl std::fmt::Debug for Nft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nft")
    }
}

impl Nft {
    /// A socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel has no netfilter, or no descriptor is left.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(NETLINK_NETFILTER)
            .map_err(|error| Error::io("open a netlink socket for nftables", error))?;
        Ok(Self { channel })
    }

    /// A socket in another namespace.
    ///
    /// # Errors
    /// As [`Nft::open`], or the namespace cannot be entered.
    pub fn open_in(netns: &NetNs) -> Result<Self, Error> {
        netns.run(Self::open)?
    }

    /// Commits every change of the batch, or none.
    ///
    /// # Errors
    /// The kernel refused one of them; the error names the first refused change. Nothing was
    /// changed then.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (bytes, last) = batch.finish();
        self.channel.send(&bytes).map_err(|error| Error::io("send an nftables batch", error))?;
        // The kernel works through the batch inside `send`, so its whole answer is there: one
        // refusal for each message it did not take, or the acknowledgement that the last asked
        // for.
        let mut first: Option<Refusal> = None;
        let mut acknowledged = false;
        while self
            .channel
            .receive(!acknowledged && first.is_none(), |received| {
                if !netlink::is_acknowledgement(&received) {
                    return;
                }
                match netlink::acknowledgement(&received) {
                    Ok(()) => acknowledged |= received.seq == last,
                    Err(refusal) => {
                        first.get_or_insert(refusal);
                    }
                }
            })
            .map_err(|error| Error::io("read the answer to an nftables batch", error))?
        {}
        match first {
            None => Ok(()),
            Some(refusal) => {
                let what = batch.describe(refusal.seq);
                Err(refusal.on(what))
            }
        }
    }

    /// The number of the ruleset's generation; each transaction of anybody's makes a new one.
    ///
    /// # Errors
    /// The kernel has no nf_tables.
    pub fn generation(&mut self) -> Result<u32, Error> {
        list::generation(&mut self.channel)
    }

    /// The names of all tables of a family.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn tables(&mut self, family: Family) -> Result<Vec<String>, Error> {
        list::tables(&mut self.channel, family)
    }

    /// The elements of a set or map: key, data, and what is left of its timeout.
    ///
    /// # Errors
    /// There is no such set.
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<ElementData>, Error> {
        list::elements(&mut self.channel, table, set)
    }
}
