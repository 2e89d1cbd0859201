//! Static pods: manifests in a folder of the node, run without the API server and shown in it.
//!
//! The kernel tells when the folder changes. A changed manifest is another pod: its UID is a hash.

use std::path::Path;
use std::sync::Arc;

use api::typed::Kind as _;
use base::drain::Drain;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, PodStatus, Toleration};
use parking_lot::Mutex;
use reconcile::{Failure, Key, Writer};
use tokio::sync::watch;

use crate::context::NodeContext;
use crate::dispatch::Dispatch;
use crate::logs::watch::FileWatch;
use crate::mirror::{self, Shown};
use crate::pod::{self, ANNOTATION_HASH, ANNOTATION_SOURCE};

/// Keeps the static pods until the drain fires.
pub(crate) async fn run(
    node: &Arc<NodeContext>,
    dispatch: &Dispatch,
    writer: &Writer,
    drain: &Drain,
) {
    let Some(folder) = node.options.static_pod_dir.clone() else { return };
    let _made = std::fs::create_dir_all(&folder);
    let watch = match FileWatch::folder(&folder) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "static pods cannot be read");
            return;
        }
    };
    loop {
        let pods = read_all(&folder, &node.options.node_name);
        for (pod, shown) in dispatch.set_static(pods, drain) {
            let (node, writer, drain) = (node.clone(), writer.clone(), drain.clone());
            tokio::spawn(async move { show(&node, &writer, pod, shown, &drain).await });
        }
        tokio::select! {
            () = drain.cancelled() => return,
            changed = watch.changed() => if changed.is_err() { return },
        }
    }
}

/// Shows a static pod as long as its worker lives, then takes the mirror away.
async fn show(
    node: &NodeContext,
    writer: &Writer,
    pod: Arc<Pod>,
    status: watch::Receiver<Option<PodStatus>>,
    drain: &Drain,
) {
    let shown = StaticPod { pod: pod.clone(), status: Mutex::new(status.clone()) };
    let mut alive = status;
    let ended = async { while alive.changed().await.is_ok() {} };
    tokio::select! {
        () = mirror::keep(node, writer, &shown, drain) => return,
        () = ended => {}
    }
    if drain.is_cancelled() {
        return;
    }
    let key = Key::new(pod::namespace(&pod), pod::name(&pod));
    let ours = node.objects.pods.get_key(&key);
    let ours =
        ours.filter(|mirror| pod::annotation(mirror, ANNOTATION_HASH) == Some(pod::uid(&pod)));
    if let Some(mirror) = ours
        && let Err(failure) = mirror::remove(writer, &key, mirror.metadata.uid.as_deref()).await
    {
        tracing::warn!(%failure, "the mirror of a static pod that is no more was not removed");
    }
}

struct StaticPod {
    pod: Arc<Pod>,
    status: Mutex<watch::Receiver<Option<PodStatus>>>,
}

impl Shown for StaticPod {
    fn name(&self) -> String {
        pod::name(&self.pod).to_owned()
    }

    fn namespace(&self) -> String {
        pod::namespace(&self.pod).to_owned()
    }

    fn hash(&self) -> String {
        pod::uid(&self.pod).to_owned()
    }

    fn definition(&self) -> Result<Pod, Failure> {
        let mut pod = Pod::clone(&self.pod);
        pod.metadata.uid = None;
        pod.status = None;
        Ok(pod)
    }

    fn status(&self, pod: &Pod) -> Option<PodStatus> {
        let mut status = self.status.lock().borrow().clone()?;
        status.observed_generation = pod.metadata.generation;
        Some(status)
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let mut status = self.status.lock().clone();
        async move {
            if status.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            *self.status.lock() = status;
        }
        .boxed()
    }
}

/// All manifests of a folder. One that cannot be read is said and left out.
pub(crate) fn read_all(folder: &Path, node: &str) -> Vec<Pod> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let mut pods = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || !path.is_file() {
            continue;
        }
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a static pod's manifest cannot be read");
                continue;
            }
        };
        match parse(&text, node) {
            Ok(pod) => pods.push(pod),
            Err(why) => {
                tracing::warn!(path = %path.display(), why, "a static pod's manifest makes no sense")
            }
        }
    }
    pods
}

/// A manifest as a pod of this node. (kubelet `config/common.go`, `applyDefaults`)
fn parse(text: &[u8], node: &str) -> Result<Pod, String> {
    let document = api::yaml::parse(text).map_err(|error| error.to_string())?;
    let json = serde_json::to_vec(&document.value).map_err(|error| error.to_string())?;
    let mut pod = Pod::decode(&json).map_err(|error| error.to_string())?;
    let meta = &mut pod.metadata;
    let name = meta.name.clone().filter(|name| !name.is_empty()).ok_or("it has no name")?;
    let uid = pod::definition_hash(&[text, node.as_bytes()].concat());
    meta.name = Some(format!("{name}-{}", node.to_lowercase()));
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    meta.uid = Some(uid.clone());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_SOURCE.to_owned(), "file".to_owned());
    annotations.insert(ANNOTATION_HASH.to_owned(), uid);
    let spec = pod.spec.get_or_insert_default();
    if spec.containers.is_empty() {
        return Err("it has no containers".to_owned());
    }
    spec.node_name = Some(node.to_owned());
    // Nothing drives a static pod off its node.
    spec.tolerations.get_or_insert_default().push(Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    });
    pod.status = None;
    Ok(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_become_pods_of_the_node() {
        let text = b"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: a, image: i}]\n";
        let pod = parse(text, "N1").unwrap();
        assert_eq!((pod::name(&pod), pod::namespace(&pod)), ("web-n1", "default"));
        assert!(pod::is_static(&pod) && !pod::is_mirror(&pod));
        let other = parse(&[text.as_slice(), b"  hostNetwork: true\n"].concat(), "N1").unwrap();
        assert_ne!(pod::uid(&pod), pod::uid(&other));
        assert!(parse(b"metadata: {name: x}", "n").is_err() && parse(b"{", "n").is_err());
    }
}
