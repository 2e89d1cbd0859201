//! What a pod, and a volume, refer to.
//! (Kubernetes `pkg/api/v1/pod/util.go`, `pkg/api/v1/persistentvolume/util.go`)

use api::k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, PersistentVolume, Pod, PodSpec, SecretReference, Volume,
};

use super::Thing;

const MIRROR: &str = "kubernetes.io/config.mirror";

/// Everything in its own namespace that a pod refers to.
pub(super) fn of_pod(pod: &Pod) -> Vec<(Thing, String)> {
    let mut found = Vec::new();
    let is_mirror =
        pod.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(MIRROR));
    // A node makes its own mirror pods: what they refer to must give it nothing.
    let Some(spec) = pod.spec.as_ref().filter(|_| !is_mirror) else { return found };
    if let Some(account) = spec.service_account_name.as_ref().filter(|name| !name.is_empty()) {
        found.push((Thing::ServiceAccount, account.clone()));
    }
    let pulls = spec.image_pull_secrets.iter().flatten();
    found.extend(pulls.map(|one| (Thing::Secret, one.name.clone())));
    containers(spec, &mut found);
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    for volume in spec.volumes.iter().flatten() {
        of_volume(pod_name, volume, &mut found);
    }
    claims(pod, spec, &mut found);
    found.retain(|(_, name)| !name.is_empty());
    found.sort_unstable_by(|a, b| (a.0 as u8, &a.1).cmp(&(b.0 as u8, &b.1)));
    found.dedup();
    found
}

fn claims(pod: &Pod, spec: &PodSpec, found: &mut Vec<(Thing, String)>) {
    for claim in spec.resource_claims.iter().flatten() {
        found.extend(claim.resource_claim_name.clone().map(|name| (Thing::ResourceClaim, name)));
    }
    let Some(status) = &pod.status else { return };
    for made in status.resource_claim_statuses.iter().flatten() {
        found.extend(made.resource_claim_name.clone().map(|name| (Thing::ResourceClaim, name)));
    }
    if let Some(extended) = &status.extended_resource_claim_status {
        found.push((Thing::ResourceClaim, extended.resource_claim_name.clone()));
    }
}

fn containers(spec: &PodSpec, found: &mut Vec<(Thing, String)>) {
    let ordinary = spec.init_containers.iter().flatten().chain(&spec.containers);
    for Container { env, env_from, .. } in ordinary {
        environment(env.as_deref(), env_from.as_deref(), found);
    }
    for EphemeralContainer { env, env_from, .. } in spec.ephemeral_containers.iter().flatten() {
        environment(env.as_deref(), env_from.as_deref(), found);
    }
}

fn environment(
    env: Option<&[api::k8s_openapi::api::core::v1::EnvVar]>,
    from: Option<&[api::k8s_openapi::api::core::v1::EnvFromSource]>,
    found: &mut Vec<(Thing, String)>,
) {
    for source in from.into_iter().flatten() {
        found.extend(source.secret_ref.iter().map(|one| (Thing::Secret, one.name.clone())));
        found.extend(source.config_map_ref.iter().map(|one| (Thing::ConfigMap, one.name.clone())));
    }
    for source in env.into_iter().flatten().filter_map(|one| one.value_from.as_ref()) {
        let secret = source.secret_key_ref.iter().map(|one| (Thing::Secret, one.name.clone()));
        found.extend(secret);
        let map = source.config_map_key_ref.iter().map(|one| (Thing::ConfigMap, one.name.clone()));
        found.extend(map);
    }
}

fn of_volume(pod_name: &str, volume: &Volume, found: &mut Vec<(Thing, String)>) {
    let mut secret = |name: Option<&String>| {
        found.extend(name.map(|name| (Thing::Secret, name.clone())));
    };
    secret(volume.secret.as_ref().and_then(|one| one.secret_name.as_ref()));
    secret(volume.azure_file.as_ref().map(|one| &one.secret_name));
    let local = [
        volume.cephfs.as_ref().and_then(|one| one.secret_ref.as_ref()),
        volume.cinder.as_ref().and_then(|one| one.secret_ref.as_ref()),
        volume.flex_volume.as_ref().and_then(|one| one.secret_ref.as_ref()),
        volume.rbd.as_ref().and_then(|one| one.secret_ref.as_ref()),
        volume.scale_io.as_ref().map(|one| &one.secret_ref),
        volume.iscsi.as_ref().and_then(|one| one.secret_ref.as_ref()),
        volume.storageos.as_ref().and_then(|one| one.secret_ref.as_ref()),
        volume.csi.as_ref().and_then(|one| one.node_publish_secret_ref.as_ref()),
    ];
    for reference in local.into_iter().flatten() {
        secret(Some(&reference.name));
    }
    for source in volume.projected.iter().flat_map(|one| one.sources.iter().flatten()) {
        secret(source.secret.as_ref().map(|one| &one.name));
    }
    found.extend(volume.config_map.iter().map(|one| (Thing::ConfigMap, one.name.clone())));
    for source in volume.projected.iter().flat_map(|one| one.sources.iter().flatten()) {
        found.extend(source.config_map.iter().map(|one| (Thing::ConfigMap, one.name.clone())));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        found.push((Thing::Claim, claim.claim_name.clone()));
    } else if volume.ephemeral.is_some() {
        found.push((Thing::Claim, format!("{pod_name}-{}", volume.name)));
    }
}

/// The secrets that a kubelet needs to mount a volume: namespace and name.
pub(super) fn secrets_of_volume(
    volume: &PersistentVolume,
    claim_namespace: &str,
) -> Vec<(String, String)> {
    let Some(spec) = &volume.spec else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(azure) = &spec.azure_file {
        let namespace = azure.secret_namespace.as_deref().filter(|name| !name.is_empty());
        found.push((namespace.unwrap_or(claim_namespace).to_owned(), azure.secret_name.clone()));
    }
    let csi = spec.csi.as_ref();
    let all: [Option<&SecretReference>; 9] = [
        spec.cephfs.as_ref().and_then(|one| one.secret_ref.as_ref()),
        spec.cinder.as_ref().and_then(|one| one.secret_ref.as_ref()),
        spec.flex_volume.as_ref().and_then(|one| one.secret_ref.as_ref()),
        spec.rbd.as_ref().and_then(|one| one.secret_ref.as_ref()),
        spec.scale_io.as_ref().map(|one| &one.secret_ref),
        spec.iscsi.as_ref().and_then(|one| one.secret_ref.as_ref()),
        csi.and_then(|one| one.node_publish_secret_ref.as_ref()),
        csi.and_then(|one| one.node_stage_secret_ref.as_ref()),
        csi.and_then(|one| one.node_expand_secret_ref.as_ref()),
    ];
    for reference in all.into_iter().flatten() {
        let namespace = reference.namespace.as_deref().filter(|name| !name.is_empty());
        let name = reference.name.clone().unwrap_or_default();
        found.push((namespace.unwrap_or(claim_namespace).to_owned(), name));
    }
    if let Some(storageos) = spec.storageos.as_ref().and_then(|one| one.secret_ref.as_ref()) {
        let namespace = storageos.namespace.as_deref().unwrap_or(claim_namespace);
        found.push((namespace.to_owned(), storageos.name.clone().unwrap_or_default()));
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}
