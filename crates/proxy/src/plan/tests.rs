//! Services and slices in YAML-like JSON, and the rules that come of them.

use serde_json::{Value, json};

use super::*;

fn service(extra: Value) -> Service {
    let mut spec = json!({
        "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "type": "ClusterIP",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(extra.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": "web"}, "spec": spec,
    }))
    .unwrap()
}

/// Endpoints written as `last byte of the address, node, flags`: r(eady), s(erving),
/// t(erminating).
fn slice(endpoints: &[(u8, &str, &str)]) -> EndpointSlice {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(last, node, flags)| {
            json!({
                "addresses": [format!("10.42.0.{last}")], "nodeName": node,
                "conditions": {
                    "ready": flags.contains('r'), "serving": flags.contains('s'),
                    "terminating": flags.contains('t'),
                },
            })
        })
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": "web-1",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }))
    .unwrap()
}

fn node() -> Node {
    Node { name: "here".into(), zone: Some("z1".into()) }
}

/// The rules in short: `frontend -> endpoints [flags]`, one a line.
fn shown(rules: &ServiceRules) -> Vec<String> {
    let group = |key: &GroupKey| {
        let group = &rules.groups[key];
        let ends: Vec<String> =
            group.endpoints.iter().map(|e| e.ip.to_string().replace("10.42.0.", "")).collect();
        let mut text = ends.join(",");
        if text.is_empty() {
            text = format!("{:?}", group.when_empty);
        }
        if group.masquerade {
            text.push_str(" masq");
        }
        if let Some(time) = group.affinity {
            text.push_str(&format!(" stay {}s", time.as_secs()));
        }
        text
    };
    rules
        .frontends
        .iter()
        .map(|(frontend, target)| {
            let inside = target.inside.as_ref().map(|key| format!(" inside: {}", group(key)));
            let ip = frontend.ip;
            let inside = inside.unwrap_or_default();
            format!("{ip}:{} -> {}{inside}", frontend.port, group(&target.group))
        })
        .collect()
}

fn check(service: &Service, slices: &[EndpointSlice], expected: &[&str]) {
    let slices: Vec<&EndpointSlice> = slices.iter().collect();
    assert_eq!(shown(&plan_service(service, &slices, &node())), expected);
}

#[test]
fn a_cluster_ip_leads_to_ready_endpoints() {
    let plain = service(json!({}));
    check(&plain, &[], &["10.96.0.10:80 -> Reject"]);
    check(&plain, &[slice(&[(2, "here", "rs"), (3, "there", "rs")])], &["10.96.0.10:80 -> 2,3"]);
    check(&plain, &[slice(&[(2, "here", "rs"), (3, "there", "")])], &["10.96.0.10:80 -> 2"]);
    // What shuts down is used only when nothing else is left, and while it answers.
    check(&plain, &[slice(&[(2, "here", "st"), (3, "there", "rs")])], &["10.96.0.10:80 -> 3"]);
    check(&plain, &[slice(&[(2, "here", "st"), (3, "there", "t")])], &["10.96.0.10:80 -> 2"]);
    // Two slices with one address.
    let twice = [slice(&[(2, "here", "st")]), slice(&[(2, "here", "rs")])];
    check(&plain, &twice, &["10.96.0.10:80 -> 2"]);
}

#[test]
fn what_is_not_ours_has_no_rules() {
    check(&service(json!({"clusterIP": "None", "clusterIPs": ["None"]})), &[], &[]);
    check(&service(json!({"type": "ExternalName", "clusterIP": "", "clusterIPs": []})), &[], &[]);
    let mut elsewhere = service(json!({}));
    elsewhere.metadata.labels = Some([(PROXY_NAME.to_owned(), "other".to_owned())].into());
    check(&elsewhere, &[], &[]);
}

#[test]
fn ports_are_matched_by_name_and_protocol() {
    let mut other = slice(&[(2, "here", "rs")]);
    other.ports.as_mut().unwrap()[0].name = Some("metrics".into());
    check(&service(json!({})), &[other], &["10.96.0.10:80 -> Reject"]);
    let mut udp = slice(&[(2, "here", "rs")]);
    udp.ports.as_mut().unwrap()[0].protocol = Some("UDP".into());
    check(&service(json!({})), &[udp], &["10.96.0.10:80 -> Reject"]);
}

#[test]
fn frontends_from_outside_are_masqueraded() {
    let ports = json!([{"name": "http", "port": 80, "nodePort": 30123}]);
    let open = service(json!({"type": "NodePort", "ports": ports, "externalIPs": ["192.0.2.7"]}));
    let ends = [slice(&[(2, "here", "rs"), (3, "there", "rs")])];
    check(
        &open,
        &ends,
        &["0.0.0.0:30123 -> 2,3 masq", "10.96.0.10:80 -> 2,3", "192.0.2.7:80 -> 2,3 masq"],
    );
}

