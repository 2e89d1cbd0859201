//! Rows of pods that have no test beside their rules, and what a template must be.

use api::Value;
use serde_json::json;

use super::*;

fn pod(spec: Value) -> Value {
    json!({ "spec": merged(&json!({"containers": [{"name": "c", "image": "i"}]}), &spec) })
}

fn container(container: Value) -> Value {
    pod(json!({"containers": [merged(&json!({"name": "c", "image": "i"}), &container)]}))
}

fn check(object: Value, expected: &str) {
    create("", "pods", object, expected);
}

#[test]
fn names_and_policies() {
    check(pod(json!({})), "");
    check(pod(json!({"dnsPolicy": "X"})), "spec.dnsPolicy: Unsupported value: \"X\"");
    check(
        pod(json!({"dnsPolicy": "None", "dnsConfig": {}})),
        "spec.dnsConfig.nameservers: Required value",
    );
    check(
        pod(json!({"dnsConfig": {"options": [{"value": "x"}]}})),
        "spec.dnsConfig.options[0]: Required value: must not be empty",
    );
    check(
        container(json!({"terminationMessagePolicy": "X"})),
        "spec.containers[0].terminationMessagePolicy: Unsupported value: \"X\"",
    );
    check(pod(json!({"preemptionPolicy": "X"})), "spec.preemptionPolicy: Unsupported value: \"X\"");
    check(
        pod(json!({"priorityClassName": "A_b"})),
        "spec.priorityClassName: Invalid value: \"A_b\"",
    );
    check(pod(json!({"runtimeClassName": "A_b"})), "spec.runtimeClassName: Invalid value: \"A_b\"");
    check(
        pod(json!({"readinessGates": [{"conditionType": "a/b/c"}]})),
        "spec.readinessGates[0].conditionType: Invalid value: \"a/b/c\"",
    );
    check(pod(json!({"subdomain": "A_b"})), "spec.subdomain: Invalid value: \"A_b\"");
    check(
        pod(json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]})),
        "spec.schedulingGates[1]: Duplicate value",
    );
    check(
        pod(json!({"hostUsers": false, "hostNetwork": true})),
        "spec.hostNetwork: Forbidden: when `hostUsers` is false",
    );
    check(
        pod(json!({"overhead": {"foo": "1"}})),
        "spec.overhead.limits[foo]: Invalid value: \"foo\"",
    );
}

#[test]
fn mounts_and_devices() {
    let with = |volume: Value, mount: Value| {
        let mut object = container(json!({ "volumeMounts": [mount] }));
        object["spec"]["volumes"] = json!([volume]);
        object
    };
    let empty = || json!({"name": "v", "emptyDir": {}});
    check(with(empty(), json!({"name": "v", "mountPath": "/a"})), "");
    check(
        with(empty(), json!({"name": "v", "mountPath": ""})),
        "spec.containers[0].volumeMounts[0].mountPath: Required value",
    );
    check(
        with(empty(), json!({"name": "v", "mountPath": "/a", "subPath": "/b"})),
        "spec.containers[0].volumeMounts.subPath: Invalid value: \"/b\": must be a relative path",
    );
    check(
        with(empty(), json!({"name": "v", "mountPath": "/a", "subPath": "b", "subPathExpr": "c"})),
        "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"c\": subPathExpr and subPath are mutually exclusive",
    );
    check(
        with(empty(), json!({"name": "v", "mountPath": "/a", "mountPropagation": "X"})),
        "spec.containers[0].volumeMounts.mountPropagation: Unsupported value: \"X\"",
    );
    let source = |source: Value| {
        with(merged(&json!({"name": "v"}), &source), json!({"name": "v", "mountPath": "/a"}))
    };
    check(
        source(json!({"hostPath": {"path": "/a", "type": "X"}})),
        "spec.volumes[0].hostPath.type: Unsupported value: \"X\"",
    );
    check(
        source(json!({"emptyDir": {"sizeLimit": "-1"}})),
        "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
    );
    check(
        source(json!({"nfs": {"server": "s", "path": "a"}})),
        "spec.volumes[0].nfs.path: Invalid value: \"a\": must be an absolute path",
    );
    check(
        source(json!({"configMap": {"name": ""}})),
        "spec.volumes[0].configMap.name: Required value",
    );
    check(
        source(json!({"persistentVolumeClaim": {"claimName": ""}})),
        "spec.volumes[0].persistentVolumeClaim.claimName: Required value",
    );
    check(source(json!({"csi": {"driver": ""}})), "spec.volumes[0].csi.driver: Required value");
    check(
        source(
            json!({"projected": {"sources": [{"secret": {"name": "s"}, "configMap": {"name": "c"}}]}}),
        ),
        "spec.volumes[0].projected.sources[0]",
    );
}

