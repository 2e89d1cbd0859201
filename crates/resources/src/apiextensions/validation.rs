//! What is wrong with a CustomResourceDefinition.

use api::Value;
use api::field::{ErrorList, FieldError};
use api::validate;

use super::structural;
use crate::check::{immutable, one_of, required, required_one_of};
use crate::cursor::{Field, rule};

/// What is wrong with a definition, new or changed.
pub(super) fn definition(object: Field<'_>, errors: &mut ErrorList) {
    let spec = object.get("spec");
    let name = object.at(&["metadata", "name"]);
    let (group, plural) = (spec.get("group"), spec.at(&["names", "plural"]));
    let wanted = format!("{}.{}", plural.str(), group.str());
    if name.str() != wanted {
        let text = "must be spec.names.plural+\".\"+spec.group".to_owned();
        errors.push(name.invalid(text));
    }
    if required(group, errors) {
        rule(group, validate::dns1123_subdomain, errors);
        if group.str().split('.').count() < 2 {
            errors.push(group.invalid("should be a domain with at least one dot"));
        }
    }
    required_one_of(spec.get("scope"), &["Cluster", "Namespaced"], errors);
    names(spec.get("names"), errors);
    versions(spec, errors);
    conversion(spec.get("conversion"), errors);
    stored_versions(object, errors);
}

/// What else is wrong with a new definition.
pub(super) fn create(object: Field<'_>, errors: &mut ErrorList) {
    let spec = object.get("spec");
    let preserve = spec.get("preserveUnknownFields");
    if preserve.bool() {
        let text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(preserve.invalid(text));
    }
    let group = spec.get("group").str();
    let ours = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|own| group == *own || group.ends_with(&format!(".{own}")));
    let annotations = object.at(&["metadata", "annotations"]);
    const APPROVED: &str = "api-approved.kubernetes.io";
    if ours && !annotations.has(APPROVED) {
        let path = annotations.key(APPROVED);
        errors.push(path.required("protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111"));
    } else if ours {
        let text = annotations.key(APPROVED).str();
        if !text.starts_with("https://") && !text.starts_with("unapproved") {
            let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111";
            errors.push(annotations.key(APPROVED).invalid(why));
        }
    }
}

fn names(names: Field<'_>, errors: &mut ErrorList) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = Field::get(names, field);
        if !required(name, errors) {
            continue;
        }
        let lower = name.str().to_lowercase();
        let text = if matches!(field, "kind" | "listKind") { lower.as_str() } else { name.str() };
        for found in validate::dns1035_label(text) {
            let why = if matches!(field, "kind" | "listKind") {
                format!("may have mixed case, but should otherwise match: {found}")
            } else {
                found
            };
            errors.push(name.invalid(why));
        }
    }
    for list in ["shortNames", "categories"] {
        crate::check::each(Field::get(names, list), validate::dns1035_label, errors);
    }
    let (kind, list) = (names.get("kind"), names.get("listKind"));
    if !kind.is_empty() && kind.str() == list.str() {
        errors.push(list.invalid("kind and listKind may not be the same"));
    }
}

