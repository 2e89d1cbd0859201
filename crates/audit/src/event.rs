//! An event as a line of JSON: `audit.k8s.io/v1 Event`. Pure.

use std::collections::BTreeMap;

use api::Value;
use api::object;
use apiserver::audit::{AuditEvent, Ended, Level};
use auth::{Target, UserInfo};
use base::clock::rfc3339_micros;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: &'static str,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: &'a UserInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<&'a UserInfo>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[_]>::is_empty")]
    source_ips: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<Value>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

#[derive(Serialize)]
struct Status<'a> {
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    code: u16,
}

/// The event, with a closing line break.
pub(crate) fn line(mut event: AuditEvent) -> Vec<u8> {
    if event.omit_managed_fields {
        for object in [&mut event.request_object, &mut event.response_object].into_iter().flatten()
        {
            drop_managed_fields(object);
        }
    }
    let request_object = event.request_object.take();
    let response_object = event.response_object.take();
    let request = &*event.request;
    let target = &request.attributes.target;
    let event = Event {
        kind: "Event",
        api_version: "audit.k8s.io/v1",
        level: event.level.name(),
        audit_id: &request.id,
        stage: event.stage.name(),
        request_uri: &request.uri,
        verb: match target {
            Target::Resource(target) => &target.verb,
            Target::NonResource(target) => &target.verb,
        },
        user: &request.attributes.user,
        impersonated_user: event.impersonated.as_ref(),
        source_ips: &request.source_ips,
        user_agent: &request.user_agent,
        object_ref: object_ref(target, request_object.as_ref(), event.level),
        response_status: event.ended.as_ref().map(status),
        request_object,
        response_object,
        request_received_timestamp: rfc3339_micros(request.received),
        stage_timestamp: rfc3339_micros(event.at),
        annotations: event.annotations.iter().map(|(key, value)| (&**key, &**value)).collect(),
    };
    let mut line = serde_json::to_vec(&event).expect("an event has no keys that are no text");
    line.push(b'\n');
    line
}

fn status(ended: &Ended) -> Status<'_> {
    let failure = ended.failure.as_ref().map(api::status::ApiError::status);
    Status {
        metadata: BTreeMap::new(),
        status: failure.and_then(|failure| failure.status.as_deref()),
        message: failure.and_then(|failure| failure.message.as_deref()),
        reason: failure.and_then(|failure| failure.reason.as_deref()),
        details: failure
            .and_then(|failure| failure.details.as_ref())
            .and_then(|details| serde_json::to_value(details).ok()),
        code: ended.code,
    }
}

/// What the request is about; what the path does not say, its object does.
fn object_ref(target: &Target, sent: Option<&Value>, level: Level) -> Option<ObjectRef> {
    let Target::Resource(target) = target else { return None };
    let mut found = ObjectRef {
        resource: target.resource.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        api_group: target.group.clone(),
        api_version: target.version.clone(),
        subresource: target.subresource.clone(),
        ..ObjectRef::default()
    };
    if let Some(sent) = sent.filter(|_| level >= Level::Request && target.subresource.is_empty()) {
        for (own, said) in [
            (&mut found.name, object::name(sent)),
            (&mut found.namespace, object::namespace(sent)),
            (&mut found.uid, object::uid(sent)),
            (&mut found.resource_version, object::str_at(sent, &["metadata", "resourceVersion"])),
        ] {
            if own.is_empty() {
                said.clone_into(own);
            }
        }
    }
    Some(found)
}

fn drop_managed_fields(value: &mut Value) {
    object::remove(value, &["metadata", "managedFields"]);
    if let Some(Value::Array(items)) = value.get_mut("items") {
        for item in items {
            object::remove(item, &["metadata", "managedFields"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::status::ApiError;
    use apiserver::audit::{AuditedRequest, Stage};
    use auth::{Attributes, ResourceAttributes};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn an_event_is_upstreams() {
        let target = ResourceAttributes {
            verb: "create".into(),
            version: "v1".into(),
            resource: "pods".into(),
            namespace: "default".into(),
            ..ResourceAttributes::default()
        };
        let request = AuditedRequest {
            id: "abc".into(),
            received: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            uri: "/api/v1/namespaces/default/pods".into(),
            attributes: Attributes {
                user: UserInfo::named("alice", &[]),
                target: Target::Resource(target),
            },
            source_ips: vec!["10.0.0.7".into()],
            user_agent: "kubectl/v1".into(),
        };
        let refused = ApiError::new(403, "Forbidden", "no");
        let event = AuditEvent {
            request: Arc::new(request),
            level: Level::Request,
            stage: Stage::ResponseComplete,
            at: "2026-01-02T03:04:06Z".parse().unwrap(),
            impersonated: None,
            ended: Some(Ended { code: 403, failure: Some(refused) }),
            request_object: Some(json!({"metadata": {"name": "web", "managedFields": [{}]}})),
            response_object: None,
            annotations: vec![("authorization.k8s.io/decision".into(), "forbid".into())],
            omit_managed_fields: true,
        };
        let line = String::from_utf8(line(event)).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"abc","#,
                r#""stage":"ResponseComplete","requestURI":"/api/v1/namespaces/default/pods","verb":"create","#,
                r#""user":{"username":"alice","groups":["system:authenticated"]},"sourceIPs":["10.0.0.7"],"#,
                r#""userAgent":"kubectl/v1","objectRef":{"resource":"pods","namespace":"default","name":"web","apiVersion":"v1"},"#,
                r#""responseStatus":{"metadata":{},"status":"Failure","message":"no","reason":"Forbidden","code":403},"#,
                r#""requestObject":{"metadata":{"name":"web"}},"#,
                r#""requestReceivedTimestamp":"2026-01-02T03:04:05.600000Z","stageTimestamp":"2026-01-02T03:04:06.000000Z","#,
                r#""annotations":{"authorization.k8s.io/decision":"forbid"}}"#,
                "\n"
            )
        );
    }
}
