//! A pod that gets a node also gets the node's zone and region as labels.
//!
//! (KEP-4742)

use api::Value;
use api::names::GroupResource;
use api::object::{label, set, str_at};
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

/// `PodTopologyLabels`.
pub(crate) struct PodTopologyLabels;

const LABELS: &[&str] = &["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

#[async_trait]
impl AdmissionPlugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create
            && match request.subresource {
                None => request.is("", "pods") || request.is("", "bindings"),
                Some("binding") => request.is("", "pods"),
                Some(_) => false,
            }
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let Some(object) = request.object.as_deref_mut() else { return Ok(()) };
        let node = node_of(object).to_owned();
        if node.is_empty() {
            return Ok(());
        }
        let node = match api.get(&GroupResource::new("", "nodes"), "", &node).await {
            Ok(node) => node,
            // A pod may be made before its node is.
            Err(error) if error.code() == 404 => return Ok(()),
            Err(error) => return Err(error),
        };
        for key in LABELS {
            if let Some(value) = label(&node, key) {
                set(object, &["metadata", "labels", key], value);
            }
        }
        Ok(())
    }
}

/// The node that a pod names, or that a binding gives it.
fn node_of(object: &Value) -> &str {
    let target = &object["target"];
    if matches!(str_at(target, &["kind"]), "" | "Node") && target.is_object() {
        return str_at(target, &["name"]);
    }
    str_at(object, &["spec", "nodeName"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use serde_json::json;

    #[tokio::test]
    async fn zone_and_region_come_from_the_node() {
        let node = json!({"kind": "Node", "metadata": {"name": "n", "labels": {
            "topology.kubernetes.io/zone": "z", "other": "x"}}});
        for (object, expected) in [
            (json!({"spec": {"nodeName": "n"}}), json!({"topology.kubernetes.io/zone": "z"})),
            (
                json!({"target": {"kind": "Node", "name": "n"}}),
                json!({"topology.kubernetes.io/zone": "z"}),
            ),
            (json!({"spec": {}}), json!(null)),
            (json!({"spec": {"nodeName": "gone"}}), json!(null)),
        ] {
            let request = Request::new(Operation::Create, "", "pods", "Pod", object);
            let got =
                request.admit(&PodTopologyLabels, &Objects::of([node.clone()])).await.unwrap();
            assert_eq!(got["metadata"]["labels"], expected);
        }
    }
}
