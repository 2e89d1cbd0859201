//! What may change in a pod through `resize`: amounts of processor and memory, of its containers and of
//! itself, and nothing else.
//!
//! (Kubernetes `ValidatePodResize`)

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, remove, set, str_at};

use crate::core::pod::qos;
use crate::cursor::{Field, same};

/// What is wrong with a change through `resize`.
pub(crate) fn resize(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, old_spec) = (new.get("spec"), old.get("spec"));
    let (Some(new_value), Some(old_value)) = (spec.value(), old_spec.value()) else { return };
    if let Some(text) = never(old) {
        *errors = ErrorList::from([FieldError::forbidden(Path::new(""), text)]);
        return;
    }
    let class = match old.at(&["status", "qosClass"]).str() {
        "" => qos::class(old_value),
        class => class,
    };
    if class != qos::class(new_value) {
        let text = "Pod QOS Class may not change as a result of resizing";
        errors.push(spec.invalid_as(new.at(&["status", "qosClass"]).str(), text));
    }
    let running = old.at(&["status", "containerStatuses"]);
    let mut running = running.items().filter(|one| one.get("state").get("running").is_set());
    if running.next().is_some_and(|one| !one.get("resources").is_set()) {
        errors.push(spec.forbidden("Pod running on node without support for resize"));
    }
    let mut rest = new_value.clone();
    whole(spec, old_spec, &mut rest, errors);
    let lists = [("containers", "containers"), ("initContainers", "initContainers")];
    let before = errors.len();
    for (list, words) in lists {
        in_order(Field::get(spec, list), Field::get(old_spec, list), words, errors);
    }
    if errors.len() > before {
        return;
    }
    for list in ["initContainers", "containers"] {
        let (now, then) = (Field::get(spec, list), Field::get(old_spec, list));
        for (one, was) in now.items().zip(then.items()) {
            kept(one.get("resources"), was.get("resources"), "resource", errors);
        }
    }
    for (list, _) in lists {
        let (now, then) = (Field::get(spec, list), Field::get(old_spec, list));
        for (index, (one, was)) in now.items().zip(then.items()).enumerate() {
            let Some(put) = rest.get_mut(list).and_then(|list| list.get_mut(index)) else {
                continue;
            };
            container(spec, list, one, was, put, errors);
        }
    }
    if errors.is_empty() && !same(Some(&rest), Some(old_value)) {
        errors.push(spec.forbidden("only cpu and memory resources are mutable"));
    }
}

/// Why a pod cannot be resized at all.
fn never(old: Field<'_>) -> Option<&'static str> {
    let pod = old.value()?;
    let mirror = at(pod, &["metadata", "annotations", "kubernetes.io/config.mirror"]);
    if mirror.is_some() {
        return Some("static pods cannot be resized");
    }
    (str_at(pod, &["spec", "os", "name"]) == "windows").then_some("windows pods cannot be resized")
}

/// What is said of the pod as a whole; `rest` gets back what may change.
fn whole(new: Field<'_>, old: Field<'_>, rest: &mut Value, errors: &mut ErrorList) {
    let (now, then) = (new.get("resources"), old.get("resources"));
    let says = |own: Field<'_>| !own.get("requests").is_empty() || !own.get("limits").is_empty();
    if !says(now) && !says(then) {
        return;
    }
    if then.is_set() && !now.is_set() {
        errors.push(now.forbidden("pod-level resources cannot be removed"));
        return;
    }
    kept(now, then, "pod-level resource", errors);
    put_back(rest, then.value());
    let nothing = rest["resources"].as_object().is_none_or(|own| own.values().all(is_empty));
    if !then.is_set() && nothing {
        remove(rest, &["resources"]);
    }
    if !same(rest.get("resources"), then.value()) {
        errors.push(new.forbidden("only cpu and memory resources are mutable at pod-level"));
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

/// Containers stay as many, by their names in their order.
fn in_order(new: Field<'_>, old: Field<'_>, words: &str, errors: &mut ErrorList) {
    if new.len() != old.len() {
        errors.push(new.forbidden(format!("{words} may not be added or removed on resize")));
        return;
    }
    for (one, was) in new.items().zip(old.items()) {
        if one.get("name").str() != was.get("name").str() {
            let text = format!("{words} may not be renamed or reordered on resize");
            errors.push(one.get("name").forbidden(text));
        }
    }
}

/// Requests and limits that there are stay; how much they say may change.
fn kept(new: Field<'_>, old: Field<'_>, what: &str, errors: &mut ErrorList) {
    for kind in ["requests", "limits"] {
        let (now, then) = (Field::get(new, kind), Field::get(old, kind));
        if then.len() > now.len() || then.entries().any(|(name, _)| !now.has(name)) {
            errors.push(now.forbidden(format!("{what} {kind} cannot be removed")));
        }
    }
}

/// One container; `put` gets back what may change of it.
fn container(
    spec: Field<'_>,
    list: &str,
    new: Field<'_>,
    old: Field<'_>,
    put: &mut Value,
    errors: &mut ErrorList,
) {
    let changed = !same(new.value(), old.value());
    put_back(put, old.get("resources").value());
    // What else resources say is not known to be kept.
    remove(put, &["resources", "claims"]);
    let differs = !same(Some(put), old.value());
    if list == "containers" {
        if differs {
            errors.push(spec.forbidden("only cpu and memory resources are mutable"));
        }
        return;
    }
    if differs {
        let text = "only cpu and memory resources for init or sidecar containers are mutable";
        errors.push(new.forbidden(text));
    }
    let policies = new.get("resizePolicy");
    let restarts = policies.items().any(|one| one.get("restartPolicy").str() == "RestartContainer");
    if changed && new.get("restartPolicy").str() != "Always" && restarts {
        let text = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
        errors.push(new.forbidden(text));
    }
}

/// Gives an object back the processor and memory that its resources had.
fn put_back(to: &mut Value, resources: Option<&Value>) {
    for kind in ["limits", "requests"] {
        for name in ["cpu", "memory"] {
            match resources.and_then(|own| at(own, &[kind, name])) {
                Some(amount) => set(to, &["resources", kind, name], amount.clone()),
                None => drop(remove(to, &["resources", kind, name])),
            }
        }
    }
}
