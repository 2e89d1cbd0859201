//! A pod's RuntimeClass must exist, and adds its overhead and its node's labels to the pod.

use api::names::GroupResource;
use api::object::{at, entry, set, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use serde_json::{Value, json};

/// `RuntimeClass`.
pub(crate) struct RuntimeClass;

#[async_trait]
impl AdmissionPlugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.creates("", "pods")
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let (resource, name) = (request.resource.clone(), request.name);
        let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
        let wanted = str_at(pod, &["spec", "runtimeClassName"]).to_owned();
        if wanted.is_empty() {
            let own = at(pod, &["spec", "overhead"]).and_then(Value::as_object);
            if own.is_some_and(|own| !own.is_empty()) {
                return Err(ApiError::forbidden(&resource, name, WITHOUT_CLASS));
            }
            return Ok(());
        }
        let classes = GroupResource::new("node.k8s.io", "runtimeclasses");
        let class = api.get(&classes, "", &wanted).await.map_err(|error| {
            if error.code() != 404 {
                return error;
            }
            let why = format!("pod rejected: RuntimeClass \"{wanted}\" not found");
            ApiError::forbidden(&resource, name, &why)
        })?;
        merge(pod, &class).map_err(|why| ApiError::forbidden(&resource, name, &why))
    }
}

const WITHOUT_CLASS: &str =
    "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

fn merge(pod: &mut Value, class: &Value) -> Result<(), String> {
    if let Some(overhead) = at(class, &["overhead", "podFixed"]) {
        if at(pod, &["spec", "overhead"]).is_some_and(|own| own != overhead) {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined \
                        Overhead"
                .to_owned());
        }
        set(pod, &["spec", "overhead"], overhead.clone());
    } else if at(pod, &["spec", "overhead"]).is_some() {
        return Err(WITHOUT_CLASS.to_owned());
    }
    for (key, value) in
        at(class, &["scheduling", "nodeSelector"]).and_then(Value::as_object).into_iter().flatten()
    {
        let slot = entry(pod, &["spec", "nodeSelector", key]);
        if !slot.is_null() && slot != value {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                value.as_str().unwrap_or_default(),
                slot.as_str().unwrap_or_default()
            ));
        }
        *slot = value.clone();
    }
    for toleration in
        at(class, &["scheduling", "tolerations"]).and_then(Value::as_array).into_iter().flatten()
    {
        let slot = entry(pod, &["spec", "tolerations"]);
        if slot.is_null() {
            *slot = json!([]);
        }
        if let Some(list) = slot.as_array_mut()
            && !list.contains(toleration)
        {
            list.push(toleration.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use apiserver::admission::Operation;

    async fn admit(spec: Value) -> ApiResult<Value> {
        let api = Objects::of([json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
            "metadata": {"name": "vm"}, "overhead": {"podFixed": {"cpu": "10m"}},
            "scheduling": {"nodeSelector": {"vm": "yes"}}})]);
        let request = Request::new(Operation::Create, "", "pods", "Pod", json!({ "spec": spec }));
        Ok(request.admit(&RuntimeClass, &api).await?["spec"].take())
    }

    #[tokio::test]
    async fn a_class_adds_its_own_and_refuses_what_contradicts_it() {
        let got = admit(json!({"runtimeClassName": "vm"})).await.unwrap();
        assert_eq!(got["overhead"], json!({"cpu": "10m"}));
        assert_eq!(got["nodeSelector"], json!({"vm": "yes"}));
        for bad in [
            json!({"runtimeClassName": "x"}),
            json!({"overhead": {"cpu": "1"}}),
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}),
        ] {
            assert_eq!(admit(bad).await.unwrap_err().code(), 403);
        }
    }
}
