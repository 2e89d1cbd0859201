//! Which objects have to do with which node.
//!
//! Kept flat: for each object the nodes whose pods refer to it, counted, so that taking a pod away
//! is the exact reverse of putting it in. Only the way from a volume to its claim and from a secret
//! to the volumes that use it is followed when a question is asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{PersistentVolume, Pod};

use super::references;

/// Kinds of objects that have to do with nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thing {
    /// A pod on the node.
    Pod,
    /// A Secret that a pod, or a volume of its claim, refers to.
    Secret,
    /// A ConfigMap that a pod refers to.
    ConfigMap,
    /// The ServiceAccount of a pod.
    ServiceAccount,
    /// A PersistentVolumeClaim of a pod.
    Claim,
    /// A PersistentVolume of such a claim.
    Volume,
    /// A ResourceClaim of a pod.
    ResourceClaim,
    /// A VolumeAttachment to the node.
    Attachment,
    /// A ResourceSlice of the node.
    Slice,
    /// A PodCertificateRequest of the node.
    CertificateRequest,
}

/// An object: kind, namespace (empty for cluster-scoped ones), name.
type Place = (Thing, Arc<str>, Arc<str>);

/// What has to do with which node.
#[derive(Debug, Default)]
pub struct Graph {
    /// How many pods of a node refer to an object.
    users: HashMap<Place, HashMap<Arc<str>, u32>>,
    /// A volume's claim and the secrets that it needs on nodes.
    volumes: HashMap<String, Bound>,
    /// The volumes that need a secret, by its namespace and name.
    secrets: HashMap<(String, String), BTreeSet<String>>,
    /// Objects that name their node themselves.
    owned: HashMap<Place, Arc<str>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bound {
    claim: (String, String),
    secrets: Vec<(String, String)>,
}

impl Graph {
    /// Takes in a pod, or its change. `None` stands for a pod that is not there.
    pub fn pod(&mut self, old: Option<&Pod>, new: Option<&Pod>) {
        let (before, now) = (old.and_then(uses), new.and_then(uses));
        if before == now {
            return;
        }
        if let Some((node, places)) = now {
            for place in places {
                *self.users.entry(place).or_default().entry(node.clone()).or_default() += 1;
            }
        }
        let Some((node, places)) = before else { return };
        for place in places {
            let Some(users) = self.users.get_mut(&place) else { continue };
            if let Some(count) = users.get_mut(&node) {
                *count -= 1;
                if *count == 0 {
                    users.remove(&node);
                }
            }
            if users.is_empty() {
                self.users.remove(&place);
            }
        }
    }

    /// Takes in a volume, or its change, or that it is gone.
    pub fn volume(&mut self, name: &str, volume: Option<&PersistentVolume>) {
        let bound = volume.and_then(bound);
        if self.volumes.get(name) == bound.as_ref() {
            return;
        }
        for secret in self.volumes.remove(name).into_iter().flat_map(|before| before.secrets) {
            if let Some(users) = self.secrets.get_mut(&secret) {
                users.remove(name);
                if users.is_empty() {
                    self.secrets.remove(&secret);
                }
            }
        }
        if let Some(bound) = bound {
            for secret in &bound.secrets {
                self.secrets.entry(secret.clone()).or_default().insert(name.to_owned());
            }
            self.volumes.insert(name.to_owned(), bound);
        }
    }

    /// Takes in an object that names its node; an empty node, or none, takes it out.
    pub fn owned(&mut self, thing: Thing, namespace: &str, name: &str, node: Option<&str>) {
        let place = (thing, namespace.into(), name.into());
        match node.filter(|node| !node.is_empty()) {
            Some(node) => self.owned.insert(place, node.into()),
            None => self.owned.remove(&place),
        };
    }

    /// Whether an object has to do with a node.
    #[must_use]
    pub fn related(&self, node: &str, thing: Thing, namespace: &str, name: &str) -> bool {
        match thing {
            Thing::Attachment | Thing::Slice | Thing::CertificateRequest => {
                let place = (thing, namespace.into(), name.into());
                self.owned.get(&place).is_some_and(|owner| **owner == *node)
            }
            Thing::Volume => self
                .volumes
                .get(name)
                .is_some_and(|bound| self.used(node, Thing::Claim, &bound.claim.0, &bound.claim.1)),
            Thing::Secret => {
                self.used(node, thing, namespace, name)
                    || self
                        .secrets
                        .get(&(namespace.to_owned(), name.to_owned()))
                        .into_iter()
                        .flatten()
                        .any(|volume| self.related(node, Thing::Volume, "", volume))
            }
            _ => self.used(node, thing, namespace, name),
        }
    }

