//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration: webhooks that are asked about
//! writes.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set_default};
use api::validate;
use apiserver::resource::Resource;
use base::clock::Timestamp;
use serde_json::json;

use super::{GROUP, match_conditions, rule_with_operations};
use crate::check::{label_selector, one_of, required};
use crate::core::pod::defaults::each;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// MutatingWebhookConfiguration.
#[must_use]
pub fn mutating_kind() -> Arc<dyn Resource> {
    kind("mutatingwebhookconfigurations", true)
}

/// ValidatingWebhookConfiguration.
#[must_use]
pub fn validating_kind() -> Arc<dyn Resource> {
    kind("validatingwebhookconfigurations", false)
}

fn kind(plural: &str, mutating: bool) -> Arc<dyn Resource> {
    Kind::of(GROUP, plural)
        .tracks_generation()
        .needs_resource_version()
        .rules(Configuration { mutating })
}

struct Configuration {
    mutating: bool,
}

impl Rules for Configuration {
    fn default(&self, object: &mut Value) {
        each(object, &["webhooks"], |webhook| {
            set_default(webhook, &["failurePolicy"], "Fail");
            set_default(webhook, &["matchPolicy"], "Equivalent");
            set_default(webhook, &["namespaceSelector"], json!({}));
            set_default(webhook, &["objectSelector"], json!({}));
            set_default(webhook, &["timeoutSeconds"], 10);
            if self.mutating {
                set_default(webhook, &["reinvocationPolicy"], "Never");
            }
            if at(webhook, &["clientConfig", "service"]).is_some() {
                set_default(webhook, &["clientConfig", "service", "port"], 443);
            }
            each(webhook, &["rules"], |rule| set_default(rule, &["scope"], "*"));
        });
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let mut seen: Vec<&str> = Vec::new();
        for webhook in object.get("webhooks").items() {
            self::webhook(webhook, errors);
            let name = webhook.get("name");
            if seen.contains(&name.str()) {
                errors.push(name.duplicate());
            }
            seen.push(name.str());
            if self.mutating {
                let policies = ["IfNeeded", "Never"];
                one_of(webhook.get("reinvocationPolicy"), &policies, errors);
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = list_at(object, &["webhooks"]).len();
        vec![table::name(object), count.into(), table::age(object, now)]
    }
}

fn webhook(webhook: Field<'_>, errors: &mut ErrorList) {
    let name = webhook.get("name");
    if required(name, errors) {
        for text in validate::dns1123_subdomain(name.str()) {
            errors.push(name.invalid(text));
        }
        if name.str().split('.').count() < 3 {
            let text = "should be a domain with at least three segments separated by dots";
            errors.push(name.invalid(text));
        }
    }
    review_versions(webhook.get("admissionReviewVersions"), errors);
    for rule in webhook.get("rules").items() {
        rule_with_operations(rule, errors);
    }
    one_of(webhook.get("failurePolicy"), &["Fail", "Ignore"], errors);
    one_of(webhook.get("matchPolicy"), &["Equivalent", "Exact"], errors);
    let effects = webhook.get("sideEffects");
    if !matches!(effects.str(), "None" | "NoneOnDryRun") {
        if effects.is_set() {
            errors.push(effects.not_supported(&["None", "NoneOnDryRun"]));
        } else {
            let text = "must specify one of None, NoneOnDryRun";
            errors.push(effects.required(text));
        }
    }
    let timeout = webhook.get("timeoutSeconds");
    if timeout.int().is_some_and(|value| !(1..=30).contains(&value)) {
        let text = "the timeout value must be between 1 and 30 seconds";
        errors.push(timeout.invalid(text));
    }
    label_selector(webhook.get("namespaceSelector"), errors);
    label_selector(webhook.get("objectSelector"), errors);
    client_config(webhook.get("clientConfig"), errors);
    match_conditions(webhook.get("matchConditions"), false, errors);
}

fn review_versions(list: Field<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.push(list.required("must specify one of v1, v1beta1"));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in list.items() {
        if seen.contains(&version.str()) {
            errors.push(version.invalid("duplicate version"));
        }
        seen.push(version.str());
        for text in validate::dns1035_label(version.str()) {
            errors.push(version.invalid(text));
        }
    }
    if !seen.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        let value = list.value().cloned().unwrap_or_default();
        let text = "must include at least one of v1, v1beta1";
        errors.push(list.invalid_as(value, text));
    }
}

/// How a webhook is reached: by a URL or through a Service.
pub(crate) fn client_config(config: Field<'_>, errors: &mut ErrorList) {
    let (url, service) = (config.get("url"), config.get("service"));
    match (url.is_set(), service.is_set()) {
        (true, true) | (false, false) => {
            errors.push(config.required("exactly one of url or service is required"));
        }
        (true, false) => self::url(url, errors),
        (false, true) => {
            for field in ["name", "namespace"] {
                required(Field::get(service, field), errors);
            }
            let port = service.get("port");
            for text in port.int().into_iter().flat_map(validate::port_number) {
                errors.push(port.invalid(format!("port is not valid: {text}")));
            }
            service_path(service.get("path"), errors);
        }
    }
}

/// The path below a Service: nothing, or segments that are names.
fn service_path(field: Field<'_>, errors: &mut ErrorList) {
    let path = field.str();
    if matches!(path, "" | "/") {
        return;
    }
    if !path.starts_with('/') {
        errors.push(field.invalid("must start with a '/'"));
    }
    // The first byte is passed over whether it is the slash or not, as upstream does.
    let rest: String = path.chars().skip(1).collect();
    for (index, segment) in rest.strip_suffix('/').unwrap_or(&rest).split('/').enumerate() {
        if segment.is_empty() {
            errors.push(field.invalid(format!("segment[{index}] may not be empty")));
            continue;
        }
        for text in validate::dns1123_subdomain(segment) {
            errors.push(field.invalid(format!("segment[{index}]: {text}")));
        }
    }
}

/// A URL's parts, each shown as itself when it has no place in a webhook's.
fn url(field: Field<'_>, errors: &mut ErrorList) {
    let form = "; desired format: https://host[/path]";
    let text = field.str();
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) =
        rest.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("", rest));
    let authority = rest.strip_prefix("//").map(|rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = authority.map_or((None, ""), |text| match text.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, text),
    });
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
    if let Some(port) = port.filter(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
        let why = format!("parse {text:?}: invalid port {:?} after host", format!(":{port}"));
        errors.push(field.required(&format!("url must be a valid URL: {why}{form}")));
        return;
    }
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme{form}");
        errors.push(field.invalid_as(scheme, why));
    }
    if host.is_empty() {
        errors.push(field.invalid_as("", format!("host must be specified{form}")));
    }
    if let Some(user) = user {
        errors.push(field.invalid_as(user, "user information is not permitted in the URL"));
    }
    if !fragment.is_empty() {
        errors.push(field.invalid_as(fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        errors.push(field.invalid_as(query, "query parameters are not permitted in the URL"));
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(part: &Value, expected: &[&str]) {
        let mut service = json!({"namespace": "ns", "name": "hook", "port": 443});
        for (key, value) in part.as_object().unwrap() {
            service[key] = value.clone();
        }
        let config = json!({ "service": service });
        let mut errors = ErrorList::new();
        client_config(Field::root(&config), &mut errors);
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{part}");
    }

    #[test]
    fn a_url_is_a_host_and_a_path() {
        let check = |text: &str, expected: &[&str]| {
            let mut errors = ErrorList::new();
            let config = json!({"url": text});
            client_config(Field::root(&config), &mut errors);
            let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("https://x:1/y", &[]);
        check(
            "http://x",
            &[
                "url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ],
        );
        check(
            "http://x:y",
            &[
                "url: Required value: url must be a valid URL: parse \"http://x:y\": invalid port \":y\" after host; desired format: https://host[/path]",
            ],
        );
        check(
            "https://u:p@x/?a=b#c",
            &[
                "url: Invalid value: \"u:p\": user information is not permitted in the URL",
                "url: Invalid value: \"c\": fragments are not permitted in the URL",
                "url: Invalid value: \"a=b\": query parameters are not permitted in the URL",
            ],
        );
    }

    #[test]
    fn a_services_path_is_nothing_or_names() {
        for good in ["", "/", "/a", "/a/", "/a/b.c/d-1"] {
            check(&json!({ "path": good }), &[]);
        }
        let empty = "service.path: Invalid value: \"//\": segment[0] may not be empty";
        check(&json!({"path": "//"}), &[empty]);
        let empty = "service.path: Invalid value: \"/a//b\": segment[1] may not be empty";
        check(&json!({"path": "/a//b"}), &[empty]);
        check(
            &json!({"path": "foo"}),
            &["service.path: Invalid value: \"foo\": must start with a '/'"],
        );
        let text = &validate::dns1123_subdomain("B_")[0];
        let upper = format!("service.path: Invalid value: \"/a/B_\": segment[1]: {text}");
        check(&json!({"path": "/a/B_"}), &[&upper]);
    }

    #[test]
    fn a_service_has_a_name_and_a_port() {
        check(
            &json!({"name": "", "port": 0}),
            &[
                "service.name: Required value",
                "service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            ],
        );
    }
}
