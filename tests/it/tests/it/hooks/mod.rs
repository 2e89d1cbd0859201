//! Admission by others: webhooks and policies, through the whole server.

mod policies;
mod webhooks;

use http::Request;
use kube::client::Body;
use serde_json::{Value, json};
use testkit::{ApiServer, full_api_server};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// A server with a namespace `default` that is called over HTTP paths.
pub(crate) struct Site {
    server: ApiServer,
    client: kube::Client,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn done(self) -> Value {
        assert!(self.code < 300, "{}: {}", self.code, self.body);
        self.body
    }
}

impl Site {
    pub(crate) async fn start() -> Self {
        let server = full_api_server();
        let site = Self { client: server.client(), server };
        site.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.done();
        let account = json!({"metadata": {"name": "default"}});
        site.post("/api/v1/namespaces/default/serviceaccounts", account).await.done();
        site
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let media = match method {
            "PATCH" if body.is_array() => "application/json-patch+json",
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.client.send(request.body(Body::from(bytes)).unwrap()).await.unwrap();
        let warnings = answer.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| value.to_str().unwrap().to_owned()).collect();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_default(), warnings }
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &body).await
    }

    /// Creates a ConfigMap in `default`.
    pub(crate) async fn config_map(&self, name: &str, rest: Value) -> Answer {
        let mut object = json!({"metadata": {"name": name}});
        for (key, value) in rest.as_object().unwrap() {
            if key == "labels" {
                object["metadata"]["labels"] = value.clone();
            } else {
                object[key] = value.clone();
            }
        }
        self.post("/api/v1/namespaces/default/configmaps", object).await
    }
}
