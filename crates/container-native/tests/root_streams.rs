//! Exec, attach and port-forward with real streams; users, namespaces and mounts.

mod common;

use std::time::Duration;

use common::{Node, sh, words};
use container_runtime::{
    AttachRequest, ContainerState, ExecRequest, Mount, MountPropagation, NamespaceMode,
    RuntimeService, TerminalSize,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_exec_with_streams_and_terminal() {
    let node = Node::new("exec").await;
    let pod = node.pod("exec", |_| {}).await;
    let id = node.started(&pod, "c", &words(&["sleep", "1000"])).await;
    let request = |cmd: Vec<String>, tty: bool| ExecRequest {
        container_id: id.clone(),
        cmd,
        tty,
        stdin: true,
        stdout: true,
        stderr: !tty,
    };
    let mut cat = node.runtime.exec(&request(words(&["cat"]), false)).await.unwrap();
    let mut stdin = cat.stdin.take().unwrap();
    stdin.write_all(b"through the pipe").await.unwrap();
    drop(stdin);
    let mut out = String::new();
    cat.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!((&*out, cat.exit.await.unwrap()), ("through the pipe", 0));

    let script = "tty; read -r size; stty size; exit 9";
    let mut shell = node.runtime.exec(&request(sh(script), true)).await.unwrap();
    let resize = shell.resize.take().unwrap();
    resize.send(TerminalSize { width: 123, height: 45 }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    shell.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    let mut out = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert!(out.starts_with("/dev/pts/"), "{out:?}");
    assert!(out.contains("45 123"), "{out:?}");
    assert_eq!(shell.exit.await.unwrap(), 9);

    let missing = node.runtime.exec_sync(&id, &words(&["nothing-there"]), Duration::ZERO).await;
    let why = missing.unwrap_err().to_string();
    assert!(why.contains("executable file not found in $PATH"), "{why}");
    let slow =
        node.runtime.exec_sync(&id, &words(&["sleep", "60"]), Duration::from_millis(200)).await;
    assert_eq!(slow.unwrap_err().code(), "DeadlineExceeded");
    // Giving up has killed the command.
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do ps | grep -q '[s]leep 60' || exit 0; sleep 0.1; done; exit 1";
    let gone = node.runtime.exec_sync(&id, &sh(script), Duration::from_secs(20)).await.unwrap();
    assert_eq!(gone.exit_code, 0);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_attach_to_pipes_and_terminals() {
    let node = Node::new("attach").await;
    let pod = node.pod("attach", |_| {}).await;
    for tty in [false, true] {
        let name = if tty { "terminal" } else { "pipes" };
        let script = "while read -r line; do echo got $line; test \"$line\" = end && exit 4; done";
        let id = node
            .create(&pod, name, &sh(script), |config| {
                config.stdin = true;
                config.tty = tty;
            })
            .await;
        node.runtime.start_container(&id).await.unwrap();
        let request = AttachRequest {
            container_id: id.clone(),
            stdin: true,
            tty,
            stdout: true,
            stderr: !tty,
        };
        let mut streams = node.runtime.attach(&request).await.unwrap();
        let mut stdin = streams.stdin.take().unwrap();
        stdin.write_all(b"one\nend\n").await.unwrap();
        let mut out = String::new();
        streams.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        assert!(out.contains("got one") && out.contains("got end"), "{name}: {out:?}");
        assert_eq!(streams.exit.await.unwrap(), 4, "{name}");
        let status = node.runtime.container_status(&id).await.unwrap();
        let log = std::fs::read_to_string(&status.log_path).unwrap();
        assert!(log.contains("stdout F got one"), "{name}: {log}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_stdin_once_ends_with_the_first_client() {
    let node = Node::new("once").await;
    let pod = node.pod("once", |_| {}).await;
    let id = node
        .create(&pod, "c", &words(&["cat"]), |config| {
            config.stdin = true;
            config.stdin_once = true;
        })
        .await;
    node.runtime.start_container(&id).await.unwrap();
    let request = AttachRequest {
        container_id: id.clone(),
        stdin: true,
        stdout: true,
        ..AttachRequest::default()
    };
    let mut streams = node.runtime.attach(&request).await.unwrap();
    let mut stdin = streams.stdin.take().unwrap();
    stdin.write_all(b"bye").await.unwrap();
    drop(stdin);
    let mut out = String::new();
    streams.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!((&*out, node.ended(&id).await.exit_code), ("bye", 0));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_port_forward_reaches_the_pods_loopback() {
    let node = Node::new("forward").await;
    let pod = node.pod("forward", |_| {}).await;
    node.started(&pod, "c", &words(&["nc", "-ll", "-p", "8080", "-e", "cat"])).await;
    let mut connection = None;
    for _ in 0..200 {
        match node.runtime.port_forward(&pod.0, 8080).await {
            Ok(open) => {
                connection = Some(open);
                break;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let mut connection = connection.expect("it listens");
    connection.write_all(b"echo").await.unwrap();
    let mut back = [0; 4];
    connection.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"echo");
    assert!(node.runtime.port_forward(&pod.0, 81).await.is_err());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_users_and_privileges() {
    let node = Node::new("users").await;
    let pod = node.pod("users", |_| {}).await;
    let script = "id; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr '\\n' ' '; echo out > /dev/stdout; echo $HOME";
    let id = node
        .create(&pod, "web", &sh(script), |config| {
            let context = &mut config.linux.security_context;
            context.run_as_username = "web".into();
            context.supplemental_groups = vec![7];
            context.no_new_privs = true;
            context.capabilities.drop_capabilities = vec!["ALL".into()];
            context.seccomp = Some(container_runtime::SecurityProfile::default());
            context.readonly_rootfs = true;
        })
        .await;
    let ended = node.run_to_end(&id).await;
    let log = std::fs::read_to_string(&ended.log_path).unwrap();
    let text: Vec<&str> = log.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap()).collect();
    assert_eq!(text[0], "uid=33(web) gid=34(www) groups=7,29(audio),34(www)");
    let nothing = "0000000000000000";
    for wanted in
        [format!("CapEff:\t{nothing}"), format!("CapBnd:\t{nothing}"), "NoNewPrivs:\t1".into()]
    {
        assert!(text[1].contains(&wanted), "{text:?}");
    }
    assert!(text[1].ends_with("out"), "a user may write to /dev/stdout: {text:?}");
    assert_eq!(text[2], "/srv");
    let user = ended.user.unwrap().linux;
    assert_eq!((user.uid, user.gid, user.supplemental_groups), (33, 34, vec![34, 29, 7]));

    let id = node
        .create(
            &pod,
            "privileged",
            &sh("grep CapEff /proc/self/status; mount -t tmpfs x /tmp && echo mounted"),
            |config| {
                config.linux.security_context.privileged = true;
            },
        )
        .await;
    let ended = node.run_to_end(&id).await;
    let log = std::fs::read_to_string(&ended.log_path).unwrap();
    assert!(log.contains("mounted"), "{log}");
    let unknown = node
        .create(&pod, "unknown", &words(&["true"]), |config| {
            config.linux.security_context.run_as_username = "nobody-here".into();
        })
        .await;
    let why = node.runtime.start_container(&unknown).await.unwrap_err().to_string();
    assert!(why.contains("unable to find user nobody-here"), "{why}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_shared_and_host_namespaces() {
    let node = Node::new("namespaces").await;
    let shared = node
        .pod("shared", |config| {
            config.linux.security_context.namespace_options.pid = NamespaceMode::Pod;
            config.linux.sysctls =
                [("net.ipv4.ip_unprivileged_port_start".into(), "1".into())].into();
        })
        .await;
    node.started(&shared, "a", &sh("exec sleep 4321")).await;
    let b = node.started(&shared, "b", &words(&["sleep", "1000"])).await;
    let out = node
        .runtime
        .exec_sync(&b, &sh("ps | grep -c '[s]leep 4321'; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; touch /dev/shm/x; test 1 -ne $$ && echo not first"), Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "1\n1\nnot first\n");
    // Ends with everything that it started, although the namespace goes on.
    let c = node.started(&shared, "c", &sh("sleep 5678 & exit 0")).await;
    assert_eq!(node.ended(&c).await.exit_code, 0);
    let out = node
        .runtime
        .exec_sync(&b, &sh("ps | grep -c '[s]leep 5678'"), Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(&*out.stdout, b"0\n");

    let host = node
        .pod("host", |config| {
            let namespaces = &mut config.linux.security_context.namespace_options;
            namespaces.network = NamespaceMode::Node;
            namespaces.pid = NamespaceMode::Node;
            namespaces.ipc = NamespaceMode::Node;
        })
        .await;
    assert!(node.runtime.pod_sandbox_status(&host.0).await.unwrap().network.is_none());
    let id = node.started(&host, "c", &words(&["sleep", "1000"])).await;
    let mine = |kind: &str| {
        std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
    };
    for kind in ["net", "pid", "ipc", "uts"] {
        let script = format!("ls -l /proc/self/ns/{kind}");
        let out = node.runtime.exec_sync(&id, &sh(&script), Duration::from_secs(20)).await.unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.trim_end().ends_with(&mine(kind)), "{kind}: {text}");
    }
    node.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(node.runtime.container_status(&id).await.unwrap().state, ContainerState::Exited);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_mounts_limits_and_usage() {
    let node = Node::new("mounts").await;
    let pod = node.pod("mounts", |_| {}).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "from the host").unwrap();
    let host = folder.path().display().to_string();
    let id = node
        .create(&pod, "c", &words(&["sleep", "1000"]), |config| {
            config.mounts = [("/data", &*host, false), ("/deep/er/ro", &*host, true)]
                .map(|(inside, outside, readonly)| Mount {
                    container_path: inside.into(),
                    host_path: outside.into(),
                    readonly,
                    propagation: MountPropagation::HostToContainer,
                    ..Mount::default()
                })
                .into();
            config.working_dir = "/made/for/it".into();
            config.linux.resources.memory_limit_in_bytes = 64 << 20;
        })
        .await;
    node.runtime.start_container(&id).await.unwrap();
    let run = async |script: &str| {
        let out = node.runtime.exec_sync(&id, &sh(script), Duration::from_secs(20)).await.unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!(run("cat /data/file; pwd").await, "from the host/made/for/it\n");
    assert_eq!(run("echo x > /deep/er/ro/y 2>/dev/null || echo refused; echo y > /data/y; cat /deep/er/ro/y").await, "refused\ny\n");
    let limits = container_runtime::LinuxContainerResources {
        memory_limit_in_bytes: 128 << 20,
        cpu_shares: 512,
        ..container_runtime::LinuxContainerResources::default()
    };
    node.runtime.update_container_resources(&id, &limits).await.unwrap();
    assert_eq!(
        run("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares").await,
        "134217728\n512\n"
    );
    let stats = node.runtime.container_stats(&id).await.unwrap();
    assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap() > 0);
    assert!(stats.memory.unwrap().working_set_bytes.unwrap() > 0);
    let pod_stats = node.runtime.pod_sandbox_stats(&pod.0).await.unwrap();
    assert_eq!(pod_stats.containers.len(), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_the_hosts_control_groups_can_be_mounted() {
    let node = Node::new("groups").await;
    let pod = node.pod("groups", |_| {}).await;
    let id = node
        .create(&pod, "c", &words(&["sleep", "1000"]), |config| {
            config.mounts = [("/host/sys", "/sys"), ("/host/groups", "/sys/fs/cgroup")]
                .map(|(inside, outside)| Mount {
                    container_path: inside.into(),
                    host_path: outside.into(),
                    readonly: true,
                    ..Mount::default()
                })
                .into();
        })
        .await;
    node.runtime.start_container(&id).await.unwrap();
    let script = "for root in /host/sys/fs/cgroup /host/groups; do \
        find $root -name cgroup.procs | head -n 1 | grep -q . && echo seen; done";
    let out = node.runtime.exec_sync(&id, &sh(script), Duration::from_secs(20)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "seen\nseen\n");
    node.close().await;
}
