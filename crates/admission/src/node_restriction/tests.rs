//! What a kubelet must not do, one row each.

use std::sync::Arc;

use api::Value;
use apiserver::admission::Operation;
use apiserver::authz::Authorizer;
use async_trait::async_trait;
use auth::{Attributes, Decision, Target, UserInfo, groups};
use serde_json::json;

use super::NodeRestriction;
use crate::testing::{Objects, Request};

/// Lets `n1` have tokens for `vault`.
struct Audiences;

#[async_trait]
impl Authorizer for Audiences {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        match &attributes.target {
            Target::Resource(wanted) if wanted.resource == "vault" => {
                Decision::Allow(String::new())
            }
            _ => Decision::NoOpinion(String::new()),
        }
    }
}

fn objects() -> Objects {
    let pod = |name: &str, node: &str| {
        json!({"kind": "Pod", "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"nodeName": node, "serviceAccountName": "bot", "volumes": [{"name": "t",
                "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                    {"serviceAccountToken": {"path": "db", "audience": "db"}}]}}]}})
    };
    let node = json!({"kind": "Node", "metadata": {"name": "n1", "uid": "u1"}});
    Objects::of([pod("mine", "n1"), pod("other", "n2"), node])
}

struct Case {
    operation: Operation,
    plural: &'static str,
    subresource: Option<&'static str>,
    namespace: &'static str,
    name: &'static str,
    new: Value,
    old: Value,
}

impl Case {
    fn of(operation: Operation, plural: &'static str, name: &'static str, new: Value) -> Self {
        let namespace = "default";
        Self { operation, plural, subresource: None, namespace, name, new, old: Value::Null }
    }

    fn sub(self, name: &'static str) -> Self {
        Self { subresource: Some(name), ..self }
    }

    fn old(self, old: Value) -> Self {
        Self { old, ..self }
    }

    async fn refused(self, why: &str) {
        let plural = self.plural;
        let error = self.ask().await.expect_err(why).to_string();
        assert!(error.contains(why), "{plural}: {error}\nwanted: {why}");
    }

    async fn allowed(self) {
        self.ask().await.unwrap();
    }

    async fn ask(self) -> api::status::ApiResult<()> {
        let (group, plural) = self.plural.split_once('/').unwrap_or(("", self.plural));
        let mut request = Request::new(self.operation, group, plural, "K", self.new);
        request.user = UserInfo::named("system:node:n1", &[groups::NODES]);
        request.namespace = self.namespace.to_owned();
        request.name = self.name.to_owned();
        request.subresource = self.subresource;
        request.old = self.old;
        let plugin = NodeRestriction(Arc::new(Audiences));
        request.admit(&plugin, &objects()).await.map(drop)
    }
}

fn mirror(change: impl Fn(&mut Value)) -> Value {
    let mut pod = json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1",
            "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}});
    change(&mut pod);
    pod
}

type Change = fn(&mut Value);

#[tokio::test]
async fn pods() {
    let create = |pod: Value| Case::of(Operation::Create, "pods", "m", pod);
    create(mirror(|_| {})).allowed().await;
    let refused: [(Change, &str); 9] = [
        (
            |pod| pod["metadata"]["annotations"] = json!({}),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
        ),
        (
            |pod| pod["spec"]["nodeName"] = "n2".into(),
            "node \"n1\" can only create pods with spec.nodeName set to itself",
        ),
        (
            |pod| pod["metadata"]["ownerReferences"] = json!([]),
            "can only create pods with an owner reference set to itself",
        ),
        (
            |pod| pod["metadata"]["ownerReferences"][0]["uid"] = "u2".into(),
            "node n1 UID mismatch: expected u2 got u1",
        ),
        (
            |pod| pod["metadata"]["ownerReferences"][0]["controller"] = false.into(),
            "with a controller owner reference set to itself",
        ),
        (
            |pod| pod["spec"]["serviceAccountName"] = "admin".into(),
            "can not create pods that reference a service account",
        ),
        (
            |pod| pod["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "x"}}]),
            "can not create pods that reference secrets",
        ),
        (
            |pod| {
                pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "x"}}]);
            },
            "can not create pods that reference configmaps",
        ),
        (
            |pod| {
                pod["spec"]["volumes"] =
                    json!([{"name": "d", "persistentVolumeClaim": {"claimName": "x"}}]);
            },
            "can not create pods that reference persistentvolumeclaims",
        ),
    ];
    for (change, why) in refused {
        create(mirror(change)).refused(why).await;
    }
    Case::of(Operation::Delete, "pods", "mine", Value::Null).allowed().await;
    Case::of(Operation::Delete, "pods", "other", Value::Null)
        .refused("node \"n1\" can only delete pods with spec.nodeName set to itself")
        .await;
    Case::of(Operation::Update, "pods", "mine", json!({}))
        .refused(
            "unexpected operation \"UPDATE\", node \"n1\" can only create and delete mirror pods",
        )
        .await;
    Case::of(Operation::Create, "pods", "mine", json!({}))
        .sub("binding")
        .refused("unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed")
        .await;
    Case::of(Operation::Create, "pods", "mine", json!({})).sub("eviction").allowed().await;
    Case::of(Operation::Create, "pods", "other", json!({}))
        .sub("eviction")
        .refused("node n1 can only evict pods with spec.nodeName set to itself")
        .await;
}

