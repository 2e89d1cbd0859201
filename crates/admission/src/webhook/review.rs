//! `AdmissionReview`: what a webhook is told, and what its answer must look like.

use api::Value;
use api::object::{api_version, kind, list_at, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionRequest, Operation, ServedKind};
use base64::Engine as _;
use serde_json::{Map, json};

use crate::matching::{namespace, object_name, operation_name, own_kind};

const GROUP: &str = "admission.k8s.io";

/// The objects of a request in the version in which it is meant.
pub(crate) struct Objects {
    pub(crate) object: Value,
    pub(crate) old: Value,
}

impl Objects {
    /// Brings both into a version.
    pub(crate) async fn of(request: &AdmissionRequest<'_>, as_: &ServedKind) -> ApiResult<Self> {
        let object = shown(request, request.object.as_deref(), as_).await?;
        let old = shown(request, request.old, as_).await?;
        Ok(Self { object, old })
    }
}

async fn shown(
    request: &AdmissionRequest<'_>,
    object: Option<&Value>,
    as_: &ServedKind,
) -> ApiResult<Value> {
    match object {
        None => Ok(Value::Null),
        Some(object) if request.is_whole => request.kinds.show(object, as_).await,
        Some(object) => Ok(object.clone()),
    }
}

/// What a webhook is told.
pub(super) fn review(
    request: &AdmissionRequest<'_>,
    as_: &ServedKind,
    objects: &Objects,
    uid: &str,
    version: &str,
) -> Value {
    let mut told = told(request, as_);
    told.insert("uid".to_owned(), uid.into());
    told.insert("object".to_owned(), objects.object.clone());
    told.insert("oldObject".to_owned(), objects.old.clone());
    json!({
        "kind": "AdmissionReview",
        "apiVersion": format!("{GROUP}/{version}"),
        "request": told,
    })
}

/// `AdmissionRequest` but for its uid and objects: what webhooks and expressions see alike.
pub(crate) fn told(request: &AdmissionRequest<'_>, as_: &ServedKind) -> Map<String, Value> {
    let mut told = Map::new();
    let own = own_kind(request);
    for (kind_field, resource_field, subresource_field, served) in [
        ("kind", "resource", "subResource", as_),
        ("requestKind", "requestResource", "requestSubResource", &own),
    ] {
        told.insert(kind_field.to_owned(), kind_of(served));
        told.insert(resource_field.to_owned(), resource_of(served));
        if let Some(subresource) = request.subresource {
            told.insert(subresource_field.to_owned(), subresource.into());
        }
    }
    for (field, text) in [("name", object_name(request)), ("namespace", namespace(request))] {
        if !text.is_empty() {
            told.insert(field.to_owned(), text.into());
        }
    }
    told.insert("operation".to_owned(), operation_name(request.operation).into());
    let user = serde_json::to_value(request.user).unwrap_or_default();
    told.insert("userInfo".to_owned(), user);
    told.insert("dryRun".to_owned(), request.dry_run.into());
    told.insert("options".to_owned(), options(request));
    told
}

fn kind_of(served: &ServedKind) -> Value {
    let kind = &served.kind;
    json!({ "group": &*kind.group, "version": &*kind.version, "kind": &*kind.kind })
}

fn resource_of(served: &ServedKind) -> Value {
    let resource = &served.resource;
    json!({
        "group": &*resource.group,
        "version": &*served.version,
        "resource": &*resource.resource,
    })
}

fn options(request: &AdmissionRequest<'_>) -> Value {
    match request.operation {
        Operation::Connect => Value::Null,
        _ => request.options.clone(),
    }
}

/// What a webhook answered, checked.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Response {
    pub(super) allowed: bool,
    /// A JSON patch; empty for none.
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    /// The `Status` of a refusal.
    pub(super) result: Value,
    pub(super) warnings: Vec<String>,
    pub(super) audit: Vec<(String, String)>,
}

