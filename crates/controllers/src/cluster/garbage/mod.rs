//! Garbage collector: deletes what has lost all its owners, in the background, in the foreground,
//! or lets it go.
//!
//! Its graph says where to look; what it does it decides from the object as the server has it,
//! and an owner counts as absent only when the server says so of that very UID.
//! (Kubernetes `pkg/controller/garbagecollector`)

mod graph;
mod inventory;

use std::sync::Arc;
use std::time::Duration;

use api::typed::{PartialObject, ResourceType};
use async_trait::async_trait;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use parking_lot::Mutex;
use reconcile::{
    Action, Cache, Change, Ctx, Delete, Error, Failure, Key, Patch, Queue, Reconciler, Watches,
    or_gone,
};
use serde_json::json;

use self::graph::{FOREGROUND, Graph, Node, ORPHAN, Uid};
pub(crate) use self::inventory::Inventory;
use crate::deps::Deps;

/// The key under which discovery is done again.
const DISCOVERY: &str = "discovery";
/// When a group does not answer, nothing tells when it does.
const DISCOVERY_AGAIN: Duration = Duration::from_secs(30);

/// The controller.
pub(crate) struct Controller {
    inventory: Arc<Inventory>,
    graph: Arc<Mutex<Graph>>,
    crds: Cache<CustomResourceDefinition>,
    apis: Cache<APIService>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        inventory: deps.inventory.clone(),
        graph: Arc::default(),
        crds: deps.caches.of(),
        apis: deps.caches.of(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn workers(&self) -> usize {
        20
    }

    fn watches(&self, watches: &mut Watches) {
        let queue = watches.queue().clone();
        let (graph, inventory) = (self.graph.clone(), self.inventory.clone());
        let queued = queue.clone();
        self.inventory.listen(Box::new(move |resource, change| {
            for uid in apply(&graph, &inventory, resource, change) {
                queued.add(key_of(&uid));
            }
        }));
        watches.once(Key::new("", DISCOVERY));
        // Not waited for: a server may lack these resources, and garbage is collected all the same.
        let rediscover = |queue: Queue| move || queue.add(Key::new("", DISCOVERY));
        let (crd, api) = (rediscover(queue.clone()), rediscover(queue));
        self.crds.subscribe(move |_| crd());
        self.apis.subscribe(move |_| api());
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        if &*key.name == DISCOVERY {
            let incomplete = self.inventory.refresh(&ctx.writer).await?;
            return Ok(if incomplete { Action::After(DISCOVERY_AGAIN) } else { Action::Await });
        }
        let Some(node) = self.graph.lock().get(&key.name).cloned() else {
            return Ok(Action::Await);
        };
        let uid = &*key.name;
        if node.is_virtual {
            return self.verify(ctx, uid, &node).await;
        }
        if node.orphaning {
            return self.orphan_dependents(ctx, uid, &node).await;
        }
        if node.deleting && !node.foreground {
            return Ok(Action::Await);
        }
        let Some(live) = self.live(ctx, uid, &node.resource, &node.key).await? else {
            self.gone(ctx, uid);
            return Ok(Action::Await);
        };
        if node.foreground {
            return self.await_dependents(ctx, uid, &node, &live).await;
        }
        self.collect(ctx, uid, &node, &live).await
    }
}

fn key_of(uid: &Uid) -> Key {
    Key { namespace: "".into(), name: uid.clone() }
}

fn apply(
    graph: &Mutex<Graph>,
    inventory: &Inventory,
    resource: &ResourceType,
    change: &Change,
) -> Vec<Uid> {
    let meta = change.object().meta();
    match change {
        Change::Deleted(_) => graph.lock().remove(meta.uid.as_deref().unwrap_or_default()),
        Change::Updated { old, new } if !matters(old.meta(), new.meta()) => Vec::new(),
        _ => graph.lock().upsert(resource, meta, &|owner| inventory.locate(owner)),
    }
}

/// Whether a change is one of ownership or deletion; most are neither.
fn matters(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    old.owner_references != new.owner_references
        || old.finalizers != new.finalizers
        || old.deletion_timestamp != new.deletion_timestamp
}

/// What the owners of an object are.
#[derive(Debug, Default)]
struct Owners {
    solid: usize,
    absent: Vec<String>,
    waiting: Vec<String>,
    /// References that cannot be resolved: better to keep an object than to guess.
    unknown: usize,
}

impl Controller {
    /// The metadata of an object as the server has it, unless it is gone or another.
    async fn live(
        &self,
        ctx: &Ctx,
        uid: &str,
        resource: &ResourceType,
        key: &Key,
    ) -> Result<Option<ObjectMeta>, Failure> {
        let path = resource.object_path(&key.namespace, &key.name, "");
        let Some(body) = or_gone(ctx.writer.raw("GET", &path, Vec::new()).await)? else {
            return Ok(None);
        };
        let object: PartialObject = serde_json::from_slice(&body)
            .map_err(|error| Failure::decode(format!("read {path}"), &error))?;
        Ok(Some(object.metadata).filter(|meta| meta.uid.as_deref() == Some(uid)))
    }

