//! Mirror pods: what runs on the node without the API server, shown in it.
//!
//! Nobody can change what runs by changing them, and when one is deleted it comes back.

use std::sync::Arc;
use std::time::Duration;

use base::drain::Drain;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use reconcile::{Delete, Failure, Key, Writer};
use tokio::sync::Notify;

use crate::context::NodeContext;
use crate::pod::{self, ANNOTATION_MIRROR, PodRef};
use crate::status::manager::Reporter;

const RETRY: Duration = Duration::from_secs(1);

/// Something that is shown as a pod.
pub(crate) trait Shown: Send + Sync {
    /// The pod's name.
    fn name(&self) -> String;
    /// Its namespace.
    fn namespace(&self) -> String;
    /// Another hash means another pod.
    fn hash(&self) -> String;
    /// The pod as it shall be shown.
    fn definition(&self) -> Result<Pod, Failure>;
    /// Its status now.
    fn status(&self, pod: &Pod) -> Option<PodStatus>;
    /// Waits until the status may be another.
    fn changed(&self) -> BoxFuture<'_, ()>;
}

/// Keeps a pod shown until the drain fires, or this future is dropped.
pub(crate) async fn keep(node: &NodeContext, writer: &Writer, shown: &dyn Shown, drain: &Drain) {
    node.objects.pods.synced().await;
    let changed = Arc::new(Notify::new());
    let key = Key::new(&shown.namespace(), &shown.name());
    let (notify, own) = (Arc::downgrade(&changed), key.clone());
    node.objects.pods.subscribe(move |event| {
        if Key::of(&event.object().metadata) == own
            && let Some(notify) = notify.upgrade()
        {
            notify.notify_one();
        }
    });
    let notify = Arc::downgrade(&changed);
    node.objects.nodes.subscribe(move |_| {
        if let Some(notify) = notify.upgrade() {
            notify.notify_one();
        }
    });
    let mut reporter = None;
    loop {
        let wait = match show(node, writer, shown, &key, &mut reporter).await {
            Ok(()) => None,
            Err(failure) => {
                tracing::debug!(pod = %key, %failure, "a mirror pod was not written, trying again");
                Some(RETRY)
            }
        };
        let retry = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = drain.cancelled() => return,
            () = changed.notified() => {}
            () = shown.changed() => {}
            () = retry => {}
        }
    }
}

/// Takes a mirror pod away.
pub(crate) async fn remove(writer: &Writer, key: &Key, uid: Option<&str>) -> Result<(), Failure> {
    let how = Delete { grace_seconds: Some(0), ..Delete::uid(uid) };
    reconcile::or_gone(writer.delete::<Pod>(key, how).await).map(|_| ())
}

async fn show(
    node: &NodeContext,
    writer: &Writer,
    shown: &dyn Shown,
    key: &Key,
    reporter: &mut Option<(String, Reporter)>,
) -> Result<(), Failure> {
    let hash = shown.hash();
    let pod = match node.objects.pods.get_key(key) {
        Some(pod)
            if pod::is_deleting(&pod)
                || pod::annotation(&pod, ANNOTATION_MIRROR) != Some(&hash) =>
        {
            return remove(writer, key, pod.metadata.uid.as_deref()).await;
        }
        Some(pod) => pod,
        None => {
            // The node registers first; being told of it, this looks again.
            let Some(owner) = owner(node) else { return Ok(()) };
            let mut pod = shown.definition()?;
            pod.metadata.owner_references = Some(vec![owner]);
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(ANNOTATION_MIRROR.to_owned(), hash);
            match writer.create(&pod).await {
                Ok(pod) => Arc::new(pod),
                Err(failure) if failure.is_already_exists() => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    };
    let id = PodRef::of(&pod);
    if reporter.as_ref().is_none_or(|(uid, _)| *uid != id.uid) {
        let started = Reporter::start(id.clone(), node.objects.pods.clone(), Some(writer.clone()));
        *reporter = Some((id.uid, started));
    }
    if let (Some((_, reporter)), Some(status)) = (reporter, shown.status(&pod)) {
        reporter.report(status);
    }
    Ok(())
}

/// The node owns its mirror pods: they go with it.
fn owner(node: &NodeContext) -> Option<OwnerReference> {
    let name = &node.options.node_name;
    let uid = node.objects.nodes.get("", name)?.metadata.uid.clone()?;
    Some(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid,
        controller: Some(true),
        ..OwnerReference::default()
    })
}