/// Reads an answer. Texts are upstream's (`plugin/webhook/request/admissionreview.go`).
pub(super) fn response(
    answer: &Value,
    uid: &str,
    version: &str,
    mutating: bool,
) -> Result<Response, String> {
    let expected = format!("{GROUP}/{version}");
    let response = match &answer["response"] {
        response @ Value::Object(_) => response,
        _ => return Err("webhook response was absent".to_owned()),
    };
    let given = str_at(response, &["uid"]);
    // v1beta1 was lax: a webhook needed to say neither uid nor version nor type of patch.
    let is_lax = version == "v1beta1";
    if given != uid && !is_lax {
        return Err(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let (own_version, own_kind) = (api_version(answer), kind(answer));
    let unsaid = is_lax && own_version.is_empty() && own_kind.is_empty();
    if (own_version != expected || own_kind != "AdmissionReview") && !unsaid {
        return Err(format!(
            "expected webhook response of {expected}, Kind=AdmissionReview, got {own_version}, Kind={own_kind}"
        ));
    }
    let patch = base64::engine::general_purpose::STANDARD
        .decode(str_at(response, &["patch"]))
        .map_err(|error| format!("response.patch is no base64: {error}"))?;
    let mut patch_type = response["patchType"].as_str().map(str::to_owned);
    if is_lax {
        patch_type = (!patch.is_empty()).then(|| "JSONPatch".to_owned());
    } else {
        check_patch(&patch, patch_type.as_deref(), mutating)?;
    }
    let texts =
        |list: &[Value]| list.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect();
    let audit = response["auditAnnotations"].as_object().into_iter().flatten();
    Ok(Response {
        allowed: response["allowed"].as_bool().unwrap_or(false),
        patch,
        patch_type: patch_type.unwrap_or_default(),
        result: response["status"].clone(),
        warnings: texts(list_at(response, &["warnings"])),
        audit: audit
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}

fn check_patch(patch: &[u8], patch_type: Option<&str>, mutating: bool) -> Result<(), String> {
    let text = match (patch.is_empty(), patch_type) {
        (false, _) if !mutating => "validating webhook may not return response.patch",
        (_, Some(_)) if !mutating => "validating webhook may not return response.patchType",
        (false, None) => "webhook returned response.patch but not response.patchType",
        (true, Some(_)) => "webhook returned response.patchType but not response.patch",
        (false, Some("")) => "webhook returned invalid response.patchType of \"\"",
        _ => return Ok(()),
    };
    Err(text.to_owned())
}

/// A refusal with the webhook's own code and reason. (apiserver `plugin/webhook/errors`)
pub(super) fn denial(name: &str, result: &Value) -> ApiError {
    let mut status: api::status::Status =
        serde_json::from_value(result.clone()).unwrap_or_default();
    if status.code.unwrap_or_default() < 400 {
        status.code = Some(400);
    }
    if matches!(status.status.as_deref(), None | Some("" | "Success")) {
        status.status = Some("Failure".to_owned());
    }
    let denied = format!("admission webhook {name:?} denied the request");
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let why = filled(&status.message).or_else(|| filled(&status.reason));
    status.message = Some(match why {
        Some(why) => format!("{denied}: {why}"),
        None => format!("{denied} without explanation"),
    });
    ApiError::from_status(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: Value, mutating: bool, expected: Result<(), &str>) {
        let got = response(&answer, "u", "v1", mutating);
        assert_eq!(got.map(drop), expected.map_err(str::to_owned), "{answer}");
    }

    fn answer(response: Value) -> Value {
        let mut response = response;
        response["uid"] = "u".into();
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn answers_are_checked() {
        check(answer(json!({"allowed": true})), true, Ok(()));
        check(json!({}), true, Err("webhook response was absent"));
        let mut other = answer(json!({}));
        other["response"]["uid"] = "v".into();
        check(other, true, Err("expected response.uid=\"u\", got \"v\""));
        let mut other = answer(json!({}));
        other["apiVersion"] = "admission.k8s.io/v2".into();
        check(
            other,
            true,
            Err(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v2, Kind=AdmissionReview",
            ),
        );
        let patched = json!({"patch": "W10="});
        let text = "webhook returned response.patch but not response.patchType";
        check(answer(patched.clone()), true, Err(text));
        check(answer(patched), false, Err("validating webhook may not return response.patch"));
        let typed = answer(json!({"patchType": "JSONPatch"}));
        let text = "webhook returned response.patchType but not response.patch";
        check(typed.clone(), true, Err(text));
        check(typed, false, Err("validating webhook may not return response.patchType"));
    }

    #[test]
    fn a_refusal_carries_the_webhooks_own_words() {
        for (result, code, reason, expected) in [
            (json!(null), 400, "", "without explanation"),
            (json!({"message": "no"}), 400, "", ": no"),
            (json!({"reason": "Because"}), 400, "Because", ": Because"),
            (
                json!({"message": "no", "code": 403, "reason": "Forbidden"}),
                403,
                "Forbidden",
                ": no",
            ),
            (json!({"message": "no", "code": 200, "status": "Success"}), 400, "", ": no"),
        ] {
            let error = denial("a.b.c", &result);
            assert_eq!((error.code(), error.reason()), (code, reason));
            let start = "admission webhook \"a.b.c\" denied the request";
            assert_eq!(error.to_string().replace(start, "").trim(), expected);
            assert_eq!(error.status().status.as_deref(), Some("Failure"));
        }
    }
}
