//! What is wrong with a CustomResourceDefinition.

use api::Value;
use api::field::{ErrorList, FieldError};
use api::validate;

use crate::check::{immutable, required, required_one_of};
use crate::cursor::{Field, rule};

/// What is wrong with a definition, new or changed.
pub(super) fn definition(object: Field<'_>, errors: &mut ErrorList) {
    let spec = object.get("spec");
    let group = spec.get("group");
    if required(group, errors) {
        rule(group, validate::dns1123_subdomain, errors);
        if group.str().split('.').count() < 2 {
            errors.push(group.invalid("should be a domain with at least one dot"));
        }
    }
    required_one_of(spec.get("scope"), &["Cluster", "Namespaced"], errors);
    versions(spec, errors);
    names(spec.get("names"), errors);
    shared(spec, errors);
    conversion(spec.get("conversion"), errors);
    stored_versions(object, errors);
}

/// What else is wrong with a new definition.
pub(super) fn create(object: Field<'_>, errors: &mut ErrorList) {
    let spec = object.get("spec");
    // A change of what the name is made of is refused for itself.
    let name = object.at(&["metadata", "name"]);
    let (group, plural) = (spec.get("group"), spec.at(&["names", "plural"]));
    if name.str() != format!("{}.{}", plural.str(), group.str()) {
        errors.insert(0, name.invalid("must be spec.names.plural+\".\"+spec.group"));
    }
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
    const FIELDS: [&str; 4] = ["plural", "singular", "kind", "listKind"];
    for field in FIELDS {
        required(Field::get(names, field), errors);
    }
    for field in FIELDS {
        let name = Field::get(names, field);
        if name.is_empty() {
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
    for version in list.items() {
        let own = version.at(&["schema", "openAPIV3Schema"]);
        if !own.is_set() {
            errors.push(own.required(""));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in list.items() {
        let name = version.get("name");
        seen.push(name.str());
        let found = validate::dns1035_label(name.str());
        if !found.is_empty() {
            errors.push(name.invalid(found.join(",")));
        }
        deprecation(version, errors);
        for part in PARTS {
            if !is_shared(spec, part) {
                let has_status = version.at(&["subresources", "status"]).is_set();
                self::part(part, version.get(part), version, has_status, errors);
            }
        }
    }
    let is_twice = |(index, name): (usize, &&str)| seen[..index].contains(name);
    if seen.iter().enumerate().any(is_twice) {
        errors.push(wrong_versions(spec, "must contain unique version names"));
    }
    if list.items().filter(|version| version.get("storage").bool()).count() != 1 {
        let text = "must have exactly one version marked as storage version";
        errors.push(wrong_versions(spec, text));
    }
    // Upstream keeps the first version's name at the top of the spec as well.
    if let Some(first) = seen.first().filter(|name| !name.is_empty()) {
        let found = validate::dns1035_label(first);
        if !found.is_empty() {
            errors.push(spec.get("version").invalid_as(*first, found.join(",")));
        }
    }
}

/// What versions may have alike. It is then judged once and shown at the top of the spec, where
/// upstream moves it before it looks.
const PARTS: [&str; 4] = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"];

fn is_shared(spec: Field<'_>, part: &'static str) -> bool {
    let mut all = spec.get("versions").items().map(|version| version.get(part).value());
    all.next().flatten().is_some_and(|first| all.all(|other| other == Some(first)))
}

/// What all versions have alike.
fn shared(spec: Field<'_>, errors: &mut ErrorList) {
    let versions = spec.get("versions");
    let Some(first) = versions.items().next() else { return };
    let has_status =
        versions.items().any(|version| version.at(&["subresources", "status"]).is_set());
    for name in PARTS {
        if is_shared(spec, name) {
            let top = if name == "schema" { "validation" } else { name };
            let field = spec.get(top).with(first.get(name).value());
            part(name, field, first, has_status, errors);
        }
    }
}

fn part(
    name: &str,
    field: Field<'_>,
    version: Field<'_>,
    has_status: bool,
    errors: &mut ErrorList,
) {
    let own = version.at(&["schema", "openAPIV3Schema"]);
    match name {
        "schema" => {
            let schema = field.get("openAPIV3Schema");
            if let Some(value) = schema.value() {
                errors.extend(super::schema::problems(value, &schema.path(), has_status));
            }
        }
        "subresources" => scale(field.get("scale"), errors),
        "additionalPrinterColumns" => columns(field, errors),
        _ => selectable_fields(field, own.value(), errors),
    }
}

/// An error of the list of versions, shown by the Go names of its fields.
fn wrong_versions(spec: Field<'_>, why: &str) -> FieldError {
    let list = spec.get("versions");
    let mut shown: Vec<String> = Vec::new();
    for version in list.items() {
        let text = |name: &'static str| {
            let value = version.get(name).value().filter(|_| !is_shared(spec, name));
            value.map_or_else(|| "null".to_owned(), api::field::go_json)
        };
        let schema = match text("schema") {
            schema if schema == "null" => schema,
            schema => schema.replacen("\"openAPIV3Schema\"", "\"OpenAPIV3Schema\"", 1),
        };
        shown.push(format!(
            r#"{{"Name":{:?},"Served":{},"Storage":{},"Deprecated":{},"DeprecationWarning":{},"Schema":{schema},"Subresources":{},"AdditionalPrinterColumns":{},"SelectableFields":{}}}"#,
            version.get("name").str(),
            version.get("served").bool(),
            version.get("storage").bool(),
            version.get("deprecated").bool(),
            version.get("deprecationWarning").value().map_or_else(|| "null".to_owned(), api::field::go_json),
            text("subresources"),
            text("additionalPrinterColumns"),
            text("selectableFields"),
        ));
    }
    let value = if list.is_set() { format!("[{}]", shown.join(",")) } else { "null".to_owned() };
    // The value keeps Go's order of fields, which a map would not.
    FieldError { value: None, detail: format!("{value}: {why}"), ..list.invalid("") }
}

fn deprecation(version: Field<'_>, errors: &mut ErrorList) {
    let warning = version.get("deprecationWarning");
    if !warning.is_set() {
        return;
    }
    if !version.get("deprecated").bool() {
        errors.push(warning.invalid("can only be set for deprecated versions"));
        return;
    }
    if warning.str().len() > 256 {
        errors.push(warning.invalid("must be <= 256 characters long"));
    }
    if warning.is_empty() {
        errors.push(warning.invalid("must not be an empty string"));
    }
    if let Some((index, _)) = warning.str().char_indices().find(|(_, char)| char.is_control()) {
        let text = format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {index}"
        );
        errors.push(warning.invalid(text));
    }
}

fn selectable_fields(fields: Field<'_>, schema: Option<&Value>, errors: &mut ErrorList) {
    let mut seen: Vec<String> = Vec::new();
    for field in fields.items() {
        let path = field.get("jsonPath");
        if !required(path, errors) {
            continue;
        }
        let schema = schema.unwrap_or(&Value::Null);
        let (name, found) = match selected(path.str(), schema) {
            Ok(found) => found,
            Err(why) => {
                errors.push(path.invalid(format!("is an invalid path: {why}")));
                continue;
            }
        };
        if name == "metadata" || name.starts_with("metadata.") {
            errors.push(path.invalid("must not point to fields in metadata"));
        }
        let kind = found.get("type").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "string" | "boolean" | "integer") {
            errors.push(path.invalid("must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."));
        }
        if seen.contains(&name) {
            errors.push(path.duplicate());
        } else {
            seen.push(name);
        }
    }
    if seen.len() > 8 {
        errors.push(FieldError::too_many(fields.path(), seen.len(), 8));
    }
}

/// The field that a path selects, with its schema.
fn selected<'s>(path: &str, schema: &'s Value) -> Result<(String, &'s Value), String> {
    if path.contains('[') {
        return Err("array notation is not allowed".to_owned());
    }
    cel::rules::field_of_path(path, schema)
}

