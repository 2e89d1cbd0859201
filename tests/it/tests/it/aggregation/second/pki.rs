//! Authorities and certificates of both servers, their users and front proxies.

use std::sync::Arc;

use apiserver::authn::CertificateRoles;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::RootCertStore;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsConnector;

/// An authority.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

type Leaf = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        Self { pem: own.pem(), der: own.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn leaf(&self, common_name: &str, names: &[&str]) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], key)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        Arc::new(roots)
    }
}

/// All authorities.
pub(crate) struct Pki {
    servers: Authority,
    users: Authority,
    proxies: Authority,
    others: Authority,
}

/// What a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    None,
    User,
    FrontProxy,
    /// A front proxy's of an authority that nobody trusts.
    OtherProxy,
}

/// Clients with each of the certificates.
pub(crate) struct Clients(Vec<(Certificate, TlsConnector)>);

impl Clients {
    pub(crate) fn of(&self, certificate: Certificate) -> &TlsConnector {
        &self.0.iter().find(|(own, _)| *own == certificate).unwrap().1
    }
}

#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesClientCert for Fixed {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Pki {
    pub(crate) fn new() -> Self {
        // Another test may have been quicker.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            servers: Authority::new(),
            users: Authority::new(),
            proxies: Authority::new(),
            others: Authority::new(),
        }
    }

    pub(crate) fn server_ca_pem(&self) -> String {
        self.servers.pem.clone()
    }

    pub(crate) fn users_ca_pem(&self) -> String {
        self.users.pem.clone()
    }

    pub(crate) fn proxy_ca_pem(&self) -> String {
        self.proxies.pem.clone()
    }

    /// The first server's certificate as a front proxy.
    pub(crate) fn front_proxy(&self) -> Arc<dyn ResolvesClientCert> {
        let (chain, key) = self.proxies.leaf("front-proxy-client", &[]);
        let provider = rustls::crypto::ring::default_provider();
        let key = provider.key_provider.load_private_key(key).unwrap();
        Arc::new(Fixed(Arc::new(CertifiedKey::new(chain, key))))
    }

    pub(crate) fn roles(&self) -> CertificateRoles {
        CertificateRoles::new(self.users.roots(), self.proxies.roots()).unwrap()
    }

    /// TLS of a server with this name.
    pub(crate) fn server(&self, name: &str) -> rustls::ServerConfig {
        let mut clients = RootCertStore::empty();
        clients.add(self.users.der.clone()).unwrap();
        clients.add(self.proxies.der.clone()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(clients))
            .allow_unauthenticated()
            .build()
            .unwrap();
        let (chain, key) = self.servers.leaf(name, &[name]);
        rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap()
    }

    pub(crate) fn clients(&self) -> Clients {
        let all = [
            (Certificate::None, None),
            (Certificate::User, Some(self.users.leaf("carol", &[]))),
            (Certificate::FrontProxy, Some(self.proxies.leaf("front-proxy-client", &[]))),
            (Certificate::OtherProxy, Some(self.others.leaf("front-proxy-client", &[]))),
        ];
        let connector = |leaf: Option<Leaf>| {
            let verifier = WebPkiServerVerifier::builder(self.servers.roots()).build().unwrap();
            let builder = rustls::ClientConfig::builder().with_webpki_verifier(verifier);
            let config = match leaf {
                Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
                None => builder.with_no_client_auth(),
            };
            TlsConnector::from(Arc::new(config))
        };
        Clients(all.into_iter().map(|(name, leaf)| (name, connector(leaf))).collect())
    }
}
