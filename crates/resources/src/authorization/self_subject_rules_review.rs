//! SelfSubjectRulesReview: all that the caller may do in a namespace.

use std::sync::Arc;

use api::Value;
use api::object::str_at;
use api::status::{ApiError, ApiResult};
use apiserver::resource::{ObjectApi, Resource, VirtualResource};
use async_trait::async_trait;
use auth::UserInfo;
use auth::rbac::Rule;
use serde_json::json;

use crate::deps::Deps;
use crate::kind::Kind;
use apiserver::authz::PolicySource;

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    Kind::of("authorization.k8s.io", "selfsubjectrulesreviews")
        .answered(Reviewer(Arc::clone(&deps.policy)))
        .plain()
}

struct Reviewer(Arc<dyn PolicySource>);

#[async_trait]
impl VirtualResource for Reviewer {
    async fn create(
        &self,
        _api: &dyn ObjectApi,
        user: &UserInfo,
        _namespace: &str,
        mut review: Value,
    ) -> ApiResult<Value> {
        let namespace = str_at(&review, &["spec", "namespace"]);
        if namespace.is_empty() {
            return Err(ApiError::bad_request("no namespace on request"));
        }
        let rules = self.0.policy().rules_for(user, namespace);
        review["status"] = status(&rules);
        // Upstream's answer does not repeat the question.
        review["spec"] = json!({});
        if user.node_name().is_some() {
            // What a node may do depends on its pods, and is no list. (node authorizer)
            let text = "node authorizer does not support user rule resolution";
            review["status"]["incomplete"] = true.into();
            review["status"]["evaluationError"] = text.into();
        }
        Ok(review)
    }
}

fn status(rules: &[Rule]) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    let mut paths: Vec<Value> = Vec::new();
    for rule in rules {
        if !rule.resources.is_empty() {
            let mut shown = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups,
                "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                shown["resourceNames"] = json!(rule.resource_names);
            }
            resources.push(shown);
        }
        if !rule.non_resource_urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
