//! Namespaces, garbage, accounts, nodes.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use reconcile::{Delete, Key, Patch};
use serde_json::json;

use crate::cluster::{self, Cluster};

async fn configmap(cluster: &Cluster, name: &str, owners: &[(&str, &str, bool)]) -> ConfigMap {
    let owners: Vec<_> = owners
        .iter()
        .map(|(name, uid, block)| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid,
                   "blockOwnerDeletion": block})
        })
        .collect();
    let object =
        json!({"metadata": {"name": name, "namespace": "default", "ownerReferences": owners}});
    cluster.create::<ConfigMap>(object).await
}

fn uid(map: &ConfigMap) -> &str {
    map.metadata.uid.as_deref().unwrap()
}

async fn until_gone(cluster: &Cluster, name: &str) {
    cluster
        .until_all::<ConfigMap>(|all| {
            all.iter().all(|map| map.metadata.name.as_deref() != Some(name))
        })
        .await;
}

async fn delete(cluster: &Cluster, name: &str, propagation: &'static str) {
    let how = Delete { propagation: Some(propagation), ..Delete::default() };
    cluster.writer.delete::<ConfigMap>(&Key::new("default", name), how).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let cluster = cluster::without_node().await;
    cluster.namespace("gone").await;
    let held = json!({"metadata": {"name": "held", "namespace": "gone", "finalizers": ["it/hold"]},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    cluster.create::<Pod>(held).await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "map", "namespace": "gone"}})).await;
    cluster.writer.delete::<Namespace>(&Key::new("", "gone"), Delete::default()).await.unwrap();
    // Pods first: while one is held, the rest stays, and the namespace says why.
    cluster
        .until::<Namespace>("", "gone", |namespace| {
            let conditions = namespace.status.iter().flat_map(|s| s.conditions.iter().flatten());
            let reasons: Vec<_> = conditions.filter_map(|c| c.reason.as_deref()).collect();
            reasons.contains(&"SomeResourcesRemain") && reasons.contains(&"ContentDeleted")
        })
        .await;
    let key = Key::new("gone", "map");
    cluster.writer.get::<ConfigMap>(&key).await.expect("pods go first");
    let unhold = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    cluster.writer.patch::<Pod>(&Key::new("gone", "held"), "", unhold).await.unwrap();
    let namespaces = cluster.caches.of::<Namespace>();
    let mut progress = namespaces.shared().progress();
    let gone = async {
        while namespaces.get("", "gone").is_some() {
            progress.changed().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.expect("it goes");
    assert!(cluster.writer.get::<ConfigMap>(&key).await.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_trusts_the_ca_and_goes_on_doing_so() {
    let cluster = cluster::without_node().await;
    let name = "kube-root-ca.crt";
    cluster.until::<ConfigMap>("default", name, |_| true).await;
    cluster.merge::<ConfigMap>(name, json!({"data": {"ca.crt": "forged", "x": "y"}})).await;
    cluster
        .until::<ConfigMap>("default", name, |map| {
            map.data.as_ref().is_some_and(|data| data.len() == 1 && data["ca.crt"] != "forged")
        })
        .await;
    let old = cluster.caches.of::<ConfigMap>().get("default", name).unwrap();
    cluster
        .writer
        .delete::<ConfigMap>(&Key::new("default", name), Delete::default())
        .await
        .unwrap();
    cluster.until::<ConfigMap>("default", name, |map| map.metadata.uid != old.metadata.uid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_background_the_foreground_and_let_go() {
    let cluster = cluster::without_node().await;
    // Background: the owner goes at once, the dependent after it.
    let owner = configmap(&cluster, "owner", &[]).await;
    configmap(&cluster, "child", &[("owner", uid(&owner), true)]).await;
    delete(&cluster, "owner", "Background").await;
    until_gone(&cluster, "child").await;
    // Orphan: the dependent stays, and refers to nobody.
    let owner = configmap(&cluster, "owner", &[]).await;
    configmap(&cluster, "child", &[("owner", uid(&owner), true)]).await;
    delete(&cluster, "owner", "Orphan").await;
    // Seen on the child first: the cache may not have seen this owner come yet, and would take it
    // for gone.
    cluster
        .until::<ConfigMap>("default", "child", |map| {
            map.metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
        })
        .await;
    until_gone(&cluster, "owner").await;
    cluster.writer.get::<ConfigMap>(&Key::new("default", "child")).await.expect("it stays");
    // Foreground: the owner waits for a dependent that blocks, here held by a finalizer.
    let owner = configmap(&cluster, "front", &[]).await;
    configmap(&cluster, "blocker", &[("front", uid(&owner), true)]).await;
    let hold = json!({"metadata": {"finalizers": ["it/hold"]}});
    cluster.merge::<ConfigMap>("blocker", hold).await;
    delete(&cluster, "front", "Foreground").await;
    cluster
        .until::<ConfigMap>("default", "blocker", |map| map.metadata.deletion_timestamp.is_some())
        .await;
    cluster.writer.get::<ConfigMap>(&Key::new("default", "front")).await.expect("it waits");
    cluster.merge::<ConfigMap>("blocker", json!({"metadata": {"finalizers": null}})).await;
    until_gone(&cluster, "front").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_never_were_two_owners_and_circles() {
    let cluster = cluster::without_node().await;
    configmap(&cluster, "bastard", &[("nobody", "no-such-uid", true)]).await;
    until_gone(&cluster, "bastard").await;
    // One owner goes, the other stays: so does the dependent, with one reference.
    let (a, b) = (configmap(&cluster, "a", &[]).await, configmap(&cluster, "b", &[]).await);
    configmap(&cluster, "both", &[("a", uid(&a), true), ("b", uid(&b), true)]).await;
    delete(&cluster, "a", "Foreground").await;
    until_gone(&cluster, "a").await;
    cluster
        .until::<ConfigMap>("default", "both", |map| {
            map.metadata.owner_references.as_ref().is_some_and(|owners| owners.len() == 1)
        })
        .await;
    // A circle of three that all block goes as a whole.
    let one = configmap(&cluster, "one", &[]).await;
    let two = configmap(&cluster, "two", &[("one", uid(&one), true)]).await;
    let three = configmap(&cluster, "three", &[("two", uid(&two), true)]).await;
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "three",
        "uid": uid(&three), "blockOwnerDeletion": true}]);
    cluster.merge::<ConfigMap>("one", json!({"metadata": {"ownerReferences": owners}})).await;
    delete(&cluster, "one", "Foreground").await;
    for name in ["one", "two", "three"] {
        until_gone(&cluster, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_get_ranges_of_their_own() {
    let cluster = cluster::without_node().await;
    for name in ["n1", "n2", "n3"] {
        cluster.create::<Node>(json!({"metadata": {"name": name}})).await;
    }
    let mut ranges = std::collections::BTreeSet::new();
    for name in ["n1", "n2", "n3"] {
        let range = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
        let node = cluster.until::<Node>("", name, |node| range(node).is_some()).await;
        ranges.insert(range(&node).unwrap());
    }
    assert_eq!(ranges.len(), 3);
    assert!(ranges.iter().all(|range| range.starts_with("10.42.") && range.ends_with("/24")));
}
