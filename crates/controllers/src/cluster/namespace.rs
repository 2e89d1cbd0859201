//! Namespace: empties a namespace that is being deleted, pods first, then lets it go.
//!
//! Pods first (KEP-5080), so that no policy or secret goes while a pod still needs it. What keeps
//! a namespace is told in five conditions. Woken by what leaves it: the pods, and each object
//! whose deletion the garbage collector's watches see; a short timer only looks after what cannot
//! be watched. (Kubernetes `pkg/controller/namespace/deletion`)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::typed::ResourceType;
use async_trait::async_trait;
use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use reconcile::{
    Action, Cache, Change, Class, Ctx, Error, Event, Failure, Key, Reconciler, Watches,
};
use serde::Deserialize;

use super::discovery::{self, Discovery};
use super::garbage::Inventory;
use crate::deps::Deps;

const FINALIZER: &str = "kubernetes";
/// Looks again at what has finalizers, in case its resource cannot be watched.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The controller.
pub(crate) struct Controller {
    namespaces: Cache<Namespace>,
    pods: Cache<Pod>,
    inventory: Arc<Inventory>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        namespaces: deps.caches.of(),
        pods: deps.caches.of(),
        inventory: deps.inventory.clone(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn workers(&self) -> usize {
        10
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.namespaces);
        let namespaces = self.namespaces.clone();
        watches.on(&self.pods, move |event, queue| {
            if let Event::Deleted(pod) = event {
                wake(&namespaces, &pod.metadata, queue);
            }
        });
        let (namespaces, queue) = (self.namespaces.clone(), watches.queue().clone());
        self.inventory.listen(Box::new(move |_, change| {
            if let Change::Deleted(object) = change {
                wake(&namespaces, object.meta(), &queue);
            }
        }));
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(cached) = self.namespaces.get_key(key) else { return Ok(Action::Await) };
        if cached.metadata.deletion_timestamp.is_none() || !has_finalizer(&cached) {
            return Ok(Action::Await);
        }
        let Some(namespace) = reconcile::or_gone(ctx.writer.get::<Namespace>(key).await)? else {
            return Ok(Action::Await);
        };
        if namespace.metadata.uid != cached.metadata.uid || !has_finalizer(&namespace) {
            return Ok(Action::Await);
        }
        let found = discovery::discover(&ctx.writer).await;
        let outcome = match &found {
            Ok(found) => empty(ctx, &key.name, found).await,
            Err(failure) => Outcome { discovery: Some(failure.to_string()), ..Outcome::default() },
        };
        let done = outcome.is_done();
        let with = with_conditions(&namespace, &outcome, ctx.clock.now());
        let namespace = match with {
            Some(changed) => ctx.writer.update_status(&changed).await?,
            None => namespace,
        };
        if done {
            finalize(ctx, namespace).await?;
            return Ok(Action::Await);
        }
        if outcome.discovery.is_some() || !outcome.failures.is_empty() {
            return Err(Error::Stuck(format!("namespace {} is not empty yet", key.name)));
        }
        Ok(Action::After(LOOK_AGAIN))
    }
}

fn has_finalizer(namespace: &Namespace) -> bool {
    let spec = namespace.spec.as_ref();
    spec.is_some_and(|spec| spec.finalizers.iter().flatten().any(|one| one == FINALIZER))
}

fn wake(namespaces: &Cache<Namespace>, meta: &ObjectMeta, queue: &reconcile::Queue) {
    let Some(name) = meta.namespace.as_deref() else { return };
    if namespaces.get("", name).is_some_and(|found| found.metadata.deletion_timestamp.is_some()) {
        queue.add(Key::new("", name));
    }
}

/// What emptying a namespace came to.
#[derive(Debug, Default)]
struct Outcome {
    discovery: Option<String>,
    failures: Vec<String>,
    /// How many objects are left of each resource.
    left: BTreeMap<String, usize>,
    /// How many of them each finalizer holds.
    finalizers: BTreeMap<String, usize>,
}

impl Outcome {
    fn is_done(&self) -> bool {
        self.discovery.is_none() && self.failures.is_empty() && self.left.is_empty()
    }
}

async fn empty(ctx: &Ctx, namespace: &str, found: &Discovery) -> Outcome {
    let mut outcome = Outcome {
        discovery: found.failed.first().map(|(version, failure)| format!("{version}: {failure}")),
        ..Outcome::default()
    };
    let (pods, others): (Vec<_>, Vec<_>) = found
        .resources
        .iter()
        .filter(|one| one.resource.namespaced && one.can(&["list", "delete"]))
        .partition(|one| one.resource.group.is_empty() && &*one.resource.plural == "pods");
    for one in pods {
        clear(ctx, &one.resource, one.can(&["deletecollection"]), namespace, &mut outcome).await;
    }
    if !outcome.left.is_empty() || !outcome.failures.is_empty() {
        return outcome;
    }
    for one in others {
        clear(ctx, &one.resource, one.can(&["deletecollection"]), namespace, &mut outcome).await;
    }
    outcome
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: ObjectMeta,
}

