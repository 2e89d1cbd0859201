//! Every container's image is pulled each time, so that a private image that is on the node already
//! is not had without its credentials. Off unless asked for.

use api::Value;
use api::object::set;
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

/// `AlwaysPullImages`.
pub(crate) struct AlwaysPullImages;

#[async_trait]
impl AdmissionPlugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        matches!(request.operation, Operation::Create | Operation::Update)
            && matches!(request.subresource, None | Some("ephemeralcontainers"))
            && request.is("", "pods")
    }

    async fn admit(&self, _: &dyn ObjectApi, request: &mut AdmissionRequest<'_>) -> ApiResult<()> {
        let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                set(container, &["imagePullPolicy"], "Always");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use serde_json::json;

    #[tokio::test]
    async fn every_container_pulls() {
        let pod = json!({"spec": {"initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "imagePullPolicy": "Never"}]}});
        let request = Request::new(Operation::Create, "", "pods", "Pod", pod);
        let got = request.admit(&AlwaysPullImages, &Objects::default()).await.unwrap();
        for list in ["initContainers", "containers"] {
            assert_eq!(got["spec"][list][0]["imagePullPolicy"], "Always");
        }
    }
}
