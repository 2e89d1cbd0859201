//! Certificates that are made anew while the process runs: TLS asks [`Renewed`] at each handshake,
//! and a task replaces what is past two thirds of its life.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base::clock::{SharedClock, SignedDuration, Timestamp};
use base::drain::Drain;
use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::{Authority, Leaf, Subject};

/// At least this often the wall clock is read: a machine that slept has missed its timers.
const LOOK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// A leaf that is always valid.
pub(crate) struct Renewed {
    authority: Arc<Authority>,
    subject: Subject,
    now: RwLock<(Arc<CertifiedKey>, Timestamp)>,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The private key stays out of logs.
        f.debug_struct("Renewed").field("name", &self.subject.common_name).finish_non_exhaustive()
    }
}

impl Renewed {
    /// The first leaf of this subject.
    pub(crate) fn new(
        authority: Arc<Authority>,
        subject: Subject,
        now: Timestamp,
    ) -> Result<Arc<Self>> {
        let made = Self::make(&authority, &subject, now)?;
        Ok(Arc::new(Self { authority, subject, now: RwLock::new(made) }))
    }

    fn make(
        authority: &Authority,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<(Arc<CertifiedKey>, Timestamp)> {
        let leaf = authority.leaf(subject, now)?;
        Ok((Arc::new(certified(&leaf)?), due(leaf.from, leaf.until)))
    }

    /// When it is to be made anew.
    fn due(&self) -> Timestamp {
        self.now.read().1
    }

    fn renew(&self, now: Timestamp) -> Result<()> {
        *self.now.write() = Self::make(&self.authority, &self.subject, now)?;
        Ok(())
    }
}

/// A certificate with its key, as rustls uses it.
fn certified(leaf: &Leaf) -> Result<CertifiedKey> {
    let (chain, key) = leaf.rustls()?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .context("a key that was just made cannot be used")?;
    Ok(CertifiedKey::new(chain, key))
}

/// Two thirds into a life.
fn due(from: Timestamp, until: Timestamp) -> Timestamp {
    let life = until.duration_since(from);
    from.saturating_add(life * 2 / 3).unwrap_or(until)
}

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.read().0.clone())
    }
}

impl ResolvesClientCert for Renewed {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.now.read().0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Everything of a process that expires.
#[derive(Default)]
pub(crate) struct Renewals {
    leaves: Vec<Arc<Renewed>>,
    /// The folder of the authority, whose certificate is renewed there.
    authority: Option<(Arc<Authority>, PathBuf, watch::Sender<String>)>,
}

impl Renewals {
    /// Keeps a leaf valid.
    pub(crate) fn leaf(&mut self, leaf: Arc<Renewed>) {
        self.leaves.push(leaf);
    }

    /// Keeps the authority's certificate valid; `changed` hears of a new one.
    pub(crate) fn authority(
        &mut self,
        authority: Arc<Authority>,
        dir: PathBuf,
        changed: watch::Sender<String>,
    ) {
        self.authority = Some((authority, dir, changed));
    }

    /// Renews what is due, until the drain fires.
    pub(crate) async fn run(self, clock: SharedClock, drain: Drain) {
        loop {
            let wait = self.wait(clock.now());
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            self.renew(clock.now());
        }
    }

    fn wait(&self, now: Timestamp) -> Duration {
        let leaves = self.leaves.iter().map(|leaf| leaf.due());
        let authority = self.authority.iter().map(|(authority, ..)| authority.due());
        let left = leaves
            .chain(authority)
            .min()
            .map_or(SignedDuration::from_hours(24), |due| due.duration_since(now));
        Duration::try_from(left).unwrap_or_default().clamp(Duration::from_secs(1), LOOK_AGAIN)
    }

    fn renew(&self, now: Timestamp) {
        // The authority first: leaves end with it.
        if let Some((authority, dir, changed)) = &self.authority
            && authority.due() <= now
        {
            match authority.renew(dir, now) {
                Ok(()) => {
                    tracing::info!("the cluster's authority has a new certificate of the same key");
                    changed.send_replace(authority.pem());
                }
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "cannot renew the cluster's authority"
                    );
                }
            }
        }
        for leaf in self.leaves.iter().filter(|leaf| leaf.due() <= now) {
            match leaf.renew(now) {
                Ok(()) => {
                    tracing::info!(name = leaf.subject.common_name, "a certificate was renewed");
                }
                Err(error) => {
                    let name = &leaf.subject.common_name;
                    tracing::error!(
                        name,
                        error = format!("{error:#}"),
                        "cannot renew a certificate"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::clock::{Clock as _, SimulatedClock};

    fn serial(leaf: &Renewed) -> Vec<u8> {
        let certified = leaf.now.read().0.clone();
        let (_, parsed) = x509_parser::parse_x509_certificate(&certified.cert[0]).unwrap();
        parsed.tbs_certificate.raw_serial().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_past_two_thirds_of_its_life_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
        let authority = Arc::new(Authority::open(dir.path(), "ca", clock.now()).unwrap());
        let subject = Subject {
            common_name: "kube-apiserver".into(),
            dns_names: vec!["localhost".into()],
            ..Subject::default()
        };
        let leaf = Renewed::new(authority.clone(), subject, clock.now()).unwrap();
        let (first, before) = (serial(&leaf), authority.pem());
        let mut renewals = Renewals::default();
        renewals.leaf(leaf.clone());
        let (sender, mut changed) = watch::channel(authority.pem());
        renewals.authority(authority.clone(), dir.path().to_owned(), sender);
        let drain = Drain::new();
        let running = tokio::spawn(renewals.run(clock.clone(), drain.clone()));
        let days = |days: u64| Duration::from_secs(days * 86_400);
        tokio::time::sleep(days(30)).await;
        assert_eq!(serial(&leaf), first);
        tokio::time::sleep(days(40)).await;
        assert_ne!(serial(&leaf), first);
        assert_eq!(authority.pem(), before);
        // The authority's own turn comes years before its end; what it signs goes on verifying.
        tokio::time::timeout(days(3650), changed.changed()).await.unwrap().unwrap();
        assert_ne!(authority.pem(), before);
        assert_eq!(std::fs::read_to_string(dir.path().join("ca.crt")).unwrap(), authority.pem());
        drain.cancel();
        running.await.unwrap();
    }
}
