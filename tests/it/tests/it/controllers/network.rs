//! Endpoints and EndpointSlices.

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use crate::cluster;

fn pod(name: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i",
            "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}

fn service(name: &str, selector: serde_json::Value) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

fn ready(slice: &EndpointSlice) -> usize {
    let endpoints = slice.endpoints.iter().flatten();
    endpoints.filter(|one| one.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_pods() {
    let cluster = cluster::start().await;
    cluster.create::<Service>(service("web", json!({"app": "web"}))).await;
    let slices = cluster.until_all::<EndpointSlice>(|slices| slices.len() == 1).await;
    assert_eq!(ready(&slices[0]), 0, "a placeholder comes first");
    for name in ["a", "b"] {
        cluster.create::<Pod>(pod(name)).await;
    }
    let slices =
        cluster.until_all::<EndpointSlice>(|all| all.len() == 1 && ready(&all[0]) == 2).await;
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));
    cluster
        .until::<Endpoints>("default", "web", |endpoints| {
            let subsets = endpoints.subsets.as_deref().unwrap_or_default();
            subsets.len() == 1 && subsets[0].addresses.as_ref().is_some_and(|all| all.len() == 2)
        })
        .await;
    let key = reconcile::Key::new("default", "a");
    cluster.writer.delete::<Pod>(&key, reconcile::Delete::default()).await.unwrap();
    cluster.until_all::<EndpointSlice>(|all| all.len() == 1 && ready(&all[0]) == 1).await;
    // A slice that someone deletes comes back; with the Service, all goes.
    let slice = &cluster.caches.of::<EndpointSlice>().list_in("default")[0];
    let key = reconcile::Key::of(&slice.metadata);
    cluster.writer.delete::<EndpointSlice>(&key, reconcile::Delete::default()).await.unwrap();
    let old = slice.metadata.uid.clone();
    cluster.until_all::<EndpointSlice>(|all| all.len() == 1 && all[0].metadata.uid != old).await;
    let key = reconcile::Key::new("default", "web");
    cluster.writer.delete::<Service>(&key, reconcile::Delete::default()).await.unwrap();
    cluster.until_all::<EndpointSlice>(|all| all.is_empty()).await;
    cluster.until_all::<Endpoints>(|all| all.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_of_a_service_without_selector_are_mirrored() {
    let cluster = cluster::start().await;
    cluster
        .create::<Service>(json!({
            "metadata": {"name": "ext", "namespace": "default"}, "spec": {"ports": [{"port": 80}]},
        }))
        .await;
    cluster
        .create::<Endpoints>(json!({
            "metadata": {"name": "ext", "namespace": "default"},
            "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 8080}]}],
        }))
        .await;
    let slices =
        cluster.until_all::<EndpointSlice>(|all| all.len() == 1 && ready(&all[0]) == 1).await;
    let labels = slices[0].metadata.labels.as_ref().unwrap();
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );
    let key = reconcile::Key::new("default", "ext");
    cluster.writer.delete::<Endpoints>(&key, reconcile::Delete::default()).await.unwrap();
    cluster.until_all::<EndpointSlice>(|all| all.is_empty()).await;
}
