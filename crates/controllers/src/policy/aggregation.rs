//! ClusterRole aggregation: a role that others add up to has all their rules.
//!
//! (Kubernetes `pkg/controller/clusterroleaggregation`)

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use reconcile::{Action, Cache, Ctx, Error, Key, Patch, Reconciler, Watches, or_gone};
use serde_json::json;

use crate::common::owner::name;
use crate::common::selector;
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    roles: Cache<ClusterRole>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { roles: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        let roles = self.roles.clone();
        watches.on(&self.roles, move |_, queue| {
            let sums = roles.list().into_iter().filter(|role| role.aggregation_rule.is_some());
            sums.for_each(|role| queue.add(Key::of(&role.metadata)));
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(role) = self.roles.get_key(key) else { return Ok(Action::Await) };
        if role.aggregation_rule.is_none() {
            return Ok(Action::Await);
        }
        let rules = sum(&role, &self.roles.list());
        if rules != role.rules.clone().unwrap_or_default() {
            let patch = json!({
                "metadata": {"resourceVersion": role.metadata.resource_version},
                "rules": rules,
            });
            or_gone(ctx.writer.patch::<ClusterRole>(key, "", Patch::Merge(patch)).await)?;
        }
        Ok(Action::Await)
    }
}

/// The rules of all roles that are selected, each once, in the order of their roles' names.
fn sum(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let selectors =
        role.aggregation_rule.iter().flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
    let selectors: Vec<_> = selectors.collect();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for other in all {
        let labels = other.metadata.labels.as_ref();
        if name(&other.metadata) == name(&role.metadata)
            || !selectors.iter().any(|wanted| selector::matches(wanted, labels))
        {
            continue;
        }
        for rule in other.rules.iter().flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_roles_add_up() {
        let role = |json: &str| Arc::new(serde_json::from_str::<ClusterRole>(json).unwrap());
        let all = [
            role(r#"{"metadata":{"name":"a","labels":{"to":"view"}},"rules":[{"verbs":["get"]}]}"#),
            role(
                r#"{"metadata":{"name":"b","labels":{"to":"view"}},"rules":[{"verbs":["get"]},{"verbs":["list"]}]}"#,
            ),
            role(r#"{"metadata":{"name":"c"},"rules":[{"verbs":["delete"]}]}"#),
            role(
                r#"{"metadata":{"name":"view","labels":{"to":"view"}},"rules":[{"verbs":["x"]}],
                     "aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"to":"view"}}]}}"#,
            ),
        ];
        let verbs: Vec<_> = sum(&all[3], &all).into_iter().flat_map(|rule| rule.verbs).collect();
        assert_eq!(verbs, ["get", "list"]);
    }
}
