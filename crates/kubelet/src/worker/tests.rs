//! Workers over an in-memory runtime, under paused time.

use std::net::IpAddr;
use std::path::PathBuf;

use base::clock::SimulatedClock;
use base::rng::SharedRng;
use container_runtime::memory::{MemoryRuntime, Pull, Script};
use container_runtime::{ContainerFilter, Error, ExecSyncResponse, RuntimeService as _};
use k8s_openapi::api::core::v1::ContainerStatus;
use reconcile::recorder::Recorder;
use reconcile::{Cache, SharedCache};
use serde_json::{Value, json};

use super::*;
use crate::images::Images;
use crate::node::machine::Machine;
use crate::objects::Objects;
use crate::options::KubeletOptions;
use crate::seams::EndpointGate;
use crate::volumes::token::Tokens;

/// A gate that notes when it was asked.
#[derive(Debug, Default)]
struct NotedGate(parking_lot::Mutex<Option<Instant>>);

#[async_trait::async_trait]
impl EndpointGate for NotedGate {
    async fn endpoint_removed(&self, _pod_ips: &[IpAddr]) {
        *self.0.lock() = Some(Instant::now());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

struct Bench {
    runtime: Arc<MemoryRuntime>,
    node: Arc<NodeContext>,
    gate: Arc<NotedGate>,
    config_maps: Arc<SharedCache>,
    _dir: tempfile::TempDir,
    began: Instant,
}

fn cache<K: api::typed::Kind>() -> (Arc<SharedCache>, Cache<K>) {
    let shared = Arc::new(SharedCache::new(K::resource()));
    (shared.clone(), Cache::over(shared))
}

impl Bench {
    fn new() -> Self {
        let clock: base::clock::SharedClock =
            Arc::new(SimulatedClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
        let runtime = Arc::new(MemoryRuntime::new(clock.clone()));
        let dir = tempfile::tempdir().unwrap();
        let (config_maps, typed_maps) = cache();
        let objects = Objects::over(cache().1, cache().1, typed_maps, cache().1, cache().1, None);
        let gate = Arc::new(NotedGate::default());
        let options = KubeletOptions {
            node_ips: vec![IpAddr::from([192, 0, 2, 1])],
            data_dir: dir.path().join("agent"),
            log_dir: dir.path().join("logs"),
            ..KubeletOptions::default()
        };
        let nobody = reconcile::Writer::new(
            kube::Client::new(
                tower::service_fn(|_| async {
                    Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no server"))
                }),
                "default",
            ),
            "test",
        );
        let node = Arc::new(NodeContext {
            options,
            machine: Machine { memory: 8 << 30, cpus: 2, ..Machine::default() },
            runtime: runtime.clone(),
            runtime_name: "memory".to_owned(),
            images: Images::new(runtime.clone(), clock.clone()),
            objects,
            allocations: Default::default(),
            tokens: Tokens::new(nobody),
            writer: None,
            recorder: Recorder::silent(),
            gate: gate.clone(),
            clock,
            rng: SharedRng::seeded(1),
            host_dns: Default::default(),
            may_mount: false,
        });
        Self { runtime, node, gate, config_maps, _dir: dir, began: Instant::now() }
    }

    fn elapsed(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    fn start(&self, spec: Value) -> Running {
        let pod = pod(spec);
        let desired = Desired { pod: Arc::new(pod), gone: false, rejected: None };
        let (worker, handle) = Worker::new(self.node.clone(), desired);
        let drain = Drain::new();
        let task = tokio::spawn(worker.run(drain.clone()));
        let (runtime, wake) = (self.runtime.clone(), handle.wake.clone());
        tokio::spawn(async move {
            use futures::StreamExt as _;
            let mut events = runtime.get_container_events().await.unwrap();
            while events.next().await.is_some() {
                wake.notify_one();
            }
        });
        Running { handle, task, drain }
    }

    async fn id_of(&self, name: &str) -> String {
        let all = self.runtime.list_containers(&ContainerFilter::default()).await.unwrap();
        all.into_iter()
            .filter(|one| one.metadata.name == name)
            .max_by_key(|one| one.metadata.attempt)
            .unwrap()
            .id
    }

    fn config_map(&self, key: &str, value: &str, version: u64) {
        let map = json!({"metadata": {"namespace": "ns", "name": "cm", "uid": "m",
            "resourceVersion": version.to_string()}, "data": {key: value}});
        let map: k8s_openapi::api::core::v1::ConfigMap = serde_json::from_value(map).unwrap();
        self.config_maps.upsert(Arc::new(map));
    }

    fn volume(&self) -> PathBuf {
        self.node.pod_dir("u").join("volumes")
    }
}

struct Running {
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
    drain: Drain,
}

impl Running {
    /// Waits for a state; panics with the last one after a long time.
    async fn until(&self, what: &str, is: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let mut status = self.handle.status.clone();
        let waited = tokio::time::timeout(Duration::from_secs(7200), async {
            status
                .wait_for(|status| status.as_ref().is_some_and(&is))
                .await
                .map(|status| status.clone())
        });
        match waited.await {
            Ok(Ok(status)) => status.unwrap(),
            _ => panic!("never {what}: {:#?}", self.handle.status.borrow().as_ref()),
        }
    }

    async fn until_phase(&self, phase: &str) -> PodStatus {
        self.until(phase, |status| status.phase.as_deref() == Some(phase)).await
    }

    fn delete(&self, grace: i64) {
        self.handle.desired.send_modify(|desired| {
            let mut pod = Pod::clone(&desired.pod);
            pod.metadata.deletion_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
            pod.metadata.deletion_grace_period_seconds = Some(grace);
            desired.pod = Arc::new(pod);
        });
    }
}

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    for list in ["containers", "initContainers"] {
        for one in spec[list].as_array_mut().into_iter().flatten() {
            if one["image"].is_null() {
                one["image"] = json!("image:1");
            }
        }
    }
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1}, "spec": spec}))
    .unwrap()
}

