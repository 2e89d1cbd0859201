//! What every runtime must do, as one function that a runtime's tests call.
//!
//! Each check is named in the panic that it raises, and works on a sandbox of its own that it
//! removes. Programs used are those that any shell has: `sh -c "exit 3"`, `sleep`, `echo`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::io::AsyncReadExt;

use crate::{
    Container, ContainerConfig, ContainerEventType, ContainerFilter, ContainerMetadata,
    ContainerState, ContainerStatus, Error, ExecRequest, ImageFilter, ImageService, ImageSpec,
    NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxFilter, PodSandboxMetadata,
    PodSandboxState, RuntimeService,
};

/// The runtime under test and what it needs.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its runtime service.
    pub runtime: Arc<dyn RuntimeService>,
    /// Its image service.
    pub images: Arc<dyn ImageService>,
    /// An image that it has, with `sh`, `sleep` and `echo`.
    pub image: String,
    /// Where sandboxes may put logs.
    pub log_directory: String,
}

/// Runs all checks, one after another.
///
/// # Panics
/// When a check fails, with its name.
pub async fn run(subject: &Subject) {
    speaks_of_itself(subject).await;
    sandbox_life(subject).await;
    container_life(subject).await;
    exit_codes_and_reasons(subject).await;
    a_start_that_fails(subject).await;
    events_are_pushed(subject).await;
    stop_kills_in_the_end(subject).await;
    a_stopped_sandbox_ends_its_containers(subject).await;
    unknown_ids(subject).await;
    exec_runs_in_running_containers_only(subject).await;
    images_are_found_by_every_name(subject).await;
}

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn sandbox_config(subject: &Subject, name: &str) -> PodSandboxConfig {
    let mut config = PodSandboxConfig {
        metadata: PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-of-{name}"),
            namespace: "conformance".into(),
            attempt: 0,
        },
        hostname: name.into(),
        log_directory: format!("{}/{name}", subject.log_directory),
        labels: [("pod".to_owned(), name.to_owned())].into(),
        ..PodSandboxConfig::default()
    };
    config.linux.security_context.namespace_options =
        NamespaceOption { pid: NamespaceMode::Container, ..NamespaceOption::default() };
    config
}

fn container_config(subject: &Subject, name: &str, command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: ContainerMetadata { name: name.into(), attempt: 0 },
        image: ImageSpec::named(&subject.image),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        labels: [("container".to_owned(), name.to_owned())].into(),
        log_path: format!("{name}/0.log"),
        ..ContainerConfig::default()
    }
}

async fn sandbox(subject: &Subject, name: &str) -> (String, PodSandboxConfig) {
    let config = sandbox_config(subject, name);
    let id = subject.runtime.run_pod_sandbox(&config, "").await.expect("run_pod_sandbox");
    (id, config)
}

async fn create(
    subject: &Subject,
    sandbox: &(String, PodSandboxConfig),
    name: &str,
    command: &[&str],
) -> String {
    let config = container_config(subject, name, command);
    subject
        .runtime
        .create_container(&sandbox.0, &config, &sandbox.1)
        .await
        .expect("create_container")
}

async fn status(subject: &Subject, id: &str) -> ContainerStatus {
    subject.runtime.container_status(id).await.expect("container_status")
}

