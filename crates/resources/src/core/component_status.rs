//! ComponentStatus: whether the parts of the control plane are well; computed, deprecated.

use std::sync::Arc;

use api::Value;
use api::object::{list_at, str_at};
use api::status::ApiResult;
use apiserver::resource::{ObjectApi, Resource, VirtualResource};
use async_trait::async_trait;
use base::clock::Timestamp;
use serde_json::json;

use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "componentstatuses").answered(Parts).rules(ComponentStatus)
}

struct ComponentStatus;

impl Rules for ComponentStatus {
    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let healthy = list_at(object, &["conditions"]).iter().find(|one| one["type"] == "Healthy");
        let text = |field: &str| healthy.map_or("", |one| str_at(one, &[field]));
        let state = match text("status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![table::name(object), state.into(), text("message").into(), text("error").into()]
    }
}

struct Parts;

#[async_trait]
impl VirtualResource for Parts {
    /// The store is known to be well when it answers this very read; the other parts have no
    /// health port that upstream's ComponentStatus could ask, so they are not listed.
    async fn list(&self, api: &dyn ObjectApi, _namespace: &str) -> ApiResult<Vec<Value>> {
        let namespaces = api::names::GroupResource::new("", "namespaces");
        let (status, message, error) = match api.list(&namespaces, "").await {
            Ok(_) => ("True", "ok".to_owned(), String::new()),
            Err(error) => ("False", String::new(), error.to_string()),
        };
        let mut condition = json!({"type": "Healthy", "status": status});
        for (field, text) in [("message", message), ("error", error)] {
            if !text.is_empty() {
                condition[field] = text.into();
            }
        }
        Ok(vec![json!({"apiVersion": "v1", "kind": "ComponentStatus",
            "metadata": {"name": "etcd-0"}, "conditions": [condition]})])
    }
}
