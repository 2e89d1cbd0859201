//! Every old version there and back, and manifests as tutorials have them.

use std::sync::Arc;

use api::Value;
use apiserver::resource::{Resource, WriteContext};
use auth::UserInfo;
use serde_json::json;

use crate::all;
use crate::tests::deps;

fn kind_of(api_version: &str, kind: &str) -> Arc<dyn Resource> {
    let has = |one: &Arc<dyn Resource>| {
        one.info().kind == kind
            && one.old_versions().iter().any(|old| old.api_version == api_version)
    };
    let found = all(&deps()).into_iter().find(has);
    found.unwrap_or_else(|| panic!("{api_version} {kind} is not served"))
}

/// Decodes an object strictly by its old schema, stores it as a creation would, and reads it back.
fn store(manifest: &Value) -> (Value, Value) {
    let (version, name) =
        (manifest["apiVersion"].as_str().unwrap(), manifest["kind"].as_str().unwrap());
    let kind = kind_of(version, name);
    let decoded = api::decode::value(manifest.clone(), &kind.body_schema(version)).unwrap();
    assert!(decoded.strict.is_empty(), "{version} {name}: {:?}", decoded.strict);
    let mut stored = kind.convert(decoded.object, &kind.info().storage_version).unwrap();
    kind.default(&mut stored);
    let user = UserInfo::named("u", &[]);
    let ctx = WriteContext {
        user: &user,
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        namespace: "default",
        subresource: None,
        dry_run: false,
    };
    kind.prepare_create(&ctx, &mut stored);
    let errors = kind.validate_create(&ctx, &stored);
    assert!(errors.is_empty(), "{version} {name}: {errors:?}");
    let back = kind.convert(stored.clone(), version).unwrap();
    (stored, back)
}

/// Whether everything that `part` says is said by `whole`; what is empty may be left out.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|own| contains(own, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(a, b)| contains(a, b))
        }
        (a, b) => a == b,
    }
}

/// What is stored of a manifest, and that reading it back gives the manifest.
fn check(manifest: Value, expected: Value) -> Value {
    let (stored, back) = store(&manifest);
    assert!(contains(&stored, &expected), "stored {stored:#}\nwithout {expected:#}");
    assert!(contains(&back, &manifest), "read back {back:#}\nwithout {manifest:#}");
    let (again, _) = store(&back);
    let without = |mut object: Value| {
        object.as_object_mut().unwrap().remove("status");
        object
    };
    assert_eq!(without(again), without(stored.clone()), "twice there and back");
    stored
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]}})
}

