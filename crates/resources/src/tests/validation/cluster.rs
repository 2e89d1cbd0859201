//! Nodes, endpoints, slices and events.

use serde_json::json;

use super::*;

#[test]
fn nodes_and_endpoints() {
    create(
        "",
        "nodes",
        json!({"spec": {"taints": [{"key": "a", "effect": "X"}]}}),
        "spec.taints[0].effect: Unsupported value: \"X\"",
    );
    create(
        "",
        "nodes",
        json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}}),
        "spec.taints[1]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"a\"}: taints must be unique by key and effect pair",
    );
    update(
        "",
        "nodes",
        None,
        json!({"spec": {"providerID": "a"}}),
        json!({"spec": {"providerID": "b"}}),
        "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
    );
    create(
        "",
        "endpoints",
        json!({"subsets": [{"ports": [{"port": 1}]}]}),
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
    );
    create(
        "",
        "endpoints",
        json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]}),
        "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
    );
    const SLICES: &str = "discovery.k8s.io";
    create(SLICES, "endpointslices", json!({}), "addressType: Required value");
    create(
        SLICES,
        "endpointslices",
        json!({"addressType": "IPv4", "endpoints": [{}]}),
        "endpoints[0].addresses: Required value: must contain at least 1 address",
    );
    create(
        SLICES,
        "endpointslices",
        json!({"addressType": "IPv4", "ports": [{}, {}]}),
        "ports[1].name: Duplicate value: \"\"",
    );
    update(
        SLICES,
        "endpointslices",
        None,
        json!({"addressType": "IPv4"}),
        json!({"addressType": "IPv6"}),
        "addressType: Invalid value: \"IPv6\": field is immutable",
    );
    create(
        "",
        "events",
        json!({"involvedObject": {"namespace": "other"}}),
        "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace",
    );
    create(
        "events.k8s.io",
        "events",
        json!({"involvedObject": {"namespace": "n"}}),
        "eventTime: Required value",
    );
}

#[test]
fn nodes() {
    changes(
        "",
        "nodes",
        None,
        &json!({"spec": {"podCIDRs": ["10.0.0.0/24"], "podCIDR": "10.0.0.0/24"}}),
        &[(
            json!({"spec": {"podCIDRs": ["10.0.1.0/24"], "podCIDR": "10.0.1.0/24"}}),
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
        )],
    );
    rows(
        "",
        "nodes",
        &json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        &[
            (
                json!({"spec": {"taints": [{"key": "", "effect": "NoSchedule"}]}}),
                "spec.taints[0].key: Invalid value: \"\"",
            ),
            (json!({"spec": {"taints": [{"key": "a"}]}}), "spec.taints[0].effect: Required value"),
            (
                json!({"spec": {"podCIDRs": ["x"], "podCIDR": "x"}}),
                "spec.podCIDRs[0]: Invalid value: \"x\"",
            ),
            (
                json!({"status": {"addresses": [{"type": "InternalIP", "address": "1.1.1.1"}, {"type": "InternalIP", "address": "1.1.1.1"}]}}),
                "status.addresses[1]: Duplicate value",
            ),
            (
                json!({"status": {"capacity": {"cpu": "-1"}}}),
                "status.capacity[cpu]: Invalid value: \"-1\"",
            ),
        ],
    );
}

#[test]
fn endpoints_and_slices() {
    let address = |ip: &str| json!({"subsets": [{"addresses": [{"ip": ip}]}]});
    for (ip, text) in [
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("169.254.0.1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("224.0.0.1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ("x", "must be a valid IP address"),
    ] {
        let expected = format!("subsets[0].addresses[0].ip: Invalid value: \"{ip}\": {text}");
        create("", "endpoints", address(ip), &expected);
    }
    create(
        "",
        "endpoints",
        json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}, {"port": 2}]}]}),
        "subsets[0].ports[0].name: Required value",
    );
    const SLICES: &str = "discovery.k8s.io";
    rows(
        SLICES,
        "endpointslices",
        &json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
        &[
            (
                json!({"addressType": "X"}),
                "addressType: Unsupported value: \"X\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            ),
            (
                json!({"endpoints": [{"addresses": ["::1"]}]}),
                "endpoints[0].addresses[0]: Invalid value: \"::1\": must be an IPv4 address",
            ),
            (
                json!({"endpoints": [{"addresses": vec!["10.0.0.1"; 101]}]}),
                "endpoints[0].addresses: Too many: 101: must have at most 100 items",
            ),
            (json!({"ports": [{"protocol": "X"}]}), "ports[0].protocol: Unsupported value: \"X\""),
        ],
    );
}

#[test]
fn events_of_the_new_group() {
    let good = json!({"involvedObject": {"namespace": "n"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingComponent": "a.b/c", "reportingInstance": "i", "action": "Act", "reason": "Why", "type": "Normal"});
    rows(
        "events.k8s.io",
        "events",
        &good,
        &[
            (json!({"reportingComponent": ""}), "reportingController: Required value"),
            (json!({"reportingInstance": ""}), "reportingInstance: Required value"),
            (json!({"action": "a".repeat(129)}), "action: Invalid value"),
            (json!({"reason": ""}), "reason: Required value"),
            (json!({"message": "m".repeat(1025)}), "message: Invalid value"),
            (json!({"type": "X"}), "type: Invalid value: \"X\": has invalid value: X"),
            (json!({"count": 1}), "deprecatedCount: Invalid value: 1: needs to be unset"),
        ],
    );
    changes(
        "events.k8s.io",
        "events",
        None,
        &good,
        &[
            (json!({"reason": "Other"}), "reason: Invalid value: \"Other\": field is immutable"),
            (
                json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}),
                "",
            ),
        ],
    );
}
