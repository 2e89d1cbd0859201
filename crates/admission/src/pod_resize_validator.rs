//! A pod on a node cannot be resized to more than the node has.
//!
//! (KEP-1287)

use api::Value;
use api::k8s_openapi::api::core::v1::PodSpec;
use api::names::GroupResource;
use api::object::{at, label, str_at};
use api::pod_resources::requests;
use api::quantity::Quantity;
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

/// `PodResizeValidator`.
pub(crate) struct PodResizeValidator;

#[async_trait]
impl AdmissionPlugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Update
            && request.is("", "pods")
            && request.subresource == Some("resize")
    }

    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let (Some(pod), Some(old)) = (request.object.as_deref(), request.old) else {
            return Ok(());
        };
        let name = str_at(pod, &["spec", "nodeName"]);
        if name.is_empty() || at(pod, &["spec"]) == at(old, &["spec"]) {
            return Ok(());
        }
        let refused = |why: &str| ApiError::forbidden(&request.resource, request.name, why);
        let node = match api.get(&GroupResource::new("", "nodes"), "", name).await {
            Ok(node) => node,
            Err(error) if error.code() == 404 => {
                return Err(refused(&format!("node {name:?} not found")));
            }
            Err(error) => return Err(error),
        };
        let (why, cause) = match (other_system(&node), too_much(pod, &node)) {
            (Some(why), _) => (why, "UnsupportedPlatform"),
            (None, Some(why)) => (why, "NodeCapacity"),
            (None, None) => return Ok(()),
        };
        Err(refused(&why).cause(cause, why, ""))
    }
}

fn other_system(node: &Value) -> Option<String> {
    let system = label(node, "kubernetes.io/os").filter(|system| *system != "linux")?;
    let name = api::object::name(node);
    Some(format!("pod resize is only supported on linux nodes, node {name:?} is {system:?}"))
}

/// What the pod would ask for and the node cannot give.
fn too_much(pod: &Value, node: &Value) -> Option<String> {
    let spec: PodSpec = serde_json::from_value(at(pod, &["spec"])?.clone()).ok()?;
    let asked = requests(&spec);
    let check = |resource: &str, read: fn(Quantity) -> i64| {
        let has = str_at(node, &["status", "allocatable", resource]).parse().unwrap_or_default();
        let asked = asked.get(resource).copied().unwrap_or_default();
        (asked > has)
            .then(|| format!("{resource}, requested: {}, allocatable: {}", read(asked), read(has)))
    };
    let lacks: Vec<_> = [check("cpu", Quantity::milli_value), check("memory", Quantity::value)]
        .into_iter()
        .flatten()
        .collect();
    (!lacks.is_empty())
        .then(|| format!("node didn't have enough allocatable resources: {}", lacks.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use serde_json::json;

    async fn check(cpu: &str, memory: &str, node: &str, system: &str, expected: &str) {
        let pod = |cpu: &str, memory: &str| {
            json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"nodeName": node,
                "containers": [{"name": "c",
                    "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}})
        };
        let node = json!({"kind": "Node",
            "metadata": {"name": "n", "labels": {"kubernetes.io/os": system}},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
        let mut request = Request::new(Operation::Update, "", "pods", "Pod", pod(cpu, memory));
        request.subresource = Some("resize");
        request.old = pod("1m", "1Mi");
        let got = request.validate(&PodResizeValidator, &Objects::of([node])).await;
        let got = got.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(got.split_once(": ").map_or("", |(_, why)| why), expected);
    }

    #[tokio::test]
    async fn no_more_than_the_node_has() {
        check("2", "1Gi", "n", "linux", "").await;
        check("9", "9Gi", "", "linux", "").await;
        check(
            "2001m",
            "2Gi",
            "n",
            "linux",
            "node didn't have enough allocatable resources: cpu, requested: 2001, allocatable: \
             2000; memory, requested: 2147483648, allocatable: 1073741824",
        )
        .await;
        check("1", "1Mi", "gone", "linux", "node \"gone\" not found").await;
        check(
            "1",
            "1Mi",
            "n",
            "windows",
            "pod resize is only supported on linux nodes, node \"n\" is \"windows\"",
        )
        .await;
    }
}
