//! APIService: who serves a group's version.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set, set_default, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::{Timestamp, rfc3339_seconds};
use serde_json::json;

use crate::check::required;
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apiregistration.k8s.io", "apiservices")
        .named(validate::path_segment)
        .needs_resource_version()
        .rules(ApiService)
}

struct ApiService;

impl Rules for ApiService {
    fn default(&self, object: &mut Value) {
        if at(object, &["spec", "service"]).is_some() {
            set_default(object, &["spec", "service", "port"], 443);
        }
    }

    fn prepare_create(&self, ctx: &WriteContext<'_>, object: &mut Value) {
        object["status"] = json!({});
        if at(object, &["spec", "service"]).is_none() {
            // What this server serves itself is there at once.
            let condition = json!([{"type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available",
                "lastTransitionTime": rfc3339_seconds(ctx.now)}]);
            set(object, &["status", "conditions"], condition);
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let (spec, name) = (object.get("spec"), object.at(&["metadata", "name"]));
        let (group, version) = (spec.get("group"), spec.get("version"));
        let wanted = format!("{}.{}", version.str(), group.str());
        if name.str() != wanted {
            let text = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.push(name.invalid(text));
        }
        rule(group, validate::dns1123_subdomain, errors);
        for text in validate::dns1035_label(version.str()) {
            errors.push(version.invalid(text));
        }
        let minimum = spec.get("groupPriorityMinimum");
        let value = minimum.int().unwrap_or_default();
        if value <= 0 || value > 20_000 {
            errors.push(minimum.invalid_as(value, "must be positive and less than 20000"));
        }
        let priority = spec.get("versionPriority");
        let value = priority.int().unwrap_or_default();
        if value <= 0 || value > 1000 {
            errors.push(priority.invalid_as(value, "must be positive and less than 1000"));
        }
        service(spec, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        for condition in new.at(&["status", "conditions"]).items() {
            required(condition.get("type"), errors);
            required(condition.get("status"), errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let service = at(object, &["spec", "service"]).map_or("Local".to_owned(), |service| {
            format!("{}/{}", str_at(service, &["namespace"]), str_at(service, &["name"]))
        });
        let available = table::condition(object, "Available").map_or("Unknown".to_owned(), |one| {
            match (str_at(one, &["status"]), str_at(one, &["reason"])) {
                ("True", _) => "True".to_owned(),
                (status, reason) => format!("{status} ({reason})"),
            }
        });
        vec![table::name(object), service.into(), available.into(), table::age(object, now)]
    }
}

fn service(spec: Field<'_>, errors: &mut ErrorList) {
    let (service, bundle, skip) =
        (spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    if !service.is_set() {
        if !bundle.is_empty() {
            let text = "local APIServices may not have a caBundle";
            errors.push(bundle.invalid_as(format!("{} bytes", bundle.str().len()), text));
        }
        if skip.bool() {
            let text = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(skip.invalid(text));
        }
        return;
    }
    required(service.get("namespace"), errors);
    required(service.get("name"), errors);
    let port = service.get("port");
    if port.int().is_some_and(|port| !(1..=65_535).contains(&port)) {
        errors.push(port.invalid("port is not valid: must be between 1 and 65535, inclusive"));
    }
    if skip.bool() && !bundle.is_empty() {
        errors.push(skip.invalid("may not be true if caBundle is present"));
    }
}
