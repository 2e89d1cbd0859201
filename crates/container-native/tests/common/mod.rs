//! A node of one test: a data folder, a cgroup, an image, a runtime.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "each test binary uses a part of it"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use container_native::image::{BuildConfig, ImageStore};
use container_native::{LoopbackOnly, NativeOptions, NativeRuntime};
use container_runtime::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus, ImageSpec, NamespaceMode,
    PodSandboxConfig, PodSandboxMetadata, RuntimeService,
};
use futures::StreamExt;

pub(crate) const IMAGE: &str = "busybox:1.28";
const TOOLS: [&str; 22] = [
    "sh", "sleep", "echo", "cat", "ls", "grep", "wc", "ip", "mount", "hostname", "test", "xargs",
    "tr", "id", "ps", "tty", "stty", "touch", "nc", "env", "true", "kill",
];

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(crate) fn sh(script: &str) -> Vec<String> {
    words(&["sh", "-c", script])
}

/// The process whose cgroups they are: this one, or the test that started it.
fn owner() -> String {
    std::env::var("FERRY_TEST_OWNER").unwrap_or_else(|_| std::process::id().to_string())
}

/// The shim under test; measurements give a release binary.
fn shim_binary() -> PathBuf {
    std::env::var_os("FERRY_TEST_SHIM")
        .map_or_else(|| env!("CARGO_BIN_EXE_ferry-shim").into(), PathBuf::from)
}

pub(crate) type Pod = (String, PodSandboxConfig);

pub(crate) struct Node {
    pub(crate) runtime: Arc<NativeRuntime>,
    name: String,
    data_dir: PathBuf,
    closed: bool,
    // The last: its folder goes when everything else has gone.
    folder: tempfile::TempDir,
}

