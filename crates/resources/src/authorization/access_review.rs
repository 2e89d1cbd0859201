//! SubjectAccessReview and its two siblings: whether somebody may do something.
//!
//! The three differ in whom they ask about: anybody, anybody in one namespace, the caller.

use std::sync::Arc;

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, list_at, namespace as namespace_of, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::authz::Authorizer;
use apiserver::resource::{ObjectApi, Resource, VirtualResource};
use async_trait::async_trait;
use auth::{Attributes, Decision, NonResource, ResourceAttributes, SelectorRequirement, UserInfo};
use serde_json::json;

use crate::deps::Deps;
use crate::kind::Kind;

const GROUP: &str = "authorization.k8s.io";

/// Whom a review asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Anybody,
    AnybodyHere,
    Myself,
}

/// SubjectAccessReview.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    review(deps, "subjectaccessreviews", About::Anybody)
}

/// LocalSubjectAccessReview.
#[must_use]
pub fn local_kind(deps: &Deps) -> Arc<dyn Resource> {
    review(deps, "localsubjectaccessreviews", About::AnybodyHere)
}

/// SelfSubjectAccessReview.
#[must_use]
pub fn self_kind(deps: &Deps) -> Arc<dyn Resource> {
    review(deps, "selfsubjectaccessreviews", About::Myself)
}

fn review(deps: &Deps, plural: &str, about: About) -> Arc<dyn Resource> {
    let reviewer = Reviewer { authorizer: Arc::clone(&deps.authorizer), about };
    Kind::of(GROUP, plural).answered(reviewer).plain()
}

struct Reviewer {
    authorizer: Arc<dyn Authorizer>,
    about: About,
}

impl About {
    fn check(self, review: &Value, namespace: &str) -> ApiResult<()> {
        let mut errors = ErrorList::new();
        let spec = Path::new("spec");
        let resource = at(review, &["spec", "resourceAttributes"]);
        let other = at(review, &["spec", "nonResourceAttributes"]);
        match (resource, other) {
            (Some(_), Some(other)) => errors.push(FieldError::invalid(
                spec.child("nonResourceAttributes"),
                by_go_names(other),
                "cannot be specified in combination with resourceAttributes",
            )),
            (None, None) => errors.push(FieldError::invalid(
                spec.child("resourceAttributes"),
                Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )),
            _ => {}
        }
        let nobody = str_at(review, &["spec", "user"]).is_empty()
            && list_at(review, &["spec", "groups"]).is_empty();
        if self != Self::Myself && nobody {
            let text = "at least one of user or group must be specified";
            errors.push(FieldError::invalid(spec.child("user"), "", text));
        }
        if let Some(resource) = resource {
            selector_errors(resource, "fieldSelector", &mut errors);
            selector_errors(resource, "labelSelector", &mut errors);
        }
        if self == Self::AnybodyHere {
            if let Some(resource) = resource
                && str_at(resource, &["namespace"]) != namespace
            {
                let path = Path::new("spec.resourceAttributes.namespace");
                let own = str_at(resource, &["namespace"]);
                errors.push(FieldError::invalid(path, own, "must match metadata.namespace"));
            }
            if let Some(other) = other {
                let path = Path::new("spec.nonResourceAttributes");
                let text = "disallowed on this kind of request";
                errors.push(FieldError::invalid(path, by_go_names(other), text));
            }
        }
        // Upstream's answer does not name the kind.
        ApiError::check(GROUP, "", "", &errors)
    }
}

/// Attributes as upstream's own struct, which has no other names.
fn by_go_names(attributes: &Value) -> Value {
    json!({"Path": str_at(attributes, &["path"]), "Verb": str_at(attributes, &["verb"])})
}

/// Why a selector of a review is not looked at.
fn unread_selectors(review: &Value) -> Option<String> {
    let resource = at(review, &["spec", "resourceAttributes"])?;
    let is_unread = |which: &str| {
        let selector = at(resource, &[which])?;
        let raw = str_at(selector, &["rawSelector"]);
        let known = ["In", "NotIn", "Exists", "DoesNotExist"];
        let mut given = list_at(selector, &["requirements"]).iter();
        let wrong = given.any(|one| !known.contains(&str_at(one, &["operator"])))
            || which == "labelSelector" && api::selector::LabelSelector::parse(raw).is_err();
        wrong.then(|| format!("spec.resourceAttributes.{which} ignored due to parse error"))
    };
    let found: Vec<String> =
        ["fieldSelector", "labelSelector"].into_iter().filter_map(is_unread).collect();
    match found.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

fn subject(review: &Value) -> UserInfo {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let extra = at(review, &["spec", "extra"]).and_then(Value::as_object);
    UserInfo {
        username: str_at(review, &["spec", "user"]).to_owned(),
        uid: str_at(review, &["spec", "uid"]).to_owned(),
        groups: at(review, &["spec", "groups"]).map(texts).unwrap_or_default(),
        extra: extra
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.to_lowercase(), texts(values)))
            .collect(),
    }
}

