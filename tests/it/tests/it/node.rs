//! A kubelet over the in-memory runtime, against the real API server in process.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::{UserInfo, groups};
use base::drain::Drain;
use base::rng::SharedRng;
use container_runtime::memory::MemoryRuntime;
use container_runtime::{ContainerFilter, RuntimeService as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kubelet::{Kubelet, KubeletOptions, NoGate, Parts};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};

/// A cluster whose node is a real kubelet over an in-memory runtime.
struct Bench {
    cluster: Cluster,
    client: kube::Client,
    /// The kubelet's own client, with the rights of a node and no others.
    node: kube::Client,
    runtime: Arc<MemoryRuntime>,
    drain: Drain,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let cluster = cluster::without_node().await;
        for name in ["kube-node-lease", "kube-system"] {
            cluster.namespace(name).await;
        }
        let bench = Self {
            client: cluster.writer.client().clone(),
            node: cluster.server.client_as(UserInfo::named("system:node:n1", &[groups::NODES])),
            cluster,
            runtime: Arc::new(MemoryRuntime::new(base::clock::system())),
            drain: Drain::new(),
            dir: tempfile::tempdir().unwrap(),
        };
        bench.kubelet(bench.drain.clone());
        bench
    }

    fn options(&self) -> KubeletOptions {
        KubeletOptions {
            node_name: "n1".to_owned(),
            node_ips: vec![IpAddr::from([192, 0, 2, 1])],
            data_dir: self.dir.path().join("agent"),
            log_dir: self.dir.path().join("logs"),
            may_mount: false,
            ..KubeletOptions::default()
        }
    }

    fn kubelet(&self, drain: Drain) {
        self.kubelet_with(self.options(), drain);
    }

    fn kubelet_with(&self, options: KubeletOptions, drain: Drain) {
        let rng = SharedRng::seeded(2);
        let parts = Parts {
            client: self.node.clone(),
            caches: self.cluster.caches.clone(),
            runtime: self.runtime.clone(),
            images: self.runtime.clone(),
            gate: Arc::new(NoGate),
            clock: base::clock::system(),
            rng,
        };
        tokio::spawn(Kubelet::new(options, parts).run(drain));
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!("n1");
        let pod = read(json!({"metadata": {"name": name}, "spec": spec}));
        self.pods().create(&PostParams::default(), &pod).await.unwrap();
    }

    async fn pod_until(&self, name: &str, what: &str, is: impl Fn(&Pod) -> bool) -> Pod {
        until(what, async || self.pods().get_opt(name).await.unwrap().filter(|pod| is(pod))).await
    }
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Asks until there is an answer: the API server is the only thing that knows when.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let answered = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    answered.await.unwrap_or_else(|_| panic!("never {what}"))
}

fn has_condition(pod: &Pod, name: &str) -> bool {
    let status = pod.status.as_ref();
    let mut all = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    all.any(|one| one.type_ == name && one.status == "True")
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    status.map_or(0, |all| all.iter().map(|one| one.restart_count).sum())
}

fn one_container() -> Value {
    json!({"containers": [{"name": "a", "image": "image:1"}]})
}

#[tokio::test]
async fn a_node_registers_renews_its_lease_and_gets_ready() {
    let bench = Bench::start().await;
    let nodes: Api<Node> = Api::all(bench.client.clone());
    let node = until("ready", async || {
        let node = nodes.get_opt("n1").await.unwrap()?;
        let conditions = node.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True").then_some(node)
    })
    .await;
    let uid = node.metadata.uid.unwrap();
    assert_eq!(node.metadata.labels.unwrap()["kubernetes.io/hostname"], "n1");
    let status = node.status.unwrap();
    assert!(status.allocatable.unwrap().contains_key("memory"));
    assert!(status.addresses.unwrap().iter().any(|one| one.address == "192.0.2.1"));
    let leases: Api<Lease> = Api::namespaced(bench.client.clone(), "kube-node-lease");
    // It goes with its node, though it may have been made before the kubelet saw that.
    let lease = until("a lease that is the node's", async || {
        let lease = leases.get_opt("n1").await.unwrap()?;
        let owners = lease.metadata.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|owner| owner.kind == "Node" && owner.uid == uid).then_some(lease)
    })
    .await;
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some("n1"));
    bench.drain.cancel();
}