fn columns(list: Field<'_>, errors: &mut ErrorList) {
    let types = ["boolean", "date", "integer", "number", "string"];
    let formats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for column in list.items() {
        required(column.get("name"), errors);
        let kind = column.get("type");
        let one_of = "must be one of boolean,date,integer,number,string";
        if kind.is_empty() {
            errors.push(kind.required(one_of));
        } else if !types.contains(&kind.str()) {
            errors.push(kind.invalid(one_of));
        }
        let format = column.get("format");
        if !format.is_empty() && !formats.contains(&format.str()) {
            errors.push(
                format.invalid(
                    "must be one of byte,date,date-time,double,float,int32,int64,password",
                ),
            );
        }
        let path = column.get("JSONPath").with(column.get("jsonPath").value());
        if required(path, errors) {
            simple_path(path, errors);
        }
    }
}

/// A path that starts with a dot, and whether this one does.
fn simple_path(path: Field<'_>, errors: &mut ErrorList) -> bool {
    let is_simple = path.str().starts_with('.');
    if !is_simple {
        errors.push(path.invalid("must be a simple json path starting with ."));
    }
    is_simple
}

fn scale(scale: Field<'_>, errors: &mut ErrorList) {
    if !scale.is_set() {
        return;
    }
    let under = |field: Field<'_>, roots: &[&str], where_: &str, errors: &mut ErrorList| {
        let is_under = roots.iter().any(|root| field.str().starts_with(root));
        if simple_path(field, errors) && !is_under {
            errors.push(field.invalid(format!("should be a json path under {where_}")));
        }
    };
    for (field, root) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let field = Field::get(scale, field);
        if required(field, errors) {
            under(field, &[&format!("{root}.")], root, errors);
        }
    }
    let selector = scale.get("labelSelectorPath");
    if !selector.is_empty() {
        under(selector, &[".spec.", ".status."], "either .spec or .status", errors);
    }
}

