//! A new node takes no pods until it says that it is ready.

use api::object::{list_at, set_default, str_at};
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use serde_json::json;

/// `TaintNodesByCondition`.
pub(crate) struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

#[async_trait]
impl AdmissionPlugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.creates("", "nodes")
    }

    async fn admit(&self, _: &dyn ObjectApi, request: &mut AdmissionRequest<'_>) -> ApiResult<()> {
        let Some(node) = request.object.as_deref_mut() else { return Ok(()) };
        let is_there = |taint: &api::Value| {
            str_at(taint, &["key"]) == NOT_READY && str_at(taint, &["effect"]) == "NoSchedule"
        };
        if list_at(node, &["spec", "taints"]).iter().any(is_there) {
            return Ok(());
        }
        set_default(node, &["spec", "taints"], json!([]));
        if let Some(taints) = node["spec"]["taints"].as_array_mut() {
            taints.push(json!({ "key": NOT_READY, "effect": "NoSchedule" }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use apiserver::admission::Operation;

    #[tokio::test]
    async fn a_new_node_is_tainted_once() {
        for node in
            [json!({}), json!({"spec": {"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]}})]
        {
            let request = Request::new(Operation::Create, "", "nodes", "Node", node);
            let got = request.admit(&TaintNodesByCondition, &Objects::default()).await.unwrap();
            assert_eq!(got["spec"]["taints"], json!([{"key": NOT_READY, "effect": "NoSchedule"}]));
        }
    }
}
