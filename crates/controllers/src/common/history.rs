//! The revisions of a template, kept as ControllerRevisions: what DaemonSets and StatefulSets roll
//! back to.
//!
//! Equal templates have equal data and so the same revision; going back to an old one raises its
//! number. (Kubernetes `pkg/controller/history`)

use std::collections::BTreeSet;
use std::sync::Arc;

use api::typed::Kind;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use reconcile::{Ctx, Delete, Error, Failure, Key};
use serde_json::{Value, json};

use super::hash;
use super::owner::{controller_ref, is_controlled_by, name, uid};

/// The revision that a pod was made from, and the label that finds a revision.
pub(crate) const HASH: &str = "controller-revision-hash";
const HASH_OF_REVISION: &str = "controller.kubernetes.io/hash";

/// The data of a revision: a patch that puts the template back.
pub(crate) fn data(template: &PodTemplateSpec) -> Value {
    let mut template =
        serde_json::to_value(template).expect("Kubernetes types have string keys only");
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template that a revision puts back.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// What a look at the history came to.
#[derive(Debug)]
pub(crate) struct History {
    /// All revisions, the oldest first, the current one among them.
    pub(crate) all: Vec<Arc<ControllerRevision>>,
    /// The one of the owner's template.
    pub(crate) current: Arc<ControllerRevision>,
    /// Set when a hash has collided with another's.
    pub(crate) collisions: Option<i32>,
}

/// The revision of an owner's template, made or renumbered when needed.
pub(crate) async fn sync<K: Kind>(
    ctx: &Ctx,
    owner: &K,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    mut all: Vec<Arc<ControllerRevision>>,
) -> Result<History, Error> {
    all.sort_by_key(|revision| (revision.revision, revision.metadata.name.clone()));
    let wanted = data(template);
    let next = all.last().map_or(1, |last| last.revision.saturating_add(1));
    let equal = |revision: &&Arc<ControllerRevision>| {
        revision.data.as_ref().is_some_and(|data| data.0 == wanted)
    };
    if let Some(current) = all.iter().rev().find(equal).cloned() {
        if all.last().is_some_and(|last| last.metadata.uid == current.metadata.uid) {
            return Ok(History { all, current, collisions });
        }
        let mut raised = (*current).clone();
        raised.revision = next;
        let raised = Arc::new(ctx.writer.update(&raised).await?);
        all.retain(|revision| revision.metadata.uid != raised.metadata.uid);
        all.push(raised.clone());
        return Ok(History { all, current: raised, collisions });
    }
    let (made, collisions) = make(ctx, owner, template, &wanted, next, collisions).await?;
    all.push(made.clone());
    Ok(History { all, current: made, collisions })
}

async fn make<K: Kind>(
    ctx: &Ctx,
    owner: &K,
    template: &PodTemplateSpec,
    wanted: &Value,
    number: i64,
    mut collisions: Option<i32>,
) -> Result<(Arc<ControllerRevision>, Option<i32>), Failure> {
    loop {
        let hash = hash::template(wanted.to_string().as_bytes(), collisions);
        let metadata = template.metadata.as_ref();
        let mut labels = metadata.and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(HASH.to_owned(), hash.clone());
        labels.insert(HASH_OF_REVISION.to_owned(), hash.clone());
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", name(owner.meta()))),
                namespace: owner.meta().namespace.clone(),
                labels: Some(labels),
                annotations: owner.meta().annotations.clone(),
                owner_references: Some(vec![controller_ref(owner)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(wanted.clone())),
            revision: number,
        };
        match ctx.writer.create(&revision).await {
            Ok(made) => return Ok((Arc::new(made), collisions)),
            Err(failure) if failure.is_already_exists() => {
                let key = Key::of(&revision.metadata);
                let live: ControllerRevision = ctx.writer.get(&key).await?;
                let ours = is_controlled_by(&live.metadata, uid(owner.meta()));
                if ours && live.data.as_ref().is_some_and(|data| data.0 == *wanted) {
                    return Ok((Arc::new(live), collisions));
                }
                collisions = Some(collisions.unwrap_or_default() + 1);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// The hash of a revision, which its pods carry.
pub(crate) fn hash_of(revision: &ControllerRevision) -> &str {
    let labels = revision.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(HASH)).map(String::as_str).unwrap_or_default()
}

/// The revisions that nobody needs: beyond the limit, the oldest first, and not in use.
pub(crate) fn superfluous(
    all: &[Arc<ControllerRevision>],
    in_use: &BTreeSet<String>,
    limit: i32,
) -> Vec<Arc<ControllerRevision>> {
    let unused: Vec<_> = all
        .iter()
        .filter(|one| !in_use.contains(name(&one.metadata)) && !in_use.contains(hash_of(one)))
        .collect();
    let excess = unused.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    unused.into_iter().take(excess).cloned().collect()
}

/// Deletes revisions.
pub(crate) async fn delete(
    ctx: &Ctx,
    revisions: Vec<Arc<ControllerRevision>>,
) -> Result<(), Failure> {
    for revision in revisions {
        let how = Delete::uid(revision.metadata.uid.as_deref());
        let key = Key::of(&revision.metadata);
        reconcile::or_gone(ctx.writer.delete::<ControllerRevision>(&key, how).await)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_gives_its_template_back() {
        let template: PodTemplateSpec = serde_json::from_str(
            r#"{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}"#,
        )
        .unwrap();
        let revision = ControllerRevision {
            data: Some(RawExtension(data(&template))),
            ..ControllerRevision::default()
        };
        assert_eq!(super::template(&revision), Some(template));
    }

    #[test]
    fn old_revisions_go_unless_in_use() {
        let revision = |number: i64| {
            let mut one = ControllerRevision { revision: number, ..ControllerRevision::default() };
            one.metadata.name = Some(format!("r{number}"));
            Arc::new(one)
        };
        let all: Vec<_> = (1..=4).map(revision).collect();
        let gone = superfluous(&all, &["r1".to_owned(), "r4".to_owned()].into(), 1);
        assert_eq!(gone.iter().map(|one| one.revision).collect::<Vec<_>>(), [2]);
    }
}
