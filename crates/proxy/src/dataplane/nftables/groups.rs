//! Groups as numbered slots: which elements change when a group's endpoints do. Pure.
//!
//! A group's endpoints stand at indexes 0..n without a hole. When one goes, the last takes its
//! place, so a change touches as many elements as endpoints changed, and one for the number.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::{Elements, endpoint_bytes, rules};
use crate::ruleset::{Endpoint, Group, GroupKey, WhenEmpty};

/// A group's number in the kernel's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupId(pub(super) u32);

/// How an endpoint is chosen. All groups of one shape share their chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// One of so many.
    Pick {
        /// How many.
        count: u32,
        /// How long a client stays with it.
        affinity: Option<Duration>,
        /// Whether the endpoint sees the node as the sender.
        masquerade: bool,
    },
    /// None: clients are told.
    Reject,
    /// None: clients are not told.
    Drop,
}

#[derive(Debug)]
struct Slots {
    id: GroupId,
    endpoints: Vec<Endpoint>,
    shape: Shape,
    /// Whether the endpoints are also in the set of members, which affinity needs.
    members: bool,
}

/// Every group that the kernel has.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_key: HashMap<GroupKey, Slots>,
    shapes: HashMap<Shape, u32>,
    /// In how many slots an address stands.
    addresses: HashMap<IpAddr, usize>,
    free: Vec<u32>,
    next: u32,
}

impl Groups {
    pub(super) fn id(&self, key: &GroupKey) -> Option<GroupId> {
        self.by_key.get(key).map(|slots| slots.id)
    }

    pub(super) fn endpoints(&self, key: &GroupKey) -> impl Iterator<Item = &Endpoint> {
        self.by_key.get(key).into_iter().flat_map(|slots| &slots.endpoints)
    }

    pub(super) fn leads_to(&self, ip: IpAddr) -> bool {
        self.addresses.contains_key(&ip)
    }

    /// The shapes that nearly every cluster has: made with the table, so that no change of a
    /// service waits for them.
    pub(super) fn common_shapes(&mut self) -> Vec<(u32, Shape)> {
        let pick = |count| {
            [false, true].map(|masquerade| Shape::Pick { count, affinity: None, masquerade })
        };
        let all = [Shape::Reject, Shape::Drop].into_iter().chain((1..=8).flat_map(pick));
        all.filter_map(|shape| self.shape(shape).1.map(|number| (number, shape))).collect()
    }

    /// The number of a shape, and once more when it is new.
    fn shape(&mut self, shape: Shape) -> (u32, Option<u32>) {
        let next = u32::try_from(self.shapes.len()).unwrap_or(u32::MAX);
        let number = *self.shapes.entry(shape).or_insert(next);
        (number, (number == next).then_some(number))
    }

    /// Adds or changes a group; returns its shape when no group had it before.
    pub(super) fn put(
        &mut self,
        key: &GroupKey,
        group: &Group,
        elements: &mut Elements,
    ) -> Option<(u32, Shape)> {
        let shape = shape_of(group);
        let (shape_number, fresh) = self.shape(shape);
        let old = self.by_key.remove(key);
        let id = old.as_ref().map_or_else(|| self.new_id(), |old| old.id);
        let (was, was_members) =
            old.as_ref().map_or((Vec::new(), false), |old| (old.endpoints.clone(), old.members));
        let endpoints = arrange(&was, &group.endpoints);
        write_slots(id, &was, &endpoints, elements);
        let members = group.affinity.is_some();
        write_members(id, (&was, was_members), (&endpoints, members), elements);
        if old.as_ref().map(|old| old.shape) != Some(shape) {
            if old.is_some() {
                elements.gone(rules::SHAPES, id.bytes());
            }
            elements.map(rules::SHAPES, id.bytes(), shape_number.to_ne_bytes().to_vec());
        }
        self.count(&was, &endpoints);
        self.by_key.insert(key.clone(), Slots { id, endpoints, shape, members });
        fresh.map(|number| (number, shape))
    }

    /// Takes a group away.
    pub(super) fn remove(&mut self, key: &GroupKey, elements: &mut Elements) {
        let Some(old) = self.by_key.remove(key) else { return };
        write_slots(old.id, &old.endpoints, &[], elements);
        write_members(old.id, (&old.endpoints, old.members), (&[], false), elements);
        elements.gone(rules::SHAPES, old.id.bytes());
        self.count(&old.endpoints, &[]);
        self.free.push(old.id.0);
    }

    fn new_id(&mut self) -> GroupId {
        if let Some(id) = self.free.pop() {
            return GroupId(id);
        }
        self.next += 1;
        GroupId(self.next)
    }

    fn count(&mut self, was: &[Endpoint], is: &[Endpoint]) {
        for endpoint in is {
            *self.addresses.entry(endpoint.ip).or_default() += 1;
        }
        for endpoint in was {
            if let Some(count) = self.addresses.get_mut(&endpoint.ip) {
                *count -= 1;
                if *count == 0 {
                    self.addresses.remove(&endpoint.ip);
                }
            }
        }
    }
}