#[tokio::test]
async fn status_of_pods_and_claims() {
    let pod = |node: &str, label: &str| json!({"metadata": {"name": "p", "labels": {"a": label}}, "spec": {"nodeName": node}});
    let status = |new: Value, old: Value| {
        Case::of(Operation::Update, "pods", "p", new).sub("status").old(old)
    };
    status(pod("n1", "x"), pod("n1", "x")).allowed().await;
    status(pod("n1", "y"), pod("n1", "x"))
        .refused("node \"n1\" cannot update labels through pod status")
        .await;
    status(pod("n2", "x"), pod("n2", "x"))
        .refused("can only update pod status for pods with spec.nodeName set to itself")
        .await;
    let claim = |size: &str, phase: &str| json!({"metadata": {"name": "c"}, "status": {"capacity": {"storage": size}, "phase": phase}});
    let change = |new: Value| {
        Case::of(Operation::Update, "persistentvolumeclaims", "c", new)
            .sub("status")
            .old(claim("1Gi", "Bound"))
    };
    change(claim("2Gi", "Bound")).allowed().await;
    change(claim("2Gi", "Lost"))
        .refused("is not allowed to update fields other than status.capacity and status.conditions")
        .await;
    Case::of(Operation::Update, "persistentvolumeclaims", "c", json!({}))
        .refused("may only update PVC status")
        .await;
}

#[tokio::test]
async fn its_node() {
    let node = |labels: Value, taints: Value| json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}});
    let create =
        |labels: Value| Case::of(Operation::Create, "nodes", "n1", node(labels, json!([])));
    create(json!({"kubernetes.io/hostname": "n1", "node.kubernetes.io/x": "", "team": "a",
        "sub.kubelet.kubernetes.io/y": ""}))
    .allowed()
    .await;
    create(json!({"node-restriction.kubernetes.io/pci": "x", "node-role.kubernetes.io/master": ""}))
        .refused("node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/pci, node-role.kubernetes.io/master")
        .await;
    let update = |labels: Value, taints: Value| {
        Case::of(Operation::Update, "nodes", "n1", node(labels, taints))
            .old(node(json!({"a.node-restriction.kubernetes.io/b": "x"}), json!([{"key": "k"}])))
    };
    update(json!({"a.node-restriction.kubernetes.io/b": "x", "c": "d"}), json!([{"key": "k"}]))
        .allowed()
        .await;
    update(json!({}), json!([{"key": "k"}]))
        .refused("is not allowed to modify labels: a.node-restriction.kubernetes.io/b")
        .await;
    update(json!({"a.node-restriction.kubernetes.io/b": "x"}), json!([]))
        .refused("node \"n1\" is not allowed to modify taints")
        .await;
    Case::of(Operation::Update, "nodes", "n2", json!({}))
        .refused("node \"n1\" is not allowed to modify node \"n2\"")
        .await;
}

#[tokio::test]
async fn tokens() {
    let token = |kind: &str, name: &str, uid: &str, audiences: Value| {
        let spec = json!({"audiences": audiences, "boundObjectRef":
            {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
        Case::of(Operation::Create, "serviceaccounts", "bot", json!({"spec": spec})).sub("token")
    };
    token("Pod", "mine", "mine", json!([])).allowed().await;
    token("Pod", "mine", "mine", json!(["db"])).allowed().await;
    token("Pod", "mine", "mine", json!(["vault"])).allowed().await;
    token("Pod", "mine", "mine", json!(["evil"]))
        .refused("audience \"evil\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience")
        .await;
    token("Pod", "mine", "mine", json!(["db", "vault"]))
        .refused("node may only request 0 or 1 audiences")
        .await;
    token("Secret", "s", "s", json!([])).refused("node requested token not bound to a pod").await;
    token("Pod", "mine", "", json!([]))
        .refused("node requested token with a pod binding without a uid")
        .await;
    token("Pod", "mine", "old", json!([]))
        .refused("the UID in the bound object reference (old) does not match the UID in record")
        .await;
    token("Pod", "other", "other", json!([]))
        .refused("node requested token bound to a pod scheduled on a different node")
        .await;
}

#[tokio::test]
async fn what_belongs_to_nodes() {
    let named = |name: &str| json!({"metadata": {"name": name}, "spec": {"nodeName": name}});
    let lease = |namespace: &'static str, name: &'static str| Case {
        namespace,
        ..Case::of(Operation::Create, "coordination.k8s.io/leases", name, named(name))
    };
    lease("kube-node-lease", "n1").allowed().await;
    lease("kube-node-lease", "n2")
        .refused("can only access node lease with the same name as the requesting node")
        .await;
    lease("default", "n1")
        .refused("can only access leases in the \"kube-node-lease\" system namespace")
        .await;
    Case::of(Operation::Create, "storage.k8s.io/csinodes", "n2", named("n2"))
        .refused("can only access CSINode with the same name as the requesting node")
        .await;
    Case::of(Operation::Create, "resource.k8s.io/resourceslices", "s", named("n1")).allowed().await;
    Case::of(Operation::Delete, "resource.k8s.io/resourceslices", "s", Value::Null)
        .old(named("n2"))
        .refused("can only delete ResourceSlice with the same NodeName as the requesting node")
        .await;
}
