//! Leader election by Lease: of all that run for it, one leads at a time.
//!
//! The holder renews every 2 s and steps down when it could not for 10 s; others take over when
//! the lease was not renewed for 15 s by their own clock, so clocks need not agree.
//! (client-go `tools/leaderelection`)

use std::time::Duration;

use base::clock::{SharedClock, Timestamp};
use base::drain::Drain;
use base::rng::SharedRng;
use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

use crate::failure::{Failure, or_gone};
use crate::key::Key;
use crate::writer::Writer;

const LEASE: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

/// One candidate.
pub struct Election {
    /// Writes the Lease.
    pub writer: Writer,
    /// The Lease that is run for (`kube-system/kube-controller-manager`).
    pub lease: Key,
    /// The name of the candidate, unique among candidates.
    pub identity: String,
    /// Wall time for the Lease's fields.
    pub clock: SharedClock,
    /// Jitter.
    pub rng: SharedRng,
}

/// What a candidate last saw of the Lease, and when by its own clock.
#[derive(Debug, Clone, Default)]
struct Observed {
    lease: Option<Lease>,
    at: Option<Instant>,
}

/// How a term of leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermEnd {
    /// The process is being drained; the lease was given back.
    Drained,
    /// The lease could not be renewed in time, or the work ended by itself.
    Lost,
}

impl Election {
    /// Waits to lead, then runs `lead` with a token that fires when leading must stop, and waits
    /// for it to end.
    pub async fn run(
        &self,
        drain: &Drain,
        lead: impl FnOnce(Drain) -> BoxFuture<'static, ()> + Send,
    ) -> TermEnd {
        let mut observed = Observed::default();
        loop {
            match self.attempt(&mut observed).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(failure) => tracing::debug!(%failure, "could not run for the lease"),
            }
            let jitter = Duration::from_millis(self.rng.below(2400));
            tokio::select! {
                () = drain.cancelled() => return TermEnd::Drained,
                () = tokio::time::sleep(RETRY + jitter) => {}
            }
        }
        tracing::info!(lease = %self.lease, identity = self.identity, "became leader");
        let stop = drain.child_token();
        let mut work = tokio::spawn(lead(stop.clone()));
        let end = tokio::select! {
            _ended = &mut work => TermEnd::Lost,
            end = self.renew(drain, &mut observed) => {
                stop.cancel();
                // A panic in the work was contained further down; here only its end matters.
                let _ended = work.await;
                end
            }
        };
        if end == TermEnd::Drained {
            self.release(&observed).await;
        }
        end
    }

    async fn renew(&self, drain: &Drain, observed: &mut Observed) -> TermEnd {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = drain.cancelled() => return TermEnd::Drained,
                () = tokio::time::sleep(RETRY) => {}
            }
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt(observed)).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return TermEnd::Lost,
                Ok(Err(failure)) => tracing::debug!(%failure, "could not renew the lease"),
                Err(_elapsed) => return TermEnd::Lost,
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                tracing::error!(lease = %self.lease, "the lease could not be renewed in time");
                return TermEnd::Lost;
            }
        }
    }

    /// Tries to take or renew the lease; says whether it is ours now.
    async fn attempt(&self, observed: &mut Observed) -> Result<bool, Failure> {
        let current = or_gone(self.writer.get::<Lease>(&self.lease).await)?;
        let Some(current) = current else {
            let lease = self.claim(Lease::default(), self.clock.now());
            let created = self.writer.create(&lease).await?;
            *observed = Observed { lease: Some(created), at: Some(Instant::now()) };
            return Ok(true);
        };
        let changed = observed.lease.as_ref().is_none_or(|seen| seen.spec != current.spec);
        if changed {
            *observed = Observed { lease: Some(current.clone()), at: Some(Instant::now()) };
        }
        let idle = observed.at.map_or(Duration::ZERO, |at| at.elapsed());
        if !may_claim(current.spec.as_ref(), &self.identity, idle) {
            return Ok(false);
        }
        let updated = self.writer.update(&self.claim(current, self.clock.now())).await?;
        *observed = Observed { lease: Some(updated), at: Some(Instant::now()) };
        Ok(true)
    }

    fn claim(&self, mut lease: Lease, now: Timestamp) -> Lease {
        lease.metadata.name = Some(self.lease.name.to_string());
        lease.metadata.namespace = Some(self.lease.namespace.to_string());
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            let never_held = spec.acquire_time.is_none();
            let transitions = spec.lease_transitions.unwrap_or_default();
            spec.lease_transitions = Some(transitions + i32::from(!never_held));
            spec.acquire_time = Some(MicroTime(now));
            spec.holder_identity = Some(self.identity.clone());
        }
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        spec.renew_time = Some(MicroTime(now));
        lease
    }

    async fn release(&self, observed: &Observed) {
        let Some(mut lease) = observed.lease.clone() else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(self.clock.now()));
        if let Err(failure) = self.writer.update(&lease).await {
            tracing::debug!(%failure, "the lease was not given back; it will run out");
        }
    }
}

/// Whether a candidate may write itself into a lease that nobody has touched for so long.
fn may_claim(spec: Option<&LeaseSpec>, identity: &str, idle: Duration) -> bool {
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    holder.is_empty() || holder == identity || idle >= duration
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_claimed_when_free_ours_or_run_out() {
        let check = |holder: &str, idle: u64, expected: bool| {
            let spec = LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            };
            let idle = Duration::from_secs(idle);
            assert_eq!(may_claim(Some(&spec), "me", idle), expected, "{holder} {idle:?}");
        };
        check("", 0, true);
        check("me", 0, true);
        check("you", 0, false);
        check("you", 14, false);
        check("you", 15, true);
        assert!(may_claim(None, "me", Duration::ZERO));
    }
}
