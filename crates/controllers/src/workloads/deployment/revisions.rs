//! Which ReplicaSet is the new one, which revision is which, and what annotations say so. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::common::hash;
use crate::common::owner::{annotation, controller_ref, name};

pub(crate) const HASH: &str = "pod-template-hash";
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(crate) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(crate) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY_LENGTH: usize = 2000;

/// Annotations of a Deployment that are its own business.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// Sorts by age, the oldest first; by name when equally old.
pub(crate) fn sort_by_age(sets: &mut [Arc<ReplicaSet>]) {
    sets.sort_by(|a, b| {
        let key = |rs: &ReplicaSet| {
            (rs.metadata.creation_timestamp.as_ref().map(|time| time.0), rs.metadata.name.clone())
        };
        key(a).cmp(&key(b))
    });
}

/// The oldest ReplicaSet whose template is the Deployment's, but for the hash.
pub(crate) fn find_new(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
) -> Option<Arc<ReplicaSet>> {
    let wanted = deployment.spec.as_ref().map(|spec| &spec.template)?;
    let mut sets = sets.to_vec();
    sort_by_age(&mut sets);
    sets.into_iter().find(|rs| {
        rs.spec.as_ref().and_then(|spec| spec.template.as_ref()).is_some_and(|t| equal(t, wanted))
    })
}

/// Whether two templates are the same but for the hash.
pub(crate) fn equal(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    without_hash(a) == without_hash(b)
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    let labels = metadata.labels.get_or_insert_default();
    labels.remove(HASH);
    template
}

/// The revision that an object carries.
pub(crate) fn revision(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A number in an annotation.
pub(crate) fn number(meta: &ObjectMeta, key: &str) -> Option<i32> {
    annotation(meta, key)?.parse().ok()
}

/// The ReplicaSet that a Deployment's template asks for, without a size.
pub(crate) fn build(
    deployment: &Deployment,
    collisions: Option<i32>,
    new_revision: i64,
) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let json = serde_json::to_vec(&spec.template).expect("Kubernetes types have string keys only");
    let hash = hash::template(&json, collisions);
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.clone());
    let mut match_labels = spec.selector.match_labels.unwrap_or_default();
    match_labels.insert(HASH.to_owned(), hash.clone());
    let mut rs = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(&deployment.metadata))),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector {
                match_labels: Some(match_labels),
                match_expressions: spec.selector.match_expressions,
            },
            template: Some(template),
        }),
        status: None,
    };
    annotate(deployment, &mut rs.metadata, new_revision);
    rs
}

/// Brings a ReplicaSet's annotations up to date; says whether that changed any.
pub(crate) fn annotate(deployment: &Deployment, meta: &mut ObjectMeta, new_revision: i64) -> bool {
    let annotations = meta.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) && annotations.get(key) != Some(value) {
            annotations.insert(key.clone(), value.clone());
            changed = true;
        }
    }
    let old = annotations.get(REVISION).cloned();
    let old_number: i64 = old.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default();
    if old_number < new_revision {
        annotations.insert(REVISION.to_owned(), new_revision.to_string());
        changed = true;
        if let Some(old) = old.filter(|old| !old.is_empty()) {
            lengthen_history(annotations, old);
        }
    }
    changed
}

fn lengthen_history(annotations: &mut BTreeMap<String, String>, old: String) {
    let history = match annotations.get(HISTORY).filter(|history| !history.is_empty()) {
        None => old,
        Some(history) => {
            let mut long = format!("{history},{old}");
            while long.len() > HISTORY_LENGTH {
                let Some((_, rest)) = long.split_once(',') else { break };
                long = rest.to_owned();
            }
            long
        }
    };
    annotations.insert(HISTORY.to_owned(), history);
}

/// Notes the sizes that a ReplicaSet was last scaled for; says whether that changed any.
pub(crate) fn annotate_sizes(meta: &mut ObjectMeta, desired: i32, max: i32) -> bool {
    let annotations = meta.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in [(DESIRED, desired.to_string()), (MAX, max.to_string())] {
        changed |= annotations.get(key) != Some(&value);
        annotations.insert(key.to_owned(), value);
    }
    changed
}
