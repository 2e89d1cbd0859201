//! A real issuer on loopback: TLS, discovery, keys that are rotated.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use auth::token::{Claims, TokenAuthority, generate_key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// The issuer: its address, the key that it signs with, and how often its keys were asked for.
struct Issuer {
    url: String,
    key: parking_lot::Mutex<Vec<u8>>,
    asked: AtomicUsize,
}

impl Issuer {
    /// Starts one; answers it and the roots to trust it by.
    async fn start() -> (Arc<Self>, rustls::RootCertStore) {
        let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pair.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let issuer = Arc::new(Self {
            url: format!("https://{}", listener.local_addr().unwrap()),
            key: parking_lot::Mutex::new(generate_key().unwrap()),
            asked: AtomicUsize::new(0),
        });
        let (own, acceptor) = (issuer.clone(), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (own, acceptor) = (own.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let body = own.answer(&request);
                        async move { Ok::<_, Infallible>(body) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ended = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (issuer, roots)
    }

    fn answer(
        &self,
        request: &http::Request<hyper::body::Incoming>,
    ) -> http::Response<Full<bytes::Bytes>> {
        let text = match request.uri().path() {
            "/.well-known/openid-configuration" => {
                json!({"issuer": self.url, "jwks_uri": format!("{}/keys", self.url)}).to_string()
            }
            "/keys" => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let key = self.key.lock().clone();
                TokenAuthority::new(&self.url, &[], &key, &[]).unwrap().jwks().to_string()
            }
            _ => return http::Response::builder().status(404).body(Full::default()).unwrap(),
        };
        http::Response::new(Full::from(text))
    }

    /// An ID token.
    fn token(&self, change: Value) -> String {
        let mut claims = json!({"iss": self.url, "aud": "ferry", "sub": "ann",
            "exp": 4_000_000_000_i64, "groups": ["devs"]});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let rng = SystemRandom::new();
        let key = self.key.lock().clone();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &rng).unwrap();
        let text = |value: Value| B64.encode(value.to_string());
        let signed = format!("{}.{}", text(json!({"alg": "ES256"})), text(claims));
        let signature = pair.sign(&rng, signed.as_bytes()).unwrap();
        format!("{signed}.{}", B64.encode(signature))
    }
}

fn tokens(issuer: &Issuer, roots: rustls::RootCertStore) -> OidcTokens {
    let mut config = Config::new(&issuer.url, "ferry");
    config.groups_claim = "groups".to_owned();
    config.username_prefix = Some("oidc:".to_owned());
    config.algorithms = vec!["RS256".to_owned(), "ES256".to_owned()];
    OidcTokens::new(config, Fetcher::new(roots), base::clock::system())
}

async fn ask(tokens: &OidcTokens, token: &str) -> Result<Option<UserInfo>, u16> {
    let credentials = Credentials { bearer_token: Some(token), ..Credentials::default() };
    tokens.authenticate(&credentials).await.map_err(|error| error.code())
}

#[tokio::test]
async fn an_issuers_tokens_name_their_users_and_new_keys_are_fetched() {
    let (issuer, roots) = Issuer::start().await;
    let tokens = tokens(&issuer, roots);
    let user = ask(&tokens, &issuer.token(json!({}))).await.unwrap().unwrap();
    assert_eq!((user.username.as_str(), user.groups[0].as_str()), ("oidc:ann", "devs"));
    ask(&tokens, &issuer.token(json!({}))).await.unwrap().unwrap();
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
    // Others' tokens are others' business; wrong ones are refused.
    let other =
        TokenAuthority::new("https://other", &["x"], &generate_key().unwrap(), &[]).unwrap();
    assert_eq!(ask(&tokens, &other.sign(Claims::default()).unwrap()).await, Ok(None));
    assert_eq!(ask(&tokens, "abc").await, Ok(None));
    assert_eq!(ask(&tokens, &issuer.token(json!({"aud": "another"}))).await, Err(401));
    assert_eq!(ask(&tokens, &issuer.token(json!({"exp": 1}))).await, Err(401));
    // A new key: asked for once, and not again within a while, whatever comes.
    *issuer.key.lock() = generate_key().unwrap();
    let rotated = issuer.token(json!({}));
    assert_eq!(ask(&tokens, &rotated).await, Err(401));
    tokens.keys.lock().await.fetched = None;
    assert!(ask(&tokens, &rotated).await.unwrap().is_some());
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_issuer_that_nobody_vouches_for_is_not_believed() {
    let (issuer, _) = Issuer::start().await;
    let tokens = tokens(&issuer, rustls::RootCertStore::empty());
    assert_eq!(ask(&tokens, &issuer.token(json!({}))).await, Err(401));
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 0);
}
