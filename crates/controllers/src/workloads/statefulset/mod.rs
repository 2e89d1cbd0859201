//! StatefulSet: pods with names, hosts and volumes that stay theirs.
//!
//! (Kubernetes `pkg/controller/statefulset`)

mod identity;
mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use reconcile::{
    Action, Cache, Class, Ctx, Delete, Error, Expectations, Failure, Key, Reconciler, Watches,
    or_gone,
};

use self::plan::{Revisions, Step};
use crate::common::history::{self, History};
use crate::common::owner::{controller_ref, is_controlled_by, name, namespace, uid};
use crate::common::watch::PodOwners;
use crate::common::{claim, pods, selector};
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    sets: Cache<StatefulSet>,
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
    revisions: Cache<ControllerRevision>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        sets: deps.caches.of(),
        pods: deps.caches.of(),
        claims: deps.caches.of(),
        revisions: deps.caches.of(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        // Names are fixed, so that nothing can be made twice: no expectations are needed.
        PodOwners {
            owners: self.sets.clone(),
            pods: self.pods.clone(),
            expectations: Arc::new(Expectations::default()),
            selects,
        }
        .watch(watches);
        watches.reads(&self.claims);
        watches.reads(&self.revisions);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(set) = self.sets.get_key(key) else { return Ok(Action::Await) };
        let Some(spec) = &set.spec else { return Ok(Action::Await) };
        let candidates = pods::candidates(&self.pods, &set.metadata);
        let claims = claim::sort(&set.metadata, candidates, |pod| {
            selects(&set, pod) && identity::ordinal(&set, pod).is_some()
        });
        let owned = claim::settle(ctx, &*set, &controller_ref(&*set), claims).await?;
        let history = self.history(ctx, &set, &spec.template).await?;
        let update = name(&history.current.metadata).to_owned();
        let current = self.current(&set, &history, &update);
        let revisions = Revisions { current: &current, update: &update };
        let planned = plan::plan(&set, &owned, revisions, ctx.clock.now());
        let mut status = planned.status;
        status.collision_count = history.collisions;
        let outcome = self.carry_out(ctx, &set, &history, &current, planned.steps).await;
        write_status(ctx, &set, status).await?;
        outcome?;
        self.clean(ctx, &set, &history, &owned, [current, update]).await?;
        Ok(planned.again.map_or(Action::Await, Action::After))
    }
}

impl Controller {
    async fn history(
        &self,
        ctx: &Ctx,
        set: &StatefulSet,
        template: &PodTemplateSpec,
    ) -> Result<History, Error> {
        let revisions = self.revisions.list_in(namespace(&set.metadata));
        let ours: Vec<_> = revisions
            .into_iter()
            .filter(|revision| is_controlled_by(&revision.metadata, uid(&set.metadata)))
            .collect();
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        history::sync(ctx, set, template, collisions, ours).await
    }

    /// The revision that was rolled out last, as the status remembers it.
    fn current(&self, set: &StatefulSet, history: &History, update: &str) -> String {
        set.status
            .as_ref()
            .and_then(|status| status.current_revision.clone())
            .filter(|current| history.all.iter().any(|one| name(&one.metadata) == current))
            .unwrap_or_else(|| update.to_owned())
    }

