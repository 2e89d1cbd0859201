//! Usage and scopes, by tables.

use k8s_openapi::api::core::v1::ResourceQuotaSpec;

use super::*;

const NOW: &str = "2026-01-01T00:01:00Z";

fn used(item: Item<'_>) -> String {
    let amounts = item.usage(NOW.parse().unwrap());
    let words: Vec<_> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    words.join(" ")
}

fn pod(json: &str) -> Pod {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_pod_is_charged_until_it_has_ended() {
    let containers = r#""spec":{"containers":[{"name":"a","resources":{
        "requests":{"cpu":"1","memory":"1Gi","example.com/dongle":"3","hugepages-2Mi":"4Mi"},
        "limits":{"cpu":"2","example.com/dongle":"3"}}}]}"#;
    let all = "count/pods=1 cpu=1 hugepages-2Mi=4Mi limits.cpu=2 memory=1Gi pods=1 requests.cpu=1 \
        requests.example.com/dongle=3 requests.hugepages-2Mi=4Mi requests.memory=1Gi";
    for (rest, expected) in [
        ("", all),
        (r#","status":{"phase":"Failed"}"#, "count/pods=1"),
        (
            r#","metadata":{"deletionTimestamp":"2026-01-01T00:00:50Z","deletionGracePeriodSeconds":30}"#,
            all,
        ),
        (
            r#","metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":30}"#,
            "count/pods=1",
        ),
    ] {
        assert_eq!(used(Item::Pod(&pod(&format!("{{{containers}{rest}}}")))), expected, "{rest}");
    }
}

#[test]
fn services_claims_and_anything() {
    let service = |json: &str| -> Service { serde_json::from_str(json).unwrap() };
    let balancer = service(
        r#"{"spec":{"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{"port":1},{"port":2,"nodePort":30000}]}}"#,
    );
    let expected = "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1";
    assert_eq!(used(Item::Service(&balancer)), expected);
    let claim: PersistentVolumeClaim = serde_json::from_str(
        r#"{"spec":{"storageClassName":"fast","resources":{"requests":{"storage":"5Gi"}}},
            "status":{"allocatedResources":{"storage":"6Gi"}}}"#,
    )
    .unwrap();
    assert_eq!(
        used(Item::Claim(&claim)),
        "count/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
         fast.storageclass.storage.k8s.io/requests.storage=6Gi persistentvolumeclaims=1 \
         requests.storage=6Gi"
    );
    let devices: ResourceClaim = serde_json::from_str(
        r#"{"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"gpu","allocationMode":"All"}},
            {"name":"s","firstAvailable":[{"name":"x","deviceClassName":"gpu","count":2},{"name":"y","deviceClassName":"nic","count":1}]}]}}}"#,
    )
    .unwrap();
    assert_eq!(
        used(Item::Devices(&devices)),
        "count/resourceclaims.resource.k8s.io=1 gpu.deviceclass.resource.k8s.io/devices=34 \
         nic.deviceclass.resource.k8s.io/devices=1"
    );
    let widget = GroupResource::new("example.com", "widgets");
    assert_eq!(used(Item::Other(&widget)), "count/widgets.example.com=1");
    assert_eq!(used(Item::Other(&GroupResource::new("", "secrets"))), "count/secrets=1 secrets=1");
    assert_eq!(counted_resource("count/widgets.example.com"), Some(widget));
    assert_eq!(counted_resource("pods"), None);
    assert_eq!(counted_resource("count/pods"), None);
}

#[test]
fn limits_are_of_kinds() {
    let pod = pod("{}");
    let item = Item::Pod(&pod);
    for (limit, expected) in [
        ("pods", true),
        ("requests.cpu", true),
        ("limits.memory", true),
        ("requests.example.com/dongle", true),
        ("requests.storage", false),
        ("services", false),
        ("hugepages-2Mi", true),
    ] {
        assert_eq!(item.is_limited_by(limit), expected, "{limit}");
    }
}

#[test]
fn what_is_limited_must_be_said_by_every_container() {
    let some = pod(r#"{"spec":{"containers":[{"name":"b"},{"name":"a"},
        {"name":"c","resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}}}]}}"#);
    let limits = ["limits.cpu", "cpu", "pods"];
    assert_eq!(missing(&some, &limits).unwrap(), "must specify cpu for: a,b; limits.cpu for: a,b");
    let whole = pod(r#"{"spec":{"resources":{"limits":{"cpu":"1"}},"containers":[{"name":"a"}]}}"#);
    assert_eq!(missing(&whole, &limits), None);
}

#[test]
fn scopes_choose_pods_and_claims() {
    let check = |quota: &str, spec: &str, expected: bool| {
        let quota: ResourceQuotaSpec = serde_json::from_str(quota).unwrap();
        let pod = pod(&format!(r#"{{"spec":{spec}}}"#));
        assert_eq!(is_in_scopes(&quota, &Item::Pod(&pod)), expected, "{spec}");
        let other = GroupResource::new("", "secrets");
        let scoped = quota.scopes.is_some() || quota.scope_selector.is_some();
        assert_eq!(is_in_scopes(&quota, &Item::Other(&other)), !scoped);
    };
    let plain = r#"{"containers":[]}"#;
    check("{}", plain, true);
    check(r#"{"scopes":["BestEffort","NotTerminating"]}"#, plain, true);
    check(r#"{"scopes":["NotBestEffort"]}"#, plain, false);
    let deadline = r#"{"containers":[],"activeDeadlineSeconds":5}"#;
    check(r#"{"scopes":["Terminating"]}"#, deadline, true);
    let high = r#"{"scopeSelector":{"matchExpressions":[
        {"scopeName":"PriorityClass","operator":"In","values":["high"]}]}}"#;
    check(high, plain, false);
    check(high, r#"{"containers":[],"priorityClassName":"high"}"#, true);
    let far = r#"{"containers":[],"affinity":{"podAntiAffinity":{
        "requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"x","namespaceSelector":{}}]}}}"#;
    check(r#"{"scopes":["CrossNamespacePodAffinity"]}"#, far, true);
    check(r#"{"scopes":["CrossNamespacePodAffinity"]}"#, plain, false);

    let quota: ResourceQuotaSpec = serde_json::from_str(
        r#"{"scopeSelector":{"matchExpressions":[
            {"scopeName":"VolumeAttributesClass","operator":"In","values":["gold"]}]}}"#,
    )
    .unwrap();
    for (class, expected) in [("gold", true), ("lead", false)] {
        let claim: PersistentVolumeClaim = serde_json::from_str(&format!(
            r#"{{"spec":{{"volumeAttributesClassName":"{class}"}}}}"#
        ))
        .unwrap();
        assert_eq!(is_in_scopes(&quota, &Item::Claim(&claim)), expected, "{class}");
    }
}
