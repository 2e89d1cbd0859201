//! Who may use a kubelet's own server: the API server is asked, by reviews.

use api::object::str_at;
use async_trait::async_trait;
use auth::{Attributes, Target, UserInfo};
use kubelet::ServerAccess;
use reconcile::Writer;
use serde_json::{Value, json};

/// Asks by TokenReview and SubjectAccessReview.
pub(crate) struct Reviews(Writer);

impl std::fmt::Debug for Reviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reviews")
    }
}

impl Reviews {
    pub(crate) fn new(client: kube::Client) -> Self {
        Self(Writer::new(client, "kubelet"))
    }

    async fn ask(&self, path: &str, body: &Value) -> Option<Value> {
        match self.0.raw("POST", path, body.to_string().into_bytes()).await {
            Ok(answer) => serde_json::from_slice(&answer).ok(),
            Err(error) => {
                tracing::warn!(%error, "a review was not answered");
                None
            }
        }
    }
}

#[async_trait]
impl ServerAccess for Reviews {
    async fn user_of_token(&self, token: &str) -> Option<UserInfo> {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": { "token": token },
        });
        let answer = self.ask("/apis/authentication.k8s.io/v1/tokenreviews", &body).await?;
        let is_known = answer.pointer("/status/authenticated") == Some(&Value::Bool(true));
        let user = answer.pointer("/status/user").filter(|_| is_known)?;
        serde_json::from_value(user.clone()).ok()
    }

    async fn allowed(&self, attributes: &Attributes) -> bool {
        let mut spec = json!({
            "user": attributes.user.username, "groups": attributes.user.groups,
        });
        match &attributes.target {
            Target::Resource(own) => {
                spec["resourceAttributes"] = json!({
                    "verb": own.verb, "group": own.group, "version": own.version,
                    "resource": own.resource, "subresource": own.subresource,
                    "namespace": own.namespace, "name": own.name,
                });
            }
            Target::NonResource(own) => {
                spec["nonResourceAttributes"] = json!({ "verb": own.verb, "path": own.path });
            }
        }
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let Some(answer) = self.ask(path, &body).await else { return false };
        let why = str_at(&answer, &["status", "reason"]);
        tracing::debug!(user = attributes.user.username, why, "a kubelet's caller was reviewed");
        answer.pointer("/status/allowed") == Some(&Value::Bool(true))
    }
}
