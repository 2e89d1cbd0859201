//! Binding: gives a pod its node, in the form of `POST …/bindings`.

use std::sync::Arc;

use api::Value;
use api::object::{name, namespace};
use api::status::ApiResult;
use apiserver::resource::{ObjectApi, Resource, VirtualResource};
use async_trait::async_trait;
use auth::UserInfo;
use base::clock::SharedClock;

use super::pod::binding::bind;
use crate::deps::Deps;
use crate::kind::Kind;

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    Kind::of("", "bindings").answered(Bindings(Arc::clone(&deps.clock))).plain()
}

struct Bindings(SharedClock);

#[async_trait]
impl VirtualResource for Bindings {
    async fn create(
        &self,
        api: &dyn ObjectApi,
        _user: &UserInfo,
        scope: &str,
        object: Value,
    ) -> ApiResult<Value> {
        let scope = if scope.is_empty() { namespace(&object) } else { scope };
        bind(api, &self.0, (scope, name(&object)), &object, false).await
    }
}
