//! Pod: one or more containers that share a network, run together on one node.
//!
//! A pod is created `Pending`, bound once to a node (`pods/binding`), reported on by its kubelet
//! (`pods/status`), and deleted with grace. Its spec is all but immutable.

pub(crate) mod binding;
pub(crate) mod columns;
mod connect;
pub(crate) mod defaults;
mod eviction;
pub(crate) mod proxy;
pub(crate) mod qos;
pub(crate) mod validation;
pub(crate) mod warnings;

use std::borrow::Cow;
use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, int_at, list_at, remove, set, str_at};
use apiserver::resource::{Deletion, Resource, Row, WriteContext};
use base::clock::Timestamp;
use serde_json::json;

use crate::cursor::Field;
use crate::deps::Deps;
use crate::kind::{Kind, keep};
use crate::rules::Rules;
use validation::{Place, pod_create, pod_spec, update};

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    let connect = |to| connect::Connect::new(deps, to);
    Kind::of("", "pods")
        .tracks_generation()
        .selectable(&[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ])
        .handled("binding", binding::Binder(Arc::clone(&deps.clock)))
        .handled("eviction", eviction::Evictor(Arc::clone(&deps.clock)))
        .handled("log", connect(connect::To::Log))
        .handled("exec", connect(connect::To::Exec))
        .handled("attach", connect(connect::To::Attach))
        .handled("portforward", connect(connect::To::PortForward))
        .handled("proxy", proxy::Proxy::new(deps, proxy::Parent::Pod))
        .rules(Pod)
}

struct Pod;

impl Rules for Pod {
    fn default(&self, object: &mut Value) {
        defaults::pod(object);
    }

