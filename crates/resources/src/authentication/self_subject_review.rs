//! SelfSubjectReview: who the caller is, as the server sees it.

use std::sync::Arc;

use api::Value;
use api::status::ApiResult;
use apiserver::resource::{ObjectApi, Resource, VirtualResource};
use async_trait::async_trait;
use auth::UserInfo;
use base::clock::{SharedClock, rfc3339_seconds};
use serde_json::json;

use crate::deps::Deps;
use crate::kind::Kind;

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    Kind::of("authentication.k8s.io", "selfsubjectreviews")
        .answered(Review(Arc::clone(&deps.clock)))
        .plain()
}

struct Review(SharedClock);

#[async_trait]
impl VirtualResource for Review {
    async fn create(
        &self,
        _api: &dyn ObjectApi,
        user: &UserInfo,
        _namespace: &str,
        mut object: Value,
    ) -> ApiResult<Value> {
        let now = rfc3339_seconds(self.0.now());
        api::object::set(&mut object, &["metadata", "creationTimestamp"], now);
        object["status"] = json!({ "userInfo": user });
        Ok(object)
    }
}
