//! Pods: mirror pods made and taken away, status of its own, eviction of its own.

use api::Value;
use api::names::GroupResource;
use api::object::{annotation, at, list_at, owner_references, str_at, uid};
use api::status::ApiResult;
use apiserver::admission::Operation;

use super::{Node, shown};

const MIRROR: &str = "kubernetes.io/config.mirror";

impl Node<'_, '_> {
    fn is_mine(&self, pod: &Value) -> bool {
        str_at(pod, &["spec", "nodeName"]) == self.name
    }

    pub(super) async fn pod(&self) -> ApiResult<()> {
        let node = self.name;
        match self.request.operation {
            Operation::Create => self.pod_create().await,
            Operation::Delete => {
                let pods = GroupResource::new("", "pods");
                let pod = self.api.get(&pods, self.request.namespace, self.request.name).await?;
                if self.is_mine(&pod) {
                    return Ok(());
                }
                self.refuse(format!(
                    "node {node:?} can only delete pods with spec.nodeName set to itself"
                ))
            }
            other => self.refuse(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                shown(other)
            )),
        }
    }

    async fn pod_create(&self) -> ApiResult<()> {
        let (node, pod) = (self.name, self.object());
        if annotation(pod, MIRROR).is_none() {
            return self.refuse(format!(
                "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        if !self.is_mine(pod) {
            return self.refuse(format!(
                "node {node:?} can only create pods with spec.nodeName set to itself"
            ));
        }
        self.pod_owner(pod).await?;
        match refers_to(pod) {
            Some(what) => {
                self.refuse(format!("node {node:?} can not create pods that reference {what}"))
            }
            None => Ok(()),
        }
    }

    /// A mirror pod is owned by its node, and by nothing else.
    async fn pod_owner(&self, pod: &Value) -> ApiResult<()> {
        let node = self.name;
        let owner = match owner_references(pod) {
            [owner] => owner,
            [] => {
                return self.refuse(format!(
                    "node {node:?} can only create pods with an owner reference set to itself"
                ));
            }
            _ => {
                return self.refuse(format!(
                    "node {node:?} can only create pods with a single owner reference set to itself"
                ));
            }
        };
        let is_this = str_at(owner, &["apiVersion"]) == "v1"
            && str_at(owner, &["kind"]) == "Node"
            && str_at(owner, &["name"]) == node;
        let flag = |field: &str| at(owner, &[field]).and_then(Value::as_bool).unwrap_or(false);
        if !is_this {
            return self.refuse(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        if !flag("controller") {
            return self.refuse(format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        if flag("blockOwnerDeletion") {
            return self.refuse(format!(
                "node {node:?} must not set blockOwnerDeletion on an owner reference"
            ));
        }
        let known = self.api.get(&GroupResource::new("", "nodes"), "", node).await?;
        if str_at(owner, &["uid"]) != uid(&known) {
            return self.refuse(format!(
                "node {node} UID mismatch: expected {} got {}",
                str_at(owner, &["uid"]),
                uid(&known)
            ));
        }
        Ok(())
    }

    pub(super) fn pod_status(&self) -> ApiResult<()> {
        let node = self.name;
        if self.request.operation != Operation::Update {
            return self
                .refuse(format!("unexpected operation {:?}", shown(self.request.operation)));
        }
        let (new, old) = (self.object(), self.old());
        if !self.is_mine(old) {
            return self.refuse(format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        let labels = |pod: &Value| pod["metadata"].get("labels").cloned().unwrap_or_default();
        if labels(new) != labels(old) {
            return self.refuse(format!("node {node:?} cannot update labels through pod status"));
        }
        let claims = |pod: &Value| list_at(pod, &["status", "resourceClaimStatuses"]).to_vec();
        if claims(new) != claims(old) {
            return self.refuse(format!("node {node:?} cannot update resource claim statues"));
        }
        let extended = |pod: &Value| at(pod, &["status", "extendedResourceClaimStatus"]).cloned();
        if extended(new) != extended(old) {
            return self
                .refuse(format!("node {node:?} cannot update extended resource claim status"));
        }
        Ok(())
    }

    pub(super) async fn pod_eviction(&self) -> ApiResult<()> {
        if !self.creates() {
            return self.refuse(format!("unexpected operation {}", shown(self.request.operation)));
        }
        let named = [self.request.name, api::object::name(self.object())];
        let Some(name) = named.into_iter().find(|name| !name.is_empty()) else {
            return self.refuse("could not determine pod from request data");
        };
        let pods = GroupResource::new("", "pods");
        let pod = self.api.get(&pods, self.request.namespace, name).await?;
        if self.is_mine(&pod) {
            return Ok(());
        }
        let node = self.name;
        self.refuse(format!("node {node} can only evict pods with spec.nodeName set to itself"))
    }
}

/// What a pod refers to that a node must not reach by making pods.
fn refers_to(pod: &Value) -> Option<&'static str> {
    if !str_at(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Some("a service account");
    }
    let (secrets, maps) = references(pod);
    if secrets {
        return Some("secrets");
    }
    if maps {
        return Some("configmaps");
    }
    let volumes = list_at(pod, &["spec", "volumes"]);
    let projects = |volume: &Value, kind: &str| {
        list_at(volume, &["projected", "sources"]).iter().any(|one| one.get(kind).is_some())
    };
    if volumes.iter().any(|volume| projects(volume, "clusterTrustBundle")) {
        return Some("clustertrustbundles");
    }
    if volumes.iter().any(|volume| projects(volume, "podCertificate")) {
        return Some("podcertificates");
    }
    if volumes.iter().any(|volume| volume.get("persistentVolumeClaim").is_some()) {
        return Some("persistentvolumeclaims");
    }
    (!list_at(pod, &["spec", "resourceClaims"]).is_empty()).then_some("resourceclaims")
}

/// Whether a pod refers to Secrets, and to ConfigMaps.
fn references(pod: &Value) -> (bool, bool) {
    let mut secrets = !list_at(pod, &["spec", "imagePullSecrets"]).is_empty();
    let mut maps = false;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list_at(pod, &["spec", list]) {
            for source in list_at(container, &["envFrom"]) {
                secrets |= source.get("secretRef").is_some();
                maps |= source.get("configMapRef").is_some();
            }
            for source in list_at(container, &["env"]) {
                secrets |= at(source, &["valueFrom", "secretKeyRef"]).is_some();
                maps |= at(source, &["valueFrom", "configMapKeyRef"]).is_some();
            }
        }
    }
    for volume in list_at(pod, &["spec", "volumes"]) {
        secrets |= volume.get("secret").is_some() || volume.get("azureFile").is_some();
        maps |= volume.get("configMap").is_some();
        for kind in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
            secrets |= at(volume, &[kind, "secretRef"]).is_some();
        }
        secrets |= at(volume, &["csi", "nodePublishSecretRef"]).is_some();
        for source in list_at(volume, &["projected", "sources"]) {
            secrets |= source.get("secret").is_some();
            maps |= source.get("configMap").is_some();
        }
    }
    (secrets, maps)
}
