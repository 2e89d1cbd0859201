//! Services: defaults, validation, type changes, ports and families.

use api::field::ErrorList;
use base::rng::SharedRng;
use serde_json::json;

use super::*;

fn defaulted(spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": "a"}, "spec": spec});
    Service.default(&mut object);
    let once = object.clone();
    Service.default(&mut object);
    assert_eq!(object, once, "defaults are idempotent");
    object
}

fn texts(object: &Value) -> Vec<String> {
    let mut errors = ErrorList::new();
    Service.validate(Field::root(object), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn rows_of_the_defaults() {
    let object = defaulted(json!({"ports": [{"port": 80}]}));
    assert_eq!(
        object["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]})
    );
    let object = defaulted(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP"}));
    assert_eq!(object["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(object["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(object["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
    let object = defaulted(json!({"type": "ExternalName", "externalName": "a.b"}));
    assert_eq!(
        object["spec"],
        json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"})
    );
}

#[test]
fn rows_of_the_validation() {
    for (spec, expected) in [
        (json!({}), "spec.ports: Required value"),
        (
            json!({"ports": [{"port": 0}]}),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (json!({"ports": [{"port": 1}, {"port": 2}]}), "spec.ports[0].name: Required value"),
        (
            json!({"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}),
            "spec.ports[1].name: Duplicate value: \"a\"",
        ),
        (
            json!({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]}),
            "spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}",
        ),
        (
            json!({"ports": [{"port": 1, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            json!({"type": "X", "ports": [{"port": 1}]}),
            "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ),
        (json!({"type": "ExternalName"}), "spec.externalName: Required value"),
        (
            json!({"type": "NodePort", "clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 1}]}),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"], "ports": [{"port": 1}]}),
            "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
        ),
        (
            json!({"externalTrafficPolicy": "Local", "ports": [{"port": 1}]}),
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (
            json!({"sessionAffinity": "ClientIP", "ports": [{"port": 1}],
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
        ),
        (
            json!({"loadBalancerClass": "a.b/c", "ports": [{"port": 1}]}),
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
    ] {
        let found = texts(&defaulted(spec));
        assert!(found.iter().any(|text| text == expected), "{found:?} has no {expected}");
    }
    assert_eq!(texts(&defaulted(json!({"ports": [{"port": 80}]}))), Vec::<String>::new());
    assert_eq!(
        texts(&defaulted(json!({"clusterIP": "None", "clusterIPs": ["None"]}))),
        Vec::<String>::new()
    );
}

#[test]
fn a_change_of_type_gives_back() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
        "internalTrafficPolicy": "Cluster", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
    let mut new = old.clone();
    new["spec"]["type"] = "ExternalName".into();
    patch::clear_unused(&mut new, &old);
    assert_eq!(
        new["spec"],
        json!({"type": "ExternalName", "ports": [{"port": 80, "protocol": "TCP"}]})
    );
    let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
    patch::fill_from_old(&mut new, &old);
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30001);
    assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
}

#[test]
fn ports_are_shared_between_protocols_and_kept_on_update() {
    let rng = SharedRng::seeded(1);
    let mut map = ports::Bitmap::new(30_000, 32_767);
    let mut service = json!({"spec": {"type": "NodePort", "ports": [
        {"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}, {"port": 81, "protocol": "TCP"}]}});
    ports::assign(&mut service, None, &mut map, &rng).unwrap();
    let node = |index: usize| service["spec"]["ports"][index]["nodePort"].as_i64().unwrap();
    assert_eq!(node(0), node(1));
    assert_ne!(node(0), node(2));
    let old = service.clone();
    let mut again = service.clone();
    let before = map.clone();
    ports::assign(&mut again, Some(&old), &mut map, &rng).unwrap();
    assert_eq!((again, map.clone()), (old, before));
    let mut rival = service.clone();
    let error = ports::assign(&mut rival, None, &mut map, &rng).unwrap_err();
    let ports::PortError::Invalid(error) = error else { panic!("{error:?}") };
    assert_eq!(
        error.to_string(),
        format!(
            "spec.ports[0].nodePort: Invalid value: {}: provided port is already allocated",
            node(0)
        )
    );
    let mut outside = json!({"spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}});
    let ports::PortError::Invalid(error) =
        ports::assign(&mut outside, None, &mut map, &rng).unwrap_err()
    else {
        panic!()
    };
    assert_eq!(
        error.to_string(),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"
    );
}

#[test]
fn families() {
    let networks = ["10.96.0.0/12".parse().unwrap()];
    let fill = |spec: Value| {
        let mut service = json!({ "spec": spec });
        super::families::fill(&mut service, None, &networks)
            .map(|()| {
                (service["spec"]["ipFamilies"].clone(), service["spec"]["ipFamilyPolicy"].clone())
            })
            .map_err(|error| error.to_string())
    };
    assert_eq!(fill(json!({"type": "ClusterIP"})), Ok((json!(["IPv4"]), json!("SingleStack"))));
    assert_eq!(
        fill(json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"})),
        Ok((json!(["IPv4"]), json!("PreferDualStack")))
    );
    assert_eq!(
        fill(json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]})),
        Ok((json!(["IPv4", "IPv6"]), json!("RequireDualStack")))
    );
    assert_eq!(
        fill(json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack"})),
        Err("spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services".to_owned())
    );
    assert_eq!(
        fill(json!({"type": "ClusterIP", "ipFamilies": ["IPv6"]})),
        Err("spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"
            .to_owned())
    );
}

#[test]
fn the_row() {
    let service = json!({"metadata": {"name": "a"}, "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"],
        "ports": [{"port": 80, "nodePort": 30001, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        "selector": {"b": "2", "a": "1"}}});
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        Value::Array(Service.cells(&service, now)),
        json!([
            "a",
            "LoadBalancer",
            "10.0.0.1",
            "<pending>",
            "80:30001/TCP,53/UDP",
            "<unknown>",
            "a=1,b=2"
        ])
    );
}

#[test]
fn conditions_of_the_status_are_not_looked_at() {
    let service = json!({"spec": {"type": "LoadBalancer"},
        "status": {"conditions": [{"type": "a", "status": "True"}]}});
    let mut errors = ErrorList::new();
    validation::status(Field::root(&service), &mut errors);
    assert!(errors.is_empty(), "{errors:?}");
}
