//! The rows of the defaults table, kind by kind (pods and services have their own tests).

use api::Value;
use serde_json::{Value as Json, json};

use super::{all, deps, find};

/// Defaults `object` and compares what is at each pointer.
fn check(group: &str, plural: &str, object: Value, expected: &[(&str, Json)]) {
    let kinds = all(&deps());
    let kind = find(&kinds, group, plural);
    let mut object = object;
    if object.get("metadata").is_none() {
        object["metadata"] = json!({"name": "x"});
    }
    kind.default(&mut object);
    for (pointer, value) in expected {
        let found = object.pointer(pointer).cloned().unwrap_or(Json::Null);
        assert_eq!(found, *value, "{plural} {pointer} of {object}");
    }
    let once = object.clone();
    kind.default(&mut object);
    assert_eq!(object, once, "{plural}: defaults are idempotent");
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

#[test]
fn core() {
    check(
        "",
        "namespaces",
        json!({}),
        &[
            ("/metadata/labels/kubernetes.io~1metadata.name", json!("x")),
            ("/status/phase", json!("Active")),
        ],
    );
    check(
        "",
        "namespaces",
        json!({"metadata": {"name": "x", "labels": {"kubernetes.io/metadata.name": "y"}}}),
        &[("/metadata/labels/kubernetes.io~1metadata.name", json!("x"))],
    );
    check(
        "",
        "nodes",
        json!({"status": {"capacity": {"cpu": "1"}}}),
        &[("/status/allocatable", json!({"cpu": "1"}))],
    );
    check(
        "",
        "secrets",
        json!({"data": {"a": "YQ=="}, "stringData": {"b": "b"}}),
        &[
            ("/type", json!("Opaque")),
            ("/data", json!({"a": "YQ==", "b": "Yg=="})),
            ("/stringData", Json::Null),
        ],
    );
    check(
        "",
        "endpoints",
        json!({"subsets": [{"ports": [{"port": 1}]}]}),
        &[("/subsets/0/ports/0/protocol", json!("TCP"))],
    );
    check(
        "",
        "replicationcontrollers",
        json!({"spec": {"template": template()}}),
        &[
            ("/spec/replicas", json!(1)),
            ("/spec/selector", json!({"a": "b"})),
            ("/metadata/labels", json!({"a": "b"})),
        ],
    );
    check(
        "",
        "persistentvolumes",
        json!({"spec": {"iscsi": {}, "rbd": null}}),
        &[
            ("/status/phase", json!("Pending")),
            ("/spec/persistentVolumeReclaimPolicy", json!("Retain")),
            ("/spec/volumeMode", json!("Filesystem")),
            ("/spec/iscsi/iscsiInterface", json!("default")),
        ],
    );
    check(
        "",
        "persistentvolumeclaims",
        json!({"spec": {}}),
        &[("/status/phase", json!("Pending")), ("/spec/volumeMode", json!("Filesystem"))],
    );
    check(
        "",
        "limitranges",
        json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}}),
        &[
            ("/spec/limits/0/default", json!({"cpu": "2"})),
            ("/spec/limits/0/defaultRequest", json!({"cpu": "2", "memory": "1Mi"})),
        ],
    );
}

