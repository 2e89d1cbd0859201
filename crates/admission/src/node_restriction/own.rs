//! What belongs to one node: its lease, its CSINode, its slices of devices, its certificates, and
//! the status of claims that it mounts.

use api::Value;
use api::names::GroupResource;
use api::object::{remove, str_at, uid};
use api::status::ApiResult;
use apiserver::admission::Operation;

use super::{Node, shown};
use crate::signer_access::subject_of;

const LEASES: &str = "kube-node-lease";
const NODE_SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

impl Node<'_, '_> {
    pub(super) fn claim_status(&self) -> ApiResult<()> {
        if self.request.operation != Operation::Update {
            return self
                .refuse(format!("unexpected operation {:?}", shown(self.request.operation)));
        }
        let bare = |claim: &Value| {
            let mut bare = claim.clone();
            for path in [
                ["metadata", "resourceVersion"],
                ["metadata", "managedFields"],
                ["status", "capacity"],
                ["status", "conditions"],
                ["status", "allocatedResourceStatuses"],
                ["status", "allocatedResources"],
            ] {
                remove(&mut bare, &path);
            }
            bare
        };
        let (new, old) = (bare(self.object()), bare(self.old()));
        if new == old {
            return Ok(());
        }
        let differing: Vec<&str> = ["metadata", "spec", "status"]
            .into_iter()
            .filter(|part| new.get(part) != old.get(part))
            .collect();
        self.refuse(format!(
            "node {:?} is not allowed to update fields other than status.capacity and status.conditions: {}",
            self.name,
            differing.join(", ")
        ))
    }

    pub(super) fn lease(&self) -> ApiResult<()> {
        if self.request.namespace != LEASES {
            return self
                .refuse(format!("can only access leases in the {LEASES:?} system namespace"));
        }
        if self.asked_name() != self.name {
            return self
                .refuse("can only access node lease with the same name as the requesting node");
        }
        Ok(())
    }

    pub(super) fn csi_node(&self) -> ApiResult<()> {
        if self.asked_name() != self.name {
            return self
                .refuse("can only access CSINode with the same name as the requesting node");
        }
        Ok(())
    }

    fn asked_name(&self) -> &str {
        if self.creates() { api::object::name(self.object()) } else { self.request.name }
    }

    pub(super) fn slice(&self) -> ApiResult<()> {
        let owner = |slice: &Value| str_at(slice, &["spec", "nodeName"]).to_owned();
        let (verb, slice) = match self.request.operation {
            Operation::Create => ("create", self.object()),
            Operation::Delete => ("delete", self.old()),
            _ => return Ok(()),
        };
        if owner(slice) == self.name {
            return Ok(());
        }
        self.refuse(format!(
            "can only {verb} ResourceSlice with the same NodeName as the requesting node"
        ))
    }

    /// Certificates for nodes are for this node.
    pub(super) fn certificate(&self) -> ApiResult<()> {
        let signer = str_at(self.object(), &["spec", "signerName"]);
        if !self.creates() || !NODE_SIGNERS.contains(&signer) {
            return Ok(());
        }
        let (common_name, _) = subject_of(self.request)
            .map_err(|why| self.refusal(&format!("unable to parse csr: {why}")))?;
        let own = format!("system:node:{}", self.name);
        if common_name != own {
            return self.refuse(format!("can only create a node CSR with CN={own}"));
        }
        Ok(())
    }

    /// Certificates for pods are for pods of this node.
    pub(super) async fn pod_certificate(&self) -> ApiResult<()> {
        if !self.creates() {
            return Ok(());
        }
        let wanted = self.object();
        let text = |field: &str| str_at(wanted, &["spec", field]);
        if text("nodeName") != self.name {
            return self
                .refuse("PodCertificateRequest.Spec.NodeName does not match the requesting node");
        }
        let pods = GroupResource::new("", "pods");
        let pod = self.api.get(&pods, self.request.namespace, text("podName")).await?;
        if uid(&pod) != text("podUID") {
            return self.refuse("PodCertificateRequest.Spec.PodUID does not match the pod");
        }
        if str_at(&pod, &["spec", "nodeName"]) != self.name {
            return self.refuse(format!(
                "pod {:?} is not running on node {:?}",
                text("podName"),
                self.name
            ));
        }
        if str_at(&pod, &["spec", "serviceAccountName"]) != text("serviceAccountName") {
            return self
                .refuse(format!("pod {:?} runs under another service account", text("podName")));
        }
        Ok(())
    }
}
