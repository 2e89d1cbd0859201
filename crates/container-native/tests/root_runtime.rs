//! The native runtime on the real kernel: the conformance suite, and what only it can break.
//!
//! Each test has a data folder and a cgroup of its own and leaves nothing behind.

mod common;

use std::time::Duration;

use common::{Node, sh, words};
use container_runtime::{ContainerState, ImageService, RuntimeService, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_conformance() {
    let node = Node::new("conformance").await;
    conformance::run(&conformance::Subject {
        runtime: node.runtime.clone(),
        images: node.runtime.clone(),
        image: "busybox:1.28".into(),
        log_directory: node.logs(),
    })
    .await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_log_format_and_rotation() {
    let node = Node::new("logs").await;
    let pod = node.pod("logs", |_| {}).await;
    let script = "echo one; echo two >&2; printf unfinished; sleep 1000";
    let id = node.started(&pod, "c", &sh(script)).await;
    let path = node.runtime.container_status(&id).await.unwrap().log_path;
    node.wait_for_log(&path, "stderr F two").await;
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.ends_with("one")).unwrap();
    let parts: Vec<&str> = line.splitn(4, ' ').collect();
    assert_eq!(parts[1..], ["stdout", "F", "one"]);
    assert_eq!(parts[0].len(), "2006-01-02T15:04:05.000000000Z".len());
    std::fs::rename(&path, format!("{path}.1")).unwrap();
    node.runtime.reopen_container_log(&id).await.unwrap();
    node.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    let rest = std::fs::read_to_string(&path).unwrap();
    assert!(rest.trim_end().ends_with("stdout P unfinished"), "{rest}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_signals_codes_and_oom() {
    let node = Node::new("signals").await;
    let pod = node.pod("signals", |_| {}).await;
    // A shell that heeds SIGTERM ends with its own code.
    let polite = node
        .started(&pod, "polite", &sh("trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"))
        .await;
    let log = node.runtime.container_status(&polite).await.unwrap().log_path;
    node.wait_for_log(&log, "ready").await;
    let begun = std::time::Instant::now();
    node.runtime.stop_container(&polite, Duration::from_secs(20)).await.unwrap();
    let status = node.runtime.container_status(&polite).await.unwrap();
    assert_eq!((status.exit_code, &*status.reason), (7, "Error"));
    // The first process of a PID namespace ignores what it has no handler for: it is killed.
    let deaf = node.started(&pod, "deaf", &words(&["sleep", "1000"])).await;
    node.runtime.stop_container(&deaf, Duration::from_millis(300)).await.unwrap();
    assert_eq!(node.runtime.container_status(&deaf).await.unwrap().exit_code, 137);

    println!("two stops: {:?}", begun.elapsed());
    let hungry = node
        .create(&pod, "hungry", &sh("x=a; while :; do x=$x$x$x$x; done"), |config| {
            config.linux.resources.memory_limit_in_bytes = 16 << 20;
        })
        .await;
    let ended = node.run_to_end(&hungry).await;
    assert_eq!((&*ended.reason, ended.exit_code), ("OOMKilled", 137));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_what_a_container_sees() {
    let node = Node::new("inside").await;
    let pod = node
        .pod("inside", |config| {
            config.hostname = "web-0".into();
            config.dns_config = Some(container_runtime::DnsConfig {
                servers: vec!["10.96.0.10".into()],
                ..container_runtime::DnsConfig::default()
            });
        })
        .await;
    let id = node
        .create(&pod, "c", &words(&["sleep", "1000"]), |config| {
            config.linux.security_context.seccomp =
                Some(container_runtime::SecurityProfile::default());
            config.linux.resources.memory_limit_in_bytes = 64 << 20;
            config.linux.resources.cpu_quota = 50_000;
            config.linux.resources.cpu_period = 100_000;
            config.envs = vec![container_runtime::KeyValue { key: "K".into(), value: "v".into() }];
        })
        .await;
    node.runtime.start_container(&id).await.unwrap();
    let check = async |script: &str, expected: &str| {
        let out = node.runtime.exec_sync(&id, &sh(script), Duration::from_secs(20)).await.unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        assert_eq!(text.trim(), expected, "{script}");
    };
    check("hostname; echo $HOSTNAME $K", "web-0\nweb-0 v").await;
    check("cat /etc/resolv.conf", "nameserver 10.96.0.10").await;
    check("cat /sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864").await;
    check("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000").await;
    check("ls /proc | grep -c '^[0-9]*$' | xargs test 5 -ge && echo few", "few").await;
    check("mount -t tmpfs x /tmp 2>/dev/null || echo refused", "refused").await;
    check("grep CapEff /proc/self/status", "CapEff:\t00000000a80425fb").await;
    check("grep Seccomp: /proc/self/status", "Seccomp:\t2").await;
    check("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0").await;
    check(
        "ls /dev | tr '\\n' ' '",
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
    )
    .await;
    check("cat /proc/interrupts | wc -c", "0").await;
    check("echo x > /file && cat /file", "x").await;
    check("ip addr show lo | grep -c 127.0.0.1", "1").await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_ferry_dies_and_comes_back() {
    let mut node = Node::new("restart").await;
    let pod = node.pod("restart", |_| {}).await;
    let stays = node.started(&pod, "stays", &words(&["sleep", "1000"])).await;
    let ends = node.started(&pod, "ends", &sh("sleep 0.3; exit 5")).await;
    let before = node.runtime.container_status(&stays).await.unwrap();
    // What kill -9 leaves of a runtime is what forgetting it leaves: nothing is told to stop.
    node.abandon();
    tokio::time::sleep(Duration::from_millis(600)).await;
    node.reopen().await;
    let after = node.runtime.container_status(&stays).await.unwrap();
    assert_eq!((after.state, after.started_at), (ContainerState::Running, before.started_at));
    let ended = node.runtime.container_status(&ends).await.unwrap();
    assert_eq!((ended.state, ended.exit_code), (ContainerState::Exited, 5));
    let out =
        node.runtime.exec_sync(&stays, &words(&["echo", "still"]), Duration::from_secs(20)).await;
    assert_eq!(&*out.unwrap().stdout, b"still\n");
    node.close().await;
}

/// The other half of the next test: a process of its own that runs the runtime until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_daemon_that_is_killed() {
    let Ok(data_dir) = std::env::var("FERRY_TEST_DAEMON") else { return };
    let runtime = Node::open("killed", std::path::Path::new(&data_dir)).await;
    let node = Node::around(runtime, "killed", std::path::Path::new(&data_dir));
    let pods = node.runtime.list_pod_sandbox(&Default::default()).await.unwrap();
    for round in pods.len().. {
        let pod = node.pod(&format!("pod{round}"), |_| {}).await;
        let id = node.started(&pod, "long", &words(&["sleep", "1000"])).await;
        node.started(&pod, "short", &sh("exit 3")).await;
        println!("acknowledged {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_kill_9_at_any_time() {
    use std::io::BufRead;
    let mut node = Node::new("killed").await;
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..8u64 {
        let mut daemon = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "root_daemon_that_is_killed", "--nocapture"])
            .env("FERRY_TEST_DAEMON", node.data_dir())
            .env("FERRY_TEST_OWNER", std::process::id().to_string())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(daemon.stdout.take().unwrap());
        let (say, mut heard) = tokio::sync::mpsc::channel(1024);
        let reader = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.for_each(|line| drop(say.blocking_send(line)));
        });
        let mut note = |line: String| match line.split_once("acknowledged ") {
            Some((_, id)) => {
                acknowledged.push(id.trim().to_owned());
                true
            }
            None => false,
        };
        // At first wherever it is, later in the middle of its second pod; each time elsewhere.
        if round > 2 {
            while !note(heard.recv().await.expect("it makes a pod")) {}
        }
        tokio::time::sleep(Duration::from_millis(50 + 37 * round)).await;
        daemon.kill().unwrap();
        reader.join().unwrap();
        while let Ok(line) = heard.try_recv() {
            note(line);
        }
        daemon.wait().unwrap();
    }
    node.reopen().await;
    for id in &acknowledged {
        let status = node.runtime.container_status(id).await.unwrap();
        assert_eq!(status.state, ContainerState::Running, "{status:?}");
    }
    for container in node.runtime.list_containers(&Default::default()).await.unwrap() {
        let status = node.runtime.container_status(&container.id).await.unwrap();
        if status.metadata.name == "short" && status.state == ContainerState::Exited {
            assert!([3, 137].contains(&status.exit_code), "{status:?}");
        }
    }
    println!("{} pods survived", acknowledged.len());
    assert!(!acknowledged.is_empty());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_a_dead_shim_ends_its_pod() {
    let node = Node::new("shimdeath").await;
    let pod = node.pod("shimdeath", |_| {}).await;
    let id = node.started(&pod, "c", &words(&["sleep", "1000"])).await;
    let shim = node.shim_pid(&pod.0);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let ended = node.ended(&id).await;
    assert_eq!(ended.exit_code, 137);
    let status = node.runtime.pod_sandbox_status(&pod.0).await.unwrap();
    assert_eq!(status.state, container_runtime::PodSandboxState::NotReady);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_clean_takes_everything_away() {
    let mut node = Node::new("clean").await;
    let pod = node.pod("clean", |_| {}).await;
    node.started(&pod, "c", &words(&["sleep", "1000"])).await;
    node.abandon();
    assert_eq!(container_native::clean(node.data_dir(), &node.cgroup_root()), Vec::<String>::new());
    node.reopen().await;
    assert!(node.runtime.list_pod_sandbox(&Default::default()).await.unwrap().is_empty());
    assert_eq!(node.runtime.list_images(&Default::default()).await.unwrap().len(), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_clean_leaves_the_pods_of_another_folder() {
    let node = Node::new("neighbour").await;
    let pod = node.pod("neighbour", |_| {}).await;
    let id = node.started(&pod, "c", &words(&["sleep", "1000"])).await;
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(other.path().join("agent/containers")).unwrap();
    assert_eq!(container_native::clean(other.path(), &node.cgroup_root()), Vec::<String>::new());
    let shim = node.shim_pid(&pod.0);
    assert!(nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), None).is_ok());
    // It still does what it is asked.
    let command = words(&["true"]);
    let ran = node.runtime.exec_sync(&id, &command, std::time::Duration::from_secs(60)).await;
    assert_eq!(ran.unwrap().exit_code, 0);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_three_hundred_rounds_are_clean() {
    let node = Node::new("rounds").await;
    let pod = node.pod("rounds", |_| {}).await;
    let long = node.started(&pod, "long", &words(&["sleep", "1000"])).await;
    let mut starts = Vec::new();
    for round in 0..150 {
        let id = node.create(&pod, &format!("c{round}"), &sh("exit 0"), |_| {}).await;
        let begun = std::time::Instant::now();
        node.runtime.start_container(&id).await.unwrap();
        starts.push(begun.elapsed());
        let ended = node.ended(&id).await;
        assert_eq!(ended.exit_code, 0, "round {round}: {ended:?}");
        node.runtime.remove_container(&id).await.unwrap();
        let out =
            node.runtime.exec_sync(&long, &words(&["echo", "x"]), Duration::from_secs(20)).await;
        assert_eq!(&*out.unwrap().stdout, b"x\n", "round {round}");
    }
    starts.sort();
    println!(
        "start: median {:?}, slowest {:?}",
        starts[starts.len() / 2],
        starts[starts.len() - 1]
    );
    let cpu = node.cpu_of_children(&pod.0) / 150;
    println!("CPU of one create and one exec together: {cpu:?}");
    println!("shim: {}", node.shim_memory(&pod.0));
    node.close().await;
}
