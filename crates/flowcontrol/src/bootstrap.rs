//! The priority levels and flow schemas that every cluster has, and how they are kept as they
//! should be. Pure: from what is there to what is to be done.
//!
//! Two of each are mandatory and always as they are here; the others are suggestions, which an
//! administrator takes over by setting the annotation to `false`.

use api::Value;
use api::object::{annotation, int_at, name};
use serde_json::json;

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
/// `true`: the object's spec is kept at its suggestion.
pub(crate) const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

fn level(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "PriorityLevelConfiguration",
        "metadata": { "name": name, "annotations": { AUTOUPDATE: "true" } },
        "spec": spec,
    })
}

fn limited(name: &str, shares: u32, lendable: u32, queues: Option<(u32, u32)>) -> Value {
    let response = match queues {
        Some((queues, hand)) => json!({
            "type": "Queue",
            "queuing": { "queues": queues, "handSize": hand, "queueLengthLimit": 50 },
        }),
        None => json!({ "type": "Reject" }),
    };
    let limited = json!({
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": response,
    });
    level(name, json!({ "type": "Limited", "limited": limited }))
}

/// The priority levels; the first two are mandatory.
#[must_use]
pub fn priority_levels() -> Vec<Value> {
    let exempt = json!({ "nominalConcurrencyShares": 0, "lendablePercent": 0 });
    vec![
        level("exempt", json!({ "type": "Exempt", "exempt": exempt })),
        limited("catch-all", 5, 0, None),
        limited("system", 30, 33, Some((64, 6))),
        limited("node-high", 40, 25, Some((64, 6))),
        limited("leader-election", 10, 0, Some((16, 4))),
        limited("workload-high", 40, 50, Some((128, 6))),
        limited("workload-low", 100, 90, Some((128, 6))),
        limited("global-default", 20, 50, Some((128, 6))),
    ]
}

fn group(name: &str) -> Value {
    json!({ "kind": "Group", "group": { "name": name } })
}

fn user(name: &str) -> Value {
    json!({ "kind": "User", "user": { "name": name } })
}

fn kube_system(name: &str) -> Value {
    let account = json!({ "namespace": "kube-system", "name": name });
    json!({ "kind": "ServiceAccount", "serviceAccount": account })
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({
        "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"],
    });
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn everything(subjects: &[Value]) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
    })
}

fn schema(name: &str, level: &str, precedence: u32, method: Option<&str>, rule: Value) -> Value {
    let mut schema = json!({
        "apiVersion": API_VERSION,
        "kind": "FlowSchema",
        "metadata": { "name": name, "annotations": { AUTOUPDATE: "true" } },
        "spec": {
            "priorityLevelConfiguration": { "name": level },
            "matchingPrecedence": precedence,
            "rules": [rule],
        },
    });
    if let Some(method) = method {
        schema["spec"]["distinguisherMethod"] = json!({ "type": method });
    }
    schema
}

/// The flow schemas; the first two are mandatory.
#[must_use]
pub fn flow_schemas() -> Vec<Value> {
    let (by_user, by_namespace) = (Some("ByUser"), Some("ByNamespace"));
    let all = [group("system:unauthenticated"), group("system:authenticated")];
    let (manager, scheduler) = ("system:kube-controller-manager", "system:kube-scheduler");
    let elects: &[&str] = &["get", "create", "update"];
    let leases = || resources(elects, "coordination.k8s.io", &["leases"], false);
    let probes = json!({
        "subjects": all,
        "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }],
    });
    let elections = json!({
        "subjects": [user(manager), user(scheduler), kube_system("*")],
        "resourceRules": [leases()],
    });
    let endpoints = json!({
        "subjects": [
            user(manager),
            kube_system("endpoint-controller"),
            kube_system("endpointslicemirroring-controller"),
        ],
        "resourceRules": [resources(elects, "", &["endpoints"], false)],
    });
    let workloads = json!({
        "subjects": [kube_system("*")],
        "resourceRules": [resources(elects, "", &["endpoints", "configmaps"], false), leases()],
    });
    let nodes = json!({
        "subjects": [group("system:nodes")],
        "resourceRules": [
            resources(&["*"], "", &["nodes", "nodes/status"], true),
            resources(&["*"], "coordination.k8s.io", &["leases"], false),
        ],
    });
    let of = everything;
    vec![
        schema("exempt", "exempt", 1, None, of(&[group("system:masters")])),
        schema("catch-all", "catch-all", 10_000, by_user, of(&all)),
        schema("probes", "exempt", 2, None, probes),
        schema("system-leader-election", "leader-election", 100, by_user, elections),
        schema("endpoint-controller", "workload-high", 150, by_user, endpoints),
        schema("workload-leader-election", "leader-election", 200, by_user, workloads),
        schema("system-node-high", "node-high", 400, by_user, nodes),
        schema("system-nodes", "system", 500, by_user, of(&[group("system:nodes")])),
        schema("kube-controller-manager", "workload-high", 800, by_namespace, of(&[user(manager)])),
        schema("kube-scheduler", "workload-high", 800, by_namespace, of(&[user(scheduler)])),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            by_namespace,
            of(&[kube_system("*")]),
        ),
        schema(
            "service-accounts",
            "workload-low",
            9000,
            by_user,
            of(&[group("system:serviceaccounts")]),
        ),
        schema("global-default", "global-default", 9900, by_user, of(&all)),
    ]
}