fn versions(spec: Field<'_>, errors: &mut ErrorList) {
    let list = spec.get("versions");
    if list.is_empty() {
        let value = list.value().cloned().unwrap_or_else(|| serde_json::json!([]));
        errors.push(
            list.invalid_as(value, "must have exactly one version marked as storage version"),
        );
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut stored = 0;
    for version in list.items() {
        let name = version.get("name");
        for text in validate::dns1035_label(name.str()) {
            errors.push(name.invalid(text));
        }
        if seen.contains(&name.str()) {
            let value = list.value().cloned().unwrap_or_default();
            errors.push(list.invalid_as(value, "must contain unique version names"));
        }
        seen.push(name.str());
        stored += usize::from(version.get("storage").bool());
        self::version(spec, version, errors);
    }
    if stored != 1 {
        let value = list.value().cloned().unwrap_or_default();
        errors.push(
            list.invalid_as(value, "must have exactly one version marked as storage version"),
        );
    }
}

/// A part of a version. What all versions have alike is judged once, with the first, and shown at
/// the top of the spec: upstream moves it there before it looks.
fn part<'a>(spec: Field<'a>, version: Field<'a>, name: &'a str, top: &'a str) -> Option<Field<'a>> {
    let own = version.get(name);
    let mut all = spec.get("versions").items().map(|one| one.get(name).value());
    let first = all.next().flatten();
    if !own.is_set() || !all.all(|other| other == first) {
        return Some(own);
    }
    let is_first = version.path() == spec.get("versions").index(0).path();
    is_first.then(|| spec.get(top).with(own.value()))
}

fn version(spec: Field<'_>, version: Field<'_>, errors: &mut ErrorList) {
    let warning = version.get("deprecationWarning");
    if warning.is_set() {
        if !version.get("deprecated").bool() {
            errors.push(warning.invalid("can only be set for deprecated versions"));
        }
        if warning.is_empty() || warning.str().len() > 256 {
            errors.push(warning.invalid("must be between 1 and 256 characters"));
        }
    }
    let own = version.at(&["schema", "openAPIV3Schema"]);
    if own.is_set() {
        if let Some(schema) = part(spec, version, "schema", "validation") {
            self::schema(schema.get("openAPIV3Schema"), errors);
        }
    } else {
        errors.push(own.required("schemas are required"));
    }
    let columns = "additionalPrinterColumns";
    if let Some(columns) = part(spec, version, columns, columns) {
        self::columns(columns, errors);
    }
    if let Some(subresources) = part(spec, version, "subresources", "subresources") {
        scale(subresources.get("scale"), errors);
    }
    if let Some(fields) = part(spec, version, "selectableFields", "selectableFields") {
        selectable_fields(fields, own.value(), errors);
    }
}

fn schema(schema: Field<'_>, errors: &mut ErrorList) {
    let Some(value) = schema.value() else {
        return;
    };
    let before = errors.len();
    structural::root(value, &schema.path(), errors);
    // Rules are judged by the types of a sound schema.
    if errors.len() == before {
        errors.extend(cel::rules::problems(value, &schema.path()));
    }
}

fn selectable_fields(fields: Field<'_>, schema: Option<&Value>, errors: &mut ErrorList) {
    if fields.len() > 8 {
        errors.push(fields.too_many(8));
    }
    let mut seen: Vec<&str> = Vec::new();
    for field in fields.items() {
        let path = field.get("jsonPath");
        if !path.str().starts_with('.') || path.str().contains('[') {
            errors.push(path.invalid("is an invalid path: only fields by name may be selected"));
        } else if path.str().starts_with(".metadata") {
            errors.push(path.invalid("must not point to fields in metadata"));
        } else {
            selectable(path, schema, errors);
        }
        if seen.contains(&path.str()) {
            errors.push(path.duplicate());
        }
        seen.push(path.str());
    }
}

/// A selectable field is a scalar of the schema.
fn selectable(path: Field<'_>, schema: Option<&Value>, errors: &mut ErrorList) {
    let parts = path.str().trim_start_matches('.').split('.');
    let found = schema.and_then(|schema| {
        parts.into_iter().try_fold(schema, |schema, part| schema.get("properties")?.get(part))
    });
    match found.map(|found| found["type"].as_str().unwrap_or_default()) {
        Some("string" | "boolean" | "integer") => {}
        Some(_) => errors.push(path.invalid("must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.")),
        None => errors.push(path.invalid("is an invalid path: does not refer to a valid field")),
    }
}

fn columns(list: Field<'_>, errors: &mut ErrorList) {
    let types = ["boolean", "date", "integer", "number", "string"];
    let formats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for column in list.items() {
        required(column.get("name"), errors);
        let kind = column.get("type");
        if required(kind, errors) && !types.contains(&kind.str()) {
            errors.push(kind.invalid("must be one of boolean,date,integer,number,string"));
        }
        let format = column.get("format");
        if !format.is_empty() && !formats.contains(&format.str()) {
            errors.push(
                format.invalid(
                    "must be one of byte,date,date-time,double,float,int32,int64,password",
                ),
            );
        }
        let path = column.get("jsonPath");
        if required(path, errors) && !path.str().starts_with('.') {
            errors.push(path.invalid("must be a simple json path starting with ."));
        }
    }
}

fn scale(scale: Field<'_>, errors: &mut ErrorList) {
    if !scale.is_set() {
        return;
    }
    let under = |field: Field<'_>, roots: &[&str], must: bool, errors: &mut ErrorList| {
        if field.is_empty() {
            if must {
                errors.push(field.required(""));
            }
            return;
        }
        if !roots.iter().any(|root| field.str().starts_with(root)) {
            let shown = roots.iter().map(|root| root.trim_end_matches('.')).collect::<Vec<_>>();
            errors
                .push(field.invalid(format!("should be a json path under {}", shown.join(" or "))));
        }
    };
    under(scale.get("specReplicasPath"), &[".spec."], true, errors);
    under(scale.get("statusReplicasPath"), &[".status."], true, errors);
    under(scale.get("labelSelectorPath"), &[".spec.", ".status."], false, errors);
}

