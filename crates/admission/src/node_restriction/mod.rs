//! A kubelet changes its own node and its own pods, and nothing by which it would get more.
//!
//! The node authorizer sees names only; here is what is in the objects. Texts are upstream's.
//! (Kubernetes `plugin/pkg/admission/noderestriction`)

mod node;
mod own;
mod pod;
mod token;

use std::sync::Arc;

use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::authz::Authorizer;
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use auth::{groups, users};

/// `NodeRestriction`.
pub(crate) struct NodeRestriction(pub(crate) Arc<dyn Authorizer>);

#[async_trait]
impl AdmissionPlugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation != Operation::Connect && request.user.is_in(groups::NODES)
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let user = request.user;
        let Some(name) = user.username.strip_prefix(users::NODE_PREFIX).filter(|n| !n.is_empty())
        else {
            let why = format!("could not determine node from user {:?}", user.username);
            return Err(ApiError::forbidden(&request.resource, request.name, &why));
        };
        let node = Node { name, api, authorizer: &*self.0, request };
        let subresource = request.subresource.unwrap_or_default();
        match (&*request.resource.group, &*request.resource.resource) {
            ("", "pods") => match subresource {
                "" => node.pod().await,
                "status" => node.pod_status(),
                "eviction" => node.pod_eviction().await,
                other => node.refuse(format!(
                    "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
                )),
            },
            ("", "nodes") => node.node(),
            ("", "persistentvolumeclaims") if subresource == "status" => node.claim_status(),
            ("", "persistentvolumeclaims") => node.refuse("may only update PVC status"),
            ("", "serviceaccounts") if subresource == "token" => node.token().await,
            ("coordination.k8s.io", "leases") => node.lease(),
            ("storage.k8s.io", "csinodes") => node.csi_node(),
            ("resource.k8s.io", "resourceslices") => node.slice(),
            ("certificates.k8s.io", "certificatesigningrequests") => node.certificate(),
            ("certificates.k8s.io", "podcertificaterequests") => node.pod_certificate().await,
            _ => Ok(()),
        }
    }
}

/// A node's request under scrutiny.
struct Node<'a, 'r> {
    name: &'a str,
    api: &'a dyn ObjectApi,
    authorizer: &'a dyn Authorizer,
    request: &'a AdmissionRequest<'r>,
}

impl Node<'_, '_> {
    fn refuse(&self, why: impl AsRef<str>) -> ApiResult<()> {
        Err(self.refusal(why.as_ref()))
    }

    fn refusal(&self, why: &str) -> ApiError {
        ApiError::forbidden(&self.request.resource, self.request.name, why)
    }

    fn creates(&self) -> bool {
        self.request.operation == Operation::Create
    }

    fn object(&self) -> &api::Value {
        self.request.object.as_deref().unwrap_or(&api::Value::Null)
    }

    fn old(&self) -> &api::Value {
        self.request.old.unwrap_or(&api::Value::Null)
    }
}

/// The operation as Go prints it.
fn shown(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

#[cfg(test)]
mod tests;
