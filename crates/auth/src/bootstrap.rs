//! The roles and bindings that every cluster starts with, from upstream's tables.
//!
//! Each carries the label `kubernetes.io/bootstrapping=rbac-defaults` and the annotation
//! `rbac.authorization.kubernetes.io/autoupdate=true`: the server mends them at every start unless
//! the annotation says `false`.

use serde_json::{Map, Value, json};

const ROLES: &str = include_str!("../facts/rbac_roles.tsv");
const BINDINGS: &str = include_str!("../facts/rbac_bindings.tsv");
const GROUP: &str = "rbac.authorization.k8s.io";

/// All default roles and cluster roles, each with its rules, as API objects.
#[must_use]
pub fn roles() -> Vec<Value> {
    let mut roles: Vec<Value> = Vec::new();
    for row in rows(ROLES) {
        let [kind, namespace, name, labels, aggregation, rule @ ..] = row.as_slice() else {
            continue;
        };
        let same = |role: &Value| {
            role["kind"] == **kind
                && role["metadata"]["name"] == **name
                && role["metadata"]["namespace"].as_str().unwrap_or_default() == *namespace
        };
        if !roles.last().is_some_and(same) {
            let mut role = object(kind, namespace, name);
            for (key, value) in pairs(labels) {
                role["metadata"]["labels"][key] = value.into();
            }
            role["rules"] = json!([]);
            let selectors: Vec<Value> = pairs(aggregation)
                .map(|(key, value)| json!({ "matchLabels": { key: value } }))
                .collect();
            if !selectors.is_empty() {
                role["aggregationRule"] = json!({ "clusterRoleSelectors": selectors });
            }
            roles.push(role);
        }
        if let (Some(rule), Some(role)) = (parse_rule(rule), roles.last_mut()) {
            role["rules"].as_array_mut().expect("made above").push(rule);
        }
    }
    roles
}

/// All default bindings, as API objects.
#[must_use]
pub fn bindings() -> Vec<Value> {
    let mut bindings: Vec<Value> = Vec::new();
    for row in rows(BINDINGS) {
        let [kind, namespace, name, role_kind, role, subject_kind, subject_ns, subject] =
            row.as_slice()
        else {
            continue;
        };
        let same = |binding: &Value| {
            binding["metadata"]["name"] == **name
                && binding["metadata"]["namespace"].as_str().unwrap_or_default() == *namespace
        };
        if !bindings.last().is_some_and(same) {
            let mut binding = object(kind, namespace, name);
            binding["roleRef"] = json!({ "apiGroup": GROUP, "kind": role_kind, "name": role });
            binding["subjects"] = json!([]);
            bindings.push(binding);
        }
        let mut entry = json!({ "kind": subject_kind, "name": subject });
        if *subject_kind == "ServiceAccount" {
            entry["namespace"] = (*subject_ns).into();
        } else {
            entry["apiGroup"] = GROUP.into();
        }
        if let Some(binding) = bindings.last_mut() {
            binding["subjects"].as_array_mut().expect("made above").push(entry);
        }
    }
    bindings
}

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("kind\t"))
        .map(|line| line.split('\t').collect())
}

fn object(kind: &str, namespace: &str, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
        "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "true" },
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata })
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|pair| pair.split_once('='))
}

/// A rule from the columns apiGroups, resources, resourceNames, nonResourceURLs, verbs.
fn parse_rule(columns: &[&str]) -> Option<Value> {
    let [groups, resources, names, urls, verbs] = columns else { return None };
    let list = |text: &str| -> Vec<String> {
        text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    if verbs.is_empty() {
        return None;
    }
    let mut rule = Map::new();
    rule.insert("verbs".into(), json!(list(verbs)));
    // The table writes the core group by name, since an empty cell says "none".
    let groups: Vec<String> = list(groups)
        .into_iter()
        .map(|group| if group == "core" { String::new() } else { group })
        .collect();
    let lists = [
        ("apiGroups", groups),
        ("resources", list(resources)),
        ("resourceNames", list(names)),
        ("nonResourceURLs", list(urls)),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            rule.insert(key.into(), json!(list));
        }
    }
    Some(Value::Object(rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{Objects, Policy};
    use crate::{Attributes, Decision, ResourceAttributes, Target, UserInfo};

    #[test]
    fn every_binding_names_a_role_that_is_there() {
        let (roles, bindings) = (roles(), bindings());
        assert!(roles.len() > 60 && bindings.len() > 50, "{} {}", roles.len(), bindings.len());
        for binding in &bindings {
            let role = &binding["roleRef"]["name"];
            assert!(roles.iter().any(|own| own["metadata"]["name"] == *role), "{role}");
        }
    }

    #[test]
    fn the_defaults_let_masters_do_everything_and_nobody_nothing() {
        let (roles, bindings) = (roles(), bindings());
        let of = |all: &'static str, list: &[Value]| -> Vec<Value> {
            list.iter().filter(|value| value["kind"] == all).cloned().collect()
        };
        let (r, cr) = (of("Role", &roles), of("ClusterRole", &roles));
        let (rb, crb) = (of("RoleBinding", &bindings), of("ClusterRoleBinding", &bindings));
        let policy = Policy::new(&Objects {
            roles: r.iter().collect(),
            cluster_roles: cr.iter().collect(),
            role_bindings: rb.iter().collect(),
            cluster_role_bindings: crb.iter().collect(),
        });
        let ask = |user: UserInfo| {
            let target = Target::Resource(ResourceAttributes {
                verb: "delete".into(),
                resource: "secrets".into(),
                namespace: "kube-system".into(),
                ..ResourceAttributes::default()
            });
            matches!(policy.authorize(&Attributes { user, target }), Decision::Allow(_))
        };
        assert!(ask(UserInfo::named("admin", &["system:masters"])));
        assert!(!ask(UserInfo::anonymous()));
        assert!(!ask(UserInfo::named("ann", &[])));
    }
}
