//! Requests, limits and claims: of a container, and of the pod as a whole.

use api::field::{ErrorList, FieldError};
use api::quantity::Quantity;
use api::validate;

use crate::check::{
    is_extended_resource, is_native_resource, quantity, required, resource_quantity,
};
use crate::cursor::{Field, rule};

/// The name of a resource that a container may ask for; errors are shown at `field`.
pub(crate) fn container_resource_name(name: &str, field: Field<'_>, errors: &mut ErrorList) {
    for text in validate::qualified_name(name) {
        errors.push(field.invalid_as(name, text));
    }
    if !name.contains('/') {
        let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-");
        if !standard {
            errors.push(field.invalid_as(name, "must be a standard resource for containers"));
        }
    } else if !is_native_resource(name) && !is_extended_resource(name) {
        errors.push(field.invalid_as(name, "doesn't follow extended resource name standard"));
    }
}

fn overcommits(name: &str) -> bool {
    is_native_resource(name) && !name.starts_with("hugepages-")
}

/// What is wrong with a container's `resources`.
pub(crate) fn container(resources: Field<'_>, errors: &mut ErrorList) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    lists(limits, requests, container_resource_name, errors);
    let huge = |map: Field<'_>| map.entries().any(|(name, _)| name.starts_with("hugepages-"));
    let plain = |map: Field<'_>| map.has("cpu") || map.has("memory");
    if (huge(limits) || huge(requests)) && !plain(limits) && !plain(requests) {
        errors.push(resources.forbidden("HugePages require cpu or memory"));
    }
}

fn lists(
    limits: Field<'_>,
    requests: Field<'_>,
    name_rule: fn(&str, Field<'_>, &mut ErrorList),
    errors: &mut ErrorList,
) {
    for (name, limit) in limits.entries() {
        name_rule(name, limit, errors);
        resource_quantity(name, limit, errors);
    }
    for (name, request) in requests.entries() {
        name_rule(name, request, errors);
        resource_quantity(name, request, errors);
        let (Some(value), limit) = (quantity(request), quantity(limits.key(name))) else {
            continue;
        };
        match limit {
            Some(limit) if !overcommits(name) && value != limit => {
                let text = format!("must be equal to {name} limit of {limit}");
                errors.push(requests.invalid_as(value.to_string(), text));
            }
            Some(limit) if value > limit => {
                let text = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(requests.invalid_as(value.to_string(), text));
            }
            None if !overcommits(name) => {
                errors.push(limits.required("Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
    }
}

fn pod_resource_name(name: &str, field: Field<'_>, errors: &mut ErrorList) {
    if !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
        errors.push(field.not_supported_as(name, &["cpu", "memory", "hugepages-"]));
    }
}

/// What is wrong with the pod's own `resources`.
pub(crate) fn pod_level(spec: Field<'_>, errors: &mut ErrorList) {
    let resources = spec.get("resources");
    if !resources.is_set() {
        return;
    }
    if !resources.get("claims").is_empty() {
        let text = "claims cannot be set for Resources at pod-level";
        errors.push(resources.get("claims").forbidden(text));
    }
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    lists(limits, requests, pod_resource_name, errors);
    for (name, request) in requests.entries() {
        let sum = container_sum(spec, "requests", name);
        if let Some(own) = quantity(request).filter(|own| *own < sum) {
            let text =
                format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(request.invalid_as(own.to_string(), text));
        }
    }
    for (name, limit) in limits.entries() {
        let Some(own) = quantity(limit) else { continue };
        for one in spec.get("containers").items() {
            let part = one.at(&["resources", "limits"]).key(name);
            if quantity(part).is_some_and(|part| part > own) {
                let text = format!("must be less than or equal to pod limits of {own}");
                let value = quantity(part).map(|part| part.to_string()).unwrap_or_default();
                errors.push(one.at(&["resources", "limits"]).key(name).invalid_as(value, text));
            }
        }
    }
}

fn container_sum(spec: Field<'_>, kind: &'static str, name: &str) -> Quantity {
    let mut sum = Quantity::from_int(0);
    for one in spec.get("containers").items() {
        let map = one.get("resources").get(kind);
        if let Some((_, found)) = map.entries().find(|(known, _)| *known == name)
            && let Some(value) = quantity(found)
        {
            sum += value;
        }
    }
    sum
}

/// The claims of a container: each once, and each of the pod's.
pub(crate) fn claims(list: Field<'_>, spec: Field<'_>, errors: &mut ErrorList) {
    let known: std::collections::BTreeSet<&str> =
        spec.get("resourceClaims").items().map(|claim| claim.get("name").str()).collect();
    let mut seen: Vec<String> = Vec::new();
    for claim in list.items() {
        let (name, request) = (claim.get("name").str(), claim.get("request"));
        if name.is_empty() {
            errors.push(claim.required(""));
            continue;
        }
        let key =
            if request.is_empty() { name.to_owned() } else { format!("{name}/{}", request.str()) };
        rule(request, validate::dns1123_label, errors);
        let part = format!("{name}/");
        let overlaps = seen.iter().any(|other| {
            other == name || *other == key || (request.is_empty() && other.starts_with(&part))
        });
        if overlaps {
            errors.push(FieldError::duplicate(claim.path(), key.as_str()));
        }
        seen.push(key);
        if !known.contains(name) {
            let mut error = FieldError::not_found(claim.path(), name);
            error.detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
            if known.is_empty() {
                error.detail += " which is empty";
            } else {
                let names: Vec<&str> = known.iter().copied().collect();
                error.detail += &format!(": {}", names.join(", "));
            }
            errors.push(error);
        }
    }
}

/// A `resourceFieldRef`: a limit or request, and the unit it is given in.
pub(crate) fn resource_field(source: Field<'_>, in_volume: bool, errors: &mut ErrorList) {
    let (container, resource) = (source.get("containerName"), source.get("resource"));
    if in_volume && container.is_empty() {
        errors.push(container.required(""));
        return;
    }
    if !required(resource, errors) {
        return;
    }
    let divisor = source.get("divisor");
    let (_, name) = resource.str().split_once('.').unwrap_or_default();
    let known = ["limits.", "requests."].iter().any(|kind| resource.str().starts_with(kind))
        && (matches!(name, "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-"));
    if !known {
        errors.push(resource.not_supported(&[
            "limits.cpu",
            "limits.ephemeral-storage",
            "limits.memory",
            "requests.cpu",
            "requests.ephemeral-storage",
            "requests.memory",
        ]));
        return;
    }
    let Some(value) = quantity(divisor).filter(|value| !value.is_zero()) else { return };
    let bytes = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let units: &[&str] = if name == "cpu" { &["1m", "1"] } else { &bytes };
    if !units.iter().any(|unit| unit.parse::<Quantity>().is_ok_and(|unit| unit == value)) {
        let kind = match name {
            "ephemeral-storage" => "local ephemeral storage",
            name if name.starts_with("hugepages-") => "hugepages",
            name => name,
        };
        let text = format!(
            "only divisor's values {} are supported with the {kind} resource",
            if name == "cpu" { "1m and 1".to_owned() } else { units.join(", ") }
        );
        errors.push(divisor.invalid_as(resource.str(), text));
    }
}