    fn gone(&self, ctx: &Ctx, uid: &str) {
        for next in self.graph.lock().remove(uid) {
            ctx.queue.add(key_of(&next));
        }
    }

    async fn verify(&self, ctx: &Ctx, uid: &str, node: &Node) -> Result<Action, Error> {
        if self.live(ctx, uid, &node.resource, &node.key).await?.is_none() {
            self.gone(ctx, uid);
        }
        Ok(Action::Await)
    }

    /// An owner that is deleted in the foreground goes when nothing blocks it any more.
    async fn await_dependents(
        &self,
        ctx: &Ctx,
        uid: &str,
        node: &Node,
        live: &ObjectMeta,
    ) -> Result<Action, Error> {
        let blocking = self.graph.lock().blocking(uid);
        if blocking.is_empty() {
            self.remove_finalizer(ctx, node, live, FOREGROUND).await?;
            return Ok(Action::Await);
        }
        for dependent in blocking {
            let waits = self.graph.lock().get(&dependent).is_some_and(|found| found.foreground);
            if !waits {
                ctx.queue.add(key_of(&dependent));
            }
        }
        Ok(Action::Await)
    }

    async fn orphan_dependents(&self, ctx: &Ctx, uid: &str, node: &Node) -> Result<Action, Error> {
        let Some(live) = self.live(ctx, uid, &node.resource, &node.key).await? else {
            self.gone(ctx, uid);
            return Ok(Action::Await);
        };
        let dependents = self.graph.lock().dependents(uid);
        for (dependent, found) in dependents {
            let Some(meta) = self.live(ctx, &dependent, &found.resource, &found.key).await? else {
                continue;
            };
            self.disown(ctx, &found, &meta, &[uid.to_owned()]).await?;
        }
        self.remove_finalizer(ctx, node, &live, ORPHAN).await?;
        Ok(Action::Await)
    }

    /// An object that has owners: keep it, let it go from some, or delete it.
    async fn collect(
        &self,
        ctx: &Ctx,
        uid: &str,
        node: &Node,
        live: &ObjectMeta,
    ) -> Result<Action, Error> {
        let references = live.owner_references.clone().unwrap_or_default();
        if references.is_empty() {
            return Ok(Action::Await);
        }
        let owners = self.owners(ctx, node, &references).await?;
        let mut lost = owners.absent.clone();
        lost.extend(owners.waiting.iter().cloned());
        if owners.solid + owners.unknown > 0 {
            if !lost.is_empty() {
                self.disown(ctx, node, live, &lost).await?;
            }
            return Ok(Action::Await);
        }
        let dependents = self.graph.lock().dependents(uid);
        let propagation = if !owners.waiting.is_empty() && !dependents.is_empty() {
            // Two that wait for each other would wait for ever: the circle is broken here.
            if dependents.iter().any(|(_, dependent)| dependent.foreground) {
                self.unblock(ctx, node, live).await?;
            }
            "Foreground"
        } else {
            own_policy(live)
        };
        let resource_version =
            if dependents.is_empty() { live.resource_version.clone() } else { None };
        let how =
            Delete { resource_version, propagation: Some(propagation), ..Delete::uid(Some(uid)) };
        tracing::debug!(resource = %node.resource.group_resource(), key = %node.key, propagation, "collecting");
        or_gone(ctx.writer.delete_raw(&node.resource, &node.key, how).await)?;
        Ok(Action::Await)
    }

