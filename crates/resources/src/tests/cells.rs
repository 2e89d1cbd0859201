//! Rows of tables for representative objects (pods, services and events have their own tests).

use api::Value;
use serde_json::json;

use super::{all, deps, find};

fn check(group: &str, plural: &str, object: Value, expected: Value) {
    let kinds = all(&deps());
    let mut object = object;
    object["metadata"]["name"] = "x".into();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let row = find(&kinds, group, plural).row(&object, "2026-01-01T02:00:00Z".parse().unwrap());
    assert_eq!(Value::Array(row.cells), expected, "{plural}");
}

fn workload() -> Value {
    json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}}},
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}})
}

#[test]
fn core() {
    check(
        "",
        "nodes",
        json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "x"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1", "architecture": "amd64", "containerRuntimeVersion": "ferry://1"}}}),
        json!([
            "x",
            "Ready,SchedulingDisabled",
            "control-plane,x",
            "120m",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "Debian",
            "6.1 (amd64)",
            "ferry://1"
        ]),
    );
    check("", "namespaces", json!({"status": {"phase": "Active"}}), json!(["x", "Active", "120m"]));
    check(
        "",
        "configmaps",
        json!({"data": {"a": "b"}, "binaryData": {"c": "ZA=="}}),
        json!(["x", "2", "120m"]),
    );
    check(
        "",
        "secrets",
        json!({"type": "Opaque", "data": {"a": "Yg=="}}),
        json!(["x", "Opaque", "1", "120m"]),
    );
    check("", "serviceaccounts", json!({}), json!(["x", "120m"]));
    check(
        "",
        "endpoints",
        json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}], "ports": [{"port": 1}, {"port": 2}]}]}),
        json!(["x", "1.1.1.1:1,1.1.1.2:1,1.1.1.1:2 + 1 more...", "120m"]),
    );
    check(
        "",
        "persistentvolumes",
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadOnlyMany", "ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "n", "name": "c"},
            "storageClassName": "s", "volumeMode": "Filesystem"}, "status": {"phase": "Bound"}}),
        json!([
            "x",
            "1Gi",
            "RWO,ROX",
            "Retain",
            "Bound",
            "n/c",
            "s",
            "<unset>",
            "",
            "120m",
            "Filesystem"
        ]),
    );
    check(
        "",
        "persistentvolumeclaims",
        json!({"spec": {"volumeName": "v", "storageClassName": "s", "volumeMode": "Block"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOncePod"]}}),
        json!(["x", "Bound", "v", "1Gi", "RWOP", "s", "<unset>", "120m", "Block"]),
    );
    check(
        "",
        "resourcequotas",
        json!({"status": {"hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "1"}}}),
        json!(["x", "pods: 1/5", "limits.cpu: 0/2", "120m"]),
    );
    check("", "limitranges", json!({}), json!(["x", "2026-01-01T00:00:00Z"]));
}

#[test]
fn workloads() {
    check(
        "apps",
        "deployments",
        workload(),
        json!(["x", "2/3", "1", "2", "120m", "c,d", "i,j", "a=b"]),
    );
    check("apps", "replicasets", workload(), json!(["x", 3, 3, 2, "120m", "c,d", "i,j", "a=b"]));
    check("apps", "statefulsets", workload(), json!(["x", "2/3", "120m", "c,d", "i,j"]));
    let daemons = json!({"spec": workload()["spec"], "status": {"desiredNumberScheduled": 3,
        "currentNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2}});
    check(
        "apps",
        "daemonsets",
        daemons,
        json!(["x", 3, 2, 1, 2, 0, "<none>", "120m", "c,d", "i,j", "a=b"]),
    );
    check(
        "apps",
        "controllerrevisions",
        json!({"revision": 2, "metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "controller": true}]}}),
        json!(["x", "statefulset.apps/s", "2", "120m"]),
    );
    check(
        "batch",
        "jobs",
        json!({"spec": {"completions": 3, "selector": {}}, "status": {"succeeded": 1,
            "startTime": "2026-01-01T01:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]}}),
        json!(["x", "Suspended", "1/3", "60m", "120m", "", "", "<none>"]),
    );
    check(
        "batch",
        "cronjobs",
        json!({"spec": {"schedule": "* * * * *", "suspend": false}, "status": {"active": [{}]}}),
        json!(["x", "* * * * *", "<none>", "False", 1, "<none>", "120m", "", "", "<none>"]),
    );
    check(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]},
            "status": {"currentReplicas": 2, "currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 20}}}]}}),
        json!(["x", "Deployment/d", "cpu: 20%/80%", "1", "5", "2", "120m"]),
    );
    check(
        "policy",
        "poddisruptionbudgets",
        json!({"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}}),
        json!(["x", "50%", "N/A", 1, "120m"]),
    );
}

#[test]
fn the_others() {
    check(
        "networking.k8s.io",
        "ingresses",
        json!({"spec": {"ingressClassName": "c", "rules": [{"host": "a"}, {"host": "b"}], "tls": [{}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
        json!(["x", "c", "a,b", "1.2.3.4", "80, 443", "120m"]),
    );
    check(
        "networking.k8s.io",
        "ipaddresses",
        json!({"spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}}),
        json!(["x", "services/n/s"]),
    );
    check(
        "networking.k8s.io",
        "servicecidrs",
        json!({"spec": {"cidrs": ["a", "b"]}}),
        json!(["x", "a,b", "120m"]),
    );
    check(
        "discovery.k8s.io",
        "endpointslices",
        json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["1.1.1.1"]}]}),
        json!(["x", "IPv4", "80", "1.1.1.1", "120m"]),
    );
    check(
        "coordination.k8s.io",
        "leases",
        json!({"spec": {"holderIdentity": "h"}}),
        json!(["x", "h", "120m"]),
    );
    check(
        "rbac.authorization.k8s.io",
        "rolebindings",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"},
            {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}),
        json!(["x", "Role/r", "120m", "u", "", "n/s"]),
    );
    check(
        "rbac.authorization.k8s.io",
        "clusterroles",
        json!({}),
        json!(["x", "2026-01-01T00:00:00Z"]),
    );
    check(
        "storage.k8s.io",
        "storageclasses",
        json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p",
            "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
        json!(["x (default)", "p", "Delete", "Immediate", "false", "120m"]),
    );
    check(
        "certificates.k8s.io",
        "certificatesigningrequests",
        json!({"spec": {"signerName": "s", "username": "u", "expirationSeconds": 600},
            "status": {"certificate": "YQ==", "conditions": [{"type": "Approved"}]}}),
        json!(["x", "120m", "s", "u", "10m", "Approved,Issued"]),
    );
    check(
        "apiregistration.k8s.io",
        "apiservices",
        json!({"spec": {"service": {"namespace": "n", "name": "s"}},
            "status": {"conditions": [{"type": "Available", "status": "False", "reason": "R"}]}}),
        json!(["x", "n/s", "False (R)", "120m"]),
    );
    check(
        "scheduling.k8s.io",
        "priorityclasses",
        json!({"value": 5, "globalDefault": true, "preemptionPolicy": "Never"}),
        json!(["x", 5, true, "120m", "Never"]),
    );
    check(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        json!({"spec": {"validations": [{}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}}),
        json!(["x", 1, "v1/ConfigMap", "120m"]),
    );
    check(
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        json!({"spec": {"type": "Exempt"}}),
        json!(["x", "Exempt", "<none>", "<none>", "<none>", "<none>", "120m"]),
    );
}