/// What is to be done to one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Mend {
    /// It is missing.
    Create(Value),
    /// Its annotation, and its spec when there is one here, are not as they should be.
    Change {
        /// The object.
        name: String,
        /// `apf.kubernetes.io/autoupdate-spec`.
        autoupdate: &'static str,
        /// The spec.
        spec: Option<Value>,
    },
    /// It says that it is one of these, and is not any more.
    Delete(String),
}

/// What is to be done so that the objects of a kind are as they should be: `wanted` are this
/// file's, of which the first two are mandatory; `found` are the cluster's, with their defaults.
#[must_use]
pub fn mend(wanted: &[Value], found: &[Value]) -> Vec<Mend> {
    let mut deeds = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        match found.iter().find(|one| name(one) == name(wanted)) {
            None => deeds.push(Mend::Create(wanted.clone())),
            Some(found) => deeds.extend(mend_one(wanted, found, index < 2)),
        }
    }
    let is_wanted = |one: &Value| wanted.iter().any(|wanted| name(wanted) == name(one));
    let unwanted = found
        .iter()
        .filter(|one| annotation(one, AUTOUPDATE) == Some("true") && !is_wanted(one))
        .map(|one| Mend::Delete(name(one).to_owned()));
    deeds.extend(unwanted);
    deeds
}

fn mend_one(wanted: &Value, found: &Value, is_mandatory: bool) -> Option<Mend> {
    let annotated = annotation(found, AUTOUPDATE);
    // Without a word, what was never changed is kept up to date.
    let is_untouched = int_at(found, &["metadata", "generation"]) == Some(1);
    let updates = is_mandatory
        || match annotated {
            Some(word) => word == "true",
            None => is_untouched,
        };
    let autoupdate = if updates { "true" } else { "false" };
    let mut spec = wanted["spec"].clone();
    // What exempt requests lend and are counted as is the administrator's in any case.
    if is_mandatory && !found["spec"]["exempt"].is_null() && !spec["exempt"].is_null() {
        spec["exempt"] = found["spec"]["exempt"].clone();
    }
    let spec = (updates && spec != found["spec"]).then_some(spec);
    (spec.is_some() || annotated != Some(autoupdate)).then(|| Mend::Change {
        name: name(wanted).to_owned(),
        autoupdate,
        spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_kept_until_they_are_taken_over() {
        let wanted = priority_levels();
        assert_eq!(mend(&wanted, &[]).len(), wanted.len());
        assert_eq!(mend(&wanted, &wanted), []);
        let changed = |index: usize, change: fn(&mut Value)| {
            let mut found = wanted.clone();
            change(&mut found[index]);
            mend(&wanted, &found)
        };
        let system = changed(2, |one| one["spec"]["limited"]["lendablePercent"] = 1.into());
        let Mend::Change { name, spec: Some(spec), .. } = &system[0] else { panic!("{system:?}") };
        assert_eq!((name.as_str(), spec), ("system", &wanted[2]["spec"]));
        let own = changed(2, |one| {
            one["spec"]["limited"]["lendablePercent"] = 1.into();
            one["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        });
        assert_eq!(own, []);
        // Not for the mandatory ones.
        let catch_all = changed(1, |one| {
            one["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        });
        assert!(matches!(&catch_all[0], Mend::Change { autoupdate: "true", .. }));
        let exempt = changed(0, |one| one["spec"]["exempt"]["lendablePercent"] = 50.into());
        assert_eq!(exempt, []);
    }

    #[test]
    fn words_are_put_in_and_old_suggestions_go() {
        let wanted = priority_levels();
        let mut found = wanted.clone();
        found[3]["metadata"] = json!({ "name": "node-high", "generation": 2 });
        found[3]["spec"]["limited"]["lendablePercent"] = 7.into();
        found.push(level("retired", json!({})));
        found.push(json!({ "metadata": { "name": "own" } }));
        let change = Mend::Change { name: "node-high".into(), autoupdate: "false", spec: None };
        assert_eq!(mend(&wanted, &found), [change, Mend::Delete("retired".into())]);
    }

    #[test]
    fn every_schema_has_its_level_and_a_place_of_its_own() {
        let levels = priority_levels();
        for schema in flow_schemas() {
            let wanted = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap();
            assert!(levels.iter().any(|level| name(level) == wanted), "{schema}");
        }
    }
}
