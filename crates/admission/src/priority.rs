//! A pod's priority comes from its PriorityClass.

use api::names::GroupResource;
use api::object::{at, int_at, name, set, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

/// `Priority`.
pub(crate) struct Priority;

/// The classes that every cluster has; they are known before their objects are made.
const SYSTEM: &[(&str, i64)] =
    &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

#[async_trait]
impl AdmissionPlugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        let is_pod = is_pod(request);
        let is_class = request.is("scheduling.k8s.io", "priorityclasses");
        request.subresource.is_none()
            && (is_pod || is_class)
            && match request.operation {
                Operation::Create | Operation::Update => true,
                Operation::Delete => is_class,
                Operation::Connect => false,
            }
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        if !is_pod(request) {
            return Ok(());
        }
        if let Some(old) = request.old {
            // What was computed when the pod was made stays, also where a client leaves it out.
            let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
            for field in ["priority", "preemptionPolicy"] {
                if let Some(before) = at(old, &["spec", field]) {
                    api::object::set_default(pod, &["spec", field], before.clone());
                }
            }
            return Ok(());
        }
        let (resource, pod_name) = (request.resource.clone(), request.name);
        let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
        let wanted = str_at(pod, &["spec", "priorityClassName"]).to_owned();
        let class = class_of(api, &resource, pod_name, &wanted).await?;
        if let Some(own) = int_at(pod, &["spec", "priority"])
            && own != class.value
        {
            let why = format!(
                "the integer value of priority ({own}) must not be provided in pod spec; priority \
                 admission controller computed {} from the given PriorityClass name",
                class.value
            );
            return Err(ApiError::forbidden(&resource, pod_name, &why));
        }
        if wanted.is_empty() && !class.name.is_empty() {
            set(pod, &["spec", "priorityClassName"], class.name);
        }
        set(pod, &["spec", "priority"], class.value);
        let own = str_at(pod, &["spec", "preemptionPolicy"]);
        if !own.is_empty() && own != class.preemption {
            let why = format!(
                "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; \
                 priority admission controller computed {} from the given PriorityClass name",
                class.preemption
            );
            return Err(ApiError::forbidden(&resource, pod_name, &why));
        }
        set(pod, &["spec", "preemptionPolicy"], class.preemption);
        Ok(())
    }

    /// At most one class is the default of all pods.
    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let is_system = SYSTEM.iter().any(|(name, _)| *name == request.name);
        if request.operation == Operation::Delete {
            let why = "this is a system priority class and cannot be deleted";
            return match is_system {
                true => Err(ApiError::forbidden(&request.resource, request.name, why)),
                false => Ok(()),
            };
        }
        let Some(class) = request.object.as_deref() else { return Ok(()) };
        if &*request.resource.resource != "priorityclasses" || !is_default(class) {
            return Ok(());
        }
        let others = api.list(&request.resource, "").await?;
        match others.iter().find(|other| is_default(other) && name(other) != name(class)) {
            None => Ok(()),
            Some(other) => {
                let why = format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    name(other)
                );
                Err(ApiError::forbidden(&request.resource, request.name, &why))
            }
        }
    }
}

fn is_pod(request: &AdmissionRequest<'_>) -> bool {
    request.is("", "pods")
}

struct Class {
    name: String,
    value: i64,
    preemption: String,
}

fn is_default(class: &api::Value) -> bool {
    at(class, &["globalDefault"]) == Some(&true.into())
}

