//! Role-based access control: from roles and bindings to a decision.
//!
//! A [`Policy`] is an immutable snapshot, made anew when a role or binding changes and asked
//! without locks. It keeps, for each subject, the rules that its bindings give, so that a question
//! costs a walk over the caller's own rules only.

use std::collections::HashMap;
use std::sync::Arc;

use api::object::{list_at, name, namespace, str_at};
use serde_json::{Value, json};

use crate::{Attributes, Decision, NonResource, ResourceAttributes, Target, UserInfo};

/// One rule of a role. Empty lists match nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs, `*` for all.
    pub verbs: Vec<String>,
    /// API groups, empty string for the core group, `*` for all.
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`.
    pub resources: Vec<String>,
    /// Names; empty for all.
    pub resource_names: Vec<String>,
    /// Paths, with a `*` at the end for all that begin so.
    pub non_resource_urls: Vec<String>,
}

/// A snapshot of all roles and bindings.
#[derive(Debug, Default)]
pub struct Policy {
    grants: HashMap<Subject, Vec<Grant>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug, Clone)]
struct Grant {
    /// The namespace that a RoleBinding holds in; `None` for a ClusterRoleBinding.
    namespace: Option<String>,
    rules: Arc<Vec<Rule>>,
    /// How the reason of an allowed request names it.
    source: Arc<str>,
}

/// The four kinds, as they come from the API.
#[derive(Debug, Default)]
pub struct Objects<'a> {
    /// `Role`s.
    pub roles: Vec<&'a Value>,
    /// `ClusterRole`s.
    pub cluster_roles: Vec<&'a Value>,
    /// `RoleBinding`s.
    pub role_bindings: Vec<&'a Value>,
    /// `ClusterRoleBinding`s.
    pub cluster_role_bindings: Vec<&'a Value>,
}

/// The rules of a Role or ClusterRole.
#[must_use]
pub fn rules_of(role: &Value) -> Vec<Rule> {
    list_at(role, &["rules"]).iter().map(Rule::from_value).collect()
}

impl Rule {
    /// A rule from its JSON form.
    #[must_use]
    pub fn from_value(rule: &Value) -> Self {
        let list = |key: &str| -> Vec<String> {
            list_at(rule, &[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            verbs: list("verbs"),
            api_groups: list("apiGroups"),
            resources: list("resources"),
            resource_names: list("resourceNames"),
            non_resource_urls: list("nonResourceURLs"),
        }
    }

    /// Whether the rule allows a request to a resource.
    #[must_use]
    pub fn allows(&self, wanted: &ResourceAttributes) -> bool {
        matches(&self.verbs, &wanted.verb)
            && matches(&self.api_groups, &wanted.group)
            && self.resources.iter().any(|rule| resource_matches(rule, wanted))
            && (self.resource_names.is_empty()
                || (!wanted.name.is_empty() && self.resource_names.contains(&wanted.name)))
    }

    /// Whether the rule allows a request to a path.
    #[must_use]
    pub fn allows_path(&self, wanted: &NonResource) -> bool {
        matches(&self.verbs, &wanted.verb)
            && self.non_resource_urls.iter().any(|rule| match rule.strip_suffix('*') {
                Some(prefix) => wanted.path.starts_with(prefix),
                None => *rule == wanted.path,
            })
    }

    /// The JSON form, as SelfSubjectRulesReview shows it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut value = json!({ "verbs": self.verbs });
        let lists = [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                value[key] = json!(list);
            }
        }
        value
    }
}

pub(crate) fn matches(rules: &[String], wanted: &str) -> bool {
    rules.iter().any(|rule| rule == "*" || rule == wanted)
}

fn resource_matches(rule: &str, wanted: &ResourceAttributes) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => wanted.subresource.is_empty() && rule == wanted.resource,
        Some(("*", subresource)) => subresource == wanted.subresource,
        Some((resource, subresource)) => {
            resource == wanted.resource && subresource == wanted.subresource
        }
    }
}

impl Policy {
    /// A policy from all roles and bindings. Bindings to roles that do not exist give nothing.
    #[must_use]
    pub fn new(objects: &Objects<'_>) -> Self {
        let cluster_roles: HashMap<&str, Arc<Vec<Rule>>> = objects
            .cluster_roles
            .iter()
            .map(|role| (name(role), Arc::new(rules_of(role))))
            .collect();
        let roles: HashMap<(&str, &str), Arc<Vec<Rule>>> = objects
            .roles
            .iter()
            .map(|role| ((namespace(role), name(role)), Arc::new(rules_of(role))))
            .collect();
        let mut policy = Self::default();
        for binding in &objects.cluster_role_bindings {
            let role = str_at(binding, &["roleRef", "name"]);
            if let Some(rules) = cluster_roles.get(role) {
                policy.grant(
                    binding,
                    None,
                    rules,
                    &format!("ClusterRoleBinding {:?} of ClusterRole {role:?}", name(binding)),
                );
            }
        }
        for binding in &objects.role_bindings {
            let (ns, role) = (namespace(binding), str_at(binding, &["roleRef", "name"]));
            let kind = str_at(binding, &["roleRef", "kind"]);
            let rules = match kind {
                "ClusterRole" => cluster_roles.get(role),
                _ => roles.get(&(ns, role)),
            };
            if let Some(rules) = rules {
                policy.grant(
                    binding,
                    Some(ns),
                    rules,
                    &format!(
                        "RoleBinding {:?} of {kind} {role:?}",
                        format!("{}/{ns}", name(binding))
                    ),
                );
            }
        }
        policy
    }

    fn grant(&mut self, binding: &Value, ns: Option<&str>, rules: &Arc<Vec<Rule>>, source: &str) {
        for subject in list_at(binding, &["subjects"]) {
            let subject_name = str_at(subject, &["name"]);
            let (key, shown) = match str_at(subject, &["kind"]) {
                "User" => {
                    (Subject::User(subject_name.to_owned()), format!("User {subject_name:?}"))
                }
                "Group" => {
                    (Subject::Group(subject_name.to_owned()), format!("Group {subject_name:?}"))
                }
                "ServiceAccount" => {
                    let own = str_at(subject, &["namespace"]);
                    let sa_namespace = if own.is_empty() { ns.unwrap_or_default() } else { own };
                    let user = crate::token::service_account_username(sa_namespace, subject_name);
                    let shown = format!("ServiceAccount \"{subject_name}/{sa_namespace}\"");
                    (Subject::User(user), shown)
                }
                _ => continue,
            };
            self.grants.entry(key).or_default().push(Grant {
                namespace: ns.map(str::to_owned),
                rules: rules.clone(),
                source: format!("RBAC: allowed by {source} to {shown}").into(),
            });
        }
    }

    fn grants_of<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Grant> {
        let by_name = self.grants.get(&Subject::User(user.username.clone()));
        let by_group =
            user.groups.iter().filter_map(|group| self.grants.get(&Subject::Group(group.clone())));
        by_name.into_iter().chain(by_group).flatten()
    }

    /// The decision on a request. RBAC never denies: it allows, or has no opinion.
    #[must_use]
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        for grant in self.grants_of(&attributes.user) {
            let allowed = match (&attributes.target, &grant.namespace) {
                (Target::Resource(wanted), Some(ns)) if *ns != wanted.namespace => false,
                (Target::Resource(wanted), _) => grant.rules.iter().any(|rule| rule.allows(wanted)),
                (Target::NonResource(_), Some(_)) => false,
                (Target::NonResource(wanted), None) => {
                    grant.rules.iter().any(|rule| rule.allows_path(wanted))
                }
            };
            if allowed {
                return Decision::Allow(grant.source.to_string());
            }
        }
        Decision::NoOpinion(String::new())
    }

    /// All rules that a caller has in a namespace (cluster-wide ones too).
    #[must_use]
    pub fn rules_for(&self, user: &UserInfo, ns: &str) -> Vec<Rule> {
        self.grants_of(user)
            .filter(|grant| grant.namespace.as_deref().is_none_or(|own| own == ns))
            .flat_map(|grant| grant.rules.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let reader = json!({"metadata": {"name": "reader"}, "rules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
            {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["*/scale"]},
            {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/metrics/*"]},
        ]});
        let one = json!({"metadata": {"name": "one", "namespace": "a"}, "rules": [
            {"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["x"]},
        ]});
        let bind = |name: &str, ns: Option<&str>, kind: &str, role: &str, subject: Value| {
            let mut binding = json!({"metadata": {"name": name}, "roleRef": {"kind": kind, "name": role},
                "subjects": [subject]});
            if let Some(ns) = ns {
                binding["metadata"]["namespace"] = ns.into();
            }
            binding
        };
        let everywhere =
            bind("crb", None, "ClusterRole", "reader", json!({"kind": "Group", "name": "devs"}));
        let here = bind(
            "rb",
            Some("a"),
            "ClusterRole",
            "reader",
            json!({"kind": "ServiceAccount", "name": "bot"}),
        );
        let named = bind("rb1", Some("a"), "Role", "one", json!({"kind": "User", "name": "eve"}));
        Policy::new(&Objects {
            roles: vec![&one],
            cluster_roles: vec![&reader],
            role_bindings: vec![&here, &named],
            cluster_role_bindings: vec![&everywhere],
        })
    }

    fn ask(user: &str, group: &str, what: &str) -> bool {
        let mut words = what.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (verb, api_group, full, namespace, name) = (word(), word(), word(), word(), word());
        let (resource, subresource) = full.split_once('/').unwrap_or((&full, ""));
        let wanted = ResourceAttributes {
            verb,
            group: api_group.replace('-', ""),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.replace('-', ""),
            name,
            ..ResourceAttributes::default()
        };
        let attributes =
            Attributes { user: UserInfo::named(user, &[group]), target: Target::Resource(wanted) };
        matches!(policy().authorize(&attributes), Decision::Allow(_))
    }

    #[test]
    fn rules_hold_where_their_binding_says() {
        assert!(ask("ann", "devs", "get - pods b"));
        assert!(ask("ann", "devs", "list - pods -"));
        assert!(ask("ann", "devs", "get - pods/log b p"));
        assert!(ask("ann", "devs", "get apps deployments/scale b d"));
        assert!(!ask("ann", "devs", "get apps deployments b d"));
        assert!(!ask("ann", "devs", "delete - pods b p"));
        assert!(!ask("ann", "others", "get - pods b p"));
        assert!(ask("system:serviceaccount:a:bot", "x", "get - pods a p"));
        assert!(!ask("system:serviceaccount:a:bot", "x", "get - pods b p"));
        assert!(ask("eve", "x", "update - configmaps a x"));
        assert!(!ask("eve", "x", "update - configmaps a y"));
        assert!(!ask("eve", "x", "update - configmaps a"));
    }

    #[test]
    fn paths_match_exactly_or_by_prefix() {
        let rule = &policy().rules_for(&UserInfo::named("a", &["devs"]), "")[2];
        for (path, allowed) in [
            ("/healthz", true),
            ("/healthz/ping", false),
            ("/metrics/x", true),
            ("/metrics", false),
        ] {
            let wanted = NonResource { verb: "get".into(), path: path.into() };
            assert_eq!(rule.allows_path(&wanted), allowed, "{path}");
        }
    }
}