#[test]
fn deployments_of_2018() {
    let spec = json!({"replicas": 2, "template": template(), "rollbackTo": {"revision": 3}});
    let manifest = |version: &str| json!({"apiVersion": version, "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
    let stored = check(
        manifest("extensions/v1beta1"),
        json!({"apiVersion": "apps/v1", "metadata": {"labels": {"app": "web"}, "annotations": {
                "deprecated.deployment.rollback.revision": "3"}},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": i32::MAX,
                "progressDeadlineSeconds": i32::MAX, "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}}),
    );
    assert!(stored["spec"].get("rollbackTo").is_none());
    check(
        manifest("apps/v1beta1"),
        json!({"spec": {"selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600,
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}}),
    );
}

#[test]
fn the_other_workloads() {
    let object = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": spec});
    let selector = json!({"matchLabels": {"app": "web"}});
    check(
        object(
            "extensions/v1beta1",
            "DaemonSet",
            json!({"template": template(), "templateGeneration": 4}),
        ),
        json!({"spec": {"selector": selector, "updateStrategy": {"type": "OnDelete"}}}),
    );
    check(
        object("extensions/v1beta1", "ReplicaSet", json!({"replicas": 1, "template": template()})),
        json!({"spec": { "selector": selector }}),
    );
    check(
        object(
            "apps/v1beta1",
            "StatefulSet",
            json!({"serviceName": "web", "template": template()}),
        ),
        json!({"spec": {"selector": selector, "updateStrategy": {"type": "OnDelete"}}}),
    );
    for kind in ["Deployment", "DaemonSet", "ReplicaSet", "StatefulSet"] {
        let mut spec = json!({"selector": selector, "template": template()});
        if kind == "StatefulSet" {
            spec["serviceName"] = "web".into();
        }
        check(object("apps/v1beta2", kind, spec), json!({"apiVersion": "apps/v1"}));
    }
    for version in ["apps/v1beta1", "apps/v1beta2"] {
        check(
            json!({"apiVersion": version, "kind": "ControllerRevision", "metadata": {"name": "r"},
                "data": {"a": 1}, "revision": 1}),
            json!({"apiVersion": "apps/v1", "revision": 1}),
        );
    }
}

#[test]
fn ingresses_with_flat_backends() {
    for version in ["extensions/v1beta1", "networking.k8s.io/v1beta1"] {
        check(
            json!({"apiVersion": version, "kind": "Ingress", "metadata": {"name": "web",
                    "annotations": {"kubernetes.io/ingress.class": "nginx"}},
                "spec": {"backend": {"serviceName": "fallback", "servicePort": "http"},
                    "rules": [{"host": "example.com", "http": {"paths": [
                        {"path": "/a", "backend": {"serviceName": "a", "servicePort": 80}}]}}]}}),
            json!({"apiVersion": "networking.k8s.io/v1", "spec": {
                "defaultBackend": {"service": {"name": "fallback", "port": {"name": "http"}}},
                "rules": [{"host": "example.com", "http": {"paths": [
                    {"path": "/a", "pathType": "ImplementationSpecific",
                     "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}]}}),
        );
    }
    check(
        json!({"apiVersion": "networking.k8s.io/v1beta1", "kind": "IngressClass",
            "metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}),
        json!({"apiVersion": "networking.k8s.io/v1"}),
    );
    check(
        json!({"apiVersion": "extensions/v1beta1", "kind": "NetworkPolicy", "metadata": {"name": "n"},
            "spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
        json!({"apiVersion": "networking.k8s.io/v1", "spec": {"policyTypes": ["Ingress"]}}),
    );
}

#[test]
fn budgets_tell_no_pod_from_any_pod() {
    let manifest = |selector: Value| {
        json!({"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": selector}})
    };
    check(manifest(json!({"matchLabels": {"a": "b"}})), json!({"apiVersion": "policy/v1"}));
    let marked = json!({"matchExpressions": [{"operator": "Exists",
        "key": "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"}]});
    check(manifest(json!({})), json!({"spec": { "selector": marked }}));
    let policy = json!({"privileged": false, "volumes": ["*"]});
    for version in ["policy/v1beta1", "extensions/v1beta1"] {
        let manifest = json!({"apiVersion": version, "kind": "PodSecurityPolicy",
            "metadata": {"name": "p"}, "spec": policy});
        check(manifest, json!({"apiVersion": "policy/v1beta1", "spec": policy}));
    }
}

#[test]
fn autoscalers_with_flat_metrics() {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    check(
        json!({"apiVersion": "autoscaling/v2beta1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"}, "spec": {"scaleTargetRef": target, "minReplicas": 1,
            "maxReplicas": 5, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 60}},
                {"type": "Pods", "pods": {"metricName": "qps", "targetAverageValue": "10"}}]}}),
        json!({"apiVersion": "autoscaling/v2", "spec": {"metrics": [
            {"resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
            {"pods": {"metric": {"name": "qps"}, "target": {"type": "AverageValue", "averageValue": "10"}}}]}}),
    );
    check(
        json!({"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 60}}}]}}),
        json!({"apiVersion": "autoscaling/v2"}),
    );
}

#[test]
fn bindings_and_their_subjects() {
    let group = "rbac.authorization.k8s.io";
    let reference = json!({"kind": "Role", "name": "r"});
    check(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1beta1", "kind": "RoleBinding",
            "metadata": {"name": "b"}, "roleRef": reference,
            "subjects": [{"kind": "User", "name": "jane"},
                {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "roleRef": {"apiGroup": group},
            "subjects": [{"apiGroup": group}, {"namespace": "n"}]}),
    );
    check(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1alpha1", "kind": "RoleBinding",
            "metadata": {"name": "b"}, "roleRef": reference,
            "subjects": [{"kind": "Group", "name": "g", "apiVersion": "rbac.authorization.k8s.io/v1alpha1"},
                {"kind": "ServiceAccount", "name": "s", "namespace": "n", "apiVersion": "v1"}]}),
        json!({"subjects": [{"kind": "Group", "apiGroup": group}, {"kind": "ServiceAccount"}]}),
    );
    for version in ["v1beta1", "v1alpha1"] {
        for kind in ["Role", "ClusterRole"] {
            let version = format!("{group}/{version}");
            let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
            check(
                json!({"apiVersion": version, "kind": kind, "metadata": {"name": "r"}, "rules": rules}),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "rules": rules}),
            );
        }
    }
}

#[test]
fn definitions_with_one_schema_at_the_top() {
    let manifest = |more: Value| {
        let mut spec = json!({"group": "stable.example.com", "version": "v1", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": "apiextensions.k8s.io/v1beta1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "crontabs.stable.example.com"}, "spec": spec})
    };
    let preserve = "x-kubernetes-preserve-unknown-fields";
    check(
        manifest(json!({})),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "spec": {"versions": [{"name": "v1",
            "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", preserve: true}}}]}}),
    );
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"replicas": {"type": "integer"}}}}}});
    let stored = check(
        manifest(
            json!({"preserveUnknownFields": false, "validation": schema, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "N", "type": "integer", "JSONPath": ".spec.replicas"}]}),
        ),
        json!({"spec": {"versions": [{"schema": schema, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"jsonPath": ".spec.replicas"}]}]}}),
    );
    assert!(stored["spec"].get("validation").is_none());
    let untyped = json!({"openAPIV3Schema": {"properties": {"spec": {"properties": {
        "cronSpec": {"type": "string"}}}}}});
    let (stored, _) = store(&manifest(json!({ "validation": untyped })));
    let root = &stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert_eq!(root["properties"]["spec"]["type"], "object");
}