#[test]
fn policy_local_keeps_to_the_node() {
    let ports = json!([{"name": "http", "port": 80, "nodePort": 30123}]);
    let local = service(json!({
        "type": "NodePort", "ports": ports, "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30999,
    }));
    let ends = [slice(&[(2, "here", "rs"), (3, "there", "rs")])];
    let lines = ["0.0.0.0:30123 -> 2 inside: 2,3", "10.96.0.10:80 -> 2,3"];
    check(&local, &ends, &lines);
    let rules = plan_service(&local, &ends.iter().collect::<Vec<_>>(), &node());
    assert_eq!(rules.health, Some((30999, 1)));
    let away = [slice(&[(3, "there", "rs")])];
    check(&local, &away, &["0.0.0.0:30123 -> Drop inside: 3", "10.96.0.10:80 -> 3"]);
    check(&local, &[], &["0.0.0.0:30123 -> Reject inside: Reject", "10.96.0.10:80 -> Reject"]);
    let internal = service(json!({"internalTrafficPolicy": "Local"}));
    check(&internal, &ends, &["10.96.0.10:80 -> 2"]);
    check(&internal, &away, &["10.96.0.10:80 -> Drop"]);
}

#[test]
fn a_load_balancers_addresses_are_served_unless_it_wants_the_traffic() {
    let mut balanced = service(json!({"type": "LoadBalancer"}));
    let ingress = json!({"loadBalancer": {"ingress": [
        {"ip": "203.0.113.1", "ipMode": "VIP"}, {"ip": "203.0.113.2", "ipMode": "Proxy"},
    ]}});
    balanced.status = Some(serde_json::from_value(ingress).unwrap());
    let ends = [slice(&[(2, "here", "rs")])];
    check(&balanced, &ends, &["10.96.0.10:80 -> 2", "203.0.113.1:80 -> 2 masq"]);
    let ranges = ["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32"];
    let spec = balanced.spec.as_mut().unwrap();
    spec.load_balancer_source_ranges = Some(ranges.map(str::to_owned).into());
    let rules = plan_service(&balanced, &ends.iter().collect::<Vec<_>>(), &node());
    let guarded: Vec<_> = rules.frontends.values().map(|target| &target.sources).collect();
    assert_eq!(guarded, [&vec![], &vec!["192.0.2.0/24".parse::<IpNet>().unwrap()]]);
}

#[test]
fn affinity_has_its_time() {
    let ends = [slice(&[(2, "here", "rs")])];
    let default = service(json!({"sessionAffinity": "ClientIP"}));
    check(&default, &ends, &["10.96.0.10:80 -> 2 stay 10800s"]);
    let config = json!({"clientIP": {"timeoutSeconds": 7}});
    let short = service(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}));
    check(&short, &ends, &["10.96.0.10:80 -> 2 stay 7s"]);
}

#[test]
fn hints_are_followed_when_all_have_them() {
    let mut near = slice(&[(2, "a", "rs"), (3, "b", "rs")]);
    let hint = |zone: &str| serde_json::from_value(json!({"forZones": [{"name": zone}]})).unwrap();
    let endpoints = near.endpoints.as_mut().unwrap();
    endpoints[0].hints = Some(hint("z1"));
    check(&service(json!({})), &[near.clone()], &["10.96.0.10:80 -> 2,3"]);
    near.endpoints.as_mut().unwrap()[1].hints = Some(hint("z2"));
    check(&service(json!({})), &[near.clone()], &["10.96.0.10:80 -> 2"]);
    near.endpoints.as_mut().unwrap()[0].hints = Some(hint("z3"));
    check(&service(json!({})), &[near.clone()], &["10.96.0.10:80 -> 2,3"]);
    for endpoint in near.endpoints.as_mut().unwrap() {
        let nodes = json!({"forNodes": [{"name": endpoint.node_name.as_deref().unwrap()}]});
        endpoint.hints = Some(serde_json::from_value(nodes).unwrap());
    }
    near.endpoints.as_mut().unwrap()[1].hints =
        Some(serde_json::from_value(json!({"forNodes": [{"name": "here"}]})).unwrap());
    check(&service(json!({})), &[near], &["10.96.0.10:80 -> 3"]);
}

#[test]
fn both_families_have_their_own_endpoints() {
    let ports = json!([{"name": "http", "port": 80, "nodePort": 30123}]);
    let dual = service(json!({
        "clusterIPs": ["10.96.0.10", "fd00::10"], "type": "NodePort", "ports": ports,
    }));
    let mut six = slice(&[(2, "here", "rs")]);
    six.address_type = "IPv6".into();
    six.endpoints.as_mut().unwrap()[0].addresses = vec!["fd42::2".into()];
    check(
        &dual,
        &[slice(&[(2, "here", "rs")]), six],
        &[
            "0.0.0.0:30123 -> 2 masq",
            "10.96.0.10:80 -> 2",
            ":::30123 -> fd42::2 masq",
            "fd00::10:80 -> fd42::2",
        ],
    );
}

#[test]
fn a_plan_of_all_is_the_sum_of_each() {
    let one = service(json!({}));
    let ends = slice(&[(2, "here", "rs")]);
    let all = plan(&[&one], &[&ends], &node());
    assert_eq!((all.whole().frontends.len(), all.whole().groups.len()), (1, 1));
}
