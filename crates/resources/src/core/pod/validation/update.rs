//! What may change in a pod that exists.
//!
//! The way of upstream: put back everything that may change, then the rest must be as it was.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, list_at, remove, set, str_at};

use crate::check::immutable;
use crate::cursor::{Field, same};

const SPEC_TEXT: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with a change of the pod itself.
pub(crate) fn spec(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (new_spec, old_spec) = (new.get("spec"), old.get("spec"));
    // Labels, annotations and finalizers change most.
    if new_spec.value() == old_spec.value() {
        return;
    }
    for list in ["containers", "initContainers"] {
        let (new, old) = (Field::get(new_spec, list), Field::get(old_spec, list));
        if new.len() != old.len() {
            errors.push(new.forbidden("pod updates may not add or remove containers"));
            return;
        }
    }
    deadline(new_spec, old_spec, errors);
    tolerations(new_spec, old_spec, errors);
    let gated = !old_spec.get("schedulingGates").is_empty();
    gates(new_spec, old_spec, errors);
    let (Some(new_value), Some(old_value)) = (new_spec.value(), old_spec.value()) else { return };
    let mut rest = new_value.clone();
    put_back(&mut rest, old_value);
    if gated {
        put_back_gated(&mut rest, old_value, new_spec, errors);
    }
    if !same(Some(&rest), Some(old_value)) {
        let text = format!("{SPEC_TEXT}\n{}", difference(&rest, old_value));
        errors.push(new_spec.forbidden(text));
    }
}

/// The fields that differ, as an aid for people.
fn difference(new: &Value, old: &Value) -> String {
    let empty = serde_json::Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let mut keys: Vec<_> = new.keys().chain(old.keys()).collect();
    keys.sort();
    keys.dedup();
    let changed = keys.into_iter().filter(|key| !same(new.get(*key), old.get(*key)));
    let shown = |value: Option<&Value>| value.map_or("nil".to_owned(), ToString::to_string);
    let lines = changed
        .map(|key| format!("-  {key}: {}\n+  {key}: {}", shown(old.get(key)), shown(new.get(key))));
    lines.collect::<Vec<_>>().join("\n")
}

