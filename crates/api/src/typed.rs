//! Typed objects: `k8s-openapi`'s structs with decoding and encoding instantiated here, once.
//!
//! Invariant: serde of a kind is compiled in this crate and nowhere else. [`Kind::decode`] and
//! [`Kind::encode`] are not generic, so a crate that calls them links to them; a crate that calls
//! `serde_json::from_slice::<Pod>` compiles a hundred kilobytes of visitor again.
//!
//! To add a kind: its line in `kinds!` below.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::names::{GroupResource, join_api_version};

/// A typed Kubernetes object.
pub trait Kind: AnyObject + Clone + Sized {
    /// Group, version, names and scope.
    fn resource() -> ResourceType;

    /// Reads an object from JSON. Fields that the type does not know are dropped.
    ///
    /// # Errors
    /// When the text is no JSON or a field has another type.
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error>;

    /// Writes the object as JSON, with `apiVersion` and `kind`.
    fn encode(&self) -> Vec<u8>;
}

/// An object whose type is known only at run time: what shared caches hold.
pub trait AnyObject: Any + Send + Sync {
    /// `metadata`.
    fn meta(&self) -> &ObjectMeta;

    /// `metadata`, for writing.
    fn meta_mut(&mut self) -> &mut ObjectMeta;

    /// The way back to the type: `object.into_any().downcast::<Pod>()`.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The way back to the type without a new reference.
    fn as_any(&self) -> &dyn Any;

    /// The same, for writing.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// Decodes an object of one type into its erased form.
pub type DecodeFn = fn(&[u8]) -> Result<Arc<dyn AnyObject>, serde_json::Error>;

/// Decodes a `K`, without its `managedFields` (nobody who reads a cache needs them, and they are
/// a third of an object), into its erased form.
///
/// # Errors
/// As [`Kind::decode`].
pub fn decode_erased<K: Kind>(json: &[u8]) -> Result<Arc<dyn AnyObject>, serde_json::Error> {
    let mut object = K::decode(&without_managed_fields(json))?;
    object.meta_mut().managed_fields = None;
    Ok(Arc::new(object))
}

/// The text without the first `managedFields` in it, which need not be read then. JSON in which
/// they stand otherwise than a server writes them stays as it is.
fn without_managed_fields(json: &[u8]) -> Cow<'_, [u8]> {
    // Inside of a string the quotes would be escaped.
    const START: &[u8] = b",\"managedFields\":[";
    let Some(start) = memchr::memmem::find(json, START) else { return Cow::Borrowed(json) };
    let Some(length) = array_length(&json[start + START.len()..]) else {
        return Cow::Borrowed(json);
    };
    Cow::Owned([&json[..start], &json[start + START.len() + length..]].concat())
}

/// How far it is to the end of an array whose bracket was read.
fn array_length(json: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (1_u32, 0);
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'[' => depth += 1,
            b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            b'"' => at += string_length(&json[at..])?,
            _ => {}
        }
    }
    None
}

/// How far it is to the end of a string whose quote was read.
fn string_length(json: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &json[at..])? + 1;
        if json[at - 1] == b'"' {
            return Some(at);
        }
        // What is escaped is no end.
        at += 1;
        json.get(at)?;
    }
}

/// Takes out of a Pod what nobody but the kubelet of its node reads, and what is most of it in
/// memory: plain environment variables (those that refer to something stay, for the node
/// authorizer), commands and arguments. Pods of `own_node` stay whole.
pub fn reduce_pod(object: &mut dyn AnyObject, own_node: &str) {
    let Some(pod) = object.as_any_mut().downcast_mut::<core::Pod>() else { return };
    let Some(spec) = &mut pod.spec else { return };
    if spec.node_name.as_deref() == Some(own_node) {
        return;
    }
    let ordinary = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    for core::Container { env, command, args, .. } in ordinary {
        keep_references(env);
        (*command, *args) = (None, None);
    }
    let ephemeral = spec.ephemeral_containers.iter_mut().flatten();
    for core::EphemeralContainer { env, command, args, .. } in ephemeral {
        keep_references(env);
        (*command, *args) = (None, None);
    }
}

