//! `v1beta1` of devices and requests is nested otherwise than `v1`; `v1beta2` is as `v1`.

use api::Value;
use api::object::remove;
use serde_json::Map;

use crate::core::pod::defaults::each;

/// What of a request moves between the request itself and `exactly`.
const EXACT: [&str; 7] = [
    "deviceClassName",
    "selectors",
    "allocationMode",
    "count",
    "adminAccess",
    "tolerations",
    "capacity",
];

/// A claim's `devices` at `path`, from `v1beta1` to `v1`.
pub(super) fn claim_to_v1(object: &mut Value, path: &[&str]) {
    let requests: Vec<&str> = path.iter().copied().chain(["devices", "requests"]).collect();
    each(object, &requests, |request| {
        let mut exact = Map::new();
        for field in EXACT {
            if let Some(value) = remove(request, &[field]) {
                exact.insert(field.to_owned(), value);
            }
        }
        let alternatives =
            request["firstAvailable"].as_array().is_some_and(|list| !list.is_empty());
        // The old form prints an empty class where alternatives are given.
        if !alternatives {
            request["exactly"] = Value::Object(exact);
        }
    });
}

/// A claim's `devices` at `path`, from `v1` to `v1beta1`.
pub(super) fn claim_to_v1beta1(object: &mut Value, path: &[&str]) {
    let requests: Vec<&str> = path.iter().copied().chain(["devices", "requests"]).collect();
    each(object, &requests, |request| {
        if let Some(Value::Object(exact)) = remove(request, &["exactly"]) {
            for (field, value) in exact {
                request[field.as_str()] = value;
            }
        }
    });
}

/// A slice's devices, from `v1beta1` to `v1`.
pub(super) fn slice_to_v1(object: &mut Value) {
    each(object, &["spec", "devices"], |device| {
        if let Some(Value::Object(basic)) = remove(device, &["basic"]) {
            for (field, value) in basic {
                device[field.as_str()] = value;
            }
        }
    });
}

/// A slice's devices, from `v1` to `v1beta1`.
pub(super) fn slice_to_v1beta1(object: &mut Value) {
    each(object, &["spec", "devices"], |device| {
        let Some(map) = device.as_object() else { return };
        let name = map.get("name").cloned();
        let basic: Map<String, Value> = map
            .iter()
            .filter(|(key, _)| *key != "name")
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        *device = serde_json::json!({ "basic": basic });
        if let Some(name) = name {
            device["name"] = name;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let claim = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "c", "count": 2}},
            {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "d"}]}]}}});
        let mut old = claim.clone();
        claim_to_v1beta1(&mut old, &["spec"]);
        assert_eq!(
            old["spec"]["devices"]["requests"][0],
            json!({"name": "a", "deviceClassName": "c", "count": 2})
        );
        claim_to_v1(&mut old, &["spec"]);
        assert_eq!(old, claim);
        let slice = json!({"spec": {"devices": [{"name": "d", "attributes": {"a": {"int": 1}}}]}});
        let mut old = slice.clone();
        slice_to_v1beta1(&mut old);
        assert_eq!(old["spec"]["devices"][0]["basic"]["attributes"]["a"]["int"], 1);
        slice_to_v1(&mut old);
        assert_eq!(old, slice);
    }
}
