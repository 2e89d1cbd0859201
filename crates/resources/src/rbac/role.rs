//! Role and ClusterRole: sets of permissions.

use std::sync::Arc;

use api::field::ErrorList;
use apiserver::resource::Resource;

use super::name_rule;
use crate::check::label_selector;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;

/// Role.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("rbac.authorization.k8s.io", "roles")
        .named(name_rule)
        .creates_on_update()
        .rules(Role { cluster: false })
}

/// ClusterRole.
#[must_use]
pub fn cluster_kind() -> Arc<dyn Resource> {
    Kind::of("rbac.authorization.k8s.io", "clusterroles")
        .named(name_rule)
        .creates_on_update()
        .rules(Role { cluster: true })
}

struct Role {
    cluster: bool,
}

impl Rules for Role {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        for rule in object.get("rules").items() {
            policy_rule(rule, self.cluster, errors);
        }
        let aggregation = object.get("aggregationRule");
        if self.cluster && aggregation.is_set() {
            let selectors = aggregation.get("clusterRoleSelectors");
            if selectors.is_empty() {
                let text =
                    "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.push(selectors.required(text));
            }
            for selector in selectors.items() {
                label_selector(selector, errors);
            }
        }
    }
}

fn policy_rule(rule: Field<'_>, cluster: bool, errors: &mut ErrorList) {
    if rule.get("verbs").is_empty() {
        errors.push(rule.get("verbs").required("verbs must contain at least one value"));
    }
    let urls = rule.get("nonResourceURLs");
    if !urls.is_empty() {
        let shown = || urls.value().cloned().unwrap_or_default();
        if !cluster {
            let text = "namespaced rules cannot apply to non-resource URLs";
            errors.push(urls.invalid_as(shown(), text));
        }
        if ["apiGroups", "resources", "resourceNames"]
            .iter()
            .any(|field| !rule.get(field).is_empty())
        {
            let text = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(urls.invalid_as(shown(), text));
        }
        return;
    }
    if rule.get("apiGroups").is_empty() {
        let text = "resource rules must supply at least one api group";
        errors.push(rule.get("apiGroups").required(text));
    }
    if rule.get("resources").is_empty() {
        let text = "resource rules must supply at least one resource";
        errors.push(rule.get("resources").required(text));
    }
}
