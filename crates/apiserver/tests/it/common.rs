//! A server with three small kinds, and a client that speaks HTTP to it without a socket.

use std::borrow::Cow;
use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object;
use apiserver::resource::{
    Column, Deletion, Resource, ResourceInfo, Row, ScalePaths, Scope, Subresource,
    SubresourceBehaviour, VersionInfo, WriteContext,
};
use apiserver::{Server, ServerOptions, ServerService};
use auth::UserInfo;
use axum::body::Body;
use base::clock::Timestamp;
use base::rng::SharedRng;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

/// A kind whose rules are few, and can be switched.
pub(crate) struct TestKind {
    info: ResourceInfo,
    schema: Option<&'static str>,
    fields: Vec<std::borrow::Cow<'static, str>>,
    graceful: bool,
    scale: bool,
    custom: bool,
    columns: Vec<Column>,
}

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

impl TestKind {
    pub(crate) fn new(group: &'static str, kind: &'static str, plural: &'static str) -> Self {
        let column = |name: &'static str, kind: &'static str, format: &'static str| Column {
            name: name.into(),
            kind: kind.into(),
            format: format.into(),
            description: format!("The {name}").into(),
            priority: 0,
        };
        Self {
            info: ResourceInfo {
                group: group.into(),
                versions: vec![VersionInfo {
                    name: "v1".into(),
                    deprecation_warning: None,
                    listed: true,
                }],
                storage_version: "v1".into(),
                plural: plural.into(),
                singular: kind.to_lowercase().into(),
                kind: kind.into(),
                list_kind: format!("{kind}List").into(),
                short_names: Vec::new(),
                categories: Vec::new(),
                scope: Scope::Namespaced,
                verbs: VERBS.iter().map(|verb| Cow::Borrowed(*verb)).collect(),
                key_prefix: format!("/registry/{plural}").into(),
                storage_version_hash: "".into(),
            },
            schema: None,
            fields: Vec::new(),
            graceful: false,
            scale: false,
            custom: false,
            columns: vec![column("Name", "string", "name"), column("Age", "date", "")],
        }
    }

    pub(crate) fn become_custom(&mut self) {
        self.custom = true;
    }

    pub(crate) fn config_map() -> Self {
        let mut kind = Self::new("", "ConfigMap", "configmaps");
        kind.schema = Some("io.k8s.api.core.v1.ConfigMap");
        kind
    }

    pub(crate) fn pod() -> Self {
        let mut kind = Self::new("", "Pod", "pods");
        kind.schema = Some("io.k8s.api.core.v1.Pod");
        kind.fields = vec!["spec.nodeName".into(), "status.phase".into()];
        kind.graceful = true;
        kind
    }

    pub(crate) fn deployment() -> Self {
        let mut kind = Self::new("apps", "Deployment", "deployments");
        kind.schema = Some("io.k8s.api.apps.v1.Deployment");
        kind.scale = true;
        kind
    }

    pub(crate) fn custom() -> Self {
        let mut kind = Self::new("example.com", "Widget", "widgets");
        kind.info.key_prefix = "/registry/example.com/widgets".into();
        kind.custom = true;
        kind
    }
}

impl Resource for TestKind {
    fn info(&self) -> &ResourceInfo {
        &self.info
    }

    fn subresources(&self) -> Vec<Subresource> {
        let verbs = || ["get", "patch", "update"].iter().map(|verb| Cow::Borrowed(*verb)).collect();
        let mut all = vec![Subresource {
            name: "status".into(),
            kind: None,
            verbs: verbs(),
            behaviour: SubresourceBehaviour::View,
        }];
        if self.scale {
            all.push(Subresource {
                name: "scale".into(),
                kind: Some(("autoscaling".into(), "v1".into(), "Scale".into())),
                verbs: verbs(),
                behaviour: SubresourceBehaviour::Scale(ScalePaths {
                    spec_replicas: vec!["spec".into(), "replicas".into()],
                    status_replicas: vec!["status".into(), "replicas".into()],
                    selector: vec!["spec".into(), "selector".into()],
                }),
            });
        }
        all
    }

    fn schema(&self, _version: &str) -> Option<&str> {
        self.schema
    }

    fn default(&self, _object: &mut Value) {}

    fn prepare_create(&self, _ctx: &WriteContext<'_>, object: &mut Value) {
        if self.info.kind != "ConfigMap" {
            object::set(object, &["metadata", "generation"], 1);
            object::remove(object, &["status"]);
        }
    }

