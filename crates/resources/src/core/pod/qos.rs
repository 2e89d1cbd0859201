//! A pod's quality-of-service class, from its requests and limits.

use api::Value;
use api::object::{at, list_at};
use api::quantity::Quantity;

fn compute(resources: Option<&Value>, kind: &str) -> Vec<(&'static str, Quantity)> {
    ["cpu", "memory"]
        .into_iter()
        .filter_map(|name| {
            let value = at(resources?, &[kind, name])?;
            let quantity = value.as_str()?.parse::<Quantity>().ok()?;
            (!quantity.is_zero()).then_some((name, quantity))
        })
        .collect()
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
#[must_use]
pub(crate) fn class(spec: &Value) -> &'static str {
    let pod_level = at(spec, &["resources"]).filter(|resources| {
        !compute(Some(resources), "limits").is_empty()
            || !compute(Some(resources), "requests").is_empty()
    });
    let parts: Vec<Option<&Value>> = match pod_level {
        Some(resources) => vec![Some(resources)],
        None => ["containers", "initContainers"]
            .iter()
            .flat_map(|list| list_at(spec, &[list]))
            .map(|container| at(container, &["resources"]))
            .collect(),
    };
    let mut none = true;
    let mut guaranteed = true;
    for part in parts {
        let (requests, limits) = (compute(part, "requests"), compute(part, "limits"));
        none &= requests.is_empty() && limits.is_empty();
        guaranteed &= limits.len() == 2 && requests == limits;
    }
    match (none, guaranteed) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes() {
        let with = |resources: Value| json!({"containers": [{ "resources": resources }]});
        let full = json!({"cpu": "1", "memory": "1Gi"});
        for (spec, expected) in [
            (with(json!({})), "BestEffort"),
            (with(json!({"requests": {"ephemeral-storage": "1Gi"}})), "BestEffort"),
            (with(json!({"requests": {"cpu": "1"}})), "Burstable"),
            (with(json!({"requests": {"cpu": "0"}})), "BestEffort"),
            (with(json!({"requests": full, "limits": full})), "Guaranteed"),
            (with(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})), "Burstable"),
            (
                with(json!({"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": full})),
                "Guaranteed",
            ),
            (
                json!({"resources": {"requests": full, "limits": full}, "containers": [{}]}),
                "Guaranteed",
            ),
            (
                json!({"containers": [{"resources": {"requests": full, "limits": full}}],
                "initContainers": [{}]}),
                "Burstable",
            ),
        ] {
            assert_eq!(class(&spec), expected, "{spec}");
        }
    }
}