#[test]
fn workloads() {
    check(
        "apps",
        "replicasets",
        json!({"spec": {"template": template()}}),
        &[("/spec/replicas", json!(1)), ("/spec/template/spec/restartPolicy", json!("Always"))],
    );
    check(
        "apps",
        "daemonsets",
        json!({"spec": {"template": template()}}),
        &[
            (
                "/spec/updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
            ),
            ("/spec/revisionHistoryLimit", json!(10)),
        ],
    );
    check(
        "apps",
        "statefulsets",
        json!({"spec": {"template": template(), "volumeClaimTemplates": [{"metadata": {"name": "d"}}]}}),
        &[
            ("/spec/podManagementPolicy", json!("OrderedReady")),
            (
                "/spec/updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
            ),
            (
                "/spec/persistentVolumeClaimRetentionPolicy",
                json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
            ),
            ("/spec/replicas", json!(1)),
            ("/spec/revisionHistoryLimit", json!(10)),
            (
                "/spec/volumeClaimTemplates/0",
                json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "d"}, "spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}),
            ),
        ],
    );
    check(
        "batch",
        "jobs",
        json!({"spec": {"template": template(), "completions": 3}}),
        &[
            ("/spec/parallelism", json!(1)),
            ("/spec/completions", json!(3)),
            ("/spec/backoffLimit", json!(6)),
            ("/spec/completionMode", json!("NonIndexed")),
            ("/spec/suspend", json!(false)),
            ("/spec/podReplacementPolicy", json!("TerminatingOrFailed")),
            ("/spec/manualSelector", json!(false)),
            ("/metadata/labels", json!({"a": "b"})),
        ],
    );
    check(
        "batch",
        "jobs",
        json!({"spec": {"template": template(), "parallelism": 2, "backoffLimitPerIndex": 1,
            "podFailurePolicy": {"rules": [{"onPodConditions": [{"type": "X"}]}]}}}),
        &[
            ("/spec/completions", Json::Null),
            ("/spec/backoffLimit", json!(2_147_483_647)),
            ("/spec/podReplacementPolicy", json!("Failed")),
            ("/spec/podFailurePolicy/rules/0/onPodConditions/0/status", json!("True")),
        ],
    );
    check(
        "batch",
        "cronjobs",
        json!({"spec": {"jobTemplate": {"spec": {"template": template()}}}}),
        &[
            ("/spec/concurrencyPolicy", json!("Allow")),
            ("/spec/suspend", json!(false)),
            ("/spec/successfulJobsHistoryLimit", json!(3)),
            ("/spec/failedJobsHistoryLimit", json!(1)),
            ("/spec/jobTemplate/spec/backoffLimit", Json::Null),
        ],
    );
    check(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"spec": {"behavior": {"scaleUp": {"selectPolicy": "Min"}}}}),
        &[
            ("/spec/minReplicas", json!(1)),
            (
                "/spec/metrics",
                json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}}]),
            ),
            (
                "/spec/behavior/scaleUp",
                json!({"selectPolicy": "Min", "stabilizationWindowSeconds": 0, "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]}),
            ),
            (
                "/spec/behavior/scaleDown",
                json!({"selectPolicy": "Max", "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15}]}),
            ),
        ],
    );
}

#[test]
fn network_and_storage() {
    check(
        "discovery.k8s.io",
        "endpointslices",
        json!({"ports": [{"port": 1}]}),
        &[("/ports/0", json!({"name": "", "port": 1, "protocol": "TCP"}))],
    );
    check(
        "networking.k8s.io",
        "networkpolicies",
        json!({"spec": {"egress": [{"ports": [{"port": 1}]}]}}),
        &[
            ("/spec/policyTypes", json!(["Ingress", "Egress"])),
            ("/spec/egress/0/ports/0/protocol", json!("TCP")),
        ],
    );
    check(
        "networking.k8s.io",
        "networkpolicies",
        json!({"spec": {}}),
        &[("/spec/policyTypes", json!(["Ingress"]))],
    );
    check(
        "networking.k8s.io",
        "ingressclasses",
        json!({"spec": {"parameters": {"kind": "a"}}}),
        &[("/spec/parameters/scope", json!("Cluster"))],
    );
    check(
        "storage.k8s.io",
        "storageclasses",
        json!({}),
        &[("/reclaimPolicy", json!("Delete")), ("/volumeBindingMode", json!("Immediate"))],
    );
    check(
        "storage.k8s.io",
        "csidrivers",
        json!({}),
        &[(
            "/spec",
            json!({"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false,
            "requiresRepublish": false, "seLinuxMount": false,
            "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"]}),
        )],
    );
}