    fn prepare_create(&self, ctx: &WriteContext<'_>, pod: &mut Value) {
        let mut status = json!({"phase": "Pending", "qosClass": qos::class(&pod["spec"])});
        if !list_at(pod, &["spec", "schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "lastProbeTime": null, "lastTransitionTime": base::clock::rfc3339_seconds(ctx.now),
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
        pod["status"] = status;
        at_least_one_second(pod);
        merge_label_keys(pod);
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, pod: &mut Value, old: &Value) {
        at_least_one_second(pod);
        // Ephemeral containers have their own subresource.
        keep_in_spec(pod, old, "ephemeralContainers");
    }

    fn prepare_status(&self, _ctx: &WriteContext<'_>, pod: &mut Value, old: &Value) {
        for field in ["ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            match at(old, &["metadata", field]).cloned() {
                Some(value) => set(pod, &["metadata", field], value),
                None => {
                    remove(pod, &["metadata", field]);
                }
            }
        }
        if str_at(pod, &["status", "qosClass"]).is_empty() {
            let class = str_at(old, &["status", "qosClass"]).to_owned();
            let class = if class.is_empty() { qos::class(&old["spec"]).to_owned() } else { class };
            set(pod, &["status", "qosClass"], class);
        }
    }

    fn prepare_view(&self, _ctx: &WriteContext<'_>, view: &str, pod: &mut Value, old: &Value) {
        match view {
            "ephemeralcontainers" => {
                let wanted = at(pod, &["spec", "ephemeralContainers"]).cloned();
                keep(pod, old, "spec");
                keep(pod, old, "status");
                match wanted {
                    Some(wanted) => set(pod, &["spec", "ephemeralContainers"], wanted),
                    None => {
                        remove(pod, &["spec", "ephemeralContainers"]);
                    }
                }
            }
            "resize" => {
                // All but what a resize may touch is the stored object's.
                let metadata = old["metadata"].clone();
                let managed = at(pod, &["metadata", "managedFields"]).cloned();
                let version = at(pod, &["metadata", "resourceVersion"]).cloned();
                keep(pod, old, "status");
                pod["metadata"] = metadata;
                for (field, value) in [("managedFields", managed), ("resourceVersion", version)] {
                    if let Some(value) = value {
                        set(pod, &["metadata", field], value);
                    }
                }
            }
            _ => {}
        }
    }

    fn validate(&self, pod: Field<'_>, errors: &mut ErrorList) {
        pod_spec(pod.get("spec"), Place::Pod, errors);
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, pod: Field<'_>, errors: &mut ErrorList) {
        pod_create(pod, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        update::mirror(new, old, errors);
        update::spec(new, old, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        update::status(new, old, errors);
    }

    fn validate_view(
        &self,
        _ctx: &WriteContext<'_>,
        view: &str,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        match view {
            "ephemeralcontainers" => {
                pod_spec(new.get("spec"), Place::Pod, errors);
                update::ephemeral(new, old, errors);
            }
            "resize" => {
                pod_spec(new.get("spec"), Place::Pod, errors);
                validation::resize::resize(new, old, errors);
            }
            _ => {}
        }
    }

    fn warnings(&self, pod: &Value, old: Option<&Value>) -> Vec<String> {
        // Pods are changed by programs; only their makers are told.
        if old.is_some() {
            return Vec::new();
        }
        warnings::of_pod(Field::root(pod))
    }

    fn row(&self, pod: &Value, now: Timestamp) -> Row {
        columns::row(pod, now)
    }

    fn field<'a>(&self, pod: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        match name {
            "spec.hostNetwork" => {
                let host = at(pod, &["spec", "hostNetwork"]).and_then(Value::as_bool);
                Some(if host.unwrap_or_default() { "true" } else { "false" }.into())
            }
            "status.podIPs" => {
                let ips: Vec<_> = list_at(pod, &["status", "podIPs"])
                    .iter()
                    .map(|ip| str_at(ip, &["ip"]))
                    .collect();
                Some(ips.join(",").into())
            }
            _ => None,
        }
    }

    fn prepare_deletion(
        &self,
        _ctx: &WriteContext<'_>,
        pod: &mut Value,
        grace: Option<i64>,
    ) -> Deletion {
        let seconds = grace_seconds(pod, grace);
        if seconds == 0 {
            return Deletion::Immediate;
        }
        Deletion::Graceful { seconds }
    }
}

/// How long a pod may take to end: as asked, as its spec says, or not at all when nothing runs.
fn grace_seconds(pod: &Value, asked: Option<i64>) -> i64 {
    let unscheduled = str_at(pod, &["spec", "nodeName"]).is_empty();
    let finished = matches!(str_at(pod, &["status", "phase"]), "Failed" | "Succeeded");
    if unscheduled || finished {
        return 0;
    }
    let own = || int_at(pod, &["spec", "terminationGracePeriodSeconds"]);
    let seconds = asked.or_else(own).unwrap_or_default();
    if seconds < 0 { 1 } else { seconds }
}

/// A negative grace period means one second.
fn at_least_one_second(pod: &mut Value) {
    const PATH: &[&str] = &["spec", "terminationGracePeriodSeconds"];
    if int_at(pod, PATH).is_some_and(|seconds| seconds < 0) {
        set(pod, PATH, 1);
    }
}

fn keep_in_spec(pod: &mut Value, old: &Value, field: &str) {
    match at(old, &["spec", field]).cloned() {
        Some(value) => set(pod, &["spec", field], value),
        None => {
            remove(pod, &["spec", field]);
        }
    }
}

/// The label keys of affinity terms and spread constraints become expressions over the pod's own
/// values (KEP-3633, KEP-3243).
fn merge_label_keys(pod: &mut Value) {
    let labels = at(pod, &["metadata", "labels"]).cloned().unwrap_or_default();
    let merge = |term: &mut Value| {
        if !term["labelSelector"].is_object() {
            return;
        }
        for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
            for key in list_at(term, &[field]).to_vec() {
                let Some(value) = key.as_str().and_then(|key| labels.get(key)).cloned() else {
                    continue;
                };
                let made = json!({"key": key, "operator": operator, "values": [value]});
                match term["labelSelector"]["matchExpressions"].as_array_mut() {
                    Some(list) => list.push(made),
                    None => term["labelSelector"]["matchExpressions"] = json!([made]),
                }
            }
        }
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        defaults::each(pod, &["spec", "affinity", kind, required], merge);
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        defaults::each(pod, &["spec", "affinity", kind, preferred], |term| {
            if term["podAffinityTerm"].is_object() {
                merge(&mut term["podAffinityTerm"]);
            }
        });
    }
    defaults::each(pod, &["spec", "topologySpreadConstraints"], merge);
}