/// Waits for the end of a container by events alone, as a kubelet does.
async fn started_and_ended(subject: &Subject, id: &str) -> ContainerStatus {
    let mut events = subject.runtime.get_container_events().await.expect("events");
    subject.runtime.start_container(id).await.expect("start_container");
    let wait = async {
        loop {
            let now = status(subject, id).await;
            if now.state == ContainerState::Exited {
                return now;
            }
            events.next().await.expect("the event stream goes on");
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the end of a container is an event")
}

async fn remove(subject: &Subject, sandbox: &str) {
    subject.runtime.stop_pod_sandbox(sandbox).await.expect("stop_pod_sandbox");
    subject.runtime.remove_pod_sandbox(sandbox).await.expect("remove_pod_sandbox");
}

async fn speaks_of_itself(subject: &Subject) {
    let version = subject.runtime.version().await.expect("version");
    assert_eq!(version.runtime_api_version, "v1");
    assert!(!version.runtime_name.is_empty());
    let status = subject.runtime.status().await.expect("status");
    assert!(status.holds("RuntimeReady"), "RuntimeReady: {status:?}");
    assert!(status.holds("NetworkReady"), "NetworkReady: {status:?}");
}

async fn sandbox_life(subject: &Subject) {
    let (id, config) = sandbox(subject, "life").await;
    let again = subject.runtime.run_pod_sandbox(&config, "").await;
    assert!(matches!(again, Err(Error::AlreadyExists(_))), "one sandbox an identity: {again:?}");

    let status = subject.runtime.pod_sandbox_status(&id).await.expect("pod_sandbox_status");
    assert_eq!(status.state, PodSandboxState::Ready);
    assert_eq!(status.metadata, config.metadata);
    assert!(status.created_at > 0);
    assert!(!status.network.expect("a pod network").ip.is_empty());

    let by_label = |value: &str| PodSandboxFilter {
        label_selector: [("pod".to_owned(), value.to_owned())].into(),
        ..PodSandboxFilter::default()
    };
    let runtime = &subject.runtime;
    let list = runtime.list_pod_sandbox(&by_label("life")).await.expect("list_pod_sandbox");
    assert_eq!(list.iter().map(|s| &s.id).collect::<Vec<_>>(), [&id]);
    assert!(runtime.list_pod_sandbox(&by_label("other")).await.expect("list").is_empty());

    for _ in 0..2 {
        runtime.stop_pod_sandbox(&id).await.expect("stopping is idempotent");
    }
    let status = runtime.pod_sandbox_status(&id).await.expect("a stopped sandbox is remembered");
    assert_eq!(status.state, PodSandboxState::NotReady);
    for _ in 0..2 {
        runtime.remove_pod_sandbox(&id).await.expect("removing is idempotent");
    }
    let gone = runtime.pod_sandbox_status(&id).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "a removed sandbox is gone: {gone:?}");
}

async fn container_life(subject: &Subject) {
    let pod = sandbox(subject, "containers").await;
    let id = create(subject, &pod, "sleeper", &["sleep", "1000"]).await;
    let twice = container_config(subject, "sleeper", &["sleep", "1000"]);
    let twice = subject.runtime.create_container(&pod.0, &twice, &pod.1).await;
    assert!(matches!(twice, Err(Error::AlreadyExists(_))), "one container an identity: {twice:?}");

    let created = status(subject, &id).await;
    assert_eq!(created.state, ContainerState::Created);
    assert_eq!((created.started_at, created.finished_at), (0, 0));
    assert_eq!(created.log_path, format!("{}/sleeper/0.log", pod.1.log_directory));

    subject.runtime.start_container(&id).await.expect("start_container");
    let running = status(subject, &id).await;
    assert_eq!(running.state, ContainerState::Running);
    assert!(running.started_at >= running.created_at);
    let again = subject.runtime.start_container(&id).await;
    assert!(matches!(again, Err(Error::FailedPrecondition(_))), "started once: {again:?}");

    let of_pod = ContainerFilter { pod_sandbox_id: pod.0.clone(), ..ContainerFilter::default() };
    let list = subject.runtime.list_containers(&of_pod).await.expect("list_containers");
    assert!(
        matches!(&*list, [Container { state: ContainerState::Running, .. }]),
        "the list knows the state: {list:?}"
    );
    subject.runtime.container_stats(&id).await.expect("container_stats");
    subject.runtime.pod_sandbox_stats(&pod.0).await.expect("pod_sandbox_stats");

    subject.runtime.remove_container(&id).await.expect("removing ends a running container");
    let list = subject.runtime.list_containers(&of_pod).await.expect("list_containers");
    assert!(list.is_empty(), "a removed container is gone: {list:?}");
    subject.runtime.remove_container(&id).await.expect("removing is idempotent");
    remove(subject, &pod.0).await;
}

async fn exit_codes_and_reasons(subject: &Subject) {
    let pod = sandbox(subject, "exits").await;
    for (name, command, code, reason) in
        [("zero", "exit 0", 0, "Completed"), ("three", "exit 3", 3, "Error")]
    {
        let id = create(subject, &pod, name, &["sh", "-c", command]).await;
        let ended = started_and_ended(subject, &id).await;
        assert_eq!((ended.exit_code, &*ended.reason), (code, reason), "of {name}");
        assert!(ended.finished_at >= ended.started_at && ended.started_at > 0, "times: {ended:?}");
    }
    remove(subject, &pod.0).await;
}

async fn a_start_that_fails(subject: &Subject) {
    let pod = sandbox(subject, "badstart").await;
    let id = create(subject, &pod, "missing", &["/does/not/exist"]).await;
    let started = subject.runtime.start_container(&id).await;
    assert!(started.is_err(), "a program that is not there cannot start");
    let ended = status(subject, &id).await;
    assert_eq!(ended.state, ContainerState::Exited);
    assert_eq!((ended.exit_code, &*ended.reason), (128, "StartError"));
    assert!(!ended.message.is_empty());

    let mut config = container_config(subject, "noimage", &["sleep", "1000"]);
    config.image = ImageSpec::named("ferry.local/never-built:v0");
    let missing = subject.runtime.create_container(&pod.0, &config, &pod.1).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "no image, no container: {missing:?}");
    remove(subject, &pod.0).await;
}

async fn events_are_pushed(subject: &Subject) {
    let mut events = subject.runtime.get_container_events().await.expect("events");
    let pod = sandbox(subject, "events").await;
    let id = create(subject, &pod, "short", &["sh", "-c", "exit 0"]).await;
    subject.runtime.start_container(&id).await.expect("start_container");
    let mut seen = Vec::new();
    let collect = async {
        while seen.last() != Some(&ContainerEventType::ContainerStoppedEvent) {
            let event = events.next().await.expect("the event stream goes on");
            if event.container_id == id {
                seen.push(event.container_event_type);
                let known = event.containers_statuses.iter().any(|c| c.id == id);
                assert!(known, "an event carries the statuses of its pod's containers");
            }
        }
    };
    tokio::time::timeout(PATIENCE, collect).await.expect("events come by themselves");
    assert_eq!(
        seen,
        [
            ContainerEventType::ContainerCreatedEvent,
            ContainerEventType::ContainerStartedEvent,
            ContainerEventType::ContainerStoppedEvent
        ]
    );
    remove(subject, &pod.0).await;
}

