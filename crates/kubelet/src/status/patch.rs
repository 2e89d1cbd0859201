//! The difference between two statuses, as a strategic merge patch.
//!
//! Pure. Only what the kubelet owns is compared, so conditions and fields of others stay as they
//! are; the UID goes along, so that a patch never lands on a pod made anew under the same name.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

use super::conditions::OWN;

/// The fields of a pod's status that the kubelet writes.
const FIELDS: [&str; 16] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "qosClass",
    "startTime",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "observedGeneration",
    "resize",
    "allocatedResources",
    "resources",
];

/// The patch that turns `old` into `new`; `None` when nothing the kubelet owns differs.
pub(crate) fn diff(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (old, new) = (as_map(old), as_map(new));
    let mut changed = Map::new();
    for field in FIELDS {
        let (was, is) = (old.get(field), new.get(field));
        if was != is {
            // podIPs merges by address, so a list that shrinks must say so.
            if field == "podIPs" {
                let gone = list(was).iter().filter(|one| !list(is).contains(one));
                let gone = gone.map(|one| json!({"ip": one["ip"], "$patch": "delete"}));
                let all: Vec<_> = list(is).iter().cloned().chain(gone).collect();
                changed.insert(field.to_owned(), Value::Array(all));
            } else {
                changed.insert(field.to_owned(), is.cloned().unwrap_or(Value::Null));
            }
        }
    }
    let conditions = changed_conditions(list(old.get("conditions")), list(new.get("conditions")));
    if !conditions.is_empty() {
        changed.insert("conditions".to_owned(), Value::Array(conditions));
    }
    if changed.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"uid": uid}, "status": changed}))
}

fn as_map(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn changed_conditions(old: &[Value], new: &[Value]) -> Vec<Value> {
    let named =
        |list: &[Value], name: &Value| list.iter().find(|one| one["type"] == *name).cloned();
    let mut changed = Vec::new();
    for condition in new {
        match named(old, &condition["type"]) {
            Some(before) if before == *condition => {}
            Some(before) => {
                let mut patch = condition.clone();
                for key in before.as_object().into_iter().flatten().map(|(key, _)| key) {
                    if patch.get(key).is_none() {
                        patch[key] = Value::Null;
                    }
                }
                changed.push(patch);
            }
            None => changed.push(condition.clone()),
        }
    }
    for condition in old {
        let own = OWN.iter().any(|name| condition["type"] == **name);
        if own && named(new, &condition["type"]).is_none() {
            changed.push(json!({"type": condition["type"], "$patch": "delete"}));
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, new: Value, expected: Option<Value>) {
        let read = |value| serde_json::from_value::<PodStatus>(value).unwrap();
        let got = diff("u", &read(old), &read(new));
        assert_eq!(got, expected.map(|status| json!({"metadata": {"uid": "u"}, "status": status})));
    }

    #[test]
    fn only_what_changed_and_is_ours_is_sent() {
        let ready = |status: &str| json!({"type": "Ready", "status": status});
        let foreign = json!({"type": "x.y/z", "status": "True"});
        check(json!({"phase": "Pending"}), json!({"phase": "Pending"}), None);
        check(
            json!({"phase": "Pending", "nominatedNodeName": "n"}),
            json!({"phase": "Pending"}),
            None,
        );
        check(
            json!({"phase": "Pending", "reason": "x", "conditions": [foreign, ready("False")]}),
            json!({"phase": "Running", "conditions": [ready("True")]}),
            Some(json!({"phase": "Running", "reason": null, "conditions": [ready("True")]})),
        );
        check(
            json!({"conditions": [{"type": "Ready", "status": "False", "reason": "r"}]}),
            json!({"conditions": [ready("True")]}),
            Some(json!({"conditions": [{"type": "Ready", "status": "True", "reason": null}]})),
        );
        check(
            json!({"podIP": "a", "podIPs": [{"ip": "a"}]}),
            json!({"podIP": "b", "podIPs": [{"ip": "b"}]}),
            Some(json!({"podIP": "b", "podIPs": [{"ip": "b"}, {"ip": "a", "$patch": "delete"}]})),
        );
    }
}