fn conversion(conversion: Field<'_>, errors: &mut ErrorList) {
    if !conversion.is_set() {
        return;
    }
    let strategy = conversion.get("strategy");
    required_one_of(strategy, &["None", "Webhook"], errors);
    let webhook = conversion.get("webhook");
    if strategy.str() != "Webhook" {
        if webhook.is_set() {
            let text = "should not be set when strategy is not set to Webhook";
            errors.push(webhook.forbidden(text));
        }
        return;
    }
    let config = webhook.get("clientConfig");
    if config.is_set() {
        crate::admissionregistration::webhook_configuration::client_config(config, errors);
    } else {
        errors.push(config.required("required when strategy is set to Webhook"));
    }
    let versions = webhook.get("conversionReviewVersions");
    if versions.is_empty() {
        errors.push(versions.required(""));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in versions.items() {
        if seen.contains(&version.str()) {
            errors.push(version.invalid("duplicate version"));
        }
        seen.push(version.str());
        for text in validate::dns1035_label(version.str()) {
            errors.push(version.invalid(text));
        }
    }
    if !seen.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        let value = versions.value().cloned().unwrap_or_default();
        errors.push(versions.invalid_as(value, "must include at least one of v1, v1beta1"));
    }
}

/// The versions that objects may be stored in: all still there, the storage version among them.
pub(super) fn stored_versions(object: Field<'_>, errors: &mut ErrorList) {
    let stored = object.at(&["status", "storedVersions"]);
    let versions = object.at(&["spec", "versions"]);
    if stored.is_empty() {
        let value = stored.value().cloned().unwrap_or(Value::Null);
        errors.push(stored.invalid_as(value, "must have at least one stored version"));
        return;
    }
    for one in stored.items() {
        let known = versions.items().any(|version| version.get("name").str() == one.str());
        if !known {
            let text = "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"
                .replace("v1 ", &format!("{} ", one.str()));
            errors.push(one.invalid(text));
        }
    }
    let current = versions.items().find(|version| version.get("storage").bool());
    if let Some(current) = current {
        let name = current.get("name").str();
        if !stored.items().any(|one| one.str() == name) {
            let value = stored.value().cloned().unwrap_or_default();
            let text = format!("must have the storage version {name}");
            errors.push(stored.invalid_as(value, text));
        }
    }
}

/// What is wrong with a change.
pub(super) fn change(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    immutable(spec.get("group"), before.get("group"), errors);
    immutable(spec.at(&["names", "plural"]), before.at(&["names", "plural"]), errors);
    let established = old.at(&["status", "conditions"]).items().any(|condition| {
        condition.get("type").str() == "Established" && condition.get("status").str() == "True"
    });
    if established {
        immutable(spec.get("scope"), before.get("scope"), errors);
        immutable(spec.at(&["names", "kind"]), before.at(&["names", "kind"]), errors);
    }
    let preserve = spec.get("preserveUnknownFields");
    if preserve.bool() && !before.get("preserveUnknownFields").bool() {
        let text = "must be false in order to use defaults in the schema";
        errors.push(FieldError::invalid(preserve.path(), true, text));
    }
    one_of(spec.get("scope"), &["Cluster", "Namespaced"], errors);
}
