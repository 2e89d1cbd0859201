//! The labels and annotations by which a kubelet finds its pods again in the runtime.
//!
//! They are upstream's, so that `crictl`, log shippers and another kubelet understand them.

use std::collections::BTreeMap;

use container_runtime::{ContainerStatus, PodSandbox};
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::pod::{self, PodRef};

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(crate) const HASH: &str = "io.kubernetes.container.hash";
pub(crate) const RESTARTS: &str = "io.kubernetes.container.restartCount";
pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub(crate) const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";

/// A sandbox's labels: the pod's own and its identity.
pub(crate) fn sandbox_labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.extend(identity(pod));
    labels
}

/// A sandbox's annotations: the pod's own.
pub(crate) fn sandbox_annotations(pod: &Pod) -> BTreeMap<String, String> {
    pod.metadata.annotations.clone().unwrap_or_default()
}

/// A container's labels.
pub(crate) fn container_labels(pod: &Pod, container: &Container) -> BTreeMap<String, String> {
    let mut labels = identity(pod);
    labels.insert(CONTAINER_NAME.to_owned(), container.name.clone());
    labels
}

/// A container's annotations: what must be known to judge it after the kubelet was started anew.
pub(crate) fn container_annotations(
    pod: &Pod,
    container: &Container,
    restarts: u32,
) -> BTreeMap<String, String> {
    let mut annotations: BTreeMap<String, String> = [
        (HASH.to_owned(), pod::container_hash(container)),
        (RESTARTS.to_owned(), restarts.to_string()),
        (MESSAGE_PATH.to_owned(), message_path(container).to_owned()),
        (
            MESSAGE_POLICY.to_owned(),
            container.termination_message_policy.clone().unwrap_or("File".into()),
        ),
    ]
    .into();
    if let Some(grace) = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) {
        annotations.insert(POD_GRACE.to_owned(), grace.to_string());
    }
    annotations
}

/// Where the container writes its last words.
pub(crate) fn message_path(container: &Container) -> &str {
    container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/dev/termination-log")
}

fn identity(pod: &Pod) -> BTreeMap<String, String> {
    [
        (POD_NAME.to_owned(), pod::name(pod).to_owned()),
        (POD_NAMESPACE.to_owned(), pod::namespace(pod).to_owned()),
        (POD_UID.to_owned(), pod::uid(pod).to_owned()),
    ]
    .into()
}

/// Whose sandbox this is.
pub(crate) fn owner(sandbox: &PodSandbox) -> PodRef {
    PodRef {
        namespace: sandbox.metadata.namespace.clone(),
        name: sandbox.metadata.name.clone(),
        uid: sandbox.metadata.uid.clone(),
    }
}

/// The container's name in its pod.
pub(crate) fn container_name(status: &ContainerStatus) -> &str {
    status.labels.get(CONTAINER_NAME).map_or(status.metadata.name.as_str(), String::as_str)
}

/// How often the container was restarted before this one.
pub(crate) fn restarts(status: &ContainerStatus) -> u32 {
    let noted = status.annotations.get(RESTARTS).and_then(|text| text.parse().ok());
    noted.unwrap_or(status.metadata.attempt)
}
