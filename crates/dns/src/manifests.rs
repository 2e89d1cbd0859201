//! The objects that make the server an add-on of the cluster: `kube-dns` in `kube-system`.

use serde_json::{Value, json};

const NAME: &str = "kube-dns";
const NAMESPACE: &str = "kube-system";
const ROLE: &str = "system:kube-dns-server";

/// Every object, in the order in which they are applied. `image` is the built-in image of this
/// very version, `cluster_ip` the address that pods are told.
#[must_use]
pub fn manifests(version: &str, cluster_ip: &str, domain: &str) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": metadata(NAME),
        }),
        role(),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": ROLE, "labels": labels()},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE,
            },
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        }),
        service(cluster_ip),
        deployment(version, domain),
    ]
}

fn labels() -> Value {
    json!({
        "k8s-app": NAME,
        "kubernetes.io/name": "KubeDNS",
        "app.kubernetes.io/managed-by": "ferry",
    })
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": NAMESPACE, "labels": labels()})
}

fn role() -> Value {
    let read = |groups: &[&str], resources: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": ["list", "watch"]});
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": ROLE, "labels": labels()},
        "rules": [
            read(&[""], &["services", "namespaces"]),
            read(&["discovery.k8s.io"], &["endpointslices"]),
        ],
    })
}

fn service(cluster_ip: &str) -> Value {
    let mut metadata = metadata(NAME);
    metadata["annotations"] = json!({"prometheus.io/port": "9153", "prometheus.io/scrape": "true"});
    metadata["labels"]["kubernetes.io/cluster-service"] = json!("true");
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "selector": {"k8s-app": NAME},
            "clusterIP": cluster_ip,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
            ],
        },
    })
}

fn deployment(version: &str, domain: &str) -> Value {
    let port = |name: &str, port: u16, protocol: &str| json!({"name": name, "containerPort": port, "protocol": protocol});
    let probe = |path: &str, port: u16, more: Value| {
        let mut probe = json!({"httpGet": {"path": path, "port": port, "scheme": "HTTP"}});
        if let (Value::Object(probe), Value::Object(more)) = (&mut probe, more) {
            probe.extend(more);
        }
        probe
    };
    let container = json!({
        "name": "dns",
        "image": format!("ferry.local/ferry:{version}"),
        "imagePullPolicy": "IfNotPresent",
        "args": ["dns", "--cluster-domain", domain],
        "ports": [
            port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP"),
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "170Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
        "livenessProbe": probe("/health", 8080, json!({
            "initialDelaySeconds": 30, "timeoutSeconds": 5, "failureThreshold": 5,
        })),
        // Ready is a matter of milliseconds; the first looks are close together for that.
        "startupProbe": probe("/ready", 8181, json!({"periodSeconds": 1, "failureThreshold": 120})),
        "readinessProbe": probe("/ready", 8181, json!({"periodSeconds": 10})),
    });
    let pod = json!({
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
        ],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"k8s-app": NAME}},
        }],
        "containers": [container],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(NAME),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {"k8s-app": NAME}},
            "template": {"metadata": {"labels": {"k8s-app": NAME}}, "spec": pod},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_of_its_kind() {
        use k8s_openapi::api::apps::v1::Deployment;
        use k8s_openapi::api::core::v1::{Service, ServiceAccount};
        use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
        fn reads<T: serde::de::DeserializeOwned>(value: &Value) {
            serde_json::from_value::<T>(value.clone()).unwrap();
        }
        let all = manifests("v1", "10.96.0.10", "cluster.local");
        reads::<ServiceAccount>(&all[0]);
        reads::<ClusterRole>(&all[1]);
        reads::<ClusterRoleBinding>(&all[2]);
        reads::<Service>(&all[3]);
        reads::<Deployment>(&all[4]);
        let deployment: Deployment = serde_json::from_value(all[4].clone()).unwrap();
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        let container = &pod.containers[0];
        assert_eq!(container.image.as_deref(), Some("ferry.local/ferry:v1"));
        assert_eq!(
            container.args.as_deref().unwrap(),
            ["dns", "--cluster-domain", "cluster.local"]
        );
    }
}