#[tokio::test]
async fn a_pod_runs_restarts_and_goes() {
    let bench = Bench::start().await;
    bench.create("web", one_container()).await;
    let pod = bench.pod_until("web", "ready", |pod| has_condition(pod, "Ready")).await;
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert!(status.pod_ip.is_some() && status.start_time.is_some());
    let containers = bench.runtime.list_containers(&ContainerFilter::default()).await.unwrap();
    bench.runtime.exit_container(&containers[0].id, 137);
    bench
        .pod_until("web", "restarted", |pod| restarts(pod) == 1 && has_condition(pod, "Ready"))
        .await;
    let events: Api<Event> = Api::namespaced(bench.client.clone(), "default");
    until("told", async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        let reasons: Vec<_> = all.items.into_iter().filter_map(|event| event.reason).collect();
        ["Pulled", "Created", "Started"]
            .iter()
            .all(|one| reasons.iter().any(|other| other == one))
            .then_some(())
    })
    .await;
    bench.pods().delete("web", &DeleteParams::default()).await.unwrap();
    until("gone", async || bench.pods().get_opt("web").await.unwrap().is_none().then_some(()))
        .await;
    assert!(bench.runtime.list_containers(&ContainerFilter::default()).await.unwrap().is_empty());
    bench.drain.cancel();
}

#[tokio::test]
async fn conditions_of_others_stay_and_generations_are_observed() {
    let bench = Bench::start().await;
    let mut spec = one_container();
    spec["readinessGates"] = json!([{"conditionType": "x.y/gate"}]);
    bench.create("gated", spec).await;
    let ready = |name: &'static str| move |pod: &Pod| has_condition(pod, name);
    bench.pod_until("gated", "containers ready", ready("ContainersReady")).await;
    let patch = json!({"status": {"conditions": [{"type": "x.y/gate", "status": "True"}]}});
    let params = PatchParams::default();
    bench.pods().patch_status("gated", &params, &Patch::Strategic(patch)).await.unwrap();
    let pod = bench.pod_until("gated", "ready", ready("Ready")).await;
    assert!(has_condition(&pod, "x.y/gate"));
    let patch = json!({"spec": {"activeDeadlineSeconds": 1000}});
    bench.pods().patch("gated", &params, &Patch::Strategic(patch)).await.unwrap();
    bench
        .pod_until("gated", "observed", |pod| {
            let observed = pod.status.as_ref().and_then(|status| status.observed_generation);
            pod.metadata.generation == Some(2) && observed == Some(2)
        })
        .await;
    bench.drain.cancel();
}

#[tokio::test]
async fn a_new_kubelet_takes_over() {
    let bench = Bench::start().await;
    bench.create("web", one_container()).await;
    bench.pod_until("web", "ready", |pod| has_condition(pod, "Ready")).await;
    let before = bench.runtime.list_containers(&ContainerFilter::default()).await.unwrap();
    bench.drain.cancel();
    bench.create("late", one_container()).await;
    let drain = Drain::new();
    bench.kubelet(drain.clone());
    bench.pod_until("late", "ready", |pod| has_condition(pod, "Ready")).await;
    let pod = bench.pods().get("web").await.unwrap();
    assert_eq!(restarts(&pod), 0);
    let after = bench.runtime.container_status(&before[0].id).await.unwrap();
    assert_eq!(after.state, container_runtime::ContainerState::Running);
    drain.cancel();
}

