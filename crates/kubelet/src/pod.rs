//! Reading a Pod: its identity, its containers of all sorts, its QoS class.
//!
//! Invariant: pure; nothing here knows the runtime or the API server.

use std::borrow::Cow;
use std::fmt;

use api::pod_resources::requests;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity;

/// Where a pod came from; set on static pods and on what mirrors them.
pub(crate) const ANNOTATION_SOURCE: &str = "kubernetes.io/config.source";
/// On a mirror pod: the hash of the static pod that it shows.
pub(crate) const ANNOTATION_MIRROR: &str = "kubernetes.io/config.mirror";
/// On a static pod: the hash of its definition.
pub(crate) const ANNOTATION_HASH: &str = "kubernetes.io/config.hash";
/// The priority from which a pod is critical to its node.
pub(crate) const PRIORITY_NODE_CRITICAL: i32 = 2_000_001_000;

/// A pod's identity: a re-created pod of the same name is another pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PodRef {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// The UID.
    pub(crate) uid: String,
}

impl PodRef {
    /// The identity of a pod.
    pub(crate) fn of(pod: &Pod) -> Self {
        Self {
            namespace: namespace(pod).to_owned(),
            name: name(pod).to_owned(),
            uid: uid(pod).to_owned(),
        }
    }
}

/// `name_namespace(uid)`, upstream's form in messages.
impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ContainerKind {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: runs beside the app containers.
    Sidecar,
    /// An app container.
    App,
    /// Added to a running pod for debugging; never restarted.
    Ephemeral,
}

impl ContainerKind {
    /// The field that events about such a container name.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Init | Self::Sidecar => "initContainers",
            Self::App => "containers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }
}

/// `metadata.namespace`.
pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// `metadata.name`.
pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// `metadata.uid`.
pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The spec, an empty one when there is none.
pub(crate) fn spec(pod: &Pod) -> Cow<'_, PodSpec> {
    pod.spec.as_ref().map_or_else(|| Cow::Owned(PodSpec::default()), Cow::Borrowed)
}

/// An annotation's value.
pub(crate) fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Whether this API object only shows something that runs without the API server.
pub(crate) fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, ANNOTATION_MIRROR).is_some()
}

/// Whether the pod was read from a manifest on the node.
pub(crate) fn is_static(pod: &Pod) -> bool {
    annotation(pod, ANNOTATION_SOURCE).is_some_and(|source| source != "api")
}

/// Whether the API server was asked to delete the pod.
pub(crate) fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod uses the node's network.
pub(crate) fn is_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default()
}

/// `status.phase` as the API knows it.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the API says that the pod has ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `Always`, `OnFailure` or `Never`.
pub(crate) fn restart_policy(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// Whether an init container runs beside the app containers.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// All containers of the pod in the order init, app, ephemeral.
pub(crate) fn containers(pod: &Pod) -> Vec<(ContainerKind, Cow<'_, Container>)> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let init = spec.init_containers.iter().flatten().map(|container| {
        let kind = if is_sidecar(container) { ContainerKind::Sidecar } else { ContainerKind::Init };
        (kind, Cow::Borrowed(container))
    });
    let app = spec.containers.iter().map(|one| (ContainerKind::App, Cow::Borrowed(one)));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    init.chain(app)
        .chain(ephemeral.map(|one| (ContainerKind::Ephemeral, Cow::Owned(as_container(one)))))
        .collect()
}

/// A container by its name, of any sort.
pub(crate) fn container<'a>(
    pod: &'a Pod,
    name: &str,
) -> Option<(ContainerKind, Cow<'a, Container>)> {
    containers(pod).into_iter().find(|(_, container)| container.name == name)
}

/// An ephemeral container has a container's fields and one more.
fn as_container(one: &EphemeralContainer) -> Container {
    Container {
        args: one.args.clone(),
        command: one.command.clone(),
        env: one.env.clone(),
        env_from: one.env_from.clone(),
        image: one.image.clone(),
        image_pull_policy: one.image_pull_policy.clone(),
        name: one.name.clone(),
        security_context: one.security_context.clone(),
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        termination_message_path: one.termination_message_path.clone(),
        termination_message_policy: one.termination_message_policy.clone(),
        tty: one.tty,
        volume_devices: one.volume_devices.clone(),
        volume_mounts: one.volume_mounts.clone(),
        working_dir: one.working_dir.clone(),
        ..Container::default()
    }
}