fn put_back(rest: &mut Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        let Some(Value::Array(items)) = rest.get_mut(list) else { continue };
        for (item, before) in items.iter_mut().zip(list_at(old, &[list])) {
            restore(item, before, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        restore(rest, old, field);
    }
    let negative = |value: Option<i64>| value.is_some_and(|value| value < 0);
    let grace = |spec: &Value| at(spec, &["terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    if negative(grace(old)) && grace(rest) == Some(1) {
        restore(rest, old, "terminationGracePeriodSeconds");
    }
}

fn restore(to: &mut Value, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => to[field] = value.clone(),
        None => {
            remove(to, &[field]);
        }
    }
}

fn deadline(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let field = new.get("activeDeadlineSeconds");
    match (field.int(), old.get("activeDeadlineSeconds").int()) {
        (Some(now), Some(before)) if now > before => {
            errors.push(field.invalid("must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            let text = "must not update from a positive integer to nil value";
            errors.push(field.invalid_as(Value::Null, text));
        }
        _ => {}
    }
}

fn tolerations(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let without_seconds = |toleration: &Value| {
        let mut copy = toleration.clone();
        remove(&mut copy, &["tolerationSeconds"]);
        copy
    };
    let field = new.get("tolerations");
    let now: Vec<_> = field.list().iter().map(without_seconds).collect();
    let kept = old
        .get("tolerations")
        .list()
        .iter()
        .map(without_seconds)
        .all(|before| now.iter().any(|now| same(Some(now), Some(&before))));
    if !kept {
        let text = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(field.forbidden(text));
    }
}

fn gates(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let before = old.get("schedulingGates");
    let added: Vec<_> = new
        .get("schedulingGates")
        .items()
        .filter(|gate| {
            !before.items().any(|known| known.get("name").str() == gate.get("name").str())
        })
        .map(|gate| gate.get("name").str().to_owned())
        .collect();
    if !added.is_empty() {
        let text = format!(
            "only deletion is allowed, but found new scheduling gates '{}'",
            added.join(",")
        );
        errors.push(new.get("schedulingGates").forbidden(text));
    }
}

/// While a pod waits at a gate, its node selector may grow and its node affinity narrow.
fn put_back_gated(rest: &mut Value, old: &Value, new: Field<'_>, errors: &mut ErrorList) {
    let selector = new.get("nodeSelector");
    let before = at(old, &["nodeSelector"]).and_then(Value::as_object);
    let grown =
        before.into_iter().flatten().all(|(key, value)| selector.key(key).value() == Some(value));
    if !grown {
        let text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        let value = selector.value().cloned().unwrap_or_default();
        errors.push(selector.invalid_as(value, text));
    }
    restore(rest, old, "nodeSelector");
    if narrows(
        at(old, &["affinity", "nodeAffinity"]),
        new.at(&["affinity", "nodeAffinity"]),
        errors,
    ) {
        match at(old, &["affinity", "nodeAffinity"]) {
            Some(node) => set(rest, &["affinity", "nodeAffinity"], node.clone()),
            None => {
                remove(rest, &["affinity", "nodeAffinity"]);
                if at(old, &["affinity"]).is_none() {
                    remove(rest, &["affinity"]);
                }
            }
        }
    }
}

fn narrows(old: Option<&Value>, new: Field<'_>, errors: &mut ErrorList) -> bool {
    const PATH: &[&str] = &["requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];
    let before = old.map(|old| list_at(old, PATH)).unwrap_or_default();
    if before.is_empty() {
        return true;
    }
    let terms = new.at(PATH);
    if terms.len() != before.len() {
        let value = terms.value().cloned().unwrap_or_default();
        let text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(terms.invalid_as(value, text));
        return true;
    }
    for (term, before) in terms.items().zip(before) {
        for list in ["matchExpressions", "matchFields"] {
            let kept = list_at(before, &[list]).iter().zip(term.get(list).list());
            let longer = term.get(list).len() >= list_at(before, &[list]).len();
            if !longer || !kept.into_iter().all(|(a, b)| same(Some(a), Some(b))) {
                let text = "only additions are allowed (no mutations or deletions)";
                let value = term.value().cloned().unwrap_or_default();
                errors.push(term.invalid_as(value, text));
            }
        }
    }
    true
}

/// What is wrong with a change of `status`.
pub(crate) fn status(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, status) = (new.get("spec"), new.get("status"));
    let node = new.at(&["spec", "nodeName"]);
    if node.str() != old.at(&["spec", "nodeName"]).str() {
        let path = Path::new("status").child("nodeName");
        errors.push(FieldError::forbidden(path, "may not be changed directly"));
    }
    crate::cursor::rule(status.get("nominatedNodeName"), api::validate::dns1123_subdomain, errors);
    let policy = spec.get("restartPolicy").str();
    let lists = [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")];
    for (list, containers) in lists {
        let before = old.get("status").get(list);
        for one in status.get(list).items() {
            let was = before.items().find(|was| was.get("name").str() == one.get("name").str());
            let ended = was.is_some_and(|was| was.at(&["state", "terminated"]).is_set());
            let running_again = !one.at(&["state", "terminated"]).is_set();
            if ended && running_again && !may_restart(spec, containers, one, was, policy) {
                let text = "may not be transitioned to non-terminated state";
                errors.push(one.get("state").forbidden(text));
            }
        }
    }
    ips(status, "podIP", "podIPs", errors);
    ips(status, "hostIP", "hostIPs", errors);
    crate::check::non_negative(status.get("observedGeneration"), errors);
    if status.get("qosClass").str() != old.at(&["status", "qosClass"]).str()
        && !old.at(&["status", "qosClass"]).is_empty()
    {
        immutable(status.get("qosClass"), old.at(&["status", "qosClass"]), errors);
    }
}

fn may_restart(
    spec: Field<'_>,
    list: &'static str,
    status: Field<'_>,
    was: Option<Field<'_>>,
    policy: &str,
) -> bool {
    let container =
        spec.get(list).items().find(|one| one.get("name").str() == status.get("name").str());
    let own = container.map(|one| one.get("restartPolicy").str()).unwrap_or_default();
    let rules = container.is_some_and(|one| !one.get("restartPolicyRules").is_empty());
    let policy = if own.is_empty() { policy } else { own };
    let code = was.and_then(|was| was.at(&["state", "terminated", "exitCode"]).int());
    match policy {
        "Always" => true,
        "OnFailure" => code != Some(0),
        _ => rules,
    }
}

fn ips(status: Field<'_>, one: &'static str, many: &'static str, errors: &mut ErrorList) {
    let list = status.get(many);
    let mut families = [false; 2];
    for item in list.items() {
        let ip = item.get("ip");
        let value = if ip.is_set() { ip } else { item };
        match api::validate::net::parse_ip_sloppy(value.str()) {
            None => errors.extend(
                api::validate::net::ip_legacy(value.str())
                    .into_iter()
                    .map(|text| item.invalid_as(value.str(), text)),
            ),
            Some(ip) => {
                let family = usize::from(ip.is_ipv6());
                if families[family] {
                    let value = list.value().cloned().unwrap_or_default();
                    let text = "may specify no more than one IP for each IP family";
                    errors.push(list.invalid_as(value, text));
                }
                families[family] = true;
            }
        }
    }
    let first = list.index(0).get("ip");
    if !list.is_empty() && first.str() != status.get(one).str() {
        let text = format!("must be equal to `{one}`");
        errors.push(list.index(0).get("ip").invalid(text));
    }
}

/// What is wrong with a change through `ephemeralcontainers`: only additions.
pub(crate) fn ephemeral(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let now = new.at(&["spec", "ephemeralContainers"]);
    for before in old.at(&["spec", "ephemeralContainers"]).items() {
        let name = before.get("name").str();
        match now.items().find(|one| one.get("name").str() == name) {
            None => {
                let text = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(now.forbidden(text));
            }
            Some(one) if !same(one.value(), before.value()) => {
                let text = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.push(now.forbidden(text));
            }
            Some(_) => {}
        }
    }
}

/// Whether the pod is a mirror of one that its node runs from a file.
pub(crate) fn mirror(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    const KEY: &str = "kubernetes.io/config.mirror";
    let at = |pod: Field<'_>| {
        pod.value().map(|pod| str_at(pod, &["metadata", "annotations", KEY]).to_owned())
    };
    if at(new) != at(old) {
        let path = Path::new("metadata").child("annotations").key(KEY);
        errors.push(FieldError::forbidden(path, "may not add or update mirror pod annotation"));
    }
}
