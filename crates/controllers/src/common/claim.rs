//! Adoption and release: an owner takes orphans that its selector selects, and lets go what it no
//! longer selects.
//!
//! Before adopting, the owner is read from the server once more: a cache may show an owner that
//! was deleted, or replaced by another of the same name.
//! (Kubernetes `pkg/controller/controller_ref_manager.go`)

use std::sync::Arc;

use api::typed::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use reconcile::{Class, Ctx, Error, Failure, Key, Patch};
use serde_json::json;

use super::owner::{controller_of, uid};

/// What an owner has, may take and must let go.
#[derive(Debug)]
pub(crate) struct Claims<K> {
    pub(crate) owned: Vec<Arc<K>>,
    pub(crate) adopt: Vec<Arc<K>>,
    pub(crate) release: Vec<Arc<K>>,
}

/// Sorts candidates by what an owner has to do with them.
pub(crate) fn sort<K: Kind>(
    owner: &ObjectMeta,
    candidates: Vec<Arc<K>>,
    selects: impl Fn(&K) -> bool,
) -> Claims<K> {
    let mut claims = Claims { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in candidates {
        let meta = object.meta();
        match controller_of(meta) {
            Some(controller) if controller.uid != uid(owner) => {}
            Some(_) if selects(&object) => claims.owned.push(object),
            Some(_) if owner.deletion_timestamp.is_none() => claims.release.push(object),
            Some(_) => {}
            None => {
                let free = owner.deletion_timestamp.is_none() && meta.deletion_timestamp.is_none();
                if free && selects(&object) {
                    claims.adopt.push(object);
                }
            }
        }
    }
    claims
}

/// Carries claims out; returns what is owned afterwards.
pub(crate) async fn settle<O: Kind, K: Kind>(
    ctx: &Ctx,
    owner: &O,
    reference: &OwnerReference,
    claims: Claims<K>,
) -> Result<Vec<Arc<K>>, Error> {
    let mut owned = claims.owned;
    for object in claims.release {
        release(ctx, owner.meta(), &*object).await?;
    }
    if claims.adopt.is_empty() {
        return Ok(owned);
    }
    let live: O = ctx.writer.get(&Key::of(owner.meta())).await?;
    if live.meta().uid != owner.meta().uid {
        return Err(Error::Stuck("the owner was replaced by another of its name".to_owned()));
    }
    if live.meta().deletion_timestamp.is_some() {
        return Ok(owned);
    }
    for object in claims.adopt {
        if let Some(adopted) = adopt(ctx, reference, &*object).await? {
            owned.push(Arc::new(adopted));
        }
    }
    Ok(owned)
}

async fn adopt<K: Kind>(
    ctx: &Ctx,
    reference: &OwnerReference,
    object: &K,
) -> Result<Option<K>, Error> {
    let patch = json!({"metadata": {
        "ownerReferences": [reference],
        "uid": object.meta().uid,
    }});
    settled(ctx.writer.patch::<K>(&Key::of(object.meta()), "", Patch::Strategic(patch)).await)
}

async fn release<K: Kind>(ctx: &Ctx, owner: &ObjectMeta, object: &K) -> Result<(), Error> {
    let patch = json!({"metadata": {
        "ownerReferences": [{"$patch": "delete", "uid": uid(owner)}],
        "uid": object.meta().uid,
    }});
    settled(ctx.writer.patch::<K>(&Key::of(object.meta()), "", Patch::Strategic(patch)).await)?;
    Ok(())
}

/// An object that is gone, or is another by now (422 on the UID), needs no claim.
fn settled<T>(result: Result<T, Failure>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure)
            if matches!(failure.class, Class::NotFound | Class::Invalid | Class::Conflict) =>
        {
            tracing::debug!(%failure, "not claimed");
            Ok(None)
        }
        Err(failure) => Err(failure.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::pod;

    #[test]
    fn orphans_are_adopted_and_strays_released() {
        let owner = ObjectMeta { uid: Some("me".into()), ..ObjectMeta::default() };
        let owned_by = |who: &str| {
            Some(vec![OwnerReference {
                uid: who.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }])
        };
        let make = |name: &str, who: Option<&str>| {
            let mut pod = pod(name);
            pod.metadata.owner_references = who.and_then(owned_by);
            Arc::new(pod)
        };
        let candidates = vec![
            make("mine", Some("me")),
            make("stray", Some("me")),
            make("other", Some("you")),
            make("orphan", None),
            make("stranger", None),
        ];
        let selects = |pod: &k8s_openapi::api::core::v1::Pod| {
            !matches!(pod.metadata.name.as_deref(), Some("stray" | "stranger"))
        };
        let names = |pods: &[Arc<k8s_openapi::api::core::v1::Pod>]| -> Vec<String> {
            pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
        };
        let claims = sort(&owner, candidates, selects);
        assert_eq!(names(&claims.owned), ["mine"]);
        assert_eq!(names(&claims.adopt), ["orphan"]);
        assert_eq!(names(&claims.release), ["stray"]);
    }
}