#[tokio::test]
async fn static_pods_and_parts_of_the_process_are_shown() {
    let bench = Bench::start().await;
    let folder = bench.dir.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("web.yaml"),
        "metadata: {name: web}\nspec:\n  containers: [{name: a, image: i}]\n",
    )
    .unwrap();
    let drain = Drain::new();
    bench.drain.cancel();
    let mut options = bench.options();
    options.static_pod_dir = Some(folder.clone());
    options.parts = vec![Arc::new(Scheduler)];
    bench.kubelet_with(options, drain.clone());
    let pod = bench.pod_until("web-n1", "ready", |pod| has_condition(pod, "Ready")).await;
    assert!(pod.metadata.annotations.unwrap().contains_key("kubernetes.io/config.mirror"));
    let system: Api<Pod> = Api::namespaced(bench.client.clone(), "kube-system");
    until("shown", async || {
        let pod = system.get_opt("kube-scheduler-n1").await.unwrap()?;
        has_condition(&pod, "Ready").then_some(())
    })
    .await;
    // What is shown comes back; what is in no manifest any more goes.
    system.delete("kube-scheduler-n1", &DeleteParams::default().grace_period(0)).await.unwrap();
    until("shown again", async || system.get_opt("kube-scheduler-n1").await.unwrap()).await;
    std::fs::remove_file(folder.join("web.yaml")).unwrap();
    until("gone", async || bench.pods().get_opt("web-n1").await.unwrap().is_none().then_some(()))
        .await;
    drain.cancel();
}

#[derive(Debug)]
struct Scheduler;

impl kubelet::InProcessPart for Scheduler {
    fn name(&self) -> &str {
        "kube-scheduler"
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn changed(&self) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn logs(&self, _follow: bool) -> futures::stream::BoxStream<'static, kubelet::PartLog> {
        Box::pin(futures::stream::empty())
    }
}

fn sized(cpu: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": "32Mi"});
    json!({"containers": [{"name": "a", "image": "image:1",
        "resources": {"requests": amounts, "limits": amounts}}]})
}

fn limit(pod: &Pod) -> Option<String> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    let limits = all.first()?.resources.as_ref()?.limits.as_ref()?;
    Some(limits.get("cpu")?.0.clone())
}

#[tokio::test]
async fn a_pod_is_resized_where_it_runs_or_waits_for_room() {
    let bench = Bench::start().await;
    bench.create("web", sized("100m")).await;
    bench.pod_until("web", "ready", |pod| has_condition(pod, "Ready")).await;
    let containers = bench.runtime.list_containers(&ContainerFilter::default()).await.unwrap();
    let resize = async |cpu: &str| {
        let patch = json!({"spec": {"containers": [{"name": "a", "resources": {
            "requests": {"cpu": cpu}, "limits": {"cpu": cpu}}}]}});
        let params = PatchParams::default();
        bench.pods().patch_subresource("resize", "web", &params, &Patch::Strategic(patch)).await
    };
    resize("200m").await.unwrap();
    let resized = |pod: &Pod, cpu: &str| {
        let observed = pod.status.as_ref().and_then(|status| status.observed_generation);
        limit(pod).as_deref() == Some(cpu)
            && observed == pod.metadata.generation
            && !has_condition(pod, "PodResizeInProgress")
            && !has_condition(pod, "PodResizePending")
    };
    let pod = bench.pod_until("web", "resized", |pod| resized(pod, "200m")).await;
    assert_eq!(restarts(&pod), 0);
    let held = bench.runtime.container_status(&containers[0].id).await.unwrap();
    assert_eq!(held.resources.unwrap().linux.cpu_quota, 20_000);
    // More than the node has is refused, more than is free there waited for; less is given again.
    let refused = resize("1000").await.unwrap_err().to_string();
    assert!(refused.contains("node didn't have enough allocatable resources: cpu"), "{refused}");
    let nodes: Api<Node> = Api::all(bench.client.clone());
    let all = nodes.get("n1").await.unwrap().status.unwrap().allocatable.unwrap();
    bench.create("other", sized("100m")).await;
    bench.pod_until("other", "ready", |pod| has_condition(pod, "Ready")).await;
    resize(&all["cpu"].0).await.unwrap();
    let waits = |pod: &Pod| has_condition(pod, "PodResizePending");
    let pod = bench.pod_until("web", "deferred", waits).await;
    assert_eq!(limit(&pod).as_deref(), Some("200m"));
    resize("150m").await.unwrap();
    bench.pod_until("web", "resized again", |pod| resized(pod, "150m")).await;
    bench.drain.cancel();
}
