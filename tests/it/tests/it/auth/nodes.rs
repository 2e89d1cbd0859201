//! What a node may reach: its pods and what they refer to, and nothing by tricks.

use serde_json::{Value, json};

use crate::cluster::{self, Cluster};

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
}

fn pod(name: &str, node: &str, secret: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "nodeName": node, "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "s", "secret": {"secretName": secret}}]}})
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn start() -> Cluster {
    let cluster = cluster::without_node().await;
    let admin = cluster.admin();
    for name in ["n1", "n2"] {
        admin.must("POST", "/api/v1/nodes", node(name)).await;
        let secret = json!({"metadata": {"name": format!("of-{name}")}, "stringData": {"k": "v"}});
        admin.must("POST", SECRETS, secret).await;
        let pod = pod(&format!("on-{name}"), name, &format!("of-{name}"));
        admin.must("POST", PODS, pod).await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reads_what_its_pods_refer_to() {
    let cluster = start().await;
    let n1 = cluster.caller("system:node:n1", &[auth::groups::NODES]);
    // The pod is bound: as soon as the authorizer has seen it, its secret may be read.
    let seen = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while n1.ask("GET", &format!("{SECRETS}/of-n1"), Value::Null).await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    seen.await.expect("a node reads its pods' secrets");
    let words = "no relationship found between node 'n1' and this object";
    n1.refused("GET", &format!("{SECRETS}/of-n2"), Value::Null, 403, words).await;
    n1.refused("GET", SECRETS, Value::Null, 403, "No Object name found").await;
    n1.must("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", Value::Null).await;
    let words = "can only list/watch pods with spec.nodeName field selector";
    n1.refused("GET", "/api/v1/pods", Value::Null, 403, words).await;
    let other = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2";
    n1.refused("GET", other, Value::Null, 403, words).await;
    n1.must("GET", "/api/v1/nodes/n1", Value::Null).await;
    let words = "node 'n1' cannot read 'n2', only its own Node object";
    n1.refused("GET", "/api/v1/nodes/n2", Value::Null, 403, words).await;
    // When the pod goes, so does the right.
    let gone = json!({"gracePeriodSeconds": 0});
    cluster.admin().must("DELETE", &format!("{PODS}/on-n1"), gone).await;
    let lost = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while n1.ask("GET", &format!("{SECRETS}/of-n1"), Value::Null).await.0 != 403 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    lost.await.expect("the right goes with the pod");
    cluster.expect_refusals();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_neither_draws_pods_to_itself_nor_speaks_for_others() {
    let cluster = start().await;
    let n1 = cluster.caller("system:node:n1", &[auth::groups::NODES]);
    let own = "/api/v1/nodes/n1";
    let label = |key: &str| json!({"metadata": {"labels": {key: "x"}}});
    n1.must("PATCH", own, label("kubernetes.io/hostname")).await;
    let words = "is not allowed to modify labels: node-role.kubernetes.io/control-plane";
    n1.refused("PATCH", own, label("node-role.kubernetes.io/control-plane"), 403, words).await;
    let words = "is not allowed to modify labels: a.node-restriction.kubernetes.io/b";
    n1.refused("PATCH", own, label("a.node-restriction.kubernetes.io/b"), 403, words).await;
    let taints = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    n1.refused("PATCH", own, taints, 403, "node \"n1\" is not allowed to modify taints").await;
    let words = "node \"n1\" is not allowed to modify node \"n2\"";
    n1.refused("PATCH", "/api/v1/nodes/n2", label("a"), 403, words).await;
    n1.refused("POST", PODS, pod("steal", "n1", "of-n2"), 403, "can only create mirror pods").await;
    let words = "can only update pod status for pods with spec.nodeName set to itself";
    let status = json!({"status": {"phase": "Failed"}});
    n1.refused("PATCH", &format!("{PODS}/on-n2/status"), status, 403, words).await;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "on-n2"}});
    let words = "node n1 can only evict pods with spec.nodeName set to itself";
    n1.refused("POST", &format!("{PODS}/on-n2/eviction"), eviction, 403, words).await;
    // Somebody in the nodes' group who is no node has nothing at all.
    let nobody = cluster.caller("ann", &[auth::groups::NODES]);
    nobody.refused("GET", own, Value::Null, 403, "unknown node for user \"ann\"").await;
    cluster.expect_refusals();
}