async fn class_of(
    api: &dyn ObjectApi,
    resource: &GroupResource,
    pod: &str,
    wanted: &str,
) -> ApiResult<Class> {
    let classes = GroupResource::new("scheduling.k8s.io", "priorityclasses");
    let found = if wanted.is_empty() {
        // Two defaults may have been made at once: the lowest is taken.
        let value = |class: &std::sync::Arc<api::Value>| int_at(class, &["value"]);
        let all = api.list(&classes, "").await?;
        all.into_iter().filter(|class| is_default(class)).min_by_key(value)
    } else {
        match api.get(&classes, "", wanted).await {
            Ok(class) => Some(class),
            Err(error) if error.code() == 404 => None,
            Err(error) => return Err(error),
        }
    };
    if let Some(class) = found {
        let preemption = str_at(&class, &["preemptionPolicy"]);
        let preemption = if preemption.is_empty() { "PreemptLowerPriority" } else { preemption };
        return Ok(Class {
            name: name(&class).to_owned(),
            value: int_at(&class, &["value"]).unwrap_or_default(),
            preemption: preemption.to_owned(),
        });
    }
    let known = SYSTEM.iter().find(|(name, _)| *name == wanted);
    match known {
        _ if wanted.is_empty() => Ok(Class {
            name: String::new(),
            value: 0,
            preemption: "PreemptLowerPriority".to_owned(),
        }),
        Some((name, value)) => Ok(Class {
            name: (*name).to_owned(),
            value: *value,
            preemption: "PreemptLowerPriority".to_owned(),
        }),
        None => {
            let why = format!("no PriorityClass with name {wanted} was found");
            Err(ApiError::forbidden(resource, pod, &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use serde_json::{Value, json};

    async fn admit(spec: Value) -> ApiResult<Value> {
        let high = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
        let api = Objects::of([high]);
        let request = Request::new(Operation::Create, "", "pods", "Pod", json!({ "spec": spec }));
        Ok(request.admit(&Priority, &api).await?["spec"].take())
    }

    #[tokio::test]
    async fn the_systems_classes_stay() {
        let delete = async |name: &'static str| {
            let mut request = Request::new(
                Operation::Delete,
                "scheduling.k8s.io",
                "priorityclasses",
                "PriorityClass",
                Value::Null,
            );
            request.name = name.to_owned();
            request.validate(&Priority, &Objects::of([])).await
        };
        let refused = delete("system-node-critical").await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and cannot be deleted"
        );
        assert!(delete("high").await.is_ok());
    }

    #[tokio::test]
    async fn priorities_come_from_classes() {
        assert_eq!(admit(json!({})).await.unwrap()["priority"], 0);
        let high = admit(json!({"priorityClassName": "high"})).await.unwrap();
        assert_eq!((&high["priority"], &high["preemptionPolicy"]), (&json!(1000), &json!("Never")));
        let system = admit(json!({"priorityClassName": "system-node-critical"})).await.unwrap();
        assert_eq!(system["priority"], 2_000_001_000_i64);
        assert_eq!(admit(json!({"priorityClassName": "x"})).await.unwrap_err().code(), 403);
        assert_eq!(admit(json!({"priority": 7})).await.unwrap_err().code(), 403);
        let contrary =
            json!({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"});
        assert_eq!(admit(contrary).await.unwrap_err().code(), 403);
    }

    #[tokio::test]
    async fn an_update_keeps_what_was_computed() {
        let mut request = Request::new(Operation::Update, "", "pods", "Pod", json!({"spec": {}}));
        request.old = json!({"spec": {"priority": 5, "preemptionPolicy": "Never"}});
        let got = request.admit(&Priority, &Objects::default()).await.unwrap();
        assert_eq!(got["spec"], json!({"priority": 5, "preemptionPolicy": "Never"}));
    }

    #[tokio::test]
    async fn one_class_at_most_is_the_default_of_all_pods() {
        let class = |name: &str| {
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name}, "value": 1, "globalDefault": true})
        };
        let api = Objects::of([class("first")]);
        for (name, code) in [("second", Some(403)), ("first", None)] {
            let (group, kind) = ("scheduling.k8s.io", "PriorityClass");
            let request =
                Request::new(Operation::Create, group, "priorityclasses", kind, class(name));
            let got = request.validate(&Priority, &api).await;
            assert_eq!(got.err().map(|error| error.code()), code, "{name}");
        }
    }
}