fn shape_of(group: &Group) -> Shape {
    match (u32::try_from(group.endpoints.len()).unwrap_or(u32::MAX), group.when_empty) {
        (0, WhenEmpty::Reject) => Shape::Reject,
        (0, WhenEmpty::Drop) => Shape::Drop,
        (count, _) => Shape::Pick { count, affinity: group.affinity, masquerade: group.masquerade },
    }
}

/// Puts the wanted endpoints into slots so that as few as possible change.
fn arrange(was: &[Endpoint], wanted: &[Endpoint]) -> Vec<Endpoint> {
    let wanted_set: BTreeSet<&Endpoint> = wanted.iter().collect();
    let had: BTreeSet<&Endpoint> = was.iter().collect();
    let mut coming: Vec<Endpoint> =
        wanted.iter().filter(|endpoint| !had.contains(endpoint)).copied().collect();
    coming.reverse();
    let mut slots: Vec<Option<Endpoint>> =
        was.iter().map(|one| wanted_set.contains(one).then_some(*one)).collect();
    // Holes are filled with what is new, then with the last.
    let mut at = 0;
    while at < slots.len() {
        if slots[at].is_none() {
            if let Some(new) = coming.pop() {
                slots[at] = Some(new);
            } else {
                slots.swap_remove(at);
                continue;
            }
        }
        at += 1;
    }
    slots.into_iter().flatten().chain(coming.into_iter().rev()).collect()
}

fn write_slots(id: GroupId, was: &[Endpoint], is: &[Endpoint], elements: &mut Elements) {
    for index in 0..was.len().max(is.len()) {
        let (old, new) = (was.get(index), is.get(index));
        if old == new {
            continue;
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let key = [id.bytes(), number.to_ne_bytes().to_vec()].concat();
        if old.is_some() {
            elements.gone(rules::ENDPOINTS, key.clone());
        }
        if let Some(new) = new {
            elements.map(rules::ENDPOINTS, key, endpoint_bytes(new));
        }
    }
}

fn write_members(
    id: GroupId,
    (was, was_members): (&[Endpoint], bool),
    (is, is_members): (&[Endpoint], bool),
    elements: &mut Elements,
) {
    let of = |endpoints: &[Endpoint], counts: bool| -> BTreeSet<Endpoint> {
        endpoints.iter().filter(|_| counts).copied().collect()
    };
    let (was, is) = (of(was, was_members), of(is, is_members));
    let key = |endpoint: &Endpoint| [id.bytes(), endpoint_bytes(endpoint)].concat();
    was.difference(&is).for_each(|endpoint| elements.gone(rules::MEMBERS, key(endpoint)));
    is.difference(&was).for_each(|endpoint| elements.set(rules::MEMBERS, key(endpoint)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(n: u8) -> Endpoint {
        Endpoint { ip: IpAddr::from([10, 42, 0, n]), port: 8080 }
    }

    fn check(was: &[u8], wanted: &[u8], expected: &[u8]) {
        let of = |ns: &[u8]| -> Vec<Endpoint> { ns.iter().map(|n| endpoint(*n)).collect() };
        assert_eq!(arrange(&of(was), &of(wanted)), of(expected), "{was:?} -> {wanted:?}");
    }

    #[test]
    fn few_slots_change() {
        check(&[], &[1, 2, 3], &[1, 2, 3]);
        check(&[1, 2, 3], &[1, 3], &[1, 3]);
        check(&[1, 2, 3, 4], &[2, 3, 4], &[4, 2, 3]);
        check(&[1, 2, 3], &[2, 3, 4], &[4, 2, 3]);
        check(&[1, 2], &[3, 4, 5], &[3, 4, 5]);
        check(&[1, 2, 3], &[3], &[3]);
        check(&[1, 2], &[], &[]);
    }

    #[test]
    fn a_changed_endpoint_of_many_is_two_elements() {
        let mut groups = Groups::default();
        let key = GroupKey {
            service: crate::ruleset::ServiceKey::new("default", "web"),
            protocol: crate::ruleset::Protocol::Tcp,
            port: 80,
            scope: crate::ruleset::Scope::Internal,
            ipv6: false,
        };
        let group = |ns: std::ops::Range<u8>| Group {
            endpoints: ns.map(endpoint).collect(),
            affinity: None,
            masquerade: false,
            when_empty: WhenEmpty::Reject,
        };
        let mut elements = Elements::default();
        assert!(groups.put(&key, &group(0..200), &mut elements).is_some());
        assert_eq!(elements.len(), 201);
        let mut elements = Elements::default();
        assert!(groups.put(&key, &group(1..201), &mut elements).is_none());
        assert_eq!(elements.len(), 2);
        assert!(groups.leads_to(endpoint(200).ip) && !groups.leads_to(endpoint(0).ip));
        let mut elements = Elements::default();
        groups.remove(&key, &mut elements);
        assert!(!groups.leads_to(endpoint(200).ip));
    }
}
