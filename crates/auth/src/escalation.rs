//! Nobody gives what they do not have: the check before a role or binding is written.
//!
//! Pure. The texts are upstream's, for people search for them.
//! (Kubernetes `pkg/registry/rbac/validation`, `component-helpers/auth/rbac/validation`)

use std::collections::{BTreeMap, BTreeSet};

use crate::rbac::{Policy, Rule, matches};
use crate::{Quoted, UserInfo};

/// Everything: what it takes to set an aggregation rule, which can gather anything.
#[must_use]
pub fn full_authority() -> Vec<Rule> {
    let all = || vec!["*".to_owned()];
    vec![
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

/// Whether a caller may give these rules to others in a namespace (empty: everywhere).
///
/// # Errors
/// What it lacks, in upstream's words.
pub fn check(policy: &Policy, user: &UserInfo, ns: &str, wanted: &[Rule]) -> Result<(), String> {
    let missing = missing(&policy.rules_for(user, ns), wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = compact(missing).iter().map(describe).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    Err(format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.username,
        Quoted(&user.groups),
        lines.join("\n")
    ))
}

/// The pieces of `wanted` that none of `own` covers.
#[must_use]
pub fn missing(own: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted
        .iter()
        .flat_map(break_down)
        .filter(|atom| !own.iter().any(|rule| covers(rule, atom)))
        .collect()
}

/// A rule in pieces of one verb, one group, one resource and one name each, so that several own
/// rules together can cover it.
fn break_down(rule: &Rule) -> Vec<Rule> {
    let mut atoms = Vec::new();
    let names: Vec<Vec<String>> = if rule.resource_names.is_empty() {
        vec![Vec::new()]
    } else {
        rule.resource_names.iter().map(|one| vec![one.clone()]).collect()
    };
    for api_group in &rule.api_groups {
        for resource in &rule.resources {
            for resource_names in &names {
                atoms.extend(rule.verbs.iter().map(|verb| Rule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![api_group.clone()],
                    resources: vec![resource.clone()],
                    resource_names: resource_names.clone(),
                    non_resource_urls: Vec::new(),
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        atoms.extend(rule.verbs.iter().map(|verb| Rule {
            verbs: vec![verb.clone()],
            non_resource_urls: vec![url.clone()],
            ..Rule::default()
        }));
    }
    atoms
}

fn covers(own: &Rule, atom: &Rule) -> bool {
    let one = |list: &[String]| list.first().cloned().unwrap_or_default();
    if !matches(&own.verbs, &one(&atom.verbs)) {
        return false;
    }
    if let Some(url) = atom.non_resource_urls.first() {
        return own.non_resource_urls.iter().any(|rule| {
            rule == url || rule.strip_suffix('*').is_some_and(|prefix| url.starts_with(prefix))
        });
    }
    let resource = one(&atom.resources);
    let resource_covered = own.resources.iter().any(|rule| {
        rule == "*"
            || *rule == resource
            || matches!((rule.split_once('/'), resource.split_once('/')),
                (Some(("*", own_sub)), Some((_, sub))) if own_sub == sub)
    });
    let names_covered = own.resource_names.is_empty()
        || (!atom.resource_names.is_empty()
            && atom.resource_names.iter().all(|one| own.resource_names.contains(one)));
    matches(&own.api_groups, &one(&atom.api_groups)) && resource_covered && names_covered
}

/// Pieces of the same group, resource and name become one rule with all their verbs.
fn compact(atoms: Vec<Rule>) -> Vec<Rule> {
    type Place = (Vec<String>, Vec<String>, Vec<String>);
    let mut places: BTreeMap<Place, Rule> = BTreeMap::new();
    let mut others = Vec::new();
    for atom in atoms {
        if !atom.non_resource_urls.is_empty() {
            others.push(atom);
            continue;
        }
        let place = (atom.api_groups.clone(), atom.resources.clone(), atom.resource_names.clone());
        match places.get_mut(&place) {
            None => {
                places.insert(place, atom);
            }
            Some(rule) => {
                for verb in atom.verbs {
                    if !rule.verbs.contains(&verb) {
                        rule.verbs.push(verb);
                    }
                }
            }
        }
    }
    others.extend(places.into_values());
    others
}

fn describe(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", Quoted(list)))
        .collect();
    format!("{{{}}}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::Objects;
    use serde_json::json;

    fn rule(verbs: &[&str], group: &str, resources: &[&str], names: &[&str]) -> Rule {
        let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Rule {
            verbs: own(verbs),
            api_groups: vec![group.to_owned()],
            resources: own(resources),
            resource_names: own(names),
            non_resource_urls: Vec::new(),
        }
    }

    #[test]
    fn several_own_rules_together_cover_one() {
        let own = [
            rule(&["get", "list"], "", &["pods"], &[]),
            rule(&["watch"], "", &["*"], &[]),
            rule(&["get"], "apps", &["*/scale"], &[]),
            rule(&["update"], "", &["configmaps"], &["a", "b"]),
        ];
        let check = |wanted: Rule, lacking: usize| {
            assert_eq!(missing(&own, std::slice::from_ref(&wanted)).len(), lacking, "{wanted:?}");
        };
        check(rule(&["get", "list", "watch"], "", &["pods"], &[]), 0);
        check(rule(&["get"], "", &["pods"], &["x"]), 0);
        check(rule(&["get", "delete"], "", &["pods", "secrets"], &[]), 3);
        check(rule(&["*"], "", &["pods"], &[]), 1);
        check(rule(&["get"], "apps", &["deployments/scale"], &[]), 0);
        check(rule(&["get"], "apps", &["deployments"], &[]), 1);
        check(rule(&["update"], "", &["configmaps"], &["a"]), 0);
        check(rule(&["update"], "", &["configmaps"], &["a", "c"]), 1);
        check(rule(&["update"], "", &["configmaps"], &[]), 1);
        check(rule(&["get"], "*", &["pods"], &[]), 1);
    }

    #[test]
    fn what_is_lacking_is_said_in_upstreams_words() {
        let role = json!({"metadata": {"name": "r"}, "rules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "ann"}]});
        let policy = Policy::new(&Objects {
            cluster_roles: vec![&role],
            cluster_role_bindings: vec![&binding],
            ..Objects::default()
        });
        let user = UserInfo::named("ann", &["devs"]);
        let mut wanted = vec![rule(&["get", "create", "delete"], "", &["pods", "secrets"], &[])];
        wanted.push(Rule {
            verbs: vec!["get".into()],
            non_resource_urls: vec!["/x".into()],
            ..Rule::default()
        });
        assert_eq!(
            check(&policy, &user, "", &wanted).unwrap_err(),
            "user \"ann\" (groups=[\"devs\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"create\" \"delete\"]}\n\
             {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"create\" \"delete\"]}\n\
             {NonResourceURLs:[\"/x\"], Verbs:[\"get\"]}"
        );
        assert!(check(&policy, &user, "", &[rule(&["get"], "", &["pods"], &[])]).is_ok());
    }
}