#[test]
fn webhooks_are_lenient() {
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        check(
            json!({"apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": kind,
                "metadata": {"name": "w"}, "webhooks": [{"name": "w.example.com",
                "clientConfig": {"url": "https://example.com/w"}, "rules": [{"operations": ["CREATE"],
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]}),
            json!({"webhooks": [{"failurePolicy": "Ignore", "matchPolicy": "Exact",
                "timeoutSeconds": 30, "admissionReviewVersions": ["v1beta1"]}]}),
        );
    }
}

#[test]
fn slices_say_a_zone_among_the_topology() {
    check(
        json!({"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice",
            "metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"],
            "topology": {"topology.kubernetes.io/zone": "a", "x": "y"}}]}),
        json!({"endpoints": [{"zone": "a", "deprecatedTopology": {"x": "y"}}]}),
    );
}

#[test]
fn kinds_that_only_change_their_version() {
    for (version, kind, rest) in [
        (
            "batch/v1beta1",
            "CronJob",
            json!({"spec": {"schedule": "*/1 * * * *", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "busybox"}]}}}}}}),
        ),
        ("storage.k8s.io/v1beta1", "StorageClass", json!({"provisioner": "example.com/p"})),
        ("storage.k8s.io/v1beta1", "CSIDriver", json!({"spec": {"attachRequired": false}})),
        (
            "storage.k8s.io/v1beta1",
            "CSINode",
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}}),
        ),
        ("storage.k8s.io/v1beta1", "CSIStorageCapacity", json!({"storageClassName": "s"})),
        (
            "storage.k8s.io/v1beta1",
            "VolumeAttachment",
            json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
        ),
        ("scheduling.k8s.io/v1beta1", "PriorityClass", json!({"value": 5})),
        ("coordination.k8s.io/v1beta1", "Lease", json!({"spec": {"holderIdentity": "h"}})),
        ("node.k8s.io/v1beta1", "RuntimeClass", json!({"handler": "runc"})),
        (
            "certificates.k8s.io/v1beta1",
            "CertificateSigningRequest",
            json!({"spec": {"signerName": "example.com/s", "usages": ["client auth"], "request": REQUEST}}),
        ),
        (
            "apiregistration.k8s.io/v1beta1",
            "APIService",
            json!({"metadata": {"name": "v1.example.com"}, "spec": {"group": "example.com", "version": "v1",
                "groupPriorityMinimum": 100, "versionPriority": 10, "insecureSkipTLSVerify": true,
                "service": {"name": "s", "namespace": "n"}}}),
        ),
    ] {
        let mut manifest = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
        manifest.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let group = version.split('/').next().unwrap();
        check(manifest, json!({"apiVersion": format!("{group}/v1"), "kind": kind}));
    }
}

