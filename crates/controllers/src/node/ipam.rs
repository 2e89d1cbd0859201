//! Node IPAM: every node gets its own range of pod addresses out of the cluster's.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use reconcile::{Action, Cache, Ctx, Error, Event, Key, Patch, Reconciler, Watches, or_gone};
use serde_json::json;

use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    nodes: Cache<Node>,
    ranges: Option<Ranges>,
    ledger: Arc<Mutex<Ledger>>,
}

/// Which range each node has, or was given and the cache may not show yet. Kept while nodes come
/// and go, so that a node's range costs no look at all others.
#[derive(Debug, Default)]
struct Ledger {
    by_node: HashMap<Key, u32>,
    /// How many nodes have a range: more than one only when somebody gave it by hand.
    used: HashMap<u32, u32>,
    /// All below are used.
    lowest: u32,
    /// Nodes that got none, for when one is free.
    waiting: BTreeSet<Key>,
}

impl Ledger {
    /// A node has this range.
    fn note(&mut self, node: &Key, index: u32) {
        if self.by_node.get(node) == Some(&index) {
            return;
        }
        self.release(node);
        self.waiting.remove(node);
        self.by_node.insert(node.clone(), index);
        *self.used.entry(index).or_default() += 1;
    }

    /// A node is gone; gives the node that may have its range now. Also when it had none: it may
    /// be the one that was woken for a free range and did not come to take it.
    fn forget(&mut self, node: &Key) -> Option<Key> {
        self.waiting.remove(node);
        self.release(node);
        self.waiting.pop_first()
    }

    /// Takes a node's range back.
    fn release(&mut self, node: &Key) {
        let Some(index) = self.by_node.remove(node) else { return };
        let Some(count) = self.used.get_mut(&index) else { return };
        *count -= 1;
        if *count == 0 {
            self.used.remove(&index);
            self.lowest = self.lowest.min(index);
        }
    }