fn keep_references(env: &mut Option<Vec<core::EnvVar>>) {
    if let Some(variables) = env {
        variables.retain(|one| one.value_from.is_some());
        variables.shrink_to_fit();
    }
}

/// Group, version, names and scope of a resource: enough to make its paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceType {
    /// The API group; empty for the core group.
    pub group: Arc<str>,
    /// The version, `v1`.
    pub version: Arc<str>,
    /// The plural name, `pods`.
    pub plural: Arc<str>,
    /// The kind, `Pod`.
    pub kind: Arc<str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl ResourceType {
    /// A resource from its parts.
    #[must_use]
    pub fn new(group: &str, version: &str, plural: &str, kind: &str, namespaced: bool) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            kind: kind.into(),
            namespaced,
        }
    }

    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        join_api_version(&self.group, &self.version)
    }

    /// The group and the plural name.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.plural.clone() }
    }

    /// The path of the collection: of one namespace, or of all when `namespace` is empty.
    #[must_use]
    pub fn collection_path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api/" } else { "/apis/" };
        let group_version = self.api_version();
        if namespace.is_empty() || !self.namespaced {
            format!("{root}{group_version}/{}", self.plural)
        } else {
            format!("{root}{group_version}/namespaces/{namespace}/{}", self.plural)
        }
    }

    /// The path of an object, or of a subresource of it when `subresource` is not empty.
    #[must_use]
    pub fn object_path(&self, namespace: &str, name: &str, subresource: &str) -> String {
        let mut path = self.collection_path(namespace);
        for part in [name, subresource] {
            if !part.is_empty() {
                path.push('/');
                path.push_str(part);
            }
        }
        path
    }
}

/// An object of which only the metadata was read, whatever its kind.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PartialObject {
    /// `metadata`.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

impl PartialObject {
    /// Decodes the metadata of any object, without labels, annotations and managed fields.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub fn decode_erased(json: &[u8]) -> Result<Arc<dyn AnyObject>, serde_json::Error> {
        let mut object: Self = serde_json::from_slice(json)?;
        object.metadata.managed_fields = None;
        object.metadata.labels = None;
        object.metadata.annotations = None;
        Ok(Arc::new(object))
    }
}

impl AnyObject for PartialObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

macro_rules! kinds {
    ($($namespaced:literal $kind:ty;)*) => {$(
        impl AnyObject for $kind {
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }

            fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
                self
            }

            fn as_any(&self) -> &dyn Any {
                self
            }

            fn as_any_mut(&mut self) -> &mut dyn Any {
                self
            }
        }

        impl Kind for $kind {
            fn resource() -> ResourceType {
                use k8s_openapi::Resource;
                ResourceType::new(
                    <$kind>::GROUP,
                    <$kind>::VERSION,
                    <$kind>::URL_PATH_SEGMENT,
                    <$kind>::KIND,
                    $namespaced,
                )
            }

            fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
                serde_json::from_slice(json)
            }

            fn encode(&self) -> Vec<u8> {
                serde_json::to_vec(self).expect("Kubernetes types have string keys only")
            }
        }
    )*};
}

use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration, apps::v1 as apps,
    autoscaling::v2 as autoscaling, batch::v1 as batch, certificates::v1 as certificates,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
    flowcontrol::v1 as flowcontrol, networking::v1 as networking, node::v1 as node,
    policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource, scheduling::v1 as scheduling,
    storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

