//! The options of the controllers, together.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::clock::SharedClock;
use base::readiness::Part;
use base::rng::SharedRng;
use tokio::sync::watch;

/// Signs what a CertificateSigningRequest asks for. Signing needs a CA's key, which this crate
/// neither has nor knows how to use.
pub trait Signer: Send + Sync {
    /// Signs a PEM request for a signer (`kubernetes.io/kube-apiserver-client`, …) with the
    /// usages it asks for; the answer is the certificate chain in PEM.
    ///
    /// # Errors
    /// Why the request cannot be signed, in words.
    fn sign(
        &self,
        signer: &str,
        request_pem: &[u8],
        usages: &[String],
        expiration_seconds: Option<i32>,
    ) -> Result<Vec<u8>, String>;
}

/// Makes the legacy tokens of service accounts.
pub trait TokenIssuer: Send + Sync {
    /// A token without expiry for a service account's Secret.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn issue(
        &self,
        namespace: &str,
        account: &str,
        account_uid: &str,
        secret: &str,
    ) -> Result<String, String>;
}

/// What the controllers can be told.
#[derive(Clone)]
pub struct ControllersOptions {
    /// The range of which nodes get their pod ranges; none are handed out when empty.
    pub cluster_cidr: String,
    /// The size of a node's pod range.
    pub node_cidr_mask: u8,
    /// The CA that pods trust, PEM, as it is now and as it will be; nothing is published when empty.
    pub root_ca_pem: watch::Receiver<String>,
    /// Controllers that do not run, by name.
    pub disabled: BTreeSet<String>,
    /// How long a node may be silent before it counts as unknown.
    pub node_grace: std::time::Duration,
    /// Terminated pods beyond this number are deleted, the oldest first; 0 keeps all.
    pub terminated_pods_max: usize,
    /// Signs certificates; none are signed without it.
    pub signer: Option<Arc<dyn Signer>>,
    /// Makes legacy tokens; none are made without it.
    pub token_issuer: Option<Arc<dyn TokenIssuer>>,
    /// Told when every controller knows what it reads and works.
    pub ready: Option<Part>,
    /// Wall time.
    pub clock: SharedClock,
    /// Randomness.
    pub rng: SharedRng,
}

impl Default for ControllersOptions {
    fn default() -> Self {
        Self {
            cluster_cidr: "10.42.0.0/16".to_owned(),
            node_cidr_mask: 24,
            root_ca_pem: watch::channel(String::new()).1,
            disabled: BTreeSet::new(),
            node_grace: std::time::Duration::from_secs(50),
            terminated_pods_max: 12_500,
            signer: None,
            token_issuer: None,
            ready: None,
            clock: base::clock::system(),
            rng: SharedRng::from_os(),
        }
    }
}