    async fn owners(
        &self,
        ctx: &Ctx,
        node: &Node,
        references: &[OwnerReference],
    ) -> Result<Owners, Failure> {
        let mut owners = Owners::default();
        for reference in references {
            let known = self.graph.lock().get(&reference.uid).cloned();
            let seen = known.filter(|owner| {
                // An object of another namespace is no owner, whatever its UID.
                !owner.is_virtual
                    && (owner.key.namespace.is_empty() || owner.key.namespace == node.key.namespace)
            });
            if let Some(owner) = seen {
                if owner.foreground {
                    owners.waiting.push(reference.uid.clone());
                } else {
                    owners.solid += 1;
                }
                continue;
            }
            let Some(resource) = self.inventory.locate(reference) else {
                owners.unknown += 1;
                continue;
            };
            if resource.namespaced && node.key.namespace.is_empty() {
                owners.unknown += 1;
                continue;
            }
            let namespace = if resource.namespaced { &*node.key.namespace } else { "" };
            let key = Key::new(namespace, &reference.name);
            match self.live(ctx, &reference.uid, &resource, &key).await? {
                None => owners.absent.push(reference.uid.clone()),
                Some(meta) if is_foreground(&meta) => owners.waiting.push(reference.uid.clone()),
                Some(_) => owners.solid += 1,
            }
        }
        Ok(owners)
    }

    /// Takes references out of an object, as it was when it was read.
    async fn disown(
        &self,
        ctx: &Ctx,
        node: &Node,
        live: &ObjectMeta,
        uids: &[String],
    ) -> Result<(), Failure> {
        let mut left = live.owner_references.clone().unwrap_or_default();
        left.retain(|reference| !uids.contains(&reference.uid));
        self.write_owners(ctx, node, live, left).await
    }

    async fn unblock(&self, ctx: &Ctx, node: &Node, live: &ObjectMeta) -> Result<(), Failure> {
        let mut references = live.owner_references.clone().unwrap_or_default();
        for reference in &mut references {
            reference.block_owner_deletion = Some(false);
        }
        self.write_owners(ctx, node, live, references).await
    }

    async fn write_owners(
        &self,
        ctx: &Ctx,
        node: &Node,
        live: &ObjectMeta,
        references: Vec<OwnerReference>,
    ) -> Result<(), Failure> {
        let patch = json!({"metadata": {
            "uid": live.uid,
            "resourceVersion": live.resource_version,
            "ownerReferences": references,
        }});
        self.patch(ctx, node, patch).await
    }

    async fn remove_finalizer(
        &self,
        ctx: &Ctx,
        node: &Node,
        live: &ObjectMeta,
        finalizer: &str,
    ) -> Result<(), Failure> {
        let mut left = live.finalizers.clone().unwrap_or_default();
        left.retain(|one| one != finalizer);
        let patch = json!({"metadata": {
            "uid": live.uid,
            "resourceVersion": live.resource_version,
            "finalizers": left,
        }});
        self.patch(ctx, node, patch).await
    }

    async fn patch(&self, ctx: &Ctx, node: &Node, patch: serde_json::Value) -> Result<(), Failure> {
        or_gone(ctx.writer.patch_raw(&node.resource, &node.key, "", Patch::Merge(patch)).await)?;
        Ok(())
    }
}

fn is_foreground(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
        && meta.finalizers.iter().flatten().any(|one| one == FOREGROUND)
}

/// What an object's own finalizers say about its dependents.
fn own_policy(live: &ObjectMeta) -> &'static str {
    let has = |finalizer: &str| live.finalizers.iter().flatten().any(|one| one == finalizer);
    if has(ORPHAN) {
        "Orphan"
    } else if has(FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    }
}
