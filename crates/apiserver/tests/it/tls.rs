//! Over a socket: TLS, client certificates, HTTP/2, the real kubectl, kube-rs' reflectors.

use std::sync::Arc;

use api::status::ApiResult;
use apiserver::authn::{Authenticator, Credentials};
use async_trait::async_trait;
use auth::UserInfo;
use base::drain::Drain;
use base64::Engine;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::runtime::watcher;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::common::{Fixture, fixture_with};

/// A server on a socket of the loopback, its CA and a client's certificate.
struct Served {
    fixture: Fixture,
    address: std::net::SocketAddr,
    ca_pem: String,
    client_pem: String,
    client_key_pem: String,
    drain: Drain,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

struct ByCertificate;

#[async_trait]
impl Authenticator for ByCertificate {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok(credentials.certificate.map(|subject| {
            let groups: Vec<&str> = subject.organizations.iter().map(String::as_str).collect();
            UserInfo::named(&subject.common_name, &groups)
        }))
    }
}

async fn served() -> Served {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::from_params(&params, &ca_key);

    let server_key = KeyPair::generate().unwrap();
    let server_params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server_cert = server_params.signed_by(&server_key, &issuer).unwrap();

    let client_key = KeyPair::generate().unwrap();
    let mut client_params = CertificateParams::new(Vec::new()).unwrap();
    client_params.distinguished_name.push(DnType::CommonName, "alice");
    client_params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    let client_cert = client_params.signed_by(&client_key, &issuer).unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    )
    .allow_unauthenticated()
    .build()
    .unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![server_cert.der().clone()];
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();

    let fixture = fixture_with(|options| options.authenticators.push(Arc::new(ByCertificate)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drain = Drain::new();
    let task =
        tokio::spawn(apiserver::serve_tls(listener, config, fixture.server.clone(), drain.clone()));
    Served {
        fixture,
        address,
        ca_pem: ca.pem(),
        client_pem: client_cert.pem(),
        client_key_pem: client_key.serialize_pem(),
        drain,
        task,
    }
}

impl Served {
    fn kubeconfig(&self) -> String {
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: t\ncontexts: [{{name: t, context: {{cluster: t, user: t}}}}]\nclusters: [{{name: t, cluster: {{server: 'https://{}', certificate-authority-data: {}}}}}]\nusers: [{{name: t, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n",
            self.address,
            base64(&self.ca_pem),
            base64(&self.client_pem),
            base64(&self.client_key_pem),
        )
    }

    async fn client(&self) -> kube::Client {
        let config: kube::config::Kubeconfig =
            kube::config::Kubeconfig::from_yaml(&self.kubeconfig()).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }
}

#[tokio::test]
async fn a_client_with_a_certificate_works_and_draining_ends_its_watch() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let served = served().await;
    let maps: Api<ConfigMap> = Api::namespaced(served.client().await, "default");
    let mut map = ConfigMap::default();
    map.metadata.name = Some("a".into());
    maps.create(&PostParams::default(), &map).await.unwrap();

    let stream = watcher::watcher(maps.clone(), watcher::Config::default().streaming_lists());
    let mut stream = std::pin::pin!(stream);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(match stream.next().await.unwrap().unwrap() {
            watcher::Event::Init => "init".to_owned(),
            watcher::Event::InitApply(object) => object.metadata.name.unwrap(),
            watcher::Event::InitDone => "done".to_owned(),
            watcher::Event::Apply(object) => format!("+{}", object.metadata.name.unwrap()),
            watcher::Event::Delete(object) => format!("-{}", object.metadata.name.unwrap()),
        });
    }
    assert_eq!(seen, ["init", "a", "done"]);
    served.drain.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(10), served.task)
        .await
        .expect("drained in time")
        .unwrap()
        .unwrap();
    drop(served.fixture);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_gets_creates_patches_and_deletes() {
    let Ok(found) =
        tokio::process::Command::new("kubectl").args(["version", "--client"]).output().await
    else {
        return; // no kubectl here
    };
    assert!(found.status.success());
    let served = served().await;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, served.kubeconfig()).unwrap();
    let manifest = dir.path().join("map.yaml");
    std::fs::write(
        &manifest,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: '1'}\n",
    )
    .unwrap();
    let manifest = manifest.to_str().unwrap();
    let bad = dir.path().join("bad.yaml");
    std::fs::write(&bad, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\nfoo: {a: '1'}\n")
        .unwrap();
    let bad = bad.to_str().unwrap();
    for (args, expected) in [
        (vec!["create", "-f", manifest], "configmap/web created"),
        (vec!["create", "-f", bad], "unknown field \"foo\""),
        (vec!["explain", "configmap.data"], "FIELD: data"),
        (vec!["get", "configmaps"], "web"),
        (vec!["get", "cm/web", "-o", "jsonpath={.data.a}"], ""),
        (
            vec!["patch", "configmap", "web", "-p", "{\"data\":{\"b\":\"2\"}}"],
            "configmap/web patched",
        ),
        (vec!["label", "configmap", "web", "x=y"], "configmap/web labeled"),
        (vec!["get", "configmaps", "-l", "x=y", "-o", "name"], "configmap/web"),
        (
            vec!["apply", "--server-side", "-f", manifest, "--force-conflicts"],
            "configmap/web serverside-applied",
        ),
        (vec!["apply", "-f", manifest], "configmap/web configured"),
        (vec!["delete", "configmap", "web"], "configmap \"web\" deleted"),
        (vec!["api-resources"], "configmaps"),
    ] {
        let output = tokio::process::Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&config)
            .args(["--cache-dir", dir.path().join("cache").to_str().unwrap()])
            .args(&args)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}
