//! A real etcd of a test's own: Debian's `etcd-server` on loopback, with fsync, ended with the test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::StoreError;
use crate::etcd::{EtcdOptions, EtcdStore};

/// How often it is tried whether it answers, and how many times.
const TRY_EVERY: Duration = Duration::from_millis(50);
const TRIES: usize = 400;

/// An etcd. Its folder goes with it.
pub struct Etcd {
    child: Child,
    url: String,
    dir: PathBuf,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        // A folder of the system's for temporary things; who cleans that cleans this.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

impl Etcd {
    /// Starts one. `tls`: a folder with `cert.pem`, `key.pem` and `ca.pem`.
    ///
    /// # Panics
    /// There is no `etcd` on the path.
    #[must_use]
    pub fn start(tls: Option<&Path>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("ferry-etcd-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the folder of temporary things is writable");
        let url = format!("{scheme}://127.0.0.1:{port}");
        let child = run(&dir, &url, tls);
        Self { child, url, dir }
    }

    /// Options that lead to it.
    #[must_use]
    pub fn options(&self) -> EtcdOptions {
        EtcdOptions { endpoints: vec![self.url.clone()], ..EtcdOptions::default() }
    }

    /// Connects as soon as it answers.
    ///
    /// # Panics
    /// It ended, or does not answer in time.
    pub async fn connect(&mut self, options: EtcdOptions) -> Arc<EtcdStore> {
        let mut tries = tokio::time::interval(TRY_EVERY);
        for _ in 0..TRIES {
            tries.tick().await;
            if let Some(status) = self.child.try_wait().expect("it is a child of ours") {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                panic!("etcd ended with {status}:\n{log}");
            }
            match crate::etcd::connect(options.clone()).await {
                Ok(store) => return store,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("etcd did not answer within 20 s");
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on its data, under its address, without TLS.
    pub fn again(&mut self) {
        self.child = run(&self.dir, &self.url, None);
    }
}

fn run(dir: &Path, url: &str, tls: Option<&Path>) -> Child {
    let peer = format!("http://127.0.0.1:{}", free_port());
    let log = std::fs::File::create(dir.join("log")).expect("the folder is ours");
    let mut command = Command::new("etcd");
    command
        .args(["--name", "test", "--data-dir"])
        .arg(dir.join("data"))
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("test={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(pki) = tls {
        for (flag, file) in
            [("--cert-file", "cert"), ("--key-file", "key"), ("--trusted-ca-file", "ca")]
        {
            command.arg(flag).arg(pki.join(format!("{file}.pem")));
        }
        command.arg("--client-cert-auth");
    }
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot start etcd ({error}): apt-get install etcd-server (make test does)")
    })
}
