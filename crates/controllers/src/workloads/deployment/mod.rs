//! Deployment: rolls a template out over ReplicaSets, and back.
//!
//! (Kubernetes `pkg/controller/deployment`)

pub(crate) mod plan;
mod proportion;
mod revisions;
mod status;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use reconcile::{Action, Cache, Class, Ctx, Delete, Error, Event, Key, Queue, Reconciler, Watches};

use self::plan::{Limits, Sets, Step, size};
use self::status::progressing;
use crate::common::owner::{controller_of, controller_ref, is_controlled_by, name, namespace, uid};
use crate::common::watch::owner_key;
use crate::common::{claim, pods, selector};
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    deployments: Cache<Deployment>,
    replicasets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        deployments: deps.caches.of(),
        replicasets: deps.caches.of(),
        pods: deps.caches.of(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        pods::index_by_controller(&self.pods);
        watches.own(&self.deployments);
        let deployments = self.deployments.clone();
        watches.on(&self.replicasets, move |event, queue| replicaset(&deployments, event, queue));
        let (deployments, replicasets) = (self.deployments.clone(), self.replicasets.clone());
        watches.on(&self.pods, move |event, queue| {
            // Only Recreate waits for pods: for the last old one to end.
            if let Some(rs) =
                owner_key(&replicasets, &**event.object()).and_then(|key| replicasets.get_key(&key))
                && let Some(key) = owner_key(&deployments, &*rs)
                && deployments.get_key(&key).is_some_and(|d| !Limits::of(&d).rolling)
                && ended(event)
            {
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(deployment) = self.deployments.get_key(key) else { return Ok(Action::Await) };
        let Some(spec) = &deployment.spec else { return Ok(Action::Await) };
        if selector::is_empty(&spec.selector) {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            ctx.recorder.warning(&*deployment, "SelectingAll", text);
            return Ok(Action::Await);
        }
        let candidates = self.replicasets.list_in(&key.namespace);
        let claims = claim::sort(&deployment.metadata, candidates, |rs| selects(&deployment, rs));
        let owned = claim::settle(ctx, &*deployment, &controller_ref(&*deployment), claims).await?;
        let mut sets = Sets::of(&deployment, owned);
        let mut updated = (*deployment).clone();
        if deployment.metadata.deletion_timestamp.is_none() {
            let steps = plan::plan(&deployment, &sets, self.old_pods_run(&sets));
            for step in steps {
                carry_out(ctx, &mut updated, &mut sets, step).await?;
            }
            found_new(&mut updated, &sets, ctx);
        }
        let (status, again) = status::compute(&updated, &sets, ctx.clock.now());
        updated.status = Some(status);
        write_status(ctx, &deployment, &updated).await?;
        Ok(again.map_or(Action::Await, Action::After))
    }
}

impl Controller {
    fn old_pods_run(&self, sets: &Sets) -> bool {
        sets.old.iter().any(|rs| {
            rs.status.as_ref().is_some_and(|status| status.replicas > 0)
                || pods::controlled_by(&self.pods, uid(&rs.metadata))
                    .iter()
                    .any(|pod| !pods::is_terminal(pod))
        })
    }
}

fn ended(event: &Event<Pod>) -> bool {
    match event {
        Event::Deleted(_) => true,
        Event::Updated { old, new } => pods::is_terminal(new) && !pods::is_terminal(old),
        Event::Added(_) => false,
    }
}

fn selects(deployment: &Deployment, rs: &ReplicaSet) -> bool {
    deployment.spec.as_ref().is_some_and(|spec| {
        !selector::is_empty(&spec.selector)
            && selector::matches(&spec.selector, rs.metadata.labels.as_ref())
    })
}

/// Queues the Deployment that a ReplicaSet belongs to, or those that may adopt it.
fn replicaset(deployments: &Cache<Deployment>, event: &Event<ReplicaSet>, queue: &Queue) {
    for rs in event.old().into_iter().chain([event.object()]) {
        if controller_of(&rs.metadata).is_some() {
            if let Some(key) = owner_key(deployments, &**rs) {
                queue.add(key);
            }
        } else {
            for deployment in deployments.list_in(namespace(&rs.metadata)) {
                if selects(&deployment, rs) {
                    queue.add(Key::of(&deployment.metadata));
                }
            }
        }
    }
}

async fn carry_out(
    ctx: &Ctx,
    deployment: &mut Deployment,
    sets: &mut Sets,
    step: Step,
) -> Result<(), Error> {
    match step {
        Step::Create { size, revision } => create(ctx, deployment, sets, size, revision).await,
        Step::Refresh(rs) => {
            let fresh = Arc::new(ctx.writer.update(&*rs).await?);
            sets.new = Some(fresh);
            Ok(())
        }
        Step::Scale { rs, to } => scale(ctx, deployment, sets, &rs, to).await,
        Step::Delete(rs) => {
            let how = Delete::uid(rs.metadata.uid.as_deref());
            let gone = ctx.writer.delete::<ReplicaSet>(&Key::of(&rs.metadata), how).await;
            reconcile::or_gone(gone)?;
            sets.old.retain(|old| old.metadata.uid != rs.metadata.uid);
            Ok(())
        }
    }
}

async fn create(
    ctx: &Ctx,
    deployment: &mut Deployment,
    sets: &mut Sets,
    size: i32,
    revision: i64,
) -> Result<(), Error> {
    let limits = Limits::of(deployment);
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let mut rs = revisions::build(deployment, collisions, revision);
    rs.spec.get_or_insert_default().replicas = Some(size);
    revisions::annotate_sizes(&mut rs.metadata, limits.replicas, limits.max());
    let now = ctx.clock.now();
    let made = match ctx.writer.create(&rs).await {
        Ok(made) => made,
        Err(failure) if failure.is_already_exists() => {
            return existing(ctx, deployment, sets, &rs).await;
        }
        Err(failure) if failure.class == Class::NamespaceTerminating => return Ok(()),
        Err(failure) => {
            let text = format!(
                "Failed to create new replica set \"{}\": {}",
                name(&rs.metadata),
                failure.message
            );
            ctx.recorder.warning(deployment, "ReplicaSetCreateError", text.clone());
            let failed = progressing("False", "ReplicaSetCreateError", text, now);
            if status::deadline(deployment).is_some() {
                set_condition(deployment, failed);
                ctx.writer.update_status(&*deployment).await?;
            }
            return Err(failure.into());
        }
    };
    let made_name = name(&made.metadata).to_owned();
    if size > 0 {
        let text = format!("Scaled up replica set {made_name} from 0 to {size}");
        ctx.recorder.normal(deployment, "ScalingReplicaSet", text);
    }
    if status::deadline(deployment).is_some() {
        let text = format!("Created new replica set \"{made_name}\"");
        set_condition(deployment, progressing("True", "NewReplicaSetCreated", text, now));
    }
    sets.new = Some(Arc::new(made));
    Ok(())
}

/// The name is taken: by our own ReplicaSet that the cache does not show yet, or by a collision
/// of hashes, which is counted so that the next hash differs.
async fn existing(
    ctx: &Ctx,
    deployment: &mut Deployment,
    sets: &mut Sets,
    wanted: &ReplicaSet,
) -> Result<(), Error> {
    let live: ReplicaSet = ctx.writer.get(&Key::of(&wanted.metadata)).await?;
    let template = |rs: &ReplicaSet| rs.spec.as_ref().and_then(|spec| spec.template.clone());
    let ours = is_controlled_by(&live.metadata, uid(&deployment.metadata));
    let same = template(&live)
        .zip(deployment.spec.as_ref())
        .is_some_and(|(template, spec)| revisions::equal(&template, &spec.template));
    if ours && same {
        sets.new = Some(Arc::new(live));
        return Ok(());
    }
    let status = deployment.status.get_or_insert_default();
    status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
    ctx.writer.update_status(&*deployment).await?;
    Err(Error::Stuck(format!(
        "the name {} is taken by another; trying another hash",
        name(&wanted.metadata)
    )))
}

async fn scale(
    ctx: &Ctx,
    deployment: &Deployment,
    sets: &mut Sets,
    rs: &Arc<ReplicaSet>,
    to: i32,
) -> Result<(), Error> {
    let limits = Limits::of(deployment);
    // A refresh in this same pass has made a newer version.
    let current = sets.all().find(|set| set.metadata.uid == rs.metadata.uid).unwrap_or(rs).clone();
    let from = size(&current);
    let mut resized = (*current).clone();
    revisions::annotate_sizes(&mut resized.metadata, limits.replicas, limits.max());
    resized.spec.get_or_insert_default().replicas = Some(to);
    let resized = Arc::new(ctx.writer.update(&resized).await?);
    if from != to {
        let direction = if to > from { "up" } else { "down" };
        let set = name(&rs.metadata);
        let text = format!("Scaled {direction} replica set {set} from {from} to {to}");
        ctx.recorder.normal(deployment, "ScalingReplicaSet", text);
    }
    for slot in sets.old.iter_mut().chain(sets.new.iter_mut()) {
        if slot.metadata.uid == resized.metadata.uid {
            *slot = resized.clone();
        }
    }
    Ok(())
}

/// The Deployment carries the revision of its new ReplicaSet, and says that it has one.
fn found_new(deployment: &mut Deployment, sets: &Sets, ctx: &Ctx) {
    let Some(new) = &sets.new else { return };
    let revision = revisions::revision(&new.metadata);
    if revision > 0 {
        let annotations = deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(revisions::REVISION.to_owned(), revision.to_string());
    }
    let has = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let has_progress = has.into_iter().any(|condition| condition.type_ == "Progressing");
    if !has_progress && status::deadline(deployment).is_some() {
        let text = format!("Found new replica set \"{}\"", name(&new.metadata));
        let now = ctx.clock.now();
        set_condition(deployment, progressing("True", "FoundNewReplicaSet", text, now));
    }
}

fn set_condition(
    deployment: &mut Deployment,
    condition: k8s_openapi::api::apps::v1::DeploymentCondition,
) {
    let status: &mut DeploymentStatus = deployment.status.get_or_insert_default();
    status::set(status.conditions.get_or_insert_default(), condition);
}

async fn write_status(ctx: &Ctx, old: &Deployment, new: &Deployment) -> Result<(), Error> {
    let empty = DeploymentStatus::default();
    let before = old.status.as_ref().unwrap_or(&empty);
    let after = new.status.as_ref().unwrap_or(&empty);
    let revision = revisions::revision(&old.metadata) == revisions::revision(&new.metadata);
    if revision && old.status.is_some() && status::same(before, after) {
        return Ok(());
    }
    reconcile::or_gone(ctx.writer.update_status(new).await)?;
    Ok(())
}
