//! Deployments, ReplicaSets, DaemonSets, StatefulSets.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
        },
    })
}

async fn rolled_out(cluster: &Cluster, replicas: i32) {
    // The cache may still show the Deployment as it was before the last change.
    let key = reconcile::Key::new("default", "web");
    let live = cluster.writer.get::<Deployment>(&key).await.unwrap();
    cluster
        .until::<Deployment>("default", "web", |web| {
            let status = web.status.clone().unwrap_or_default();
            status.observed_generation >= live.metadata.generation
                && status.replicas == Some(replicas)
                && status.updated_replicas == Some(replicas)
                && status.available_replicas == Some(replicas)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_makes_pods_within_moments() {
    let cluster = cluster::start().await;
    // Everything is warm now; what follows is what a user waits for.
    let applied = tokio::time::Instant::now();
    cluster.create::<Deployment>(deployment(3, "one")).await;
    cluster.until_all::<Pod>(|pods| pods.len() == 3).await;
    let took = applied.elapsed();
    rolled_out(&cluster, 3).await;
    println!(
        "three pods {took:?} after the Deployment; all available after {:?}",
        applied.elapsed()
    );
    assert!(took < Duration::from_secs(1), "no delay is built in, yet it took {took:?}");
    let sets = cluster.caches.of::<ReplicaSet>().list_in("default");
    assert_eq!(sets.len(), 1);
    cluster
        .until_all::<Event>(|events| {
            let has = |reason| events.iter().any(|event| event.reason.as_deref() == Some(reason));
            has("ScalingReplicaSet") && has("SuccessfulCreate")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_and_back_keeps_pods_available() {
    let cluster = cluster::start().await;
    cluster.create::<Deployment>(deployment(3, "one")).await;
    rolled_out(&cluster, 3).await;
    let first = cluster.caches.of::<ReplicaSet>().list_in("default")[0].clone();
    cluster.merge::<Deployment>("web", json!({"spec": {"template": template("two")}})).await;
    rolled_out(&cluster, 3).await;
    let pods = cluster.until_all::<Pod>(|pods| pods.len() == 3).await;
    assert!(pods.iter().all(|pod| {
        pod.spec.as_ref().is_some_and(|spec| spec.containers[0].image.as_deref() == Some("two"))
    }));
    let web = cluster.caches.of::<Deployment>().get("default", "web").unwrap();
    let revision = "deployment.kubernetes.io/revision";
    assert_eq!(web.metadata.annotations.as_ref().unwrap()[revision], "2");
    // Back to the first template: the first ReplicaSet serves again, as revision 3.
    cluster.merge::<Deployment>("web", json!({"spec": {"template": template("one")}})).await;
    let name = first.metadata.name.clone().unwrap();
    cluster
        .until::<ReplicaSet>("default", &name, |rs| {
            rs.spec.as_ref().and_then(|spec| spec.replicas) == Some(3)
                && rs.metadata.annotations.as_ref().is_some_and(|all| all[revision] == "3")
        })
        .await;
    rolled_out(&cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_a_lost_pod_and_a_relabelled_one() {
    let cluster = cluster::start().await;
    cluster.create::<Deployment>(deployment(2, "one")).await;
    rolled_out(&cluster, 2).await;
    cluster.merge::<Deployment>("web", json!({"spec": {"replicas": 5}})).await;
    rolled_out(&cluster, 5).await;
    cluster.merge::<Deployment>("web", json!({"spec": {"replicas": 1}})).await;
    rolled_out(&cluster, 1).await;
    let pods = cluster.until_all::<Pod>(|pods| pods.len() == 1).await;
    let name = pods[0].metadata.name.clone().unwrap();
    cluster.merge::<Pod>(&name, json!({"metadata": {"labels": {"app": "other"}}})).await;
    let pods = cluster.until_all::<Pod>(|pods| pods.len() == 2).await;
    let stray = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(&name)).unwrap();
    let stray = cluster
        .until::<Pod>("default", stray.metadata.name.as_deref().unwrap(), |pod| {
            pod.metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
        })
        .await;
    assert!(stray.metadata.deletion_timestamp.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_deployment_takes_all_along() {
    let cluster = cluster::start().await;
    cluster.create::<Deployment>(deployment(3, "one")).await;
    rolled_out(&cluster, 3).await;
    let key = reconcile::Key::new("default", "web");
    cluster.writer.delete::<Deployment>(&key, reconcile::Delete::default()).await.unwrap();
    cluster.until_all::<Pod>(|pods| pods.is_empty()).await;
    cluster.until_all::<ReplicaSet>(|sets| sets.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_runs_on_every_node() {
    let cluster = cluster::start().await;
    for name in ["n1", "n2"] {
        let node = json!({"metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        cluster.create::<Node>(node).await;
    }
    // Nodes are born tainted; this daemon does not mind.
    let mut daemon = deployment(1, "one");
    daemon["kind"] = json!("DaemonSet");
    daemon["spec"].as_object_mut().unwrap().remove("replicas");
    daemon["spec"]["template"]["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    cluster.create::<DaemonSet>(daemon).await;
    cluster
        .until::<DaemonSet>("default", "web", |web| {
            web.status.as_ref().is_some_and(|status| {
                status.desired_number_scheduled == 2 && status.number_available == Some(2)
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_counts_up_and_down() {
    let cluster = cluster::start().await;
    let mut set = deployment(3, "one");
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!("web");
    cluster.create::<StatefulSet>(set).await;
    let ready = |count: i32| {
        move |web: &StatefulSet| {
            web.status.as_ref().is_some_and(|status| {
                status.replicas == count
                    && status.ready_replicas.unwrap_or_default() == count
                    && status.updated_replicas.unwrap_or_default() == count
            })
        }
    };
    cluster.until::<StatefulSet>("default", "web", ready(3)).await;
    let pods = cluster.caches.of::<Pod>().list_in("default");
    let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    assert_eq!(names, ["web-0", "web-1", "web-2"]);
    cluster.merge::<StatefulSet>("web", json!({"spec": {"template": template("two")}})).await;
    cluster
        .until::<StatefulSet>("default", "web", |web| {
            ready(3)(web)
                && web.status.as_ref().is_some_and(|s| s.current_revision == s.update_revision)
                && web.status.as_ref().and_then(|s| s.observed_generation)
                    == web.metadata.generation
        })
        .await;
    cluster.merge::<StatefulSet>("web", json!({"spec": {"replicas": 1}})).await;
    cluster.until::<StatefulSet>("default", "web", ready(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_in_each_of_the_three_ways() {
    let cluster = cluster::start().await;
    for policy in ["Foreground", "Background", "Orphan"] {
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "work", "namespace": "default"},
            "spec": {"parallelism": 2, "completions": 2, "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "one"}]}}},
        });
        cluster.create::<Job>(job).await;
        let ready = |job: &Job| job.status.as_ref().is_some_and(|status| status.ready == Some(2));
        cluster.until::<Job>("default", "work", ready).await;
        let how = reconcile::Delete { propagation: Some(policy), ..reconcile::Delete::default() };
        let key = reconcile::Key::new("default", "work");
        cluster.writer.delete::<Job>(&key, how).await.unwrap();
        cluster.until_all::<Job>(|jobs| jobs.is_empty()).await;
        if policy == "Orphan" {
            let is_free = |pod: &Pod| {
                let meta = &pod.metadata;
                meta.finalizers.as_ref().is_none_or(Vec::is_empty)
                    && meta.owner_references.as_ref().is_none_or(Vec::is_empty)
            };
            cluster
                .until_all::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| is_free(pod)))
                .await;
        } else {
            cluster.until_all::<Pod>(|pods| pods.is_empty()).await;
        }
    }
}
