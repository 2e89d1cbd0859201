//! A kubelet over the in-memory runtime, against the real API server in process.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use apiserver::authz::Authorizer;
use apiserver::resource::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use auth::rbac::Policy;
use auth::token::{TokenAuthority, generate_key};
use auth::{Attributes, Decision, UserInfo};
use base::drain::Drain;
use base::rng::SharedRng;
use container_runtime::memory::MemoryRuntime;
use container_runtime::{ContainerFilter, RuntimeService as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kubelet::{Kubelet, KubeletOptions, NoGate, Parts};
use reconcile::Caches;
use resources::{Deps, NodeTransport, PolicySource, Target};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

struct Nowhere;

#[async_trait]
impl NodeTransport for Nowhere {
    async fn send(&self, _target: &Target, _request: HttpRequest) -> ApiResult<HttpResponse> {
        Err(ApiError::unavailable("there is no way to nodes in this test"))
    }
}

#[async_trait]
impl Authenticator for Nowhere {
    async fn authenticate(&self, _credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok(None)
    }
}

#[async_trait]
impl Authorizer for Nowhere {
    async fn authorize(&self, _attributes: &Attributes) -> Decision {
        Decision::Allow(String::new())
    }
}

impl PolicySource for Nowhere {
    fn policy(&self) -> Arc<Policy> {
        Arc::new(Policy::default())
    }
}

fn deps() -> Deps {
    let key = generate_key().unwrap();
    let tokens = TokenAuthority::new("https://kubernetes.default.svc", &["api"], &key, &[]);
    Deps {
        clock: base::clock::system(),
        rng: SharedRng::seeded(1),
        service_networks: vec!["10.96.0.0/12".parse().unwrap()],
        node_ports: 30000..=32767,
        nodes: Arc::new(Nowhere),
        tokens: Arc::new(tokens.unwrap()),
        authenticator: Arc::new(Nowhere),
        authorizer: Arc::new(Nowhere),
        policy: Arc::new(Nowhere),
    }
}

struct Cluster {
    client: kube::Client,
    runtime: Arc<MemoryRuntime>,
    drain: Drain,
    dir: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let server = testkit::api_server(resources::all(&deps()));
        let client = server.client();
        let cluster = Self {
            runtime: Arc::new(MemoryRuntime::new(base::clock::system())),
            drain: Drain::new(),
            dir: tempfile::tempdir().unwrap(),
            client,
        };
        for name in ["default", "kube-node-lease", "kube-system"] {
            let namespaces: Api<k8s_openapi::api::core::v1::Namespace> =
                Api::all(cluster.client.clone());
            let object = read(json!({"metadata": {"name": name}}));
            let _there = namespaces.create(&PostParams::default(), &object).await;
        }
        cluster.kubelet(cluster.drain.clone());
        cluster
    }

    fn kubelet(&self, drain: Drain) {
        let rng = SharedRng::seeded(2);
        let options = KubeletOptions {
            node_name: "n1".to_owned(),
            node_ips: vec![IpAddr::from([192, 0, 2, 1])],
            data_dir: self.dir.path().join("agent"),
            log_dir: self.dir.path().join("logs"),
            ..KubeletOptions::default()
        };
        let parts = Parts {
            client: self.client.clone(),
            caches: Caches::new(self.client.clone(), rng.clone(), drain.clone()),
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
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
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
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = until("ready", async || {
        let node = nodes.get_opt("n1").await.unwrap()?;
        let conditions = node.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True").then_some(node)
    })
    .await;
    assert_eq!(node.metadata.labels.unwrap()["kubernetes.io/hostname"], "n1");
    let status = node.status.unwrap();
    assert!(status.allocatable.unwrap().contains_key("memory"));
    assert!(status.addresses.unwrap().iter().any(|one| one.address == "192.0.2.1"));
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let lease = until("a lease", async || leases.get_opt("n1").await.unwrap()).await;
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some("n1"));
    cluster.drain.cancel();
}

#[tokio::test]
async fn a_pod_runs_restarts_and_goes() {
    let cluster = Cluster::start().await;
    cluster.create("web", one_container()).await;
    let pod = cluster.pod_until("web", "ready", |pod| has_condition(pod, "Ready")).await;
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert!(status.pod_ip.is_some() && status.start_time.is_some());
    let containers = cluster.runtime.list_containers(&ContainerFilter::default()).await.unwrap();
    cluster.runtime.exit_container(&containers[0].id, 137);
    cluster
        .pod_until("web", "restarted", |pod| restarts(pod) == 1 && has_condition(pod, "Ready"))
        .await;
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), "default");
    until("told", async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        let reasons: Vec<_> = all.items.into_iter().filter_map(|event| event.reason).collect();
        ["Pulled", "Created", "Started"]
            .iter()
            .all(|one| reasons.iter().any(|other| other == one))
            .then_some(())
    })
    .await;
    cluster.pods().delete("web", &DeleteParams::default()).await.unwrap();
    until("gone", async || cluster.pods().get_opt("web").await.unwrap().is_none().then_some(()))
        .await;
    assert!(cluster.runtime.list_containers(&ContainerFilter::default()).await.unwrap().is_empty());
    cluster.drain.cancel();
}

#[tokio::test]
async fn conditions_of_others_stay_and_generations_are_observed() {
    let cluster = Cluster::start().await;
    let mut spec = one_container();
    spec["readinessGates"] = json!([{"conditionType": "x.y/gate"}]);
    cluster.create("gated", spec).await;
    let ready = |name: &'static str| move |pod: &Pod| has_condition(pod, name);
    cluster.pod_until("gated", "containers ready", ready("ContainersReady")).await;
    let patch = json!({"status": {"conditions": [{"type": "x.y/gate", "status": "True"}]}});
    let params = PatchParams::default();
    cluster.pods().patch_status("gated", &params, &Patch::Strategic(patch)).await.unwrap();
    let pod = cluster.pod_until("gated", "ready", ready("Ready")).await;
    assert!(has_condition(&pod, "x.y/gate"));
    let patch = json!({"spec": {"activeDeadlineSeconds": 1000}});
    cluster.pods().patch("gated", &params, &Patch::Strategic(patch)).await.unwrap();
    cluster
        .pod_until("gated", "observed", |pod| {
            let observed = pod.status.as_ref().and_then(|status| status.observed_generation);
            pod.metadata.generation == Some(2) && observed == Some(2)
        })
        .await;
    cluster.drain.cancel();
}

#[tokio::test]
async fn a_new_kubelet_takes_over() {
    let cluster = Cluster::start().await;
    cluster.create("web", one_container()).await;
    cluster.pod_until("web", "ready", |pod| has_condition(pod, "Ready")).await;
    let before = cluster.runtime.list_containers(&ContainerFilter::default()).await.unwrap();
    cluster.drain.cancel();
    cluster.create("late", one_container()).await;
    let drain = Drain::new();
    cluster.kubelet(drain.clone());
    cluster.pod_until("late", "ready", |pod| has_condition(pod, "Ready")).await;
    let pod = cluster.pods().get("web").await.unwrap();
    assert_eq!(restarts(&pod), 0);
    let after = cluster.runtime.container_status(&before[0].id).await.unwrap();
    assert_eq!(after.state, container_runtime::ContainerState::Running);
    drain.cancel();
}
