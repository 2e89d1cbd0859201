//! The chain before the handlers, and what surrounds them: who, as whom, may it, room, time,
//! panics, admission, encryption, kinds that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::Value;
use api::names::GroupResource;
use api::object;
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::audit::{AuditEvent, AuditSink, Level, Stage, Verdict};
use apiserver::authn::{Authenticator, Credentials};
use apiserver::authz::Authorizer;
use apiserver::resource::ObjectApi;
use apiserver::{InFlight, ValueTransformer};
use async_trait::async_trait;
use auth::{Attributes, Decision, Target, UserInfo};
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::json;
use tower::ServiceExt;

use crate::common::{TestKind, config_map, fixture, fixture_with};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Knows the token `good` as alice.
struct Token;

#[async_trait]
impl Authenticator for Token {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok((credentials.bearer_token == Some("good")).then(|| UserInfo::named("alice", &[])))
    }
}

/// Lets alice read, and be bob.
struct Rules;

#[async_trait]
impl Authorizer for Rules {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let Target::Resource(target) = &attributes.target else {
            return Decision::NoOpinion(String::new());
        };
        let fine = match attributes.user.username.as_str() {
            "alice" => {
                matches!(target.verb.as_str(), "get" | "list" | "watch")
                    || (target.verb == "impersonate" && target.name == "bob")
            }
            "bob" => target.verb == "create",
            _ => false,
        };
        if fine { Decision::Allow(String::new()) } else { Decision::NoOpinion(String::new()) }
    }
}