    fn prepare_update(&self, ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        let kept = if ctx.subresource == Some("status") { "spec" } else { "status" };
        match old.get(kept) {
            Some(value) => object[kept] = value.clone(),
            None => drop(object::remove(object, &[kept])),
        }
        if object.get("spec") != old.get("spec") {
            let generation = object::generation(old) + 1;
            object::set(object, &["metadata", "generation"], generation);
        }
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, _object: &Value) -> ErrorList {
        Vec::new()
    }

    fn validate_update(&self, _ctx: &WriteContext<'_>, _object: &Value, _old: &Value) -> ErrorList {
        Vec::new()
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        api::validate::dns1123_subdomain(&api::validate::meta::mask_trailing_dash(name, prefix))
    }

    fn prepare_deletion(
        &self,
        _ctx: &WriteContext<'_>,
        object: &mut Value,
        grace: Option<i64>,
    ) -> Deletion {
        let seconds = grace
            .or_else(|| object::int_at(object, &["spec", "terminationGracePeriodSeconds"]))
            .unwrap_or(30);
        if self.graceful && seconds > 0 && !object::str_at(object, &["spec", "nodeName"]).is_empty()
        {
            Deletion::Graceful { seconds }
        } else {
            Deletion::Immediate
        }
    }

    fn selectable_fields(&self) -> &[std::borrow::Cow<'static, str>] {
        &self.fields
    }

    fn is_custom(&self) -> bool {
        self.custom
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Row {
        Row { cells: vec![object::name(object).into(), "1s".into()], conditions: Vec::new() }
    }
}

/// A server and its store.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) store: store::SharedStore,
    service: ServerService,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {:?}", self.bytes))
    }

    pub(crate) fn expect(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{:?}", self.bytes);
        self.json()
    }
}

/// Every test kind.
pub(crate) fn kinds() -> Vec<Arc<dyn Resource>> {
    vec![
        Arc::new(TestKind::config_map()),
        Arc::new(TestKind::pod()),
        Arc::new(TestKind::deployment()),
        Arc::new(TestKind::custom()),
    ]
}

/// A server on a new memory store.
pub(crate) fn fixture() -> Fixture {
    fixture_with(|_| {})
}

/// The same, with changed options.
pub(crate) fn fixture_with(change: impl FnOnce(&mut ServerOptions)) -> Fixture {
    fixture_on(store::memory(), change)
}

/// A server on a store that there is.
pub(crate) fn fixture_on(
    store: store::SharedStore,
    change: impl FnOnce(&mut ServerOptions),
) -> Fixture {
    let mut options = ServerOptions::new(store.clone(), kinds());
    options.rng = SharedRng::seeded(7);
    change(&mut options);
    let server = Server::new(options);
    let service = server.client_service(UserInfo::named("tester", &["system:masters"]));
    Fixture { server, store, service }
}

impl Fixture {
    /// Sends a request.
    pub(crate) async fn send(&self, request: Request<Body>) -> axum::response::Response {
        self.service.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(body.into()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { code: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.call(Method::GET, uri, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, uri: &str, body: Value) -> Answer {
        self.call(Method::POST, uri, &[("content-type", "application/json")], body.to_string())
            .await
    }

    pub(crate) async fn put(&self, uri: &str, body: Value) -> Answer {
        self.call(Method::PUT, uri, &[("content-type", "application/json")], body.to_string()).await
    }

    pub(crate) async fn patch(&self, uri: &str, content_type: &str, body: Value) -> Answer {
        self.call(Method::PATCH, uri, &[("content-type", content_type)], body.to_string()).await
    }

    pub(crate) async fn delete(&self, uri: &str, body: Value) -> Answer {
        self.call(Method::DELETE, uri, &[("content-type", "application/json")], body.to_string())
            .await
    }

    /// Starts a watch.
    pub(crate) async fn watch(&self, uri: &str) -> Watch {
        self.watch_as(uri, "application/json").await
    }

    pub(crate) async fn watch_as(&self, uri: &str, accept: &str) -> Watch {
        let request = Request::get(uri).header("accept", accept).body(Body::empty()).unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), 200);
        Watch::of(response)
    }
}

/// A running watch.
pub(crate) struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    /// What a response streams.
    pub(crate) fn of(response: axum::response::Response) -> Self {
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event's type, name and version.
    pub(crate) async fn brief(&mut self) -> (String, String, u64) {
        let event = tokio::time::timeout(std::time::Duration::from_secs(10), self.next())
            .await
            .expect("an event in time")
            .expect("an event");
        let object = &event["object"];
        (
            event["type"].as_str().unwrap().to_owned(),
            object::name(object).to_owned(),
            object::resource_version(object).unwrap_or_default(),
        )
    }
}

/// A config map.
pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}