async fn stop_kills_in_the_end(subject: &Subject) {
    let pod = sandbox(subject, "stops").await;
    let id = create(subject, &pod, "sleeper", &["sleep", "1000"]).await;
    subject.runtime.start_container(&id).await.expect("start_container");
    subject.runtime.stop_container(&id, Duration::ZERO).await.expect("stop_container");
    let ended = status(subject, &id).await;
    assert_eq!((ended.state, ended.exit_code), (ContainerState::Exited, 137));
    subject.runtime.stop_container(&id, PATIENCE).await.expect("stopping is idempotent");
    remove(subject, &pod.0).await;
}

async fn a_stopped_sandbox_ends_its_containers(subject: &Subject) {
    let pod = sandbox(subject, "ends").await;
    let id = create(subject, &pod, "sleeper", &["sleep", "1000"]).await;
    subject.runtime.start_container(&id).await.expect("start_container");
    subject.runtime.stop_pod_sandbox(&pod.0).await.expect("stop_pod_sandbox");
    assert_eq!(status(subject, &id).await.state, ContainerState::Exited);
    let config = container_config(subject, "late", &["sleep", "1000"]);
    let late = subject.runtime.create_container(&pod.0, &config, &pod.1).await;
    assert!(late.is_err(), "a stopped sandbox takes no containers");
    remove(subject, &pod.0).await;
    let gone = subject.runtime.container_status(&id).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "containers go with their sandbox: {gone:?}");
}

async fn unknown_ids(subject: &Subject) {
    let runtime = &subject.runtime;
    runtime.stop_pod_sandbox("unknown").await.expect("stopping what is not there is done");
    runtime.remove_pod_sandbox("unknown").await.expect("removing what is not there is done");
    runtime.stop_container("unknown", PATIENCE).await.expect("stopping what is not there is done");
    runtime.remove_container("unknown").await.expect("removing what is not there is done");
    let failures = [
        runtime.start_container("unknown").await.err(),
        runtime.container_status("unknown").await.err(),
        runtime.pod_sandbox_status("unknown").await.err(),
        runtime.container_stats("unknown").await.err(),
        runtime.exec_sync("unknown", &["true".into()], PATIENCE).await.err(),
        runtime.port_forward("unknown", 80).await.err(),
    ];
    for failure in failures {
        assert!(matches!(failure, Some(Error::NotFound(_))), "an unknown id: {failure:?}");
    }
}

async fn exec_runs_in_running_containers_only(subject: &Subject) {
    let pod = sandbox(subject, "execs").await;
    let id = create(subject, &pod, "sleeper", &["sleep", "1000"]).await;
    let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
    let early = subject.runtime.exec_sync(&id, &words(&["echo"]), PATIENCE).await;
    assert!(matches!(early, Err(Error::FailedPrecondition(_))), "not running yet: {early:?}");
    subject.runtime.start_container(&id).await.expect("start_container");
    let said = subject.runtime.exec_sync(&id, &words(&["echo", "a", "b"]), PATIENCE).await;
    let said = said.expect("exec_sync");
    assert_eq!((&*said.stdout, said.exit_code), (&b"a b\n"[..], 0));
    let failed = subject.runtime.exec_sync(&id, &words(&["sh", "-c", "exit 7"]), PATIENCE).await;
    assert_eq!(failed.expect("a failing command is a result").exit_code, 7);

    let request = ExecRequest {
        container_id: id.clone(),
        cmd: words(&["echo", "streamed"]),
        stdout: true,
        stderr: true,
        ..ExecRequest::default()
    };
    let mut streams = subject.runtime.exec(&request).await.expect("exec");
    let mut out = String::new();
    let mut stdout = streams.stdout.take().expect("stdout was asked for");
    stdout.read_to_string(&mut out).await.expect("stdout ends");
    assert_eq!(out, "streamed\n");
    assert_eq!(streams.exit.await.expect("exit"), 0);
    remove(subject, &pod.0).await;
}

async fn images_are_found_by_every_name(subject: &Subject) {
    let images = &subject.images;
    let find = |name: String| async move {
        images.image_status(&ImageSpec::named(name)).await.expect("image_status")
    };
    let image = find(subject.image.clone()).await.expect("the image of the suite");
    for name in image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]) {
        assert_eq!(find(name.clone()).await.as_ref(), Some(&image), "by {name}");
    }
    assert_eq!(find("ferry.local/never-built:v0".into()).await, None);
    let all = images.list_images(&ImageFilter::default()).await.expect("list_images");
    assert!(all.contains(&image));
    let missing = ImageSpec::named("ferry.local/never-built:v0");
    images.remove_image(&missing).await.expect("removing what is not there is done");
    let info = images.image_fs_info().await.expect("image_fs_info");
    assert!(!info.image_filesystems.is_empty());
}
