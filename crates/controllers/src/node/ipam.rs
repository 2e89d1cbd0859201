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
    /// What was handed out and the cache may not show yet.
    given: Arc<Mutex<HashMap<Key, u32>>>,
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
    Arc::new(Controller { nodes: deps.caches.of(), ranges, given: Arc::default() })
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
        let (given, nodes) = (self.given.clone(), self.nodes.clone());
        watches.on(&self.nodes, move |event, queue| {
            let key = Key::of(&event.object().metadata);
            if matches!(event, Event::Deleted(_)) {
                given.lock().remove(&key);
                // Its range is free for a node that got none.
                let without = nodes.list().into_iter().filter(|node| cidr(node).is_none());
                without.for_each(|node| queue.add(Key::of(&node.metadata)));
            } else if cidr(event.object()).is_none() {
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(ranges) = &self.ranges else { return Ok(Action::Await) };
        let Some(node) = self.nodes.get_key(key).filter(|node| cidr(node).is_none()) else {
            return Ok(Action::Await);
        };
        let mut used: BTreeSet<u32> =
            self.nodes.list().iter().filter_map(|node| ranges.index(cidr(node)?)).collect();
        let known = {
            let given = self.given.lock();
            used.extend(given.iter().filter(|(other, _)| *other != key).map(|(_, index)| *index));
            given.get(key).copied()
        };
        let Some(index) = known.or_else(|| ranges.free(&used)) else {
            ctx.recorder.normal(&*node, "CIDRNotAvailable", {
                format!("Node {} status is now: CIDRNotAvailable", key.name)
            });
            return Ok(Action::Await);
        };
        self.given.lock().insert(key.clone(), index);
        let range = ranges.text(index);
        let patch = json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": range, "podCIDRs": [range]},
        });
        or_gone(ctx.writer.patch::<Node>(key, "", Patch::Merge(patch)).await)?;
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

    fn free(&self, used: &BTreeSet<u32>) -> Option<u32> {
        (0..self.count).find(|index| !used.contains(index))
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
        assert_eq!(ranges.free(&[0, 1, 3].into()), Some(2));
        assert_eq!(Ranges::parse("10.0.0.0/24", 24).unwrap().free(&[0].into()), None);
        assert!(Ranges::parse("10.0.0.0/26", 24).is_none());
        assert!(Ranges::parse("fd00::/56", 64).is_none());
    }
}
