//! What the pod network and services need of this machine, said before anything is started.

use crate::netns::NetNs;
use crate::nft::{Batch, Chain, ChainKind, Family, HookPoint, Nft, Table, priority};
use crate::rtnl::{Rtnl, VethEnd};
use crate::{Error, sysctl};

/// One thing that must be there.
#[derive(Debug)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// Whether it is there, or why not.
    pub outcome: Result<(), String>,
}

/// Tries each thing in a namespace of its own, which is gone afterwards; changes nothing.
#[must_use]
pub fn check() -> Vec<Check> {
    let netns = match NetNs::new() {
        Ok(netns) => netns,
        Err(error) => return vec![outcome("network namespaces", Err(error))],
    };
    let tried = |work: fn() -> Result<(), Error>| netns.run(work).and_then(|inner| inner);
    vec![
        outcome("network namespaces", Ok(())),
        outcome("veth", tried(veth)),
        outcome("nf_tables", tried(nf_tables)),
        outcome("nf_tables nat", tried(nat)),
        outcome("ip_forward", tried(|| sysctl::set("ipv4/ip_forward", "1"))),
    ]
}

fn veth() -> Result<(), Error> {
    let end = |name, last| VethEnd { name, mac: [2, 0, 0, 0, 0, last], netns: None };
    Rtnl::open()?.veth_add(&end("check0", 1), &end("check1", 2), 1500)
}

fn nf_tables() -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.table_add(&Table::new(Family::Ipv4, "check"));
    Nft::open()?.commit(&batch)
}

fn nat() -> Result<(), Error> {
    let table = Table::new(Family::Ipv4, "check");
    let mut batch = Batch::new();
    batch.table_add(&table);
    let (kind, point) = (ChainKind::Nat, HookPoint::Prerouting);
    batch.chain_add(&table, &Chain::base("nat", kind, point, priority::DSTNAT));
    Nft::open()?.commit(&batch)
}

fn outcome(name: &'static str, tried: Result<(), Error>) -> Check {
    Check { name, outcome: tried.map_err(|error| base::error::Chain(&error).to_string()) }
}
