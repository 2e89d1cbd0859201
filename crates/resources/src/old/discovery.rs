//! EndpointSlice of `discovery.k8s.io/v1beta1`: an endpoint's zone is a label among others.

use api::Value;
use api::object::{remove, set};
use serde_json::Map;

use super::items;

const ZONE: &str = "topology.kubernetes.io/zone";

pub(super) fn to_current(slice: &mut Value) {
    for endpoint in items(slice, &["endpoints"]) {
        let Some(Value::Object(mut topology)) = remove(endpoint, &["topology"]) else { continue };
        if let Some(zone) = topology.remove(ZONE) {
            set(endpoint, &["zone"], zone);
        }
        if !topology.is_empty() {
            set(endpoint, &["deprecatedTopology"], topology);
        }
    }
}

pub(super) fn from_current(slice: &mut Value) {
    for endpoint in items(slice, &["endpoints"]) {
        let mut topology = match remove(endpoint, &["deprecatedTopology"]) {
            Some(Value::Object(topology)) => topology,
            _ => Map::new(),
        };
        if let Some(zone) = remove(endpoint, &["zone"]).filter(|zone| !zone.is_null()) {
            topology.insert(ZONE.to_owned(), zone);
        }
        if !topology.is_empty() {
            set(endpoint, &["topology"], topology);
        }
    }
}
