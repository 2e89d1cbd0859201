//! A pod stays five minutes on a node that is not ready or not reachable, unless it says otherwise.

use api::Value;
use api::object::{list_at, set_default, str_at};
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use serde_json::json;

/// `DefaultTolerationSeconds`.
pub(crate) struct DefaultTolerationSeconds;

const SECONDS: i64 = 300;
const TAINTS: &[&str] = &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

#[async_trait]
impl AdmissionPlugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.creates("", "pods") || request.updates("", "pods")
    }

    async fn admit(&self, _: &dyn ObjectApi, request: &mut AdmissionRequest<'_>) -> ApiResult<()> {
        let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
        for taint in TAINTS {
            if list_at(pod, &["spec", "tolerations"]).iter().any(|own| concerns(own, taint)) {
                continue;
            }
            set_default(pod, &["spec", "tolerations"], json!([]));
            if let Some(list) = pod["spec"]["tolerations"].as_array_mut() {
                list.push(json!({
                    "key": taint, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": SECONDS,
                }));
            }
        }
        Ok(())
    }
}

/// Whether a toleration says anything about the taint, with an empty key or effect for all.
fn concerns(toleration: &Value, taint: &str) -> bool {
    let (key, effect) = (str_at(toleration, &["key"]), str_at(toleration, &["effect"]));
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use apiserver::admission::Operation;

    async fn check(tolerations: Value, expected: usize) {
        let pod = json!({"spec": {"tolerations": tolerations}});
        let request = Request::new(Operation::Create, "", "pods", "Pod", pod);
        let got = request.admit(&DefaultTolerationSeconds, &Objects::default()).await.unwrap();
        assert_eq!(got["spec"]["tolerations"].as_array().unwrap().len(), expected, "{got}");
    }

    #[tokio::test]
    async fn what_the_pod_says_itself_stays() {
        check(json!(null), 2).await;
        check(json!([{"operator": "Exists"}]), 1).await;
        check(json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]), 2).await;
        check(json!([{"key": "x", "operator": "Exists"}]), 3).await;
    }
}