kinds! {
    true core::Pod;
    false core::Node;
    true core::Service;
    true core::Endpoints;
    true discovery::EndpointSlice;
    false core::Namespace;
    true core::ConfigMap;
    true core::Secret;
    true core::ServiceAccount;
    true core::Event;
    true core::LimitRange;
    true core::ResourceQuota;
    true core::PodTemplate;
    true core::ReplicationController;
    true core::PersistentVolumeClaim;
    false core::PersistentVolume;
    true coordination::Lease;
    true apps::Deployment;
    true apps::ReplicaSet;
    true apps::DaemonSet;
    true apps::StatefulSet;
    true apps::ControllerRevision;
    true batch::Job;
    true batch::CronJob;
    true autoscaling::HorizontalPodAutoscaler;
    true policy::PodDisruptionBudget;
    true networking::NetworkPolicy;
    true networking::Ingress;
    false networking::IngressClass;
    false networking::IPAddress;
    false networking::ServiceCIDR;
    true rbac::Role;
    true rbac::RoleBinding;
    false rbac::ClusterRole;
    false rbac::ClusterRoleBinding;
    false certificates::CertificateSigningRequest;
    false scheduling::PriorityClass;
    false node::RuntimeClass;
    false storage::StorageClass;
    false storage::CSINode;
    false storage::CSIDriver;
    true storage::CSIStorageCapacity;
    false storage::VolumeAttachment;
    true resource::ResourceClaim;
    true resource::ResourceClaimTemplate;
    false resource::ResourceSlice;
    false resource::DeviceClass;
    false flowcontrol::FlowSchema;
    false flowcontrol::PriorityLevelConfiguration;
    false admissionregistration::MutatingWebhookConfiguration;
    false admissionregistration::ValidatingWebhookConfiguration;
    false admissionregistration::ValidatingAdmissionPolicy;
    false admissionregistration::ValidatingAdmissionPolicyBinding;
    false apiextensions::CustomResourceDefinition;
    false apiregistration::APIService;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let check = |resource: ResourceType, namespace, name, subresource, expected| {
            assert_eq!(resource.object_path(namespace, name, subresource), expected);
        };
        check(core::Pod::resource(), "a", "p", "", "/api/v1/namespaces/a/pods/p");
        check(core::Pod::resource(), "", "", "", "/api/v1/pods");
        check(core::Node::resource(), "", "n", "status", "/api/v1/nodes/n/status");
        check(
            apps::Deployment::resource(),
            "a",
            "d",
            "scale",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
        );
    }

    #[test]
    fn managed_fields_are_not_read_for_caches() {
        let check = |json: &str, expected: &str| {
            let kept = without_managed_fields(json.as_bytes());
            assert_eq!(std::str::from_utf8(&kept).unwrap(), expected);
        };
        check(
            r#"{"metadata":{"a":"1","managedFields":[{"f":{"k:{\"n\":\"]\"}":[]}},{}],"z":1},"s":[]}"#,
            r#"{"metadata":{"a":"1","z":1},"s":[]}"#,
        );
        check(r#"{"metadata":{"a":"1","managedFields":[]}}"#, r#"{"metadata":{"a":"1"}}"#);
        for same in [
            r#"{"metadata":{"annotations":{"x":"{\"a\":1,\"managedFields\":[1]}"}}}"#,
            r#"{"metadata":{"a":"1","managedFields":[{"#,
            r#"{"metadata":{"a":"1","managedFields":["\"#,
            r#"{"metadata":{"a":"1","managedFields":["x"#,
            "{}",
            "",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn pods_of_other_nodes_keep_what_the_control_plane_reads() {
        let json = br#"{"spec":{"nodeName":"other","containers":[{"name":"c","image":"i",
            "command":["x"],"args":["y"],"resources":{"requests":{"cpu":"1"}},"env":[
                {"name":"PLAIN","value":"v"},
                {"name":"SECRET","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}]}}"#;
        let container = |own_node: &str| {
            let mut pod = core::Pod::decode(json).unwrap();
            reduce_pod(&mut pod, own_node);
            pod.spec.unwrap().containers.remove(0)
        };
        let whole = container("other");
        assert_eq!(whole.env.unwrap().len(), 2);
        assert!(whole.command.is_some() && whole.args.is_some());
        let reduced = container("own");
        let env = reduced.env.unwrap();
        assert_eq!(env.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["SECRET"]);
        assert!(reduced.command.is_none() && reduced.args.is_none());
        assert!(reduced.image.is_some() && reduced.resources.is_some());
    }

    #[test]
    fn erased_objects_find_back_to_their_type() {
        let json = br#"{"metadata":{"name":"p","managedFields":[{"manager":"x"}]},"unknown":1}"#;
        let erased = decode_erased::<core::Pod>(json).unwrap();
        assert_eq!(erased.meta().name.as_deref(), Some("p"));
        assert!(erased.meta().managed_fields.is_none());
        let pod = erased.into_any().downcast::<core::Pod>().unwrap();
        assert!(String::from_utf8(pod.encode()).unwrap().contains(r#""kind":"Pod""#));
    }
}