    fn used(&self, node: &str, thing: Thing, namespace: &str, name: &str) -> bool {
        let place = (thing, namespace.into(), name.into());
        self.users.get(&place).is_some_and(|users| users.contains_key(node))
    }
}

/// The node of a pod, and what the pod refers to.
fn uses(pod: &Pod) -> Option<(Arc<str>, Vec<Place>)> {
    let node = pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())?;
    let namespace: Arc<str> = pod.metadata.namespace.as_deref().unwrap_or_default().into();
    let own = pod.metadata.name.as_deref().unwrap_or_default();
    let mut places: Vec<Place> = vec![(Thing::Pod, namespace.clone(), own.into())];
    let named = references::of_pod(pod);
    places.extend(named.into_iter().map(|(thing, name)| (thing, namespace.clone(), name.into())));
    Some((node.into(), places))
}

fn bound(volume: &PersistentVolume) -> Option<Bound> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let claim = (
        claim.namespace.clone().unwrap_or_default(),
        claim.name.clone().filter(|name| !name.is_empty())?,
    );
    Some(Bound { secrets: references::secrets_of_volume(volume, &claim.0), claim })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(node: &str, rest: serde_json::Value) -> Pod {
        let mut spec = json!({"nodeName": node, "serviceAccountName": "bot", "containers": []});
        spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let pod = json!({"metadata": {"name": "p", "namespace": "a"}, "spec": spec});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_ties_what_it_refers_to_to_its_node_and_lets_go_of_it() {
        let mut graph = Graph::default();
        let on = pod(
            "n1",
            json!({
                "imagePullSecrets": [{"name": "pull"}],
                "containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "from"}}],
                    "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "k"}}}]}],
                "volumes": [
                    {"name": "s", "secret": {"secretName": "file"}},
                    {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "e", "ephemeral": {}},
                    {"name": "p", "projected": {"sources": [{"secret": {"name": "proj"}},
                        {"configMap": {"name": "root"}}]}},
                ],
                "resourceClaims": [{"name": "gpu", "resourceClaimName": "claim"}],
            }),
        );
        graph.pod(None, Some(&on));
        let all = [
            (Thing::Pod, "p"),
            (Thing::ServiceAccount, "bot"),
            (Thing::Secret, "pull"),
            (Thing::Secret, "from"),
            (Thing::Secret, "file"),
            (Thing::Secret, "proj"),
            (Thing::ConfigMap, "map"),
            (Thing::ConfigMap, "root"),
            (Thing::Claim, "data"),
            (Thing::Claim, "p-e"),
            (Thing::ResourceClaim, "claim"),
        ];
        for (thing, name) in all {
            assert!(graph.related("n1", thing, "a", name), "{thing:?} {name}");
            assert!(!graph.related("n2", thing, "a", name), "{thing:?} {name}");
            assert!(!graph.related("n1", thing, "b", name), "{thing:?} {name}");
        }
        // A second pod keeps alive what both use.
        let second = pod("n1", json!({"imagePullSecrets": [{"name": "pull"}]}));
        graph.pod(None, Some(&second));
        graph.pod(Some(&on), None);
        assert!(graph.related("n1", Thing::Secret, "a", "pull"));
        assert!(!graph.related("n1", Thing::Secret, "a", "file"));
        graph.pod(Some(&second), None);
        assert!(graph.users.is_empty());
    }

    #[test]
    fn a_pod_is_nobodys_until_it_is_bound_and_a_mirror_pod_gives_nothing() {
        let mut graph = Graph::default();
        let waiting = pod("", json!({"imagePullSecrets": [{"name": "pull"}]}));
        graph.pod(None, Some(&waiting));
        assert!(graph.users.is_empty());
        let bound = pod("n1", json!({"imagePullSecrets": [{"name": "pull"}]}));
        graph.pod(Some(&waiting), Some(&bound));
        assert!(graph.related("n1", Thing::Secret, "a", "pull"));
        let mut mirror = bound.clone();
        mirror.metadata.annotations =
            Some([("kubernetes.io/config.mirror".to_owned(), "x".to_owned())].into());
        graph.pod(Some(&bound), Some(&mirror));
        assert!(!graph.related("n1", Thing::Secret, "a", "pull"));
        assert!(graph.related("n1", Thing::Pod, "a", "p"));
    }

    #[test]
    fn a_claims_volume_and_its_secrets_belong_to_the_node_of_the_claims_pod() {
        let mut graph = Graph::default();
        let user = pod(
            "n1",
            json!({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}),
        );
        graph.pod(None, Some(&user));
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {"name": "pv"},
            "spec": {"claimRef": {"namespace": "a", "name": "data"}, "csi": {
                "driver": "d", "volumeHandle": "h",
                "nodeStageSecretRef": {"namespace": "s", "name": "stage"},
                "controllerExpandSecretRef": {"namespace": "s", "name": "control"}}},
        }))
        .unwrap();
        graph.volume("pv", Some(&volume));
        assert!(graph.related("n1", Thing::Volume, "", "pv"));
        assert!(graph.related("n1", Thing::Secret, "s", "stage"));
        assert!(!graph.related("n1", Thing::Secret, "s", "control"));
        assert!(!graph.related("n2", Thing::Secret, "s", "stage"));
        graph.volume("pv", None);
        assert!(!graph.related("n1", Thing::Secret, "s", "stage"));
        assert!(graph.secrets.is_empty() && graph.volumes.is_empty());
    }
}
