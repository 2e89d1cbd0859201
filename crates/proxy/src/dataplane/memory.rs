//! A data plane without packets: it remembers what it was told. For tests and simulated nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Dataplane, DataplaneError};
use crate::ruleset::{Delta, Frontend, Group, GroupKey, Ruleset, Target};

/// What it was told last.
#[derive(Debug, Default)]
pub struct Memory {
    /// Frontends and where they lead.
    pub frontends: BTreeMap<Frontend, Target>,
    /// Groups.
    pub groups: BTreeMap<GroupKey, Group>,
    /// How often it was told something.
    pub transactions: usize,
}

impl Dataplane for Memory {
    fn replace(&mut self, all: &Ruleset) -> Result<(), DataplaneError> {
        *self = Self { transactions: self.transactions, ..Self::default() };
        self.sync(&all.whole())
    }

    fn sync(&mut self, delta: &Delta) -> Result<(), DataplaneError> {
        self.transactions += 1;
        for (frontend, target) in &delta.frontends {
            match target {
                Some(target) => drop(self.frontends.insert(*frontend, target.clone())),
                None => drop(self.frontends.remove(frontend)),
            }
        }
        for (key, group) in &delta.groups {
            match group {
                Some(group) => drop(self.groups.insert(key.clone(), group.clone())),
                None => drop(self.groups.remove(key)),
            }
        }
        Ok(())
    }

    fn leads_to(&self, ip: IpAddr) -> bool {
        self.groups.values().flat_map(|group| &group.endpoints).any(|endpoint| endpoint.ip == ip)
    }

    fn clean(&mut self) -> Result<(), DataplaneError> {
        self.frontends.clear();
        self.groups.clear();
        Ok(())
    }
}
