//! Pushing to and pulling from a registry over plain HTTP on loopback: a small one, in this test.
#![allow(clippy::unwrap_used, reason = "what a test calls is a test too")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use container_native::image::{BuildConfig, Credentials, ImageError, ImageStore};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct Registry {
    /// Blobs by digest, manifests by tag and digest, uploads by number.
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    /// `Basic …` that is asked for, if any.
    password: Option<String>,
    damaged: Mutex<bool>,
}

impl Registry {
    async fn start(self) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has one").to_string();
        let registry = Arc::new(self);
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let registry = serving.clone();
                tokio::spawn(async move { registry.serve(stream).await });
            }
        });
        (address, registry)
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                match stream.read_line(&mut line).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) if line.trim().is_empty() => break,
                    Ok(_) => head.push(line.trim().to_owned()),
                }
            }
            let field = |name: &str| {
                head.iter().find_map(|line| {
                    let (key, value) = line.split_once(':')?;
                    key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let length = field("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            let mut words = head[0].split(' ');
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let allowed = self.password.is_none() || field("authorization") == self.password;
            let (status, headers, answer) = if allowed {
                self.answer(method, path, body)
            } else {
                (401, "WWW-Authenticate: Basic realm=\"test\"\r\n".to_owned(), Vec::new())
            };
            let mut out =
                format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", answer.len())
                    .into_bytes();
            if method != "HEAD" {
                out.extend(answer);
            }
            if stream.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, body: Vec<u8>) -> (u16, String, Vec<u8>) {
        let mut kept = self.kept.lock().expect("no test panics with it");
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let last = path.rsplit('/').next().unwrap_or("").to_owned();
        let digest = query.split('&').find_map(|pair| pair.strip_prefix("digest="));
        let digest = digest.map(|digest| digest.replace("%3A", ":"));
        match method {
            "GET" | "HEAD" if path == "/v2/" => (200, String::new(), Vec::new()),
            "GET" | "HEAD" => match kept.get(&last) {
                Some(content) => {
                    let mut content = content.clone();
                    if *self.damaged.lock().expect("no test panics with it")
                        && path.contains("/blobs/")
                    {
                        content[0] ^= 1;
                    }
                    let kind = "application/vnd.oci.image.manifest.v1+json";
                    (200, format!("Content-Type: {kind}\r\n"), content)
                }
                None => (
                    404,
                    String::new(),
                    br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#.to_vec(),
                ),
            },
            "POST" => {
                let upload = format!("upload-{}", kept.len());
                kept.insert(upload.clone(), Vec::new());
                (202, format!("Location: {path}{upload}\r\n"), Vec::new())
            }
            "PATCH" => {
                let upload = kept.entry(last).or_default();
                upload.extend(&body);
                let end = upload.len().saturating_sub(1);
                (202, format!("Location: {path}\r\nRange: 0-{end}\r\n"), Vec::new())
            }
            "PUT" => {
                if let Some(digest) = digest {
                    let mut content = kept.remove(&last).unwrap_or_default();
                    content.extend(&body);
                    kept.insert(digest.clone(), content);
                    (201, format!("Location: /v2/x/blobs/{digest}\r\n"), Vec::new())
                } else {
                    kept.insert(last.clone(), body);
                    (201, format!("Location: {path}\r\n"), Vec::new())
                }
            }
            _ => (405, String::new(), Vec::new()),
        }
    }
}

fn build(folder: &std::path::Path, name: &str) -> ImageStore {
    let store = ImageStore::open(folder.join("one")).unwrap();
    let source = folder.join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), "content").unwrap();
    let config = BuildConfig { cmd: vec!["/file".into()], ..BuildConfig::default() };
    store.build(&source, &config, &[name.to_owned()]).unwrap();
    store
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled() {
    let (address, registry) = Registry::default().start().await;
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{address}/team/app:v1");
    let one = build(folder.path(), &name);
    let digest = one.push(&name, &Credentials::Anonymous).await.unwrap();

    let two = ImageStore::open(folder.path().join("two")).unwrap();
    let seen = Arc::new(Mutex::new((0, 0)));
    let progress = {
        let seen = seen.clone();
        Arc::new(move |done, total| *seen.lock().unwrap() = (done, total))
    };
    let pulled = two.pull(&name, &Credentials::Anonymous, Some(progress)).await.unwrap();
    assert_eq!(pulled.digest, digest);
    let (done, total) = *seen.lock().unwrap();
    assert!(done == total && total > 0, "{done} of {total}");
    let layers = two.unpack(&pulled).unwrap();
    let file = two.layers_dir().join(&layers[0]).join("file");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "content");

    let missing = two.pull(&format!("{address}/team/app:v2"), &Credentials::Anonymous, None).await;
    assert!(matches!(missing, Err(ImageError::NotFound(_))), "{missing:?}");
    *registry.damaged.lock().unwrap() = true;
    let three = ImageStore::open(folder.path().join("three")).unwrap();
    let damaged = three.pull(&name, &Credentials::Anonymous, None).await;
    assert!(damaged.is_err() && three.list().unwrap().is_empty());
}

#[tokio::test]
async fn credentials_are_asked_for() {
    let password = Some("Basic dXNlcjpzZWNyZXQ=".to_owned());
    let (address, _) = Registry { password, ..Registry::default() }.start().await;
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{address}/app:v1");
    let store = build(folder.path(), &name);
    let user = Credentials::Basic("user".into(), "secret".into());
    store.push(&name, &user).await.unwrap();
    store.pull(&name, &user, None).await.unwrap();
    let refused = store.pull(&name, &Credentials::Anonymous, None).await;
    assert!(matches!(refused, Err(ImageError::Denied { .. })), "{refused:?}");
}
