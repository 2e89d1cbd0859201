//! A pod that asks for an extended resource tolerates the taint of that name, by which nodes with
//! such devices keep other pods away. Off unless asked for.

use std::collections::BTreeSet;

use api::object::{at, list_at, set_default, str_at};
use api::quota::is_extended;
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use serde_json::{Value, json};

/// `ExtendedResourceToleration`.
pub(crate) struct ExtendedResourceToleration;

#[async_trait]
impl AdmissionPlugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.creates("", "pods") || request.updates("", "pods")
    }

    async fn admit(&self, _: &dyn ObjectApi, request: &mut AdmissionRequest<'_>) -> ApiResult<()> {
        let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
        let mut asked = BTreeSet::new();
        for list in ["containers", "initContainers"] {
            for container in list_at(pod, &["spec", list]) {
                let requests = at(container, &["resources", "requests"]).and_then(Value::as_object);
                let names = requests.into_iter().flat_map(|map| map.keys());
                asked.extend(names.filter(|name| is_extended(name)).cloned());
            }
        }
        for resource in asked {
            let tolerated = list_at(pod, &["spec", "tolerations"]).iter().any(|own| {
                str_at(own, &["key"]) == resource && str_at(own, &["operator"]) == "Exists"
            });
            if tolerated {
                continue;
            }
            set_default(pod, &["spec", "tolerations"], json!([]));
            if let Some(list) = pod["spec"]["tolerations"].as_array_mut() {
                list.push(json!({ "key": resource, "operator": "Exists" }));
            }
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
    async fn a_toleration_for_each_device() {
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {
            "cpu": "1", "example.com/gpu": "1"}}}]}});
        let request = Request::new(Operation::Create, "", "pods", "Pod", pod);
        let got = request.admit(&ExtendedResourceToleration, &Objects::default()).await.unwrap();
        let expected = json!([{"key": "example.com/gpu", "operator": "Exists"}]);
        assert_eq!(got["spec"]["tolerations"], expected);
    }
}
