//! `autoscaling/v2beta1`: the flat metrics that `autoscaling/v1` keeps in an annotation.

use api::Value;
use api::object::{remove, set};

use super::{items, take_annotation};
use crate::autoscaling::convert::{
    BEHAVIOR, current_to_v1, current_to_v2, metric_to_v1, metric_to_v2,
};

fn each(object: &mut Value, path: &[&str], convert: fn(Value) -> Value) {
    for item in items(object, path) {
        *item = convert(item.take());
    }
}

pub(super) fn to_current(autoscaler: &mut Value) {
    each(autoscaler, &["spec", "metrics"], metric_to_v2);
    each(autoscaler, &["status", "currentMetrics"], current_to_v2);
    let behavior = take_annotation(autoscaler, BEHAVIOR);
    if let Some(behavior) = behavior.and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
        set(autoscaler, &["spec", "behavior"], behavior);
    }
}

pub(super) fn from_current(autoscaler: &mut Value) {
    each(autoscaler, &["spec", "metrics"], metric_to_v1);
    each(autoscaler, &["status", "currentMetrics"], current_to_v1);
    if let Some(behavior) = remove(autoscaler, &["spec", "behavior"]) {
        set(autoscaler, &["metadata", "annotations", BEHAVIOR], behavior.to_string());
    }
}
