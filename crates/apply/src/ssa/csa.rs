//! From client-side apply to server-side apply: the annotation that the former leaves, and its
//! managed fields taken over by the latter.

use serde_json::Value;

use super::managed::{Managed, Manager, Operation};

/// Where client-side apply keeps the configuration that it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Upstream does not write an annotation longer than all of them together may be.
const MAX_ANNOTATION: usize = 256 * 1024;

/// The configuration that client-side apply applied last.
pub(super) fn last_applied(live: &Value) -> Option<Value> {
    api::object::annotation(live, LAST_APPLIED).and_then(|text| serde_json::from_str(text).ok())
}

/// kubectl's server-side apply keeps the annotation of an object that has one up to date.
pub(super) fn sync_last_applied(live: &Value, applied: &Value, object: &mut Value) {
    if api::object::annotation(live, LAST_APPLIED).is_none_or(str::is_empty) {
        return;
    }
    let mut configuration = applied.clone();
    api::object::remove(&mut configuration, &["metadata", "annotations", LAST_APPLIED]);
    super::remove_managed_fields(&mut configuration);
    let text = format!("{configuration}\n");
    if text.len() <= MAX_ANNOTATION {
        api::object::set(object, &["metadata", "annotations", LAST_APPLIED], text);
    }
}

/// Lets a server-side applier take over what client-side managers (`kubectl-client-side-apply`)
/// own: what `kubectl apply --server-side` sends first for an object that was applied from the
/// client. Gives back whether anything changed.
pub fn upgrade_managed_fields(object: &mut Value, client_side: &[&str], applier: &str) -> bool {
    let mut managed = Managed::of(object);
    let before = managed.clone();
    let is_old = |manager: &Manager| {
        manager.operation == Operation::Update
            && manager.subresource.is_empty()
            && client_side.contains(&manager.name.as_str())
    };
    let old: Vec<Manager> = managed.entries.keys().filter(|key| is_old(key)).cloned().collect();
    let own = Manager::applier(applier, "");
    for manager in old {
        let Some(mut entry) = managed.entries.remove(&manager) else { continue };
        entry.set.remove_below(["metadata", "annotations", LAST_APPLIED]);
        match managed.entries.get_mut(&own) {
            Some(known) => known.set = known.set.union(&entry.set),
            None => {
                managed.entries.insert(own.clone(), entry);
            }
        }
    }
    let is_changed = managed != before;
    managed.write(object);
    is_changed
}