async fn ask(
    server: &apiserver::Server,
    method: Method,
    headers: &[(&str, &str)],
    body: Value,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(MAPS);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = server.service().oneshot(request.body(body).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn who_as_whom_and_whether() {
    let f = fixture_with(|options| {
        options.authenticators.push(Arc::new(Token));
        options.authorizers.push(Arc::new(Rules));
    });
    let get = Method::GET;
    let good = ("authorization", "Bearer good");
    assert_eq!(ask(&f.server, get.clone(), &[good], Value::Null).await.0, 200);
    let bad = ("authorization", "Bearer bad");
    assert_eq!(ask(&f.server, get.clone(), &[bad], Value::Null).await.1["message"], "Unauthorized");
    let (code, anonymous) = ask(&f.server, get, &[], Value::Null).await;
    assert_eq!(code, 403);
    assert_eq!(
        anonymous["message"],
        r#"configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the namespace "default""#
    );
    let post = Method::POST;
    assert_eq!(ask(&f.server, post.clone(), &[good], config_map("a")).await.0, 403);
    let bob = ("impersonate-user", "bob");
    assert_eq!(ask(&f.server, post.clone(), &[good, bob], config_map("a")).await.0, 201);
    let (code, refused) =
        ask(&f.server, post, &[good, ("impersonate-user", "root")], config_map("b")).await;
    assert_eq!(code, 403);
    assert_eq!(
        refused["message"],
        r#"configmaps is forbidden: User "alice" cannot impersonate-on:user-info:create resource "configmaps" in API group "" in the namespace "default""#
    );
}

/// Labels what is created, refuses deletions of what is called `keep`, panics at `boom`.
struct Plugin;

#[async_trait]
impl AdmissionPlugin for Plugin {
    fn name(&self) -> &'static str {
        "Test"
    }

    fn handles(&self, _request: &AdmissionRequest<'_>) -> bool {
        true
    }

    async fn admit(
        &self,
        _api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        assert!(request.name != "boom", "boom");
        if let (Operation::Create, Some(object)) =
            (request.operation, request.object.as_deref_mut())
        {
            object::set(object, &["metadata", "labels", "admitted"], "yes");
            request.warnings.push("look out".to_owned());
        }
        Ok(())
    }

    async fn validate(
        &self,
        _api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        if request.operation == Operation::Delete && request.name == "keep" {
            request.warnings.push("still wanted".to_owned());
            return Err(ApiError::forbidden(&request.resource, request.name, "it is kept"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn admission_changes_refuses_and_may_panic() {
    let f = fixture_with(|options| options.admission.push(Arc::new(Plugin)));
    let made = f.post(MAPS, config_map("keep")).await;
    assert_eq!(made.headers["warning"], "299 - \"look out\"");
    assert_eq!(made.expect(201)["metadata"]["labels"]["admitted"], "yes");
    let refused = f.delete(&format!("{MAPS}/keep"), json!({})).await;
    assert_eq!(refused.headers["warning"], "299 - \"still wanted\"");
    let refused = refused.expect(403);
    assert_eq!(refused["message"], "configmaps \"keep\" is forbidden: it is kept");
    let broken = f.post(MAPS, config_map("boom")).await;
    let text = "This request caused apiserver to panic. Look in the logs for details\n";
    assert_eq!((broken.code, &broken.bytes[..]), (500, text.as_bytes()));
    f.get(&format!("{MAPS}/keep")).await.expect(200);
    // The server's own writes pass by.
    let api = f.server.object_api();
    let maps = GroupResource::new("", "configmaps");
    let mut own = config_map("own");
    own["metadata"]["namespace"] = "default".into();
    let own = api.create(&maps, own, false).await.unwrap();
    assert!(object::label(&own, "admitted").is_none());
    let found = api.get(&maps, "default", "own").await.unwrap();
    assert_eq!(*found, own);
    let change = |object: &mut Value| {
        object["data"]["a"] = "changed".into();
        Ok(())
    };
    let changed = api.modify(&maps, None, "default", "own", false, &change).await.unwrap();
    assert_eq!(changed["data"]["a"], "changed");
    api.delete(&maps, "default", "own", &json!({}), false).await.unwrap();
    assert_eq!(api.get(&maps, "default", "own").await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn too_many_requests_are_told_to_come_back() {
    let f = fixture_with(|options| options.flow = Arc::new(InFlight::new(0, 0)));
    let request = Request::builder().uri(MAPS).body(Body::empty()).unwrap();
    let refused = f.server.service().oneshot(request).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    let text = refused.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&text[..], b"Too many requests, please try again later.\n");
    // Masters pass.
    f.get(MAPS).await.expect(200);
}

/// Never answers.
struct Stuck;

#[async_trait]
impl Authorizer for Stuck {
    async fn authorize(&self, _attributes: &Attributes) -> Decision {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered() {
    let f = fixture_with(|options| options.authorizers.push(Arc::new(Stuck)));
    let started = tokio::time::Instant::now();
    let late = f.get(&format!("{MAPS}?timeout=5s")).await.expect(504);
    assert_eq!(late["reason"], "Timeout");
    assert_eq!(started.elapsed().as_secs(), 5);
    f.get(MAPS).await.expect(504);
    assert_eq!(started.elapsed().as_secs(), 65);
    let bad = f.get(&format!("{MAPS}?timeout=5x")).await.expect(400);
    assert_eq!(
        bad["message"],
        "invalid timeout specified in the request URL - time: unknown unit \"x\" in duration \"5x\""
    );
}

/// Turns every byte round.
#[derive(Default)]
struct Flip(AtomicUsize);

impl Flip {
    fn flip(&self, bytes: &Bytes) -> ApiResult<Bytes> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.iter().map(|byte| !byte).collect::<Vec<u8>>().into())
    }
}

impl ValueTransformer for Flip {
    fn encrypt(&self, _key: &str, plain: Bytes) -> ApiResult<Bytes> {
        self.flip(&plain)
    }

    fn decrypt(&self, _key: &str, stored: Bytes) -> ApiResult<Bytes> {
        self.flip(&stored)
    }
}

#[tokio::test]
async fn what_is_stored_may_be_encrypted() {
    let f = fixture_with(|options| options.transformer = Arc::new(Flip::default()));
    let made = f.post(MAPS, config_map("a")).await.expect(201);
    let (stored, _) = f.store.get("/registry/configmaps/default/a").await.unwrap();
    assert_eq!(stored.unwrap().value[0], !b'{');
    assert_eq!(f.get(&format!("{MAPS}/a")).await.expect(200), made);
    assert_eq!(f.get(MAPS).await.expect(200)["items"][0]["metadata"], made["metadata"]);
    let second = crate::common::fixture_on(f.store.clone(), |options| {
        options.transformer = Arc::new(Flip::default());
    });
    assert_eq!(second.get(MAPS).await.expect(200)["items"][0]["metadata"], made["metadata"]);
}

#[tokio::test]
async fn kinds_come_and_go() {
    let f = fixture();
    let uri = "/apis/new.example.com/v1/namespaces/default/gadgets";
    assert_eq!(f.get(uri).await.code, 404);
    let kind = || {
        let mut kind = TestKind::new("new.example.com", "Gadget", "gadgets");
        kind.become_custom();
        Arc::new(kind)
    };
    f.server.add_resource(kind()).await;
    let gadget =
        json!({"apiVersion": "new.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}});
    f.post(uri, gadget).await.expect(201);
    let list = f.get(uri).await.expect(200);
    assert_eq!(list["items"][0]["kind"], "Gadget");
    let groups = f.get("/apis").await.expect(200);
    assert!(groups.to_string().contains("new.example.com"));
    // Replaced by a newer form of itself: the objects stay, the watches end.
    let mut watch = f.watch(&format!("{uri}?watch=1")).await;
    watch.brief().await;
    f.server.add_resource(kind()).await;
    assert!(watch.next().await.is_none());
    f.get(&format!("{uri}/g")).await.expect(200);
    f.server.remove_resource(&GroupResource::new("new.example.com", "gadgets")).await;
    assert_eq!(f.get(uri).await.code, 404);
    assert!(!f.get("/apis").await.expect(200).to_string().contains("new.example.com"));
}

/// Wants everything, and remembers it.
#[derive(Default)]
struct Sink(Mutex<Vec<AuditEvent>>);

impl AuditSink for Sink {
    fn verdict(&self, _attributes: &Attributes) -> Verdict {
        let omits = [true, false, false, false];
        Verdict { level: Level::RequestResponse, omits, omit_managed_fields: false }
    }

    fn record(&self, event: AuditEvent) {
        self.0.lock().push(event);
    }
}

impl Sink {
    fn take(&self) -> Vec<AuditEvent> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[tokio::test]
async fn requests_are_audited_with_what_was_sent_and_answered() {
    let sink = Arc::new(Sink::default());
    let own = sink.clone();
    let f = fixture_with(|options| {
        options.audit = Some(own);
        options.authenticators.push(Arc::new(Token));
        options.authorizers.push(Arc::new(Rules));
        options.admission.push(Arc::new(Plugin));
    });
    let (good, bob) = (("authorization", "Bearer good"), ("impersonate-user", "bob"));
    let id = ("audit-id", "from-the-client");
    let post = Method::POST;
    assert_eq!(ask(&f.server, post.clone(), &[good, bob, id], config_map("a")).await.0, 201);
    let event = sink.take().remove(0);
    assert_eq!(event.request.id, "from-the-client");
    assert_eq!((event.stage, event.request.uri.as_str()), (Stage::ResponseComplete, MAPS));
    assert_eq!(event.request.attributes.user.username, "alice");
    assert_eq!(event.impersonated.unwrap().username, "bob");
    assert_eq!(event.ended.unwrap().code, 201);
    assert_eq!(object::name(&event.request_object.unwrap()), "a");
    assert_eq!(object::label(&event.response_object.unwrap(), "admitted"), Some("yes"));
    let decision = ("authorization.k8s.io/decision".to_owned(), "allow".to_owned());
    assert!(event.annotations.contains(&decision), "{:?}", event.annotations);

    assert_eq!(ask(&f.server, post.clone(), &[good], config_map("b")).await.0, 403);
    let event = sink.take().remove(0);
    let failure = event.ended.unwrap().failure.unwrap();
    assert_eq!((failure.code(), failure.reason()), (403, "Forbidden"));
    assert_eq!(event.annotations[0].1, "forbid");

    let bad = [("authorization", "Bearer bad")];
    assert_eq!(ask(&f.server, Method::GET, &bad, Value::Null).await.0, 401);
    let event = sink.take().remove(0);
    assert_eq!((event.stage, event.ended.unwrap().code), (Stage::ResponseStarted, 401));

    let request = Request::builder().method(post).uri(MAPS).header(good.0, good.1);
    let request = request.header(bob.0, bob.1).body(config_map("boom").to_string()).unwrap();
    assert_eq!(f.server.service().oneshot(request).await.unwrap().status(), 500);
    assert_eq!(sink.take().remove(0).stage, Stage::Panic);
}

#[tokio::test]
async fn a_watch_is_audited_when_it_begins_and_when_it_ends() {
    let sink = Arc::new(Sink::default());
    let own = sink.clone();
    let f = fixture_with(|options| options.audit = Some(own));
    let gauge = r#"apiserver_longrunning_requests{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"} "#;
    let metrics = |text: Bytes| String::from_utf8(text.to_vec()).unwrap();
    let watch = f.watch(&format!("{MAPS}?watch=1")).await;
    let begun = sink.take().remove(0);
    assert_eq!((begun.stage, begun.request_object), (Stage::ResponseStarted, None));
    let text = metrics(f.get("/metrics").await.bytes);
    assert!(text.contains(&format!("{gauge}1\n")), "{text}");
    sink.take();
    drop(watch);
    assert_eq!(sink.take().remove(0).stage, Stage::ResponseComplete);
    let text = metrics(f.get("/metrics").await.bytes);
    assert!(text.contains(&format!("{gauge}0\n")), "{text}");
}

#[tokio::test]
async fn requests_are_counted_under_upstreams_names() {
    let f = fixture_with(|options| options.admission.push(Arc::new(Plugin)));
    f.post(MAPS, config_map("a")).await.expect(201);
    f.get(&format!("{MAPS}/a")).await.expect(200);
    f.get("/api/v1/namespaces/default/nothings").await.expect(404);
    let metrics = f.get("/metrics").await;
    let text = std::str::from_utf8(&metrics.bytes).unwrap();
    for line in [
        r#"apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1"#,
        r#"apiserver_request_duration_seconds_count{component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1"} 1"#,
        r#"apiserver_response_sizes_bucket{component="apiserver",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1",le="1000"} 1"#,
        r#"apiserver_current_inflight_requests{request_kind="readOnly"} 1"#,
        r#"apiserver_admission_controller_admission_duration_seconds_count{name="Test",operation="CREATE",rejected="false",type="admit"} 1"#,
        r#"apiserver_storage_objects{resource="configmaps"} 1"#,
        r#"etcd_request_duration_seconds_count{group="",operation="create",resource="configmaps"} 1"#,
        r#"authorization_attempts_total{result="allowed"} 4"#,
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
    assert!(!text.contains("nothings"));
    // Every family has its type before its samples.
    let mut typed = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().unwrap()), "twice: {rest}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let of = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = typed.contains(name) || of.is_some_and(|base| typed.contains(base));
            assert!(known, "no type: {line}");
        }
    }
}

/// OpenAPI of nothing, counted.
#[derive(Default)]
struct Documents(AtomicUsize);

impl apiserver::OpenApiSource for Documents {
    fn v2(&self, _resources: &[Arc<dyn apiserver::resource::Resource>]) -> Bytes {
        self.0.fetch_add(1, Ordering::Relaxed);
        Bytes::from_static(b"{\"swagger\":\"2.0\"}")
    }

    fn v3_paths(&self, _resources: &[Arc<dyn apiserver::resource::Resource>]) -> Vec<String> {
        vec!["api/v1".to_owned()]
    }

    fn v3(
        &self,
        _resources: &[Arc<dyn apiserver::resource::Resource>],
        path: &str,
    ) -> Option<Bytes> {
        (path == "api/v1").then(|| Bytes::from_static(b"{\"openapi\":\"3.0.0\"}"))
    }
}

#[tokio::test]
async fn openapi_is_mounted_with_its_tags() {
    let source = Arc::new(Documents::default());
    let own = source.clone();
    let f = fixture_with(|options| options.openapi = Some(own));
    let v2 = f.get("/openapi/v2").await;
    let tag = v2.headers["etag"].to_str().unwrap();
    let known = [("if-none-match", tag)];
    assert_eq!(f.call(Method::GET, "/openapi/v2", &known, "").await.code, 304);
    assert_eq!(source.0.load(Ordering::Relaxed), 1);
    let index = f.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = f.get(&url).await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert_eq!(document.expect(200)["openapi"], "3.0.0");
    assert_eq!(f.get("/openapi/v3/apis/nope").await.code, 404);
}
