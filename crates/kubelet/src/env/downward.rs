//! What a pod may learn about itself: `fieldRef` and `resourceFieldRef`, for env and for files.
//!
//! Texts of errors are upstream's (`pkg/fieldpath`, `api/v1/resource`).

use k8s_openapi::api::core::v1::{Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{pod as pods, quantity};

/// What is known about the pod's place on the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The pod's addresses, the primary one first.
    pub(crate) pod_ips: Vec<String>,
    /// The node's addresses, the primary one first.
    pub(crate) host_ips: Vec<String>,
    /// What the node may give to pods: stands in for a limit that is not set.
    pub(crate) allocatable_cpu: Option<Quantity>,
    /// As above, for memory.
    pub(crate) allocatable_memory: Option<Quantity>,
    /// As above, for local storage.
    pub(crate) allocatable_storage: Option<Quantity>,
}

/// The value of a `fieldPath`.
pub(crate) fn field(pod: &Pod, place: &Place, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pods::spec(pod);
    if let Some((parent, key)) = subscript(path) {
        let map = match parent {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("fieldPath \"{path}\" does not support subscript")),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pods::name(pod).to_owned(),
        "metadata.namespace" => pods::namespace(pod).to_owned(),
        "metadata.uid" => pods::uid(pod).to_owned(),
        "metadata.labels" => map_lines(meta.labels.as_ref()),
        "metadata.annotations" => map_lines(meta.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => place.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => place.host_ips.join(","),
        "status.podIP" => place.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => place.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['key']` as its parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (parent, rest) = path.split_once("['")?;
    rest.strip_suffix("']").map(|key| (parent, key))
}

/// `key="escaped value"` lines in key order.
fn map_lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines: Vec<_> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// Go's `%q` for what labels and annotations hold.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a `resourceFieldRef`; `own` is the container that asks, when it names none.
pub(crate) fn resource(
    pod: &Pod,
    place: &Place,
    own: &str,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let name = selector.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let (_, container) =
        pods::container(pod, name).ok_or_else(|| format!("container {name} not found"))?;
    let (kind, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|all| all.limits.as_ref());
    let map = match kind {
        "limits" => limits,
        "requests" => resources.and_then(|all| all.requests.as_ref()),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let zero = Quantity("0".to_owned());
    let set =
        map.and_then(|map| map.get(resource)).filter(|amount| quantity::milli(amount) != Some(0));
    let allocatable = match resource {
        "cpu" => place.allocatable_cpu.as_ref(),
        "memory" => place.allocatable_memory.as_ref(),
        "ephemeral-storage" => place.allocatable_storage.as_ref(),
        name if name.starts_with("hugepages-") => None,
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    // A limit that is not set is what the node has to give; a request that is not set is nothing.
    let amount = match (set, kind) {
        (Some(amount), _) => amount,
        (None, "limits") => allocatable.unwrap_or(&zero),
        (None, _) => &zero,
    };
    quantity::divided(amount, selector.divisor.as_ref())
        .map(|value| value.to_string())
        .ok_or_else(|| format!("quantity {:?} cannot be read", amount.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u",
                "labels": {"b": "2", "a": "x\"y\n"}, "annotations": {"k/e.y": "v"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {
                "limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}}]},
        }))
        .unwrap()
    }

    fn place() -> Place {
        Place {
            pod_ips: vec!["10.0.0.1".into(), "fd00::1".into()],
            host_ips: vec!["192.0.2.1".into()],
            allocatable_cpu: Some(Quantity("2".into())),
            ..Place::default()
        }
    }

    #[test]
    fn fields_read_as_upstreams() {
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.labels['b']", "2"),
            ("metadata.annotations['k/e.y']", "v"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "a=\"x\\\"y\\n\"\nb=\"2\""),
            ("spec.nodeName", "n"),
            ("status.podIP", "10.0.0.1"),
            ("status.podIPs", "10.0.0.1,fd00::1"),
            ("status.hostIP", "192.0.2.1"),
        ] {
            assert_eq!(field(&pod(), &place(), path).as_deref(), Ok(expected), "{path}");
        }
        assert!(field(&pod(), &place(), "spec.nonsense").is_err());
    }

    #[test]
    fn resources_round_up_and_fall_back_to_the_node() {
        for (name, divisor, expected) in [
            ("limits.memory", "1Mi", "64"),
            ("limits.memory", "0", "67108864"),
            ("requests.cpu", "1", "1"),
            ("requests.cpu", "1m", "250"),
            ("limits.cpu", "1", "2"),
            ("requests.memory", "1", "0"),
        ] {
            let selector = ResourceFieldSelector {
                container_name: None,
                divisor: Some(Quantity(divisor.into())),
                resource: name.into(),
            };
            assert_eq!(
                resource(&pod(), &place(), "c", &selector).as_deref(),
                Ok(expected),
                "{name}"
            );
        }
    }
}
