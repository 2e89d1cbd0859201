//! `autoscaling/v1` and `v2`: what the old version has no field for goes into annotations, as
//! upstream does it, and comes back from there.

use api::Value;
use api::object::{at, int_at, list_at, remove, set, set_default};
use serde_json::{Map, json};

use super::metrics::is_cpu_utilization;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// Where `behavior` is kept for versions without the field.
pub(crate) const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn annotate(object: &mut Value, key: &str, value: &Value) {
    set(object, &["metadata", "annotations", key], value.to_string());
}

fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let text = remove(object, &["metadata", "annotations", key])?;
    if at(object, &["metadata", "annotations"]) == Some(&Value::Object(Map::new())) {
        remove(object, &["metadata", "annotations"]);
    }
    serde_json::from_str(text.as_str()?).ok()
}

/// The form of `v2` in the form of `v1`.
pub(super) fn to_v1(mut object: Value) -> Value {
    let metrics = list_at(&object, &["spec", "metrics"]).to_vec();
    remove(&mut object, &["spec", "metrics"]);
    let cpu = metrics.iter().position(is_cpu_utilization);
    let mut others = metrics.clone();
    if let Some(index) = cpu {
        let target = &others.remove(index)["resource"]["target"]["averageUtilization"];
        set(&mut object, &["spec", "targetCPUUtilizationPercentage"], target.clone());
    }
    if !others.is_empty() {
        annotate(
            &mut object,
            METRICS,
            &Value::Array(others.into_iter().map(metric_to_v1).collect()),
        );
    }
    if let Some(behavior) = remove(&mut object, &["spec", "behavior"]) {
        annotate(&mut object, BEHAVIOR, &behavior);
    }
    status_to_v1(&mut object);
    object
}

fn status_to_v1(object: &mut Value) {
    let current = list_at(object, &["status", "currentMetrics"]).to_vec();
    remove(object, &["status", "currentMetrics"]);
    let own = |metric: &Value| {
        metric["type"] == "Resource"
            && metric["resource"]["name"] == "cpu"
            && int_at(metric, &["resource", "current", "averageUtilization"]).is_some()
    };
    if let Some(cpu) = current.iter().find(|metric| own(metric)) {
        let value = cpu["resource"]["current"]["averageUtilization"].clone();
        set(object, &["status", "currentCPUUtilizationPercentage"], value);
    }
    if !current.is_empty() {
        annotate(object, CURRENT, &Value::Array(current.into_iter().map(current_to_v1).collect()));
    }
    match remove(object, &["status", "conditions"]) {
        Some(conditions) if conditions.as_array().is_some_and(|list| !list.is_empty()) => {
            annotate(object, CONDITIONS, &conditions);
        }
        _ => {}
    }
}

/// The form of `v1` in the form of `v2`.
pub(super) fn to_v2(mut object: Value) -> Value {
    let mut metrics: Vec<Value> = match take_annotation(&mut object, METRICS) {
        Some(Value::Array(list)) => list.into_iter().map(metric_to_v2).collect(),
        _ => Vec::new(),
    };
    if let Some(target) = remove(&mut object, &["spec", "targetCPUUtilizationPercentage"]) {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": target}}}));
    }
    if !metrics.is_empty() {
        set(&mut object, &["spec", "metrics"], metrics);
    }
    if let Some(behavior) = take_annotation(&mut object, BEHAVIOR) {
        set(&mut object, &["spec", "behavior"], behavior);
    }
    if let Some(conditions) = take_annotation(&mut object, CONDITIONS) {
        set(&mut object, &["status", "conditions"], conditions);
    }
    let cpu = remove(&mut object, &["status", "currentCPUUtilizationPercentage"]);
    match (take_annotation(&mut object, CURRENT), cpu) {
        (Some(Value::Array(list)), _) => {
            let list: Vec<_> = list.into_iter().map(current_to_v2).collect();
            set(&mut object, &["status", "currentMetrics"], list);
        }
        (_, Some(value)) => {
            let current = json!([{"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": value}}}]);
            set(&mut object, &["status", "currentMetrics"], current);
        }
        _ => {}
    }
    if at(&object, &["status"]).is_some() {
        set_default(&mut object, &["status", "currentMetrics"], Value::Null);
    }
    object
}