/// A busybox image in a store.
pub(crate) fn busybox(store: &ImageStore, folder: &Path) {
    let root = folder.join("busybox");
    for below in ["bin", "etc", "tmp", "proc"] {
        std::fs::create_dir_all(root.join(below)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for tool in TOOLS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nwww:x:34:\naudio:x:29:web\n").unwrap();
    store
        .build(
            &root,
            &BuildConfig { cmd: vec!["/bin/sh".into()], ..BuildConfig::default() },
            &[IMAGE.into()],
        )
        .unwrap();
}

impl Node {
    pub(crate) async fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("ferry-native-").tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let store = ImageStore::open(data_dir.join("agent/images")).unwrap();
        busybox(&store, folder.path());
        let runtime = Self::open(name, &data_dir).await;
        Self { runtime, name: name.into(), data_dir, closed: false, folder }
    }

    /// A node around a runtime of another test's folder, which it leaves as it is.
    pub(crate) fn around(runtime: Arc<NativeRuntime>, name: &str, data_dir: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { runtime, name: name.into(), data_dir: data_dir.into(), closed: true, folder }
    }

    pub(crate) async fn open(name: &str, data_dir: &Path) -> Arc<NativeRuntime> {
        let options = NativeOptions {
            shim_binary: shim_binary(),
            cgroup_root: format!("ferry-test-{name}-{}", owner()),
            ..NativeOptions::new(data_dir, Arc::new(LoopbackOnly))
        };
        NativeRuntime::open(options).await.unwrap()
    }

    pub(crate) fn cgroup_root(&self) -> String {
        format!("ferry-test-{}-{}", self.name, owner())
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn logs(&self) -> String {
        self.folder.path().join("logs").display().to_string()
    }

    pub(crate) async fn pod(&self, name: &str, change: impl FnOnce(&mut PodSandboxConfig)) -> Pod {
        let mut config = PodSandboxConfig {
            metadata: PodSandboxMetadata {
                name: name.into(),
                uid: name.into(),
                namespace: "test".into(),
                attempt: 0,
            },
            hostname: name.into(),
            log_directory: format!("{}/{name}", self.logs()),
            ..PodSandboxConfig::default()
        };
        config.linux.security_context.namespace_options.pid = NamespaceMode::Container;
        change(&mut config);
        let id = self.runtime.run_pod_sandbox(&config, "").await.unwrap();
        (id, config)
    }

    pub(crate) async fn create(
        &self,
        pod: &Pod,
        name: &str,
        command: &[String],
        change: impl FnOnce(&mut ContainerConfig),
    ) -> String {
        let mut config = ContainerConfig {
            metadata: ContainerMetadata { name: name.into(), attempt: 0 },
            image: ImageSpec::named(IMAGE),
            command: command.to_vec(),
            log_path: format!("{name}/0.log"),
            ..ContainerConfig::default()
        };
        config.linux.security_context.namespace_options =
            pod.1.linux.security_context.namespace_options.clone();
        change(&mut config);
        self.runtime.create_container(&pod.0, &config, &pod.1).await.unwrap()
    }

    pub(crate) async fn started(&self, pod: &Pod, name: &str, command: &[String]) -> String {
        let id = self.create(pod, name, command, |_| {}).await;
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    /// Waits for a container's end, by events.
    pub(crate) async fn ended(&self, id: &str) -> ContainerStatus {
        let mut events = self.runtime.get_container_events().await.unwrap();
        let wait = async {
            loop {
                let status = self.runtime.container_status(id).await.unwrap();
                if status.state == ContainerState::Exited {
                    return status;
                }
                events.next().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it ends")
    }

    pub(crate) async fn run_to_end(&self, id: &str) -> ContainerStatus {
        self.runtime.start_container(id).await.unwrap();
        self.ended(id).await
    }

    pub(crate) async fn wait_for_log(&self, path: &str, text: &str) {
        for _ in 0..500 {
            if std::fs::read_to_string(path).unwrap_or_default().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} never has {text}: {:?}", std::fs::read_to_string(path));
    }

    pub(crate) fn shim_pid(&self, sandbox: &str) -> i32 {
        let path = self.data_dir.join("agent/containers").join(sandbox).join("sandbox.json");
        let text = std::fs::read_to_string(path).unwrap();
        let start = text.find("\"shim\":{\"pid\":").unwrap() + "\"shim\":{\"pid\":".len();
        text[start..].split(',').next().unwrap().parse().unwrap()
    }

    /// CPU that the shim's children have used: helpers, and the programs that they became.
    pub(crate) fn cpu_of_children(&self, sandbox: &str) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.shim_pid(sandbox))).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // `cutime` and `cstime`, in hundredths of a second.
        let ticks: u64 = fields[13..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn shim_memory(&self, sandbox: &str) -> String {
        let path = format!("/proc/{}/smaps_rollup", self.shim_pid(sandbox));
        let text = std::fs::read_to_string(path).unwrap();
        let wanted = ["Rss", "Pss", "Private_Clean", "Private_Dirty", "Pss_Dirty"];
        let of = |line: &&str| wanted.iter().any(|w| line.starts_with(&format!("{w}:")));
        text.lines()
            .filter(of)
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Forgets the runtime without telling it, as a crash does.
    pub(crate) fn abandon(&mut self) {
        // The watchers hold no strong reference, so this is the last one.
        assert_eq!(Arc::strong_count(&self.runtime), 1);
    }

    pub(crate) async fn reopen(&mut self) {
        self.runtime = Self::open(&self.name, &self.data_dir).await;
    }

    /// Removes everything and checks that nothing is left.
    pub(crate) async fn close(mut self) {
        self.closed = true;
        for pod in self.runtime.list_pod_sandbox(&Default::default()).await.unwrap() {
            self.runtime.remove_pod_sandbox(&pod.id).await.unwrap();
        }
        let root = self.cgroup_root();
        let left = container_native::clean(&self.data_dir, &root);
        assert_eq!(left, Vec::<String>::new());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.path().display().to_string();
        assert!(!mounts.contains(&folder), "mounts are left:\n{mounts}");
        for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            assert!(!entry.path().join(&root).exists(), "cgroup is left: {:?}", entry.path());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !self.closed {
            // The test has failed; what it made must not outlive it all the same.
            println!("left: {:?}", container_native::clean(&self.data_dir, &self.cgroup_root()));
        }
    }
}
