//! Carries out what `plan` decided: creates and deletes pods, with expectations and Events.

use std::sync::Arc;

use api::typed::Kind;
use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use reconcile::{Class, Ctx, Delete, Expectations, Failure, Key};

use super::plan::Step;
use crate::common::batch::slow_start;
use crate::common::owner::{controller_ref, name, uid};
use crate::common::pods;

/// Carries a step out.
pub(crate) async fn manage<K: Kind>(
    ctx: &Ctx,
    expectations: &Expectations,
    owner: &K,
    template: Option<&PodTemplateSpec>,
    step: Step,
) -> Result<(), Failure> {
    match step {
        Step::Nothing => Ok(()),
        Step::Create(count) => {
            let empty = PodTemplateSpec::default();
            let template = template.unwrap_or(&empty);
            create(ctx, expectations, owner, template, count).await
        }
        Step::Delete(pods) => delete(ctx, expectations, owner, &pods).await,
    }
}

async fn create<K: Kind>(
    ctx: &Ctx,
    expectations: &Expectations,
    owner: &K,
    template: &PodTemplateSpec,
    count: usize,
) -> Result<(), Failure> {
    let key = Key::of(owner.meta());
    let pod = pods::from_template(template, owner.meta(), controller_ref(owner));
    expectations.expect_creations(&key, count);
    let outcome = slow_start(count, || create_pod(ctx, owner, &pod).boxed()).await;
    for _ in outcome.done..count {
        expectations.creation_seen(&key);
    }
    match outcome.failure {
        // Nothing will ever be created there again; the namespace takes the owner too.
        Some(failure) if failure.class == Class::NamespaceTerminating => Ok(()),
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Creates one pod for an owner and tells how it went.
pub(crate) async fn create_pod<K: Kind>(ctx: &Ctx, owner: &K, pod: &Pod) -> Result<(), Failure> {
    match ctx.writer.create(pod).await {
        Ok(made) => {
            let text = format!("Created pod: {}", name(&made.metadata));
            ctx.recorder.normal(owner, "SuccessfulCreate", text);
            Ok(())
        }
        Err(failure) => {
            if failure.class != Class::NamespaceTerminating {
                let text = format!("Error creating: {}", failure.message);
                ctx.recorder.warning(owner, "FailedCreate", text);
            }
            Err(failure)
        }
    }
}

async fn delete<K: Kind>(
    ctx: &Ctx,
    expectations: &Expectations,
    owner: &K,
    pods: &[Arc<Pod>],
) -> Result<(), Failure> {
    let key = Key::of(owner.meta());
    expectations.expect_deletions(&key, pods.iter().map(|pod| uid(&pod.metadata).to_owned()));
    let results = join_all(pods.iter().map(|pod| {
        let key = &key;
        async move {
            let deleted = delete_pod(ctx, owner, pod).await;
            if !matches!(deleted, Ok(true)) {
                expectations.deletion_seen(key, uid(&pod.metadata));
            }
            deleted
        }
    }))
    .await;
    results.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}

/// Deletes one pod of an owner and tells how it went; `false` when it was gone already.
pub(crate) async fn delete_pod<K: Kind>(ctx: &Ctx, owner: &K, pod: &Pod) -> Result<bool, Failure> {
    let how = Delete::uid(pod.metadata.uid.as_deref());
    match ctx.writer.delete::<Pod>(&Key::of(&pod.metadata), how).await {
        Ok(()) => {
            let text = format!("Deleted pod: {}", name(&pod.metadata));
            ctx.recorder.normal(owner, "SuccessfulDelete", text);
            Ok(true)
        }
        Err(failure) if failure.is_not_found() || failure.is_conflict() => Ok(false),
        Err(failure) => {
            let text = format!("Error deleting: {}", failure.message);
            ctx.recorder.warning(owner, "FailedDelete", text);
            Err(failure)
        }
    }
}
