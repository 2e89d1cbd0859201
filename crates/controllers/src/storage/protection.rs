//! Storage protection: a claim that a pod uses, and a volume that is bound, do not go.
//!
//! (Kubernetes `pkg/controller/volume/{pvcprotection,pvprotection}`)

use std::sync::Arc;

use api::typed::Kind;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use reconcile::{Action, Cache, Ctx, Error, Failure, Key, Reconciler, Watches, or_gone};

use crate::common::owner::{name, namespace};
use crate::common::pods;
use crate::deps::Deps;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";
/// The index of pods by the claims they use.
const BY_CLAIM: &str = "spec.volumes.persistentVolumeClaim";

/// Protects claims.
pub(crate) struct Claims {
    claims: Cache<PersistentVolumeClaim>,
    pods: Cache<Pod>,
}

/// Protects volumes.
pub(crate) struct Volumes {
    volumes: Cache<PersistentVolume>,
}

/// Makes the controller of claims.
pub(crate) fn make_claims(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Claims { claims: deps.caches.of(), pods: deps.caches.of() })
}

/// Makes the controller of volumes.
pub(crate) fn make_volumes(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Volumes { volumes: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Claims {
    fn name(&self) -> &'static str {
        "persistentvolumeclaim-protection-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        self.pods.add_index(BY_CLAIM, |pod, emit| {
            for claim in claims_of(pod) {
                emit(&format!("{}/{claim}", namespace(&pod.metadata)));
            }
        });
        watches.own(&self.claims);
        let claims = self.claims.clone();
        watches.on(&self.pods, move |event, queue| {
            let pod = event.object();
            for claim in claims_of(pod) {
                let key = Key::new(namespace(&pod.metadata), &claim);
                // Only a claim that is being deleted cares whether its pods have gone.
                let deleting = claims
                    .get_key(&key)
                    .is_some_and(|claim| claim.metadata.deletion_timestamp.is_some());
                if deleting {
                    queue.add(key);
                }
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(claim) = self.claims.get_key(key) else { return Ok(Action::Await) };
        let used = || {
            let pods = self.pods.by_index(BY_CLAIM, &format!("{}/{}", key.namespace, key.name));
            // A pod without a node uses nothing yet; the scheduler will not give it one now.
            pods.iter().any(|pod| !pods::is_terminal(pod) && crate::node::node_of(pod).is_some())
        };
        protect(ctx, &*claim, CLAIM, &used).await?;
        Ok(Action::Await)
    }
}

#[async_trait]
impl Reconciler for Volumes {
    fn name(&self) -> &'static str {
        "persistentvolume-protection-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.volumes);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(volume) = self.volumes.get_key(key) else { return Ok(Action::Await) };
        let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        protect(ctx, &*volume, VOLUME, &|| bound == Some("Bound")).await?;
        Ok(Action::Await)
    }
}

/// The names of the claims that a pod uses, its own ephemeral ones too.
fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", name(&pod.metadata), volume.name)),
            (None, None) => None,
        })
        .collect()
}

/// Adds the finalizer to what lives, takes it from what is being deleted and not used.
async fn protect<K: Kind>(
    ctx: &Ctx,
    object: &K,
    finalizer: &str,
    used: &(dyn Fn() -> bool + Sync),
) -> Result<(), Failure> {
    let meta = object.meta();
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    let protected = finalizers.iter().any(|one| one == finalizer);
    let deleting = meta.deletion_timestamp.is_some();
    if deleting && protected && !used() {
        finalizers.retain(|one| one != finalizer);
    } else if !deleting && !protected {
        finalizers.push(finalizer.to_owned());
    } else {
        return Ok(());
    }
    // An update, not a patch: the controllers' roles have no other verb for these kinds.
    let mut changed = object.clone();
    changed.meta_mut().finalizers = Some(finalizers);
    or_gone(ctx.writer.update(&changed).await)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_named_or_follow_their_pod() {
        let pod: Pod = serde_json::from_str(
            r#"{"metadata":{"name":"p"},"spec":{"containers":[],"volumes":[
                {"name":"a","persistentVolumeClaim":{"claimName":"data"}},
                {"name":"b","ephemeral":{}},{"name":"c","emptyDir":{}}]}}"#,
        )
        .unwrap();
        assert_eq!(claims_of(&pod), ["data", "p-b"]);
    }
}