/// The fields of a metric's target, flat as the old form has them.
pub(crate) fn metric_to_v1(metric: Value) -> Value {
    flatten(
        metric,
        "target",
        &[
            ("averageUtilization", "targetAverageUtilization"),
            ("averageValue", "targetAverageValue"),
            ("value", "targetValue"),
        ],
    )
}

/// The same of what is measured.
pub(crate) fn current_to_v1(metric: Value) -> Value {
    flatten(
        metric,
        "current",
        &[
            ("averageUtilization", "currentAverageUtilization"),
            ("averageValue", "currentAverageValue"),
            ("value", "currentValue"),
        ],
    )
}

fn flatten(mut metric: Value, from: &str, names: &[(&str, &str)]) -> Value {
    for source in ["object", "pods", "resource", "external", "containerResource"] {
        if !metric[source].is_object() {
            continue;
        }
        let body = &mut metric[source];
        let target = remove(body, &[from]).unwrap_or_default();
        for (new, old) in names {
            // An object's average has a name of its own.
            let old =
                if source == "object" && *new == "averageValue" { "averageValue" } else { old };
            if let Some(value) = at(&target, &[new]) {
                body[old] = value.clone();
            }
        }
        if let Some(name) = at(body, &["metric", "name"]).cloned() {
            body["metricName"] = name;
        }
        if let Some(selector) = at(body, &["metric", "selector"]).cloned() {
            body[if source == "external" { "metricSelector" } else { "selector" }] = selector;
        }
        remove(body, &["metric"]);
        if let Some(described) = remove(body, &["describedObject"]) {
            body["target"] = described;
        }
    }
    metric
}

/// The way back.
pub(crate) fn metric_to_v2(metric: Value) -> Value {
    nest(
        metric,
        "target",
        &[
            ("targetAverageUtilization", "averageUtilization", "Utilization"),
            ("targetAverageValue", "averageValue", "AverageValue"),
            ("averageValue", "averageValue", "AverageValue"),
            ("targetValue", "value", "Value"),
        ],
    )
}

/// The way back of what is measured.
pub(crate) fn current_to_v2(metric: Value) -> Value {
    nest(
        metric,
        "current",
        &[
            ("currentAverageUtilization", "averageUtilization", ""),
            ("currentAverageValue", "averageValue", ""),
            ("averageValue", "averageValue", ""),
            ("currentValue", "value", ""),
        ],
    )
}

fn nest(mut metric: Value, to: &str, names: &[(&str, &str, &str)]) -> Value {
    for source in ["object", "pods", "resource", "external", "containerResource"] {
        if !metric[source].is_object() {
            continue;
        }
        let body = &mut metric[source];
        if let Some(described) = remove(body, &["target"]) {
            body["describedObject"] = described;
        }
        let mut target = json!({});
        for (old, new, kind) in names {
            if let Some(value) = remove(body, &[old]) {
                target[*new] = value;
                if !kind.is_empty() {
                    target["type"] = (*kind).into();
                }
            }
        }
        if let Some(name) = remove(body, &["metricName"]) {
            body["metric"] = json!({ "name": name });
            for field in ["selector", "metricSelector"] {
                if let Some(selector) = remove(body, &[field]) {
                    body["metric"]["selector"] = selector;
                }
            }
        }
        body[to] = target;
    }
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let object = json!({"metadata": {"name": "a"}, "spec": {
            "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "qps"},
                    "target": {"type": "AverageValue", "averageValue": "10"}}},
                {"type": "Object", "object": {"metric": {"name": "hits"},
                    "describedObject": {"kind": "Service", "name": "s"},
                    "target": {"type": "Value", "value": "5"}}},
                {"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 70}}}],
            "behavior": {"scaleUp": {"selectPolicy": "Max"}}}});
        let old = to_v1(object.clone());
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 70);
        assert!(
            old["metadata"]["annotations"][METRICS]
                .as_str()
                .unwrap()
                .contains("targetAverageValue")
        );
        assert_eq!(to_v2(old), object);
    }
}