/// Deletes all objects of a resource and counts what is left.
async fn clear(
    ctx: &Ctx,
    resource: &ResourceType,
    at_once: bool,
    namespace: &str,
    outcome: &mut Outcome,
) {
    let path = resource.collection_path(namespace);
    let failed = |failure: Failure, outcome: &mut Outcome| {
        // A resource that has just gone, or that cannot be deleted so, has nothing to delete.
        if !matches!(failure.class, Class::NotFound | Class::Unsupported) {
            outcome.failures.push(failure.to_string());
        }
    };
    let background =
        br#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#;
    if at_once && let Err(failure) = ctx.writer.raw("DELETE", &path, background.to_vec()).await {
        failed(failure, outcome);
        return;
    }
    let items = match list(ctx, &path).await {
        Ok(items) => items,
        Err(failure) => return failed(failure, outcome),
    };
    if !at_once {
        for item in &items {
            let key = Key::of(&item.metadata);
            let how = reconcile::Delete {
                propagation: Some("Background"),
                ..reconcile::Delete::uid(item.metadata.uid.as_deref())
            };
            if let Err(failure) = ctx.writer.delete_raw(resource, &key, how).await {
                failed(failure, outcome);
            }
        }
    }
    let items = if at_once { items } else { list(ctx, &path).await.unwrap_or_default() };
    if items.is_empty() {
        return;
    }
    let what = resource.group_resource().to_string();
    *outcome.left.entry(what).or_default() += items.len();
    for finalizer in items.iter().flat_map(|item| item.metadata.finalizers.iter().flatten()) {
        *outcome.finalizers.entry(finalizer.clone()).or_default() += 1;
    }
}

async fn list(ctx: &Ctx, path: &str) -> Result<Vec<Item>, Failure> {
    let body = ctx.writer.raw("GET", path, Vec::new()).await?;
    let list: List = serde_json::from_slice(&body)
        .map_err(|error| Failure::decode(format!("list {path}"), &error))?;
    Ok(list.items)
}

async fn finalize(ctx: &Ctx, mut namespace: Namespace) -> Result<(), Error> {
    let spec = namespace.spec.get_or_insert_default();
    spec.finalizers.get_or_insert_default().retain(|one| one != FINALIZER);
    reconcile::or_gone(ctx.writer.replace(&namespace, "finalize").await)?;
    Ok(())
}

/// The namespace with the five conditions, when that changes any.
fn with_conditions(namespace: &Namespace, outcome: &Outcome, now: Timestamp) -> Option<Namespace> {
    let mut updated = namespace.clone();
    let status = updated.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    let mut changed = false;
    for (kind, state, reason, message) in conditions_of(outcome) {
        let found = conditions.iter_mut().find(|condition| condition.type_ == kind);
        if let Some(condition) = &found
            && condition.status == state
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(&message)
        {
            continue;
        }
        changed = true;
        let transition = found
            .as_ref()
            .filter(|condition| condition.status == state)
            .and_then(|condition| condition.last_transition_time.clone());
        let condition = NamespaceCondition {
            type_: kind.to_owned(),
            status: state.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: transition.or(Some(Time(now))),
        };
        match found {
            Some(slot) => *slot = condition,
            None => conditions.push(condition),
        }
    }
    changed.then_some(updated)
}

fn conditions_of(outcome: &Outcome) -> Vec<(&'static str, &'static str, &'static str, String)> {
    let counts = |map: &BTreeMap<String, usize>, joint: &str| {
        let each: Vec<_> = map
            .iter()
            .map(|(what, count)| format!("{what}{joint}{count} resource instances"))
            .collect();
        each.join(", ")
    };
    let row = |kind, bad: Option<(&'static str, String)>, fine: (&'static str, &str)| match bad {
        Some((reason, message)) => (kind, "True", reason, message),
        None => (kind, "False", fine.0, fine.1.to_owned()),
    };
    let failures = (!outcome.failures.is_empty()).then(|| {
        let text = format!(
            "Failed to delete all resource types, {} remaining: {}",
            outcome.failures.len(),
            outcome.failures.join(", ")
        );
        ("ContentDeletionFailed", text)
    });
    let left = (!outcome.left.is_empty()).then(|| {
        let text = format!("Some resources are remaining: {}", counts(&outcome.left, " has "));
        ("SomeResourcesRemain", text)
    });
    let held = (!outcome.finalizers.is_empty()).then(|| {
        let held = counts(&outcome.finalizers, " in ");
        let text = format!("Some content in the namespace has finalizers remaining: {held}");
        ("SomeFinalizersRemain", text)
    });
    let discovery = outcome.discovery.as_ref().map(|failure| {
        let text = format!("Discovery failed for some groups, 1 failing: {failure}");
        ("DiscoveryFailed", text)
    });
    vec![
        row(
            "NamespaceDeletionDiscoveryFailure",
            discovery,
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        row(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        row(
            "NamespaceDeletionContentFailure",
            failures,
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        row(
            "NamespaceContentRemaining",
            left,
            ("ContentRemoved", "All content successfully removed"),
        ),
        row(
            "NamespaceFinalizersRemaining",
            held,
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::at;

    #[test]
    fn five_conditions_and_only_changes_are_written() {
        let namespace = Namespace::default();
        let mut outcome = Outcome::default();
        outcome.left.insert("pods".into(), 2);
        outcome.finalizers.insert("example.com/x".into(), 1);
        let first = with_conditions(&namespace, &outcome, at(0)).unwrap();
        let conditions = first.status.clone().unwrap().conditions.unwrap();
        let said: Vec<_> = conditions
            .iter()
            .map(|condition| (condition.status.as_str(), condition.reason.as_deref().unwrap()))
            .collect();
        let expected = [
            ("False", "ResourcesDiscovered"),
            ("False", "ParsedGroupVersions"),
            ("False", "ContentDeleted"),
            ("True", "SomeResourcesRemain"),
            ("True", "SomeFinalizersRemain"),
        ];
        assert_eq!(said, expected);
        assert_eq!(
            conditions[3].message.as_deref(),
            Some("Some resources are remaining: pods has 2 resource instances")
        );
        assert!(with_conditions(&first, &outcome, at(9)).is_none());
        assert!(with_conditions(&first, &Outcome::default(), at(9)).is_some());
    }
}
