//! What a pod was given and what of it is in force, and the file in the pod's folder that tells the
//! next kubelet.
//!
//! Invariant: the file is whole or not there; without it, what the pod asks for counts as given.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};

use crate::{pod, quantity};

const FILE: &str = "resources.json";

/// The resources of a pod and of its containers, init containers among them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resources {
    /// What is said of the pod as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<ResourceRequirements>,
    /// By container name.
    #[serde(default)]
    pub(crate) containers: BTreeMap<String, ResourceRequirements>,
}

/// What is remembered of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What the node has given.
    pub(crate) given: Resources,
    /// What containers were started with, or were brought to.
    #[serde(default)]
    pub(crate) in_force: Resources,
}

impl Resources {
    /// What a pod asks for.
    pub(crate) fn asked(pod: &Pod) -> Self {
        let spec = pod::spec(pod);
        let containers = resizable(&spec)
            .map(|one| (one.name.clone(), one.resources.clone().unwrap_or_default()))
            .collect();
        Self { pod: spec.resources.clone(), containers }
    }

    /// The pod as if it asked for these.
    pub(crate) fn put_into(&self, pod: &mut Pod) {
        let Some(spec) = &mut pod.spec else { return };
        spec.resources.clone_from(&self.pod);
        let all = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
        for container in all {
            if let Some(own) = self.containers.get(&container.name) {
                container.resources = Some(own.clone());
            }
        }
    }

    /// Whether both say the same, however it is written.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let empty = ResourceRequirements::default();
        let one = |resources: &Option<ResourceRequirements>| resources.clone().unwrap_or_default();
        same(&one(&self.pod), &one(&other.pod))
            && self.containers.keys().chain(other.containers.keys()).all(|name| {
                let own = self.containers.get(name).unwrap_or(&empty);
                same(own, other.containers.get(name).unwrap_or(&empty))
            })
    }
}

fn resizable(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

type Listed = Option<BTreeMap<String, Quantity>>;

fn same(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    let list = |one: &Listed, other: &Listed| {
        let (empty_one, empty_other) = (BTreeMap::new(), BTreeMap::new());
        let one = one.as_ref().unwrap_or(&empty_one);
        let other = other.as_ref().unwrap_or(&empty_other);
        one.len() == other.len()
            && one.iter().all(|(name, amount)| {
                other.get(name).is_some_and(|b| quantity::milli(amount) == quantity::milli(b))
            })
    };
    list(&one.limits, &other.limits) && list(&one.requests, &other.requests)
}

impl Record {
    /// What an earlier kubelet left, if it did.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read(dir.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Leaves it for the next kubelet.
    pub(super) fn write(&self, dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let new = dir.join(format!("{FILE}.new"));
        std::fs::write(&new, serde_json::to_vec(self).map_err(std::io::Error::other)?)?;
        std::fs::rename(new, dir.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(cpu: &str) -> Pod {
        serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]}}))
        .unwrap()
    }

    #[test]
    fn the_same_amount_in_other_words_is_the_same() {
        let asked = |cpu| Resources::asked(&pod(cpu));
        assert!(asked("1").same_as(&asked("1000m")));
        assert!(!asked("1").same_as(&asked("999m")));
    }

    #[test]
    fn a_record_goes_through_its_file_into_a_pod() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()), None);
        let record = Record { given: Resources::asked(&pod("1")), ..Record::default() };
        record.write(dir.path()).unwrap();
        let read = Record::read(dir.path()).unwrap();
        assert_eq!(read, record);
        let mut other = pod("2");
        read.given.put_into(&mut other);
        assert!(Resources::asked(&other).same_as(&record.given));
    }
}