fn conversion(conversion: Field<'_>, errors: &mut ErrorList) {
    if !conversion.is_set() {
        return;
    }
    let strategy = conversion.get("strategy");
    required_one_of(strategy, &["None", "Webhook"], errors);
    let webhook = conversion.get("webhook");
    // Upstream judges the older form, where both are fields of the conversion itself.
    let config = conversion.get("webhookClientConfig").with(webhook.get("clientConfig").value());
    let versions = conversion
        .get("conversionReviewVersions")
        .with(webhook.get("conversionReviewVersions").value());
    if strategy.str() != "Webhook" {
        let text = "should not be set when strategy is not set to Webhook";
        if config.is_set() {
            errors.push(config.forbidden(text));
        }
        if !versions.is_empty() {
            errors.push(versions.forbidden(text));
        }
        return;
    }
    if config.is_set() {
        crate::admissionregistration::webhook_configuration::client_config(config, errors);
    } else {
        errors.push(config.required("required when strategy is set to Webhook"));
    }
    if versions.is_empty() {
        errors.push(versions.required(""));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in versions.items() {
        if seen.contains(&version.str()) {
            errors.push(version.invalid("duplicate version"));
            continue;
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
    for version in versions.items().filter(|version| version.get("storage").bool()) {
        let name = version.get("name").str();
        if !stored.items().any(|one| one.str() == name) {
            let value = stored.value().cloned().unwrap_or_default();
            let text = format!("must have the storage version {name}");
            errors.push(stored.invalid_as(value, text));
        }
    }
    for one in stored.items() {
        let known = versions.items().any(|version| version.get("name").str() == one.str());
        if !known {
            let text = "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"
                .replace("v1 ", &format!("{} ", one.str()));
            errors.push(one.invalid(text));
        }
    }
}

/// What is wrong with a change.
pub(super) fn change(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let established = old.at(&["status", "conditions"]).items().any(|condition| {
        condition.get("type").str() == "Established" && condition.get("status").str() == "True"
    });
    if established {
        immutable(spec.get("scope"), before.get("scope"), errors);
        immutable(spec.at(&["names", "kind"]), before.at(&["names", "kind"]), errors);
    }
    immutable(spec.get("group"), before.get("group"), errors);
    immutable(spec.at(&["names", "plural"]), before.at(&["names", "plural"]), errors);
    let preserve = spec.get("preserveUnknownFields");
    if preserve.bool() && !before.get("preserveUnknownFields").bool() {
        let text = "must be false in order to use defaults in the schema";
        errors.push(FieldError::invalid(preserve.path(), true, text));
    }
}