    async fn carry_out(
        &self,
        ctx: &Ctx,
        set: &StatefulSet,
        history: &History,
        current: &str,
        steps: Vec<Step>,
    ) -> Result<(), Error> {
        for step in steps {
            match step {
                Step::Create { ordinal, updated } => {
                    let revision = if updated {
                        Some(&history.current)
                    } else {
                        history.all.iter().find(|one| name(&one.metadata) == current)
                    };
                    let revision = revision.unwrap_or(&history.current);
                    self.create(ctx, set, revision, ordinal).await?;
                }
                Step::Delete(pod) => self.delete(ctx, set, &pod).await?,
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        ctx: &Ctx,
        set: &StatefulSet,
        revision: &ControllerRevision,
        ordinal: i32,
    ) -> Result<(), Failure> {
        let template = history::template(revision)
            .or_else(|| set.spec.as_ref().map(|spec| spec.template.clone()))
            .unwrap_or_default();
        self.make_claims(ctx, set, ordinal).await?;
        let pod = identity::pod(set, &template, name(&revision.metadata), ordinal);
        let pod_name = name(&pod.metadata).to_owned();
        let what = format!("Pod {pod_name} in StatefulSet {}", name(&set.metadata));
        match ctx.writer.create(&pod).await {
            Ok(_) => {
                let text = format!("create {what} successful");
                ctx.recorder.normal(set, "SuccessfulCreate", text);
                Ok(())
            }
            // The cache is late, or a pod of another holds the name and its end will wake us.
            Err(failure)
                if failure.is_already_exists() || failure.class == Class::NamespaceTerminating =>
            {
                Ok(())
            }
            Err(failure) => {
                let text = format!("create {what} failed error: {}", failure.message);
                ctx.recorder.warning(set, "FailedCreate", text);
                Err(failure)
            }
        }
    }

    async fn make_claims(&self, ctx: &Ctx, set: &StatefulSet, ordinal: i32) -> Result<(), Failure> {
        for mut claim in identity::claims(set, ordinal).into_values() {
            if self.claims.get_key(&Key::of(&claim.metadata)).is_some() {
                continue;
            }
            let owners = identity::claim_owners(set, None, false);
            claim.metadata.owner_references = (!owners.is_empty()).then_some(owners);
            let what = format!(
                "Claim {} Pod {} in StatefulSet {}",
                name(&claim.metadata),
                identity::pod_name(set, ordinal),
                name(&set.metadata)
            );
            match ctx.writer.create(&claim).await {
                Ok(_) => {
                    let text = format!("create {what} success");
                    ctx.recorder.normal(set, "SuccessfulCreate", text);
                }
                Err(failure) if failure.is_already_exists() => {}
                Err(failure) => {
                    let text = format!("create {what} failed error: {}", failure.message);
                    ctx.recorder.warning(set, "FailedCreate", text);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, ctx: &Ctx, set: &StatefulSet, pod: &Pod) -> Result<(), Failure> {
        self.condemn_claims(ctx, set, pod).await?;
        let how = Delete::uid(pod.metadata.uid.as_deref());
        let what = format!("Pod {} in StatefulSet {}", name(&pod.metadata), name(&set.metadata));
        match or_gone(ctx.writer.delete::<Pod>(&Key::of(&pod.metadata), how).await) {
            Ok(None) => Ok(()),
            Ok(Some(())) => {
                let text = format!("delete {what} successful");
                ctx.recorder.normal(set, "SuccessfulDelete", text);
                Ok(())
            }
            Err(failure) => {
                let text = format!("delete {what} failed error: {}", failure.message);
                ctx.recorder.warning(set, "FailedDelete", text);
                Err(failure)
            }
        }
    }

    /// A pod that is scaled away may take its claims along: then they become its own.
    async fn condemn_claims(&self, ctx: &Ctx, set: &StatefulSet, pod: &Pod) -> Result<(), Failure> {
        let Some(ordinal) = identity::ordinal(set, pod) else { return Ok(()) };
        let spec = set.spec.as_ref();
        let first = spec.and_then(|spec| spec.ordinals.as_ref()).and_then(|o| o.start);
        let first = first.unwrap_or_default();
        let end = first + spec.and_then(|spec| spec.replicas).unwrap_or(1);
        if (first..end).contains(&ordinal) {
            return Ok(());
        }
        let scaled = spec
            .and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref())
            .is_some_and(|policy| policy.when_scaled.as_deref() == Some("Delete"));
        if !scaled {
            return Ok(());
        }
        for claim in identity::claims(set, ordinal).into_values() {
            let key = Key::of(&claim.metadata);
            let owners = identity::claim_owners(set, Some(pod), true);
            let found = or_gone(ctx.writer.get::<PersistentVolumeClaim>(&key).await)?;
            let Some(mut live) = found else { continue };
            live.metadata.owner_references = Some(owners);
            or_gone(ctx.writer.update(&live).await)?;
        }
        Ok(())
    }

    async fn clean(
        &self,
        ctx: &Ctx,
        set: &StatefulSet,
        history: &History,
        owned: &[Arc<Pod>],
        live: [String; 2],
    ) -> Result<(), Failure> {
        let in_use: BTreeSet<String> = owned
            .iter()
            .filter_map(|pod| pod.metadata.labels.as_ref()?.get(history::HASH).cloned())
            .chain(live)
            .collect();
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
        history::delete(ctx, history::superfluous(&history.all, &in_use, limit)).await
    }
}

fn selects(set: &StatefulSet, pod: &Pod) -> bool {
    set.spec.as_ref().is_some_and(|spec| {
        !selector::is_empty(&spec.selector)
            && selector::matches(&spec.selector, pod.metadata.labels.as_ref())
    })
}

async fn write_status(
    ctx: &Ctx,
    set: &StatefulSet,
    status: StatefulSetStatus,
) -> Result<(), Error> {
    let key = |status: &StatefulSetStatus| {
        let counts = [
            Some(status.replicas),
            status.ready_replicas,
            status.available_replicas,
            status.current_replicas,
            status.updated_replicas,
            status.collision_count,
        ];
        let revisions = (status.current_revision.clone(), status.update_revision.clone());
        (counts.map(Option::unwrap_or_default), revisions, status.observed_generation)
    };
    if set.status.as_ref().is_some_and(|old| key(old) == key(&status)) {
        return Ok(());
    }
    let mut updated = set.clone();
    updated.status = Some(status);
    or_gone(ctx.writer.update_status(&updated).await)?;
    Ok(())
}