/// A request for `CN=a`, as openssl makes it.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISE1HNENBUUF3RERFS01BZ0dBMVVFQXd3QllUQlpNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQTBJQQpCREFKTUF2TExrQ3doOS9wRE91ditncTBWa2NOMDdZeEVqNnBvaWFQZy90ZHIyY0V5ZTh1aHlrZW9VcTFpOXZJCm11ODYrYWw3eFBrdjBwQVpTV0pvQ0syZ0FEQUtCZ2dxaGtqT1BRUURBZ05KQURCR0FpRUEwSU4xRXpiRkJNUWIKNkgzOVN1eGxCL2I2SVl0aEsxRTd1TGc0QU4rMW56c0NJUUN4VXM4Yzh1ZXNNQUYzY3dCbkdVdEZRSllVUk05cApFRkwvWDkxeFIwbFRWUT09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

#[test]
fn events_and_bindings_of_the_cluster() {
    let stored = check(
        json!({"apiVersion": "events.k8s.io/v1beta1", "kind": "Event",
            "metadata": {"name": "e", "namespace": "n"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "n"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "a.b/c",
            "reportingInstance": "i", "action": "Act", "reason": "Why", "type": "Normal", "note": "it ran"}),
        json!({"apiVersion": "v1", "message": "it ran", "involvedObject": {"name": "p"}}),
    );
    assert!(stored.get("note").is_none());
    for version in ["v1beta1", "v1alpha1"] {
        let group = "rbac.authorization.k8s.io";
        check(
            json!({"apiVersion": format!("{group}/{version}"), "kind": "ClusterRoleBinding",
                "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
                "subjects": [{"kind": "User", "name": "jane"}]}),
            json!({"roleRef": {"apiGroup": group}, "subjects": [{"apiGroup": group}]}),
        );
    }
}

#[test]
fn every_old_version_keeps_metadata_there_and_back() {
    for kind in all(&deps()) {
        let info = kind.info();
        for old in kind.old_versions() {
            let version = old.api_version.as_str();
            let object = json!({"apiVersion": version, "kind": info.kind,
                "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}, "uid": "u"}});
            let stored = kind.convert(object.clone(), &info.storage_version).unwrap();
            let is_own = &*info.plural == "podsecuritypolicies" && version == "policy/v1beta1";
            assert_eq!(stored["apiVersion"] == version, is_own, "only its own storage is old");
            let back = kind.convert(stored, version).unwrap();
            assert_eq!(back["apiVersion"], version);
            assert_eq!(back["metadata"], object["metadata"], "{version} {}", info.kind);
        }
    }
}

#[test]
fn every_row_is_a_kind_of_ours() {
    let kinds = all(&deps());
    for row in super::ROWS.lines().skip(1) {
        let cells: Vec<_> = row.split('\t').collect();
        let found = kinds.iter().find(|kind| {
            kind.info().group == cells[1]
                && kind.info().plural == cells[2]
                && kind.old_versions().iter().any(|old| old.api_version == cells[0])
        });
        let kind = found.unwrap_or_else(|| panic!("{row}"));
        let definition = kind.schema(cells[0]).unwrap();
        assert!(api::schema::by_name(definition).is_some(), "{definition}");
    }
    for form in super::FORMS {
        let row = format!("{}\t", form.api_version);
        let is_it = |line: &str| line.starts_with(&row) && line.contains(form.resource);
        assert!(super::ROWS.lines().any(is_it), "{} {}", form.api_version, form.resource);
    }
}
