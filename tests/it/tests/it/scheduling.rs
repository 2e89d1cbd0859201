//! The scheduler against the real API server, on nodes that are objects only.

use auth::UserInfo;
use base::drain::Drain;
use base::readiness::Readiness;
use base::rng::SharedRng;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use scheduler::SchedulerOptions;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};

struct Bench {
    cluster: Cluster,
    drain: Drain,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

impl Bench {
    /// A cluster with a scheduler and one node of four cores.
    async fn start() -> Self {
        let cluster = cluster::without_node().await;
        let drain = Drain::new();
        let options = SchedulerOptions {
            name: "default-scheduler".to_owned(),
            clock: base::clock::system(),
            rng: SharedRng::seeded(3),
            ready: Readiness::default().part("scheduler"),
        };
        let client = cluster.server.client_as(UserInfo::named("system:kube-scheduler", &[]));
        tokio::spawn(scheduler::run(options, cluster.caches.clone(), client, drain.clone()));
        let bench = Self { cluster, drain };
        let node = json!({"metadata": {"name": "n1"}, "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}});
        bench.all::<Node>().create(&PostParams::default(), &read(node)).await.unwrap();
        for (name, value) in [("low", 1), ("high", 10)] {
            let class = json!({"metadata": {"name": name}, "value": value});
            bench
                .all::<PriorityClass>()
                .create(&PostParams::default(), &read(class))
                .await
                .unwrap();
        }
        bench
    }

    fn client(&self) -> kube::Client {
        self.cluster.writer.client().clone()
    }

    fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>,
    {
        Api::all(self.client())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client(), "default")
    }

    async fn create(&self, name: &str, class: &str, cpu: &str) {
        let pod = json!({"metadata": {"name": name, "labels": {"app": name},
                "finalizers": ["example.com/stays"]},
            "spec": {"priorityClassName": class, "containers": [{"name": "c", "image": "i",
                "resources": {"requests": {"cpu": cpu}}}]}});
        self.pods().create(&PostParams::default(), &read(pod)).await.unwrap();
    }

    async fn until(&self, name: &str, what: &str, is: impl Fn(&Pod) -> bool) -> Pod {
        crate::node::until(what, async || {
            self.pods().get_opt(name).await.unwrap().filter(|pod| is(pod))
        })
        .await
    }

    /// Lets a deleted pod go.
    async fn release(&self, name: &str) {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        self.pods().patch(name, &PatchParams::default(), &patch).await.unwrap();
        self.pods().delete(name, &DeleteParams::default().grace_period(0)).await.ok();
    }
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn promised(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.nominated_node_name.as_deref()
}

#[tokio::test]
async fn a_more_important_pod_takes_the_room_of_a_lesser_one() {
    let bench = Bench::start().await;
    bench.create("low", "low", "3").await;
    bench.until("low", "placed", |pod| node_of(pod) == Some("n1")).await;
    bench.create("high", "high", "3").await;
    let victim =
        bench.until("low", "told to go", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    let mut told = victim.status.unwrap().conditions.unwrap().into_iter();
    let target = told.find(|one| one.type_ == "DisruptionTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("PreemptionByScheduler"));
    let high = bench.until("high", "promised", |pod| promised(pod) == Some("n1")).await;
    assert_eq!(node_of(&high), None);
    // The room is promised: a lesser pod that would fit once the victim is gone does not get it.
    bench.create("late", "low", "2").await;
    bench.release("low").await;
    let high = bench.until("high", "placed", |pod| node_of(pod) == Some("n1")).await;
    assert_eq!(promised(&high), None, "a promise ends with the binding");
    let late = bench.pods().get("late").await.unwrap();
    assert_eq!(node_of(&late), None);
    let events: Api<Event> = Api::namespaced(bench.client(), "default");
    let text = crate::node::until("told", async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        all.items.into_iter().find(|one| one.reason.as_deref() == Some("Preempted"))?.message
    })
    .await;
    assert_eq!(text, format!("Preempted by pod {} on node n1", high.metadata.uid.unwrap()));
}
