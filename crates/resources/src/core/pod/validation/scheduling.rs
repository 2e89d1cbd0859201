//! What of a pod spec concerns its node: affinity, tolerations, spreading, gates.

use api::field::{ErrorList, FieldError};
use api::validate;

use crate::check::{self, in_range, label_key, label_selector, one_of};
use crate::cursor::Field;

/// What is wrong with a pod's affinity.
pub(crate) fn affinity(affinity: Field<'_>, errors: &mut ErrorList) {
    let node = affinity.get("nodeAffinity");
    node_selector(node.get(REQUIRED), errors);
    for preferred in node.get(PREFERRED).items() {
        weight(preferred, errors);
        node_term(preferred.get("preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let side = Field::get(affinity, kind);
        for term in side.get(REQUIRED).items() {
            pod_term(term, errors);
        }
        for preferred in side.get(PREFERRED).items() {
            weight(preferred, errors);
            pod_term(preferred.get("podAffinityTerm"), errors);
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn weight(preferred: Field<'_>, errors: &mut ErrorList) {
    let weight = preferred.get("weight");
    if !(1..=100).contains(&weight.int().unwrap_or_default()) {
        errors.push(
            weight.invalid_as(weight.int().unwrap_or_default(), "must be in the range 1-100"),
        );
    }
}

/// A `NodeSelector`; absent is fine.
pub(crate) fn node_selector(selector: Field<'_>, errors: &mut ErrorList) {
    if !selector.is_set() {
        return;
    }
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(terms.required("must have at least one node selector term"));
    }
    for term in terms.items() {
        node_term(term, errors);
    }
}

fn node_term(term: Field<'_>, errors: &mut ErrorList) {
    for requirement in term.get("matchExpressions").items() {
        node_requirement(requirement, errors);
    }
    for requirement in term.get("matchFields").items() {
        let (key, operator, values) =
            (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.len() == 1 => {}
            "In" | "NotIn" => {
                let text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(values.required(text));
            }
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        if key.str() == "metadata.name" {
            check::each(values, validate::dns1123_subdomain, errors);
        } else {
            errors.push(key.invalid("not a valid field selector key"));
        }
    }
}

fn node_requirement(requirement: Field<'_>, errors: &mut ErrorList) {
    let (operator, values) = (requirement.get("operator"), requirement.get("values"));
    match operator.str() {
        "In" | "NotIn" => {
            if values.is_empty() {
                let text = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(values.required(text));
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(values.forbidden(text));
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                let text = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(values.required(text));
            }
        }
        _ => errors.push(operator.invalid("not a valid selector operator")),
    }
    label_key(requirement.get("key"), errors);
    // A value that no label can have selects nothing.
    check::each(values, validate::label_value, errors);
}

fn pod_term(term: Field<'_>, errors: &mut ErrorList) {
    label_selector(term.get("labelSelector"), errors);
    label_selector(term.get("namespaceSelector"), errors);
    check::each(term.get("namespaces"), validate::dns1123_label, errors);
    let topology = term.get("topologyKey");
    if topology.is_empty() {
        errors.push(topology.required("can not be empty"));
    }
    label_key(topology, errors);
    label_keys(term, "matchLabelKeys", errors);
    label_keys(term, "mismatchLabelKeys", errors);
    for key in term.get("mismatchLabelKeys").items() {
        let both = term.get("matchLabelKeys").items().any(|other| other.str() == key.str());
        if both {
            errors.push(key.invalid("exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    }
}

fn label_keys(parent: Field<'_>, name: &'static str, errors: &mut ErrorList) {
    let keys = parent.get(name);
    if !keys.is_empty() && !parent.get("labelSelector").is_set() {
        errors.push(keys.forbidden("must not be specified when labelSelector is not set"));
    }
    for key in keys.items() {
        label_key(key, errors);
    }
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// The effect of a taint; `required` says whether it must be there.
pub(crate) fn taint_effect(field: Field<'_>, required: bool, errors: &mut ErrorList) {
    if required && field.is_empty() {
        errors.push(field.required(""));
    } else {
        one_of(field, &EFFECTS, errors);
    }
}

/// What is wrong with tolerations.
pub(crate) fn tolerations(list: Field<'_>, errors: &mut ErrorList) {
    for toleration in list.items() {
        let (key, operator, effect) =
            (toleration.get("key"), toleration.get("operator"), toleration.get("effect"));
        if !key.is_empty() {
            label_key(key, errors);
        } else if operator.str() != "Exists" {
            let text = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(operator.invalid(text));
        }
        if toleration.get("tolerationSeconds").is_set() && effect.str() != "NoExecute" {
            let text = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(effect.invalid(text));
        }
        let value = toleration.get("value");
        match operator.str() {
            "" | "Equal" => {
                let texts = validate::label_value(value.str());
                if !texts.is_empty() {
                    errors.push(operator.invalid_as(value.str(), texts.join(";")));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let shown = toleration.value().cloned().unwrap_or_default();
                    let text = "value must be empty when `operator` is 'Exists'";
                    errors.push(operator.invalid_as(shown, text));
                }
            }
            _ => errors.push(operator.not_supported(&["Equal", "Exists"])),
        }
        taint_effect(effect, false, errors);
    }
}

/// What is wrong with topology spread constraints.
pub(crate) fn spread(list: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for constraint in list.items() {
        let skew = constraint.get("maxSkew");
        if skew.int().unwrap_or_default() <= 0 {
            let value = skew.int().unwrap_or_default();
            errors.push(skew.invalid_as(value, "must be greater than zero"));
        }
        let (topology, when) = (constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if topology.is_empty() {
            errors.push(topology.required("can not be empty"));
        }
        label_key(topology, errors);
        if !matches!(when.str(), "DoNotSchedule" | "ScheduleAnyway") {
            errors.push(when.not_supported(&["DoNotSchedule", "ScheduleAnyway"]));
        }
        let pair = (topology.str(), when.str());
        if seen.contains(&pair) {
            let path = constraint.get("{topologyKey, whenUnsatisfiable}").path();
            errors.push(FieldError::duplicate(path, format!("{{{}, {}}}", pair.0, pair.1)));
        }
        seen.push(pair);
        let domains = constraint.get("minDomains");
        if let Some(value) = domains.int() {
            if value <= 0 {
                errors.push(domains.invalid("must be greater than zero"));
            }
            if when.str() != "DoNotSchedule" {
                let text = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    when.str()
                );
                errors.push(domains.invalid(text));
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(Field::get(constraint, name), &["Honor", "Ignore"], errors);
        }
        label_selector(constraint.get("labelSelector"), errors);
        label_keys(constraint, "matchLabelKeys", errors);
    }
}

/// What is wrong with scheduling gates.
pub(crate) fn gates(spec: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name");
        errors.extend(
            validate::qualified_name(name.str())
                .into_iter()
                .map(|text| gate.invalid_as(name.str(), text)),
        );
        if seen.contains(&name.str()) {
            errors.push(FieldError::duplicate(gate.path(), name.str()));
        }
        seen.push(name.str());
    }
    in_range(spec.get("priority"), i64::from(i32::MIN), i64::from(i32::MAX), errors);
}