#[test]
fn affinity_and_security() {
    let required = |terms: Value| {
        pod(
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}),
        )
    };
    let field = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]";
    let expression = |expression: Value| required(json!([{"matchExpressions": [expression]}]));
    for (expression_, expected) in [
        (
            json!({"key": "a", "operator": "In"}),
            "values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            json!({"key": "a", "operator": "Exists", "values": ["x"]}),
            "values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            json!({"key": "a", "operator": "Gt", "values": ["1", "2"]}),
            "values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            json!({"key": "a", "operator": "X"}),
            "operator: Invalid value: \"X\": not a valid selector operator",
        ),
    ] {
        check(expression(expression_), &format!("{field}.matchExpressions[0].{expected}"));
    }
    check(
        required(json!([{"matchFields": [{"key": "x", "operator": "In", "values": ["a"]}]}])),
        &format!(
            "{field}.matchFields[0].key: Invalid value: \"x\": not a valid field selector key"
        ),
    );
    let context = |context: Value| pod(json!({ "securityContext": context }));
    check(
        context(json!({"seccompProfile": {"type": "X"}})),
        "spec.securityContext.seccompProfile.type: Unsupported value: \"X\"",
    );
    check(
        context(json!({"seccompProfile": {"type": "Localhost"}})),
        "spec.securityContext.seccompProfile.localhostProfile: Required value",
    );
    check(
        context(json!({"fsGroupChangePolicy": "X"})),
        "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"X\"",
    );
    check(
        context(json!({"supplementalGroups": [-1]})),
        "spec.securityContext.supplementalGroups[0]: Invalid value: -1",
    );
    check(
        context(json!({"sysctls": [{"name": "a.b"}, {"name": "a.b"}]})),
        "spec.securityContext.sysctls[1].name: Duplicate value: \"a.b\"",
    );
    check(
        container(json!({"securityContext": {"procMount": "X"}})),
        "spec.containers[0].securityContext.procMount: Unsupported value: \"X\"",
    );
}

#[test]
fn metadata_is_checked_on_every_kind() {
    let texts = |metadata: Value| -> Vec<String> {
        let object = json!({ "metadata": metadata });
        let kind = kind_of("", "pods");
        let rule = |name: &str, prefix: bool| kind.validate_name(name, prefix);
        api::validate::object_meta(&object, true, &rule).iter().map(ToString::to_string).collect()
    };
    for (metadata, expected) in [
        (
            json!({"namespace": "n"}),
            "metadata.name: Required value: name or generateName is required",
        ),
        (
            json!({"name": "A", "namespace": "n"}),
            "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of",
        ),
        (json!({"name": "a"}), "metadata.namespace: Required value"),
        (
            json!({"name": "a", "namespace": "n", "labels": {"-": "x"}}),
            "metadata.labels: Invalid value: \"-\"",
        ),
        (
            json!({"name": "a", "namespace": "n", "labels": {"x": "-"}}),
            "metadata.labels: Invalid value: \"-\"",
        ),
        (
            json!({"name": "a", "namespace": "n", "annotations": {"x": "y".repeat(262_145)}}),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            json!({"name": "a", "namespace": "n", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "u"}]}),
            "metadata.ownerReferences.name: Invalid value: \"\": must not be empty",
        ),
        (
            json!({"name": "a", "namespace": "n", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": true},
                {"apiVersion": "v1", "kind": "Pod", "name": "y", "uid": "w", "controller": true}]}),
            "metadata.ownerReferences: Invalid value",
        ),
        (json!({"name": "a", "namespace": "n", "finalizers": ["a b"]}), "metadata.finalizers"),
        (
            json!({"name": "a", "namespace": "n", "finalizers": ["orphan", "foregroundDeletion"]}),
            "metadata.finalizers",
        ),
    ] {
        let found = texts(metadata);
        assert!(found.iter().any(|text| text.starts_with(expected)), "{found:?} has no {expected}");
    }
    let change = |new: Value| -> Vec<String> {
        let old = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
        let new = merged(&old, &json!({ "metadata": new }));
        api::validate::object_meta_update(&new, &old).iter().map(ToString::to_string).collect()
    };
    for (new, expected) in [
        (json!({"uid": "w"}), "metadata.uid: Invalid value: \"w\": field is immutable"),
        (json!({"name": "b"}), "metadata.name: Invalid value: \"b\": field is immutable"),
        (
            json!({"finalizers": ["a/b", "c/d"]}),
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted",
        ),
    ] {
        let found = change(new);
        assert!(found.iter().any(|text| text.starts_with(expected)), "{found:?} has no {expected}");
    }
}