fn container<'a>(status: &'a PodStatus, name: &str) -> &'a ContainerStatus {
    let lists = [&status.container_statuses, &status.init_container_statuses];
    lists.into_iter().flatten().flatten().find(|one| one.name == name).unwrap()
}

fn waiting(status: &PodStatus, name: &str) -> String {
    let state = container(status, name).state.clone().unwrap_or_default();
    state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default()
}

fn is_ready(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

#[tokio::test(start_paused = true)]
async fn a_pod_comes_up_ready() {
    let bench = Bench::new();
    let running = bench.start(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let status = running.until("ready", is_ready).await;
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert!(status.pod_ip.is_some() && status.host_ip.as_deref() == Some("192.0.2.1"));
    assert!(container(&status, "a").container_id.as_deref().unwrap().starts_with("memory://"));
    assert_eq!(bench.elapsed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_backs_off() {
    let bench = Bench::new();
    bench.runtime.script("a", Script::exits(Duration::from_secs(1), 3));
    let running = bench.start(json!({"containers": [{"name": "a"}]}));
    let mut starts = Vec::new();
    for count in 0..5 {
        running
            .until("restarted", |status| {
                let one = container(status, "a");
                one.restart_count == count
                    && one.state.as_ref().is_some_and(|state| state.running.is_some())
            })
            .await;
        starts.push(bench.elapsed());
    }
    // Ends after 1 s each time: at once, then after 10, 20 and 40 s.
    assert_eq!(starts, [0, 1, 12, 33, 74]);
    let status =
        running.until("backing off", |status| waiting(status, "a") == "CrashLoopBackOff").await;
    let one = container(&status, "a");
    let last = one.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    let message = one.state.as_ref().unwrap().waiting.as_ref().unwrap().message.clone().unwrap();
    assert_eq!(message, "back-off 1m20s restarting failed container=a pod=p_ns(u)");
    assert_eq!(status.phase.as_deref(), Some("Running"));
}

#[tokio::test(start_paused = true)]
async fn a_killed_container_is_restarted_at_once() {
    let bench = Bench::new();
    let running = bench.start(json!({"containers": [{"name": "a"}]}));
    running.until("ready", is_ready).await;
    let id = bench.id_of("a").await;
    bench.runtime.exit_container(&id, 137);
    let status = running
        .until("restarted", |status| container(status, "a").restart_count == 1 && is_ready(status))
        .await;
    let last = container(&status, "a").last_state.clone().unwrap().terminated.unwrap();
    assert_eq!(last.exit_code, 137);
    assert_eq!(bench.elapsed(), 0);
}

#[tokio::test(start_paused = true)]
async fn restart_policies_end_pods() {
    for (policy, code, phase) in
        [("Never", 0, "Succeeded"), ("Never", 1, "Failed"), ("OnFailure", 0, "Succeeded")]
    {
        let bench = Bench::new();
        bench.runtime.script("a", Script::exits(Duration::from_secs(1), code));
        let running = bench.start(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let status = running.until_phase(phase).await;
        assert!(!is_ready(&status));
        let end = container(&status, "a").state.clone().unwrap().terminated.unwrap();
        assert_eq!(end.exit_code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn init_containers_come_first_and_a_sidecar_stays() {
    let bench = Bench::new();
    bench.runtime.script("i", Script::exits(Duration::from_secs(5), 0));
    let running = bench.start(json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}],
        "containers": [{"name": "a"}]}));
    let early =
        running.until("initializing", |status| waiting(status, "a") == "PodInitializing").await;
    assert_eq!(early.phase.as_deref(), Some("Pending"));
    let status = running.until("ready", is_ready).await;
    assert_eq!(bench.elapsed(), 5);
    assert!(container(&status, "s").ready && container(&status, "i").ready);
    let starts: Vec<_> = bench
        .runtime
        .calls()
        .into_iter()
        .filter(|call| call.starts_with("start_container"))
        .collect();
    assert_eq!(starts, ["start_container s", "start_container i", "start_container a"]);
}

#[tokio::test(start_paused = true)]
async fn images_that_cannot_be_pulled_back_off() {
    let bench = Bench::new();
    bench.runtime.script_pull("none:1", Pull::Fails(Error::NotFound("none:1".into())));
    bench.runtime.script_pull("none:1", Pull::Fails(Error::NotFound("none:1".into())));
    bench.runtime.script_pull("none:1", Pull::Arrives(Duration::from_secs(1)));
    let running = bench.start(json!({"containers": [{"name": "a", "image": "none:1"}]}));
    running.until("failing", |status| waiting(status, "a") == "ErrImagePull").await;
    running.until("ready", is_ready).await;
    assert_eq!(bench.elapsed(), 31);
}

#[tokio::test(start_paused = true)]
async fn going_away_asks_the_gate_then_the_program_then_insists() {
    let bench = Bench::new();
    bench.runtime.script("a", Script { heeds_stop_signal: false, ..Script::default() });
    let running = bench.start(json!({"containers": [{"name": "a"}]}));
    running.until("ready", is_ready).await;
    running.delete(7);
    running.task.await.unwrap();
    assert!(bench.gate.0.lock().is_some());
    assert_eq!(bench.elapsed(), 7);
    let end = running.handle.status.borrow().clone().unwrap();
    let end = container(&end, "a").state.clone().unwrap().terminated.unwrap();
    assert_eq!(end.exit_code, 137);
    assert!(!bench.node.pod_dir("u").exists());
    assert!(bench.runtime.list_containers(&ContainerFilter::default()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shorter_grace_cuts_a_longer_one() {
    let bench = Bench::new();
    bench.runtime.script("a", Script { heeds_stop_signal: false, ..Script::default() });
    let running = bench.start(json!({"containers": [{"name": "a"}]}));
    running.until("ready", is_ready).await;
    running.delete(600);
    tokio::time::sleep(Duration::from_secs(10)).await;
    running.delete(0);
    running.task.await.unwrap();
    assert!(bench.elapsed() < 14, "{}", bench.elapsed());
}

#[tokio::test(start_paused = true)]
async fn hooks_run_and_a_failed_post_start_restarts() {
    let bench = Bench::new();
    let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let noted = asked.clone();
    bench.runtime.script_exec(Arc::new(move |name, cmd| {
        noted.lock().push(format!("{name}:{}", cmd.join(" ")));
        let first = noted.lock().len() == 1;
        ExecSyncResponse { exit_code: i32::from(first), ..ExecSyncResponse::default() }
    }));
    let running = bench.start(json!({"containers": [{"name": "a", "lifecycle": {
        "postStart": {"exec": {"command": ["begin"]}}, "preStop": {"exec": {"command": ["end"]}}}}]}));
    running
        .until("ready", |status| is_ready(status) && container(status, "a").restart_count == 1)
        .await;
    running.delete(30);
    running.task.await.unwrap();
    assert_eq!(*asked.lock(), ["a:begin", "a:end", "a:begin", "a:end"]);
}

#[tokio::test(start_paused = true)]
async fn probes_gate_readiness_and_restart() {
    let bench = Bench::new();
    let healthy = Arc::new(parking_lot::Mutex::new((false, true)));
    let state = healthy.clone();
    bench.runtime.script_exec(Arc::new(move |_, cmd| {
        let (ready, alive) = *state.lock();
        let good = if cmd[0] == "ready" { ready } else { alive };
        ExecSyncResponse { exit_code: i32::from(!good), ..ExecSyncResponse::default() }
    }));
    let running = bench.start(json!({"containers": [{"name": "a",
        "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 2},
        "livenessProbe": {"exec": {"command": ["alive"]}, "periodSeconds": 5, "failureThreshold": 2}}]}));
    let status = running.until_phase("Running").await;
    assert!(!is_ready(&status));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!is_ready(running.handle.status.borrow().as_ref().unwrap()));
    healthy.lock().0 = true;
    running.until("ready", is_ready).await;
    assert!(bench.elapsed() <= 32);
    healthy.lock().1 = false;
    running.until("restarted", |status| container(status, "a").restart_count == 1).await;
    assert!(bench.elapsed() <= 42, "{}", bench.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_sandbox_is_made_anew() {
    let bench = Bench::new();
    let running = bench.start(json!({"containers": [{"name": "a"}]}));
    running.until("ready", is_ready).await;
    let sandboxes = bench.runtime.list_pod_sandbox(&Default::default()).await.unwrap();
    bench.runtime.kill_sandbox(&sandboxes[0].id);
    running
        .until("restarted", |status| is_ready(status) && container(status, "a").restart_count == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_kubelet_takes_over_without_restarting() {
    let bench = Bench::new();
    let spec = json!({"containers": [{"name": "a"}]});
    let first = bench.start(spec.clone());
    first.until("ready", is_ready).await;
    let id = bench.id_of("a").await;
    first.drain.cancel();
    first.task.await.unwrap();
    let second = bench.start(spec);
    let status = second.until("ready", is_ready).await;
    assert_eq!(container(&status, "a").restart_count, 0);
    assert_eq!(bench.id_of("a").await, id);
}

#[tokio::test(start_paused = true)]
async fn a_changed_image_restarts_in_place() {
    let bench = Bench::new();
    let running = bench.start(json!({"containers": [{"name": "a"}]}));
    running.until("ready", is_ready).await;
    running.handle.desired.send_modify(|desired| {
        desired.pod = Arc::new(pod(json!({"containers": [{"name": "a", "image": "image:2"}]})));
    });
    let status = running
        .until("restarted", |status| container(status, "a").restart_count == 1 && is_ready(status))
        .await;
    assert_eq!(container(&status, "a").image, "image:2");
}

#[tokio::test(start_paused = true)]
async fn deadlines_and_rejections_fail_pods() {
    let bench = Bench::new();
    let running = bench.start(json!({"activeDeadlineSeconds": 5, "containers": [{"name": "a"}]}));
    let status = running.until_phase("Failed").await;
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(bench.elapsed(), 5);
    let bench = Bench::new();
    let verdict = Verdict { reason: "NodePorts".into(), message: "m".into() };
    let desired = Desired {
        pod: Arc::new(pod(json!({"containers": [{"name": "a"}]}))),
        gone: false,
        rejected: Some(verdict),
    };
    let (worker, handle) = Worker::new(bench.node.clone(), desired);
    let drain = Drain::new();
    let task = tokio::spawn(worker.run(drain.clone()));
    let running = Running { handle, task, drain };
    let status = running.until_phase("Failed").await;
    assert_eq!(status.reason.as_deref(), Some("NodePorts"));
    assert!(bench.runtime.calls().iter().all(|call| !call.starts_with("run_pod_sandbox")));
}

#[tokio::test(start_paused = true)]
async fn config_maps_are_waited_for_and_followed() {
    let bench = Bench::new();
    let running = bench.start(json!({
        "containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "cm"}}]}));
    running.until_phase("Pending").await;
    bench.config_map("k", "one", 1);
    running.until("ready", is_ready).await;
    let file = bench.volume().join("kubernetes.io~configmap/v/k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
    bench.config_map("k", "two", 2);
    let changed = async {
        while std::fs::read_to_string(&file).unwrap() != "two" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn missing_env_sources_are_a_config_error() {
    let bench = Bench::new();
    let running = bench.start(json!({"containers": [{"name": "a", "env": [{"name": "X",
        "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}]}));
    let status = running
        .until("refused", |status| waiting(status, "a") == "CreateContainerConfigError")
        .await;
    let message = container(&status, "a").state.clone().unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "configmap \"cm\" not found");
    bench.config_map("k", "v", 1);
    running.until("ready", is_ready).await;
}

fn sized(cpu: &str, policy: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": "32Mi"});
    json!({"containers": [{"name": "a", "resources": {"limits": amounts, "requests": amounts},
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}]}]})
}

fn limit(status: &PodStatus) -> String {
    let resources = container(status, "a").resources.clone().unwrap();
    resources.limits.unwrap()["cpu"].0.clone()
}

fn resize(running: &Running, spec: Value, generation: i64) {
    running.handle.desired.send_modify(|desired| {
        let mut pod = pod(spec);
        pod.metadata.generation = Some(generation);
        desired.pod = Arc::new(pod);
    });
}

fn is_resizing(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|one| one.type_.starts_with("PodResize"))
}

#[tokio::test(start_paused = true)]
async fn a_running_container_is_resized() {
    let bench = Bench::new();
    let running = bench.start(sized("100m", "NotRequired"));
    let status = running.until("ready", is_ready).await;
    assert_eq!(limit(&status), "100m");
    let id = bench.id_of("a").await;
    resize(&running, sized("200m", "NotRequired"), 2);
    let status = running
        .until("resized", |status| {
            status.observed_generation == Some(2) && !is_resizing(status) && is_ready(status)
        })
        .await;
    assert_eq!((limit(&status).as_str(), bench.id_of("a").await), ("200m", id.clone()));
    let held = bench.runtime.container_status(&id).await.unwrap().resources.unwrap().linux;
    assert_eq!((held.cpu_quota, held.cpu_shares), (20_000, 204));
    // The next kubelet knows what runs: it does nothing.
    running.drain.cancel();
    running.task.await.unwrap();
    let calls = bench.runtime.calls().len();
    let second = bench.start(sized("200m", "NotRequired"));
    second.until("ready", is_ready).await;
    let since = bench.runtime.calls().split_off(calls);
    assert!(since.iter().all(|call| !call.starts_with("update")), "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resize_restarts_where_the_policy_says_so() {
    let bench = Bench::new();
    let running = bench.start(sized("100m", "RestartContainer"));
    running.until("ready", is_ready).await;
    for count in 1..3 {
        resize(
            &running,
            sized(&format!("{}m", 100 + count), "RestartContainer"),
            1 + i64::from(count),
        );
        running
            .until("restarted", |status| {
                container(status, "a").restart_count == count
                    && is_ready(status)
                    && !is_resizing(status)
            })
            .await;
    }
    assert_eq!(bench.elapsed(), 0, "a restart for a resize does not back off");
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_fails_is_tried_again() {
    let bench = Bench::new();
    let running = bench.start(sized("100m", "NotRequired"));
    running.until("ready", is_ready).await;
    bench.runtime.fail_next("update_container_resources", Error::Internal("no".into()));
    resize(&running, sized("200m", "NotRequired"), 2);
    let status = running.until("failing", is_resizing).await;
    let failed =
        status.conditions.unwrap().into_iter().find(|one| one.type_ == "PodResizeInProgress");
    assert_eq!(failed.and_then(|one| one.observed_generation), Some(2));
    running.until("resized", |status| !is_resizing(status) && limit(status) == "200m").await;
}