#[test]
fn policy_and_extension() {
    const RBAC: &str = "rbac.authorization.k8s.io";
    check(
        RBAC,
        "rolebindings",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
        {"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"}, {"kind": "ServiceAccount", "name": "s"}]}),
        &[
            ("/roleRef/apiGroup", json!(RBAC)),
            ("/subjects/0/apiGroup", json!(RBAC)),
            ("/subjects/1/apiGroup", json!(RBAC)),
            ("/subjects/2/apiGroup", Json::Null),
        ],
    );
    check(
        "scheduling.k8s.io",
        "priorityclasses",
        json!({}),
        &[("/preemptionPolicy", json!("PreemptLowerPriority"))],
    );
    let webhook = json!({"webhooks": [{"clientConfig": {"service": {}}, "rules": [{}]}]});
    let common: &[(&str, Json)] = &[
        ("/webhooks/0/failurePolicy", json!("Fail")),
        ("/webhooks/0/matchPolicy", json!("Equivalent")),
        ("/webhooks/0/namespaceSelector", json!({})),
        ("/webhooks/0/objectSelector", json!({})),
        ("/webhooks/0/timeoutSeconds", json!(10)),
        ("/webhooks/0/clientConfig/service/port", json!(443)),
        ("/webhooks/0/rules/0/scope", json!("*")),
    ];
    const GROUP: &str = "admissionregistration.k8s.io";
    check(GROUP, "validatingwebhookconfigurations", webhook.clone(), common);
    check(
        GROUP,
        "mutatingwebhookconfigurations",
        webhook,
        &[common, &[("/webhooks/0/reinvocationPolicy", json!("Never"))]].concat(),
    );
    check(
        GROUP,
        "validatingadmissionpolicies",
        json!({"spec": {"matchConstraints": {}}}),
        &[
            ("/spec/failurePolicy", json!("Fail")),
            (
                "/spec/matchConstraints",
                json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}),
            ),
        ],
    );
    const FLOW: &str = "flowcontrol.apiserver.k8s.io";
    check(FLOW, "flowschemas", json!({"spec": {}}), &[("/spec/matchingPrecedence", json!(1000))]);
    check(
        FLOW,
        "prioritylevelconfigurations",
        json!({"spec": {"limited": {"limitResponse": {"queuing": {}}}}}),
        &[
            ("/spec/limited/nominalConcurrencyShares", json!(30)),
            ("/spec/limited/lendablePercent", json!(0)),
            (
                "/spec/limited/limitResponse/queuing",
                json!({"handSize": 8, "queues": 64, "queueLengthLimit": 50}),
            ),
        ],
    );
    check(
        FLOW,
        "prioritylevelconfigurations",
        json!({"spec": {"exempt": {}}}),
        &[("/spec/exempt", json!({"nominalConcurrencyShares": 0, "lendablePercent": 0}))],
    );
    check(
        "apiregistration.k8s.io",
        "apiservices",
        json!({"spec": {"service": {}}}),
        &[("/spec/service/port", json!(443))],
    );
    check(
        "certificates.k8s.io",
        "podcertificaterequests",
        json!({"spec": {}}),
        &[("/spec/maxExpirationSeconds", json!(86_400))],
    );
    check(
        "resource.k8s.io",
        "resourceclaims",
        json!({"spec": {"devices": {"requests": [{"exactly": {}}, {"firstAvailable": [{"allocationMode": "All"}]}]}}}),
        &[
            (
                "/spec/devices/requests/0/exactly",
                json!({"allocationMode": "ExactCount", "count": 1}),
            ),
            ("/spec/devices/requests/1/firstAvailable/0", json!({"allocationMode": "All"})),
        ],
    );
    check(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        json!({"spec": {"names": {"kind": "FooBar"}}}),
        &[
            ("/spec/names/singular", json!("foobar")),
            ("/spec/names/listKind", json!("FooBarList")),
            ("/spec/conversion", json!({"strategy": "None"})),
        ],
    );
}
