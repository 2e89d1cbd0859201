//! `ConversionReview`: the question, the answer, and what an answer may not change.
//! (apiextensions-apiserver `pkg/apiserver/conversion/webhook_converter.go`)

use std::time::Duration;

use ::webhook::{Caller, ClientConfig};
use api::Value;
use api::object::{self, at, list_at, str_at};
use serde_json::json;

/// How long a webhook may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
const GROUP: &str = "apiextensions.k8s.io";

/// What is asked.
pub(super) struct Asked<'a> {
    /// `spec.conversion.webhook`.
    pub(super) config: &'a Value,
    /// At least one object, none of them in the wanted version.
    pub(super) objects: &'a [&'a Value],
    /// The `apiVersion` that is wanted.
    pub(super) wanted: &'a str,
    pub(super) uid: &'a str,
}

impl Asked<'_> {
    /// The kind as upstream's errors name it.
    fn gvk(&self) -> String {
        let first = self.objects[0];
        format!("{}, Kind={}", object::api_version(first), object::kind(first))
    }
}

/// Asks; the objects come in the order in which they were given.
pub(super) async fn ask(caller: &Caller, asked: &Asked<'_>) -> Result<Vec<Value>, String> {
    let failed = |why: String| format!("conversion webhook for {} failed: {why}", asked.gvk());
    let version = review_version(asked.config)?;
    let review = json!({
        "kind": "ConversionReview",
        "apiVersion": format!("{GROUP}/{version}"),
        "request": {
            "uid": asked.uid,
            "desiredAPIVersion": asked.wanted,
            "objects": asked.objects,
        },
    });
    let config = ClientConfig::of(&asked.config["clientConfig"])
        .map_err(|error| failed(error.to_string()))?;
    let answer = caller
        .call(&config, &review, TIME_LIMIT)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let converted = read(answer, version, asked.uid).map_err(failed)?;
    if converted.len() != asked.objects.len() {
        return Err(format!(
            "conversion webhook for {} returned {} objects, expected {}",
            asked.gvk(),
            converted.len(),
            asked.objects.len()
        ));
    }
    let pairs = asked.objects.iter().zip(converted).enumerate();
    pairs.map(|(index, (given, made))| checked(asked, index, given, made)).collect()
}

/// The first of the webhook's versions that is known here.
fn review_version(config: &Value) -> Result<&'static str, String> {
    let known = |version: &Value| match version.as_str() {
        Some("v1") => Some("v1"),
        Some("v1beta1") => Some("v1beta1"),
        _ => None,
    };
    list_at(config, &["conversionReviewVersions"])
        .iter()
        .find_map(known)
        .ok_or_else(|| "no supported conversion review versions".to_owned())
}

fn read(mut answer: Value, version: &str, uid: &str) -> Result<Vec<Value>, String> {
    if version == "v1" {
        let (found, kind) = (object::api_version(&answer), object::kind(&answer));
        if (found, kind) != (&format!("{GROUP}/v1"), "ConversionReview") {
            return Err(format!(
                "expected webhook response of {GROUP}/v1, Kind=ConversionReview, got {found}, Kind={kind}"
            ));
        }
    }
    if at(&answer, &["response"]).is_none() {
        return Err("no response provided".to_owned());
    }
    let given = str_at(&answer, &["response", "uid"]);
    if version == "v1" && given != uid {
        return Err(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let status = str_at(&answer, &["response", "result", "status"]);
    if status != "Success" {
        let message = str_at(&answer, &["response", "result", "message"]);
        return Err(if message.is_empty() {
            format!("response.result.status was '{status}', not 'Success'")
        } else {
            message.to_owned()
        });
    }
    match answer["response"]["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// A converted object with the metadata that a webhook may not change.
fn checked(
    asked: &Asked<'_>,
    index: usize,
    given: &Value,
    mut made: Value,
) -> Result<Value, String> {
    let gvk = asked.gvk();
    let invalid = |why: String| {
        format!(
            "conversion webhook for {gvk} returned invalid converted object at index {index}: {why}"
        )
    };
    let (wanted, found) = (asked.wanted, object::api_version(&made));
    if found != wanted {
        let why = format!("invalid groupVersion (expected {wanted}, received {found})");
        return Err(invalid(why));
    }
    let (wanted, found) = (object::kind(given), object::kind(&made));
    if found != wanted {
        return Err(invalid(format!("invalid kind (expected {wanted}, received {found})")));
    }
    for (what, field) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        let path = ["metadata", field];
        let (wanted, found) = (str_at(given, &path), str_at(&made, &path));
        if wanted != found {
            return Err(invalid(format!("must have the same {what}: {wanted} != {found}")));
        }
    }
    let mut metadata = given["metadata"].clone();
    for field in ["labels", "annotations"] {
        match at(&made, &["metadata", field]) {
            Some(own) if !own.is_object() => {
                return Err(format!(
                    "conversion webhook for {gvk} returned invalid metadata in object at index {index}: metadata.{field} must be a map of strings"
                ));
            }
            Some(own) => metadata[field] = own.clone(),
            None => drop(object::remove(&mut metadata, &[field])),
        }
    }
    made["metadata"] = metadata;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(objects: &'a [&'a Value], config: &'a Value) -> Asked<'a> {
        Asked { config, objects, wanted: "g.io/v2", uid: "u" }
    }

    #[test]
    fn what_a_webhook_may_not_change() {
        let given = json!({"apiVersion": "g.io/v1", "kind": "K",
            "metadata": {"name": "a", "uid": "1", "labels": {"x": "y"}, "generation": 3}});
        let (objects, config) = ([&given], json!({}));
        let check = |made: Value| checked(&asked(&objects, &config), 0, &given, made);
        let made = check(json!({"apiVersion": "g.io/v2", "kind": "K", "spec": 1,
            "metadata": {"name": "a", "uid": "1", "annotations": {"b": "c"}, "generation": 9}}));
        assert_eq!(
            made.unwrap(),
            json!({"apiVersion": "g.io/v2", "kind": "K", "spec": 1, "metadata": {
                "name": "a", "uid": "1", "annotations": {"b": "c"}, "generation": 3}})
        );
        let renamed =
            check(json!({"apiVersion": "g.io/v2", "kind": "K", "metadata": {"name": "b"}}));
        assert_eq!(
            renamed.unwrap_err(),
            "conversion webhook for g.io/v1, Kind=K returned invalid converted object at index 0: must have the same name: a != b"
        );
        let old = check(json!({"apiVersion": "g.io/v1", "kind": "K"})).unwrap_err();
        assert!(old.contains("invalid groupVersion (expected g.io/v2, received g.io/v1)"), "{old}");
    }

    #[test]
    fn answers() {
        let ok = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": [1]}});
        assert_eq!(read(ok.clone(), "v1", "u"), Ok(vec![json!(1)]));
        assert_eq!(
            read(ok.clone(), "v1", "w"),
            Err(r#"expected response.uid="w", got "u""#.to_owned())
        );
        let mut failed = ok;
        failed["response"]["result"] = json!({"status": "Failure", "message": "no"});
        assert_eq!(read(failed, "v1", "u"), Err("no".to_owned()));
        assert_eq!(
            review_version(&json!({"conversionReviewVersions": ["v9", "v1beta1", "v1"]})),
            Ok("v1beta1")
        );
    }
}
