//! The in-memory runtime passes the suite, and its scripts do what they say.

use std::sync::Arc;
use std::time::Duration;

use container_runtime::memory::{MemoryRuntime, Pull, Script};
use container_runtime::{
    ContainerConfig, ContainerState, Error, ImageService, ImageSpec, PodSandboxConfig,
    RuntimeService, conformance,
};

#[tokio::test(start_paused = true)]
async fn conformance() {
    let runtime = MemoryRuntime::new(base::clock::system());
    runtime.add_image("docker.io/library/busybox:1.28");
    conformance::run(&conformance::Subject {
        runtime: Arc::new(runtime.clone()),
        images: Arc::new(runtime),
        image: "docker.io/library/busybox:1.28".into(),
        log_directory: "/var/log/pods".into(),
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn scripts() {
    let runtime = MemoryRuntime::new(base::clock::system());
    runtime.script_pull("web", Pull::Fails(Error::Unavailable("registry is away".into())));
    runtime.script_pull("web", Pull::Arrives(Duration::from_secs(3)));
    let web = ImageSpec::named("web");
    assert!(runtime.pull_image(&web, None, None).await.is_err());
    runtime.pull_image(&web, None, None).await.unwrap();

    runtime.script("web", Script::exits(Duration::from_secs(5), 9));
    runtime.fail_next("run_pod_sandbox", Error::ResourceExhausted("no address is free".into()));
    let pod = PodSandboxConfig::default();
    assert!(runtime.run_pod_sandbox(&pod, "").await.is_err());
    let sandbox = runtime.run_pod_sandbox(&pod, "").await.unwrap();
    let mut config = ContainerConfig { image: web, ..ContainerConfig::default() };
    config.metadata.name = "web".into();
    let id = runtime.create_container(&sandbox, &config, &pod).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    assert_eq!(runtime.container_status(&id).await.unwrap().state, ContainerState::Running);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(runtime.container_status(&id).await.unwrap().exit_code, 9);
    assert!(runtime.calls().contains(&"start_container web".to_owned()));
}
