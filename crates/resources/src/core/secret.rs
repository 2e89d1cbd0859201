//! Secret: confidential bytes under keys, of a type that may demand some keys.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, remove, set, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::keyed::{self, SIZE_MAX};
use crate::check::immutable;
use crate::core::pod::defaults::set_text;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "secrets").selectable(&["type"]).rules(Secret)
}

struct Secret;

/// `stringData` is written into `data` and never kept.
fn merge_strings(object: &mut Value) {
    let Some(Value::Object(strings)) = remove(object, &["stringData"]) else { return };
    for (key, value) in strings {
        let bytes = value.as_str().unwrap_or_default();
        set(object, &["data", &key], BASE64.encode(bytes));
    }
}

impl Rules for Secret {
    fn default(&self, object: &mut Value) {
        merge_strings(object);
        set_text(object, &["type"], "Opaque");
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        if str_at(object, &["type"]).is_empty() {
            set(object, &["type"], str_at(old, &["type"]));
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let data = object.get("data");
        let mut size = 0;
        for (key, value) in data.entries() {
            keyed::key(value, key, errors);
            size += keyed::decoded_len(value.str());
        }
        if size > SIZE_MAX {
            errors.push(data.too_long(SIZE_MAX));
        }
        keys_of_type(object, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("type"), old.get("type"), errors);
        keyed::frozen(new, old, &["data"], errors);
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if str_at(new, &["type"]) == "kubernetes.io/tls" {
            for (key, what) in [("tls.crt", "certificate"), ("tls.key", "key")] {
                let text = str_at(new, &["data", key]);
                let bytes = BASE64.decode(text).unwrap_or_default();
                if !String::from_utf8_lossy(&bytes).contains("-----BEGIN ") {
                    warnings.push(format!("tls: failed to find any PEM data in {what} input"));
                    break;
                }
            }
        }
        warnings
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let keys = at(object, &["data"]).and_then(Value::as_object).map_or(0, |map| map.len());
        vec![
            table::name(object),
            str_at(object, &["type"]).into(),
            keys.to_string().into(),
            table::age(object, now),
        ]
    }
}

fn keys_of_type(object: Field<'_>, errors: &mut ErrorList) {
    let data = object.get("data");
    let need = |keys: &[&'static str], errors: &mut ErrorList| {
        for key in keys.iter().filter(|key| !data.has(key)) {
            errors.push(data.key(key).required(""));
        }
    };
    match object.get("type").str() {
        "kubernetes.io/service-account-token" => {
            let annotations = object.at(&["metadata", "annotations"]);
            let name = annotations.key("kubernetes.io/service-account.name");
            if name.is_empty() {
                errors.push(name.required(""));
            }
        }
        "kubernetes.io/dockercfg" => json_key(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => json_key(data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            need(&["username", "password"], errors);
        }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").is_empty() => {
            errors.push(data.key("ssh-privatekey").required(""));
        }
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"], errors),
        _ => {}
    }
}

fn json_key(data: Field<'_>, key: &'static str, errors: &mut ErrorList) {
    let value = data.key(key);
    if !data.has(key) {
        errors.push(value.required(""));
        return;
    }
    let bytes = BASE64.decode(value.str()).unwrap_or_default();
    if serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).is_err() {
        errors.push(value.invalid_as(
            "<secret contents redacted>",
            "invalid character at the beginning of value",
        ));
    }
}