fn target(review: &Value) -> auth::Target {
    if let Some(resource) = at(review, &["spec", "resourceAttributes"]) {
        let text = |field: &str| str_at(resource, &[field]).to_owned();
        return auth::Target::Resource(ResourceAttributes {
            verb: text("verb"),
            group: text("group"),
            version: text("version"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
            field_selector: requirements(resource, "fieldSelector"),
            label_selector: requirements(resource, "labelSelector"),
        });
    }
    let text = |field: &str| str_at(review, &["spec", "nonResourceAttributes", field]).to_owned();
    auth::Target::NonResource(NonResource { verb: text("verb"), path: text("path") })
}

fn selector_errors(resource: &Value, which: &str, errors: &mut ErrorList) {
    let Some(selector) = at(resource, &[which]) else { return };
    let path = Path::new("spec").child("resourceAttributes").child(which);
    let raw = str_at(selector, &["rawSelector"]);
    let given = !list_at(selector, &["requirements"]).is_empty();
    if !raw.is_empty() && given {
        let text = "may not specified at the same time as requirements";
        errors.push(FieldError::invalid(path.child("rawSelector"), raw, text));
    } else if raw.is_empty() && !given {
        let text = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(FieldError::required(path.child("requirements"), text));
    }
}

/// What a selector of a review requires.
fn requirements(resource: &Value, which: &str) -> Vec<SelectorRequirement> {
    let Some(selector) = at(resource, &[which]) else { return Vec::new() };
    let raw = str_at(selector, &["rawSelector"]);
    if !raw.is_empty() {
        return if which == "fieldSelector" {
            SelectorRequirement::of_fields(raw)
        } else {
            SelectorRequirement::of_labels(raw)
        };
    }
    let given = list_at(selector, &["requirements"]).iter();
    given
        .map(|one| SelectorRequirement {
            key: str_at(one, &["key"]).to_owned(),
            operator: str_at(one, &["operator"]).to_owned(),
            values: list_at(one, &["values"])
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
        })
        .collect()
}

#[async_trait]
impl VirtualResource for Reviewer {
    async fn create(
        &self,
        _api: &dyn ObjectApi,
        user: &UserInfo,
        namespace: &str,
        mut review: Value,
    ) -> ApiResult<Value> {
        if self.about == About::AnybodyHere {
            let own = namespace_of(&review);
            if !own.is_empty() && own != namespace {
                let text =
                    format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
                return Err(ApiError::bad_request(text));
            }
            api::object::set(&mut review, &["metadata", "namespace"], namespace);
        }
        self.about.check(&review, namespace)?;
        let asked = if self.about == About::Myself { user.clone() } else { subject(&review) };
        let attributes = Attributes { user: asked, target: target(&review) };
        let (allowed, denied, reason) = match self.authorizer.authorize(&attributes).await {
            Decision::Allow(reason) => (true, false, reason),
            Decision::Deny(reason) => (false, true, reason),
            Decision::NoOpinion(reason) => (false, false, reason),
        };
        let mut status = json!({ "allowed": allowed });
        if denied {
            status["denied"] = true.into();
        }
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        if let Some(why) = unread_selectors(&review) {
            status["evaluationError"] = why.into();
        }
        review["status"] = status;
        Ok(review)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_that_cannot_be_read_are_told() {
        let review =
            |selector: Value| json!({"spec": {"resourceAttributes": {"labelSelector": selector}}});
        let said = unread_selectors(&review(json!({"rawSelector": "a in ("})));
        let text = "spec.resourceAttributes.labelSelector ignored due to parse error";
        assert_eq!(said.as_deref(), Some(text));
        assert_eq!(unread_selectors(&review(json!({"rawSelector": "a in (b)"}))), None);
    }

    fn check(about: About, spec: Value, expected: &str) {
        let error = about.check(&json!({ "spec": spec }), "ns").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn what_a_review_must_say() {
        check(
            About::Anybody,
            json!({"user": "a"}),
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        );
        check(
            About::Anybody,
            json!({"resourceAttributes": {}}),
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        );
        check(
            About::AnybodyHere,
            json!({"user": "a", "resourceAttributes": {"namespace": "other"}}),
            "spec.resourceAttributes.namespace: Invalid value: \"other\": must match metadata.namespace",
        );
        assert!(About::Myself.check(&json!({"spec": {"resourceAttributes": {}}}), "").is_ok());
    }
}
