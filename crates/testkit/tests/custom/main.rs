//! Custom resources, from definition to deletion, as clients see them: over HTTP in process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod definitions;
mod schemas;
mod versions;

use std::time::Duration;

use auth::UserInfo;
use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Where the objects of [`definition`] are.
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
/// No wait of a test is longer.
const LIMIT: Duration = Duration::from_secs(30);

/// A server with custom kinds.
struct Cluster(testkit::ApiServer);

/// An answer.
#[derive(Debug)]
struct Answer {
    code: u16,
    body: Value,
    warnings: Vec<String>,
}

impl Answer {
    #[track_caller]
    fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    /// The message of a refusal.
    #[track_caller]
    fn refused(self, code: u16) -> String {
        self.expect(code)["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// A watch, event by event.
struct Watch(BodyDataStream, Vec<u8>);

impl Watch {
    /// Type and object of the next event; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(at) = self.1.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.1.drain(..=at).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                return Some((event["type"].as_str().unwrap().to_owned(), event["object"].clone()));
            }
            let chunk = tokio::time::timeout(LIMIT, self.0.next()).await.expect("an event comes");
            self.1.extend_from_slice(&chunk?.unwrap());
        }
    }
}

impl Cluster {
    async fn start() -> Self {
        let cluster = Self(testkit::full_api_server());
        let namespace = json!({"metadata": {"name": "default"}});
        cluster.post("/api/v1/namespaces", namespace).await.expect(201);
        cluster
    }

    async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let service = self.0.server.client_service(UserInfo::named("t", &["system:masters"]));
        let response = service.oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|one| one.to_str().unwrap().to_owned()).collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        Answer { code, body, warnings }
    }

    async fn get(&self, uri: &str) -> Answer {
        self.send("GET", uri, &[], "").await
    }

    async fn post(&self, uri: &str, body: Value) -> Answer {
        self.send("POST", uri, &[("content-type", "application/json")], &body.to_string()).await
    }

    async fn put(&self, uri: &str, body: Value) -> Answer {
        self.send("PUT", uri, &[("content-type", "application/json")], &body.to_string()).await
    }

    async fn merge(&self, uri: &str, body: Value) -> Answer {
        let kind = [("content-type", "application/merge-patch+json")];
        self.send("PATCH", uri, &kind, &body.to_string()).await
    }

    async fn apply(&self, uri: &str, body: Value) -> Answer {
        let kind = [("content-type", "application/apply-patch+yaml")];
        self.send("PATCH", uri, &kind, &body.to_string()).await
    }

    async fn delete(&self, uri: &str) -> Answer {
        self.send("DELETE", uri, &[], "").await
    }

    async fn watch(&self, uri: &str) -> Watch {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let service = self.0.server.client_service(UserInfo::named("t", &["system:masters"]));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{uri}");
        Watch(Body::new(response.into_body()).into_data_stream(), Vec::new())
    }

    /// Waits until the definition of this name is as wanted.
    async fn until(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let uri = format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3D{name}");
        let mut watch = self.watch(&uri).await;
        while let Some((_, object)) = watch.next().await {
            if wanted(&object) {
                return object;
            }
        }
        panic!("the watch of {name} ended");
    }

    /// Waits until it is deleted.
    async fn until_gone(&self, name: &str) {
        let uri = format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3D{name}");
        let mut watch = self.watch(&uri).await;
        if self.get(&format!("{DEFINITIONS}/{name}")).await.code == 404 {
            return;
        }
        while let Some((kind, _)) = watch.next().await {
            if kind == "DELETED" {
                return;
            }
        }
    }

    /// Creates a definition and waits until it is served.
    async fn define(&self, definition: Value) -> Value {
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        self.post(DEFINITIONS, definition).await.expect(201);
        self.until(&name, is_established).await
    }

    /// Changes a definition and waits until `served` says that the change is in force.
    async fn redefine(
        &self,
        name: &str,
        patch: Value,
        uri: &str,
        served: impl Fn(&Answer) -> bool,
    ) {
        self.merge(&format!("{DEFINITIONS}/{name}"), patch).await.expect(200);
        let deadline = tokio::time::Instant::now() + LIMIT;
        while !served(&self.get(uri).await) {
            assert!(tokio::time::Instant::now() < deadline, "{uri} does not change");
            tokio::task::yield_now().await;
        }
    }
}

fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == kind)
}

fn is_established(object: &Value) -> bool {
    condition(object, "Established").is_some_and(|one| one["status"] == "True")
}

/// `widgets.example.com`, with one version.
fn definition(schema: Value) -> Value {
    definition_of(json!([{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": schema}}]))
}

fn definition_of(versions: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"],
                "categories": ["all"]},
            "versions": versions,
        },
    })
}

/// A schema whose spec has these fields.
fn spec_of(properties: Value) -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": properties}}})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": spec})
}