    /// The range of a node, a free one if it has none; `None` when none is left of so many: then
    /// it waits.
    fn give(&mut self, node: &Key, count: u32) -> Option<u32> {
        if let Some(known) = self.by_node.get(node) {
            return Some(*known);
        }
        while self.lowest < count && self.used.contains_key(&self.lowest) {
            self.lowest += 1;
        }
        let index = self.lowest;
        if index >= count {
            self.waiting.insert(node.clone());
            return None;
        }
        self.note(node, index);
        Some(index)
    }
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    let options = &deps.options;
    let ranges = Ranges::parse(&options.cluster_cidr, options.node_cidr_mask);
    if ranges.is_none() && !options.cluster_cidr.is_empty() {
        tracing::error!(
            cidr = options.cluster_cidr,
            mask = options.node_cidr_mask,
            "nodes get no pod ranges: the cluster's range is not IPv4 or is smaller than a node's"
        );
    }
    Arc::new(Controller { nodes: deps.caches.of(), ranges, ledger: Arc::default() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn component(&self) -> &'static str {
        "cidrAllocator"
    }

    // One at a time: two nodes must not get one range.
    fn workers(&self) -> usize {
        1
    }

    fn watches(&self, watches: &mut Watches) {
        let (ledger, ranges) = (self.ledger.clone(), self.ranges);
        watches.on(&self.nodes, move |event, queue| {
            let key = Key::of(&event.object().metadata);
            if matches!(event, Event::Deleted(_)) {
                let next = ledger.lock().forget(&key);
                next.into_iter().for_each(|next| queue.add(next));
                return;
            }
            match cidr(event.object()) {
                None => queue.add(key),
                Some(cidr) => {
                    if let Some(index) = ranges.and_then(|ranges| ranges.index(cidr)) {
                        ledger.lock().note(&key, index);
                    }
                }
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(ranges) = &self.ranges else { return Ok(Action::Await) };
        let Some(node) = self.nodes.get_key(key).filter(|node| cidr(node).is_none()) else {
            return Ok(Action::Await);
        };
        let given = self.ledger.lock().give(key, ranges.count);
        let Some(index) = given else {
            ctx.recorder.normal(&*node, "CIDRNotAvailable", {
                format!("Node {} status is now: CIDRNotAvailable", key.name)
            });
            return Ok(Action::Await);
        };
        let range = ranges.text(index);
        let patch = json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": range, "podCIDRs": [range]},
        });
        if or_gone(ctx.writer.patch::<Node>(key, "", Patch::Merge(patch)).await)?.is_none() {
            // It is gone, and its deletion was told before it was given this range.
            let next = self.ledger.lock().forget(key);
            next.into_iter().for_each(|next| ctx.queue.add(next));
        }
        Ok(Action::Await)
    }
}

fn cidr(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

/// A range cut into equal ranges.
#[derive(Debug, Clone, Copy)]
struct Ranges {
    base: u32,
    mask: u8,
    count: u32,
}

impl Ranges {
    fn parse(cidr: &str, mask: u8) -> Option<Self> {
        let (address, prefix) = cidr.split_once('/')?;
        let (address, prefix): (Ipv4Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
        if prefix > mask || mask > 32 || mask - prefix > 24 {
            return None;
        }
        let keep = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or_default();
        Some(Self { base: u32::from(address) & keep, mask, count: 1 << (mask - prefix) })
    }

    fn text(&self, index: u32) -> String {
        let size = 1_u64 << (32 - self.mask);
        let start = u64::from(self.base) + u64::from(index) * size;
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        format!("{}/{}", Ipv4Addr::from(start), self.mask)
    }

    fn index(&self, cidr: &str) -> Option<u32> {
        let address: Ipv4Addr = cidr.split_once('/')?.0.parse().ok()?;
        let offset = u64::from(u32::from(address).checked_sub(self.base)?);
        let index = u32::try_from(offset >> (32 - self.mask)).ok()?;
        (index < self.count).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_and_found_again() {
        let ranges = Ranges::parse("10.42.0.0/16", 24).unwrap();
        assert_eq!(ranges.text(0), "10.42.0.0/24");
        assert_eq!(ranges.text(255), "10.42.255.0/24");
        assert_eq!(ranges.index("10.42.7.0/24"), Some(7));
        assert_eq!(ranges.index("10.43.0.0/24"), None);
        assert!(Ranges::parse("10.0.0.0/26", 24).is_none());
        assert!(Ranges::parse("fd00::/56", 64).is_none());
    }
    #[test]
    fn the_lowest_free_range_is_given_once() {
        let (mut ledger, node) = (Ledger::default(), |name: &str| Key::new("", name));
        for (name, index) in [("a", 0), ("b", 1), ("d", 3), ("twin", 3)] {
            ledger.note(&node(name), index);
        }
        assert_eq!(ledger.give(&node("c"), 5), Some(2));
        assert_eq!(ledger.give(&node("c"), 5), Some(2), "it keeps what it was given");
        assert_eq!(ledger.give(&node("e"), 5), Some(4));
        assert_eq!(ledger.give(&node("f"), 5), None);
        assert_eq!(ledger.forget(&node("d")), Some(node("f")));
        assert_eq!(ledger.give(&node("f"), 5), None, "the twin has it still");
        assert_eq!(ledger.give(&node("i"), 5), None);
        assert_eq!(ledger.forget(&node("twin")), Some(node("f")));
        assert_eq!(ledger.forget(&node("f")), Some(node("i")), "gone before it was served");
        assert_eq!(ledger.give(&node("i"), 5), Some(3));
        assert_eq!(ledger.give(&node("g"), 5), None);
        assert_eq!(ledger.forget(&node("g")), None);
        assert_eq!(ledger.forget(&node("b")), None, "nobody waits");
        assert_eq!(ledger.give(&node("h"), 5), Some(1));
    }
}