/// The container whose processes an ephemeral container shall see.
pub(crate) fn target_container(pod: &Pod, ephemeral: &str) -> Option<String> {
    let all = pod.spec.as_ref()?.ephemeral_containers.as_deref()?;
    let target = all.iter().find(|one| one.name == ephemeral)?.target_container_name.clone()?;
    Some(target).filter(|name| !name.is_empty())
}

/// A change of this hash restarts the container: name and image, the fields that can change.
/// (kubelet `HashContainer`)
pub(crate) fn container_hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    let text = serde_json::json!({"image": image, "name": container.name}).to_string();
    format!("{:x}", fnv1a32(text.as_bytes()))
}

/// A hash of a whole pod definition, for static pods.
pub(crate) fn definition_hash(bytes: &[u8]) -> String {
    format!("{:08x}{:08x}", fnv1a32(bytes), fnv1a32(&[bytes, b"definition"].concat()))
}

fn fnv1a32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// `Guaranteed`, `Burstable` or `BestEffort`: what the API server decided, or by its rule.
pub(crate) fn qos_class(pod: &Pod) -> String {
    if let Some(class) = pod.status.as_ref().and_then(|status| status.qos_class.clone()) {
        return class;
    }
    let Some(spec) = &pod.spec else { return "BestEffort".to_owned() };
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let (mut any, mut guaranteed) = (false, true);
    for container in all {
        for resource in ["cpu", "memory"] {
            let request = amount(container, resource, false);
            let limit = amount(container, resource, true);
            any |= request.is_some() || limit.is_some();
            // A limit without a request is its own request.
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    let class = match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    };
    class.to_owned()
}

fn amount(container: &Container, resource: &str, limit: bool) -> Option<i64> {
    let resources = container.resources.as_ref()?;
    let map = if limit { &resources.limits } else { &resources.requests };
    map.as_ref()?.get(resource).and_then(quantity::milli).filter(|amount| *amount > 0)
}

/// What a pod asks for of one resource, in `read`'s unit.
pub(crate) fn request(pod: &Pod, resource: &str, read: fn(&Quantity) -> Option<i64>) -> i64 {
    let asked = pod.spec.as_ref().and_then(|spec| requests(spec).remove(resource));
    asked.and_then(|amount| read(&Quantity(amount.to_string()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": containers})).unwrap()
    }

    #[test]
    fn qos_follows_requests_and_limits() {
        let with = |resources| pod(json!({"containers": [{"name": "c", "resources": resources}]}));
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(qos_class(&with(json!({}))), "BestEffort");
        assert_eq!(qos_class(&with(json!({"limits": full}))), "Guaranteed");
        assert_eq!(qos_class(&with(json!({"requests": full}))), "Burstable");
        assert_eq!(
            qos_class(&with(json!({"limits": full, "requests": {"cpu": "500m"}}))),
            "Burstable"
        );
    }

    #[test]
    fn init_containers_count_at_their_peak() {
        let cpu = |milli: &str| json!({"requests": {"cpu": milli}});
        let pod = pod(json!({
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": cpu("100m")},
                {"name": "i", "resources": cpu("500m")},
            ],
            "containers": [{"name": "c", "resources": cpu("200m")}],
            "overhead": {"cpu": "10m"},
        }));
        assert_eq!(request(&pod, "cpu", quantity::milli), 610);
    }

    #[test]
    fn the_hash_changes_with_the_image() {
        let mut container =
            Container { name: "c".into(), image: Some("a:1".into()), ..Container::default() };
        let before = container_hash(&container);
        container.command = Some(vec!["x".into()]);
        assert_eq!(container_hash(&container), before);
        container.image = Some("a:2".into());
        assert_ne!(container_hash(&container), before);
    }
}
