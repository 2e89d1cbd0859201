//! What makes a StatefulSet's pod that very one: its name, labels, host name and volumes. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::common::history;
use crate::common::owner::{controller_ref, name, namespace};
use crate::common::pods;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The name of the pod with an ordinal.
pub(crate) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", name(&set.metadata))
}

/// The ordinal of a pod of this set.
pub(crate) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let rest = name(&pod.metadata).strip_prefix(name(&set.metadata))?.strip_prefix('-')?;
    let plain = rest == "0" || !rest.starts_with(['0', '+', '-']);
    rest.parse().ok().filter(|_| plain)
}

/// The pod with an ordinal, from a template of a revision.
pub(crate) fn pod(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let mut pod = pods::from_template(template, &set.metadata, controller_ref(set));
    let name = pod_name(set, ordinal);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), name.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    labels.insert(history::HASH.to_owned(), revision.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set
        .spec
        .as_ref()
        .and_then(|spec| spec.service_name.clone())
        .filter(|service| !service.is_empty());
    let claims = claims(set, ordinal);
    let volumes = spec.volumes.get_or_insert_default();
    for (template, claim) in &claims {
        volumes.retain(|volume| volume.name != *template);
        volumes.push(Volume {
            name: template.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.metadata.name.clone().unwrap_or_default(),
                read_only: None,
            }),
            ..Volume::default()
        });
    }
    if spec.volumes.as_ref().is_some_and(Vec::is_empty) {
        spec.volumes = None;
    }
    pod
}

/// The claims of the pod with an ordinal, by the name of their template.
pub(crate) fn claims(set: &StatefulSet, ordinal: i32) -> BTreeMap<String, PersistentVolumeClaim> {
    let Some(spec) = &set.spec else { return BTreeMap::new() };
    let pod = pod_name(set, ordinal);
    spec.volume_claim_templates
        .iter()
        .flatten()
        .map(|template| {
            let mut claim = template.clone();
            let of = name(&template.metadata).to_owned();
            let mut labels = claim.metadata.labels.take().unwrap_or_default();
            labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
            claim.metadata = ObjectMeta {
                name: Some(format!("{of}-{pod}")),
                namespace: Some(namespace(&set.metadata).to_owned()),
                labels: Some(labels),
                annotations: claim.metadata.annotations,
                ..ObjectMeta::default()
            };
            claim.status = None;
            (of, claim)
        })
        .collect()
}

/// Who owns a pod's claims, and so takes them along when it goes: the set, the pod that is scaled
/// away, or nobody. (KEP-1847)
pub(crate) fn claim_owners(
    set: &StatefulSet,
    pod: Option<&Pod>,
    condemned: bool,
) -> Vec<OwnerReference> {
    let policy =
        set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |when: Option<&String>| when.is_some_and(|policy| policy == "Delete");
    let scaled = policy.is_some_and(|policy| deletes(policy.when_scaled.as_ref()));
    let deleted = policy.is_some_and(|policy| deletes(policy.when_deleted.as_ref()));
    match pod {
        Some(pod) if condemned && scaled => {
            vec![OwnerReference { block_owner_deletion: None, ..controller_ref(pod) }]
        }
        _ if deleted => vec![OwnerReference { block_owner_deletion: None, ..controller_ref(set) }],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> StatefulSet {
        serde_json::from_str(
            r#"{"metadata":{"name":"db","namespace":"n","uid":"s"},
                "spec":{"serviceName":"svc","selector":{"matchLabels":{"app":"db"}},
                        "template":{"metadata":{"labels":{"app":"db"}},"spec":{"containers":[]}},
                        "volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{}}]}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_pod_keeps_its_name_host_and_volumes() {
        let set = set();
        let pod = pod(&set, &set.spec.as_ref().unwrap().template, "db-abc", 2);
        assert_eq!(pod.metadata.name.as_deref(), Some("db-2"));
        let labels = pod.metadata.labels.as_ref().unwrap();
        assert_eq!((labels[POD_NAME].as_str(), labels[POD_INDEX].as_str()), ("db-2", "2"));
        assert_eq!(labels[history::HASH], "db-abc");
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("db-2"));
        assert_eq!(spec.subdomain.as_deref(), Some("svc"));
        let volume = &spec.volumes.as_ref().unwrap()[0];
        let source = volume.persistent_volume_claim.as_ref().unwrap();
        assert_eq!((volume.name.as_str(), source.claim_name.as_str()), ("data", "data-db-2"));
        assert_eq!(claims(&set, 2)["data"].metadata.labels.as_ref().unwrap()["app"], "db");
        assert_eq!(ordinal(&set, &pod), Some(2));
    }

    #[test]
    fn only_plain_ordinals_count() {
        let check = |name: &str, expected| {
            let mut pod = Pod::default();
            pod.metadata.name = Some(name.into());
            assert_eq!(ordinal(&set(), &pod), expected, "{name}");
        };
        check("db-0", Some(0));
        check("db-10", Some(10));
        check("db-01", None);
        check("db-x", None);
        check("dbx-1", None);
        check("db--1", None);
    }
}
