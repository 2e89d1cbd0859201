//! Scopes: which objects a quota is about at all.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodAffinityTerm, PodSpec, ResourceQuotaSpec,
};

use super::Item;
use crate::pod_resources::is_best_effort;

/// Whether an object is in every scope of a quota. Scopes are about pods, one also about claims of
/// storage; nothing else is in any.
#[must_use]
pub fn is_in_scopes(quota: &ResourceQuotaSpec, item: &Item<'_>) -> bool {
    let plain = quota.scopes.iter().flatten().map(|scope| (scope.as_str(), "Exists", &[][..]));
    let selector = quota.scope_selector.as_ref().and_then(|one| one.match_expressions.as_ref());
    let selected = selector.into_iter().flatten().map(|one| {
        let values = one.values.as_deref().unwrap_or_default();
        (one.scope_name.as_str(), one.operator.as_str(), values)
    });
    plain.chain(selected).all(|(scope, operator, values)| match item {
        Item::Pod(pod) => pod_is_in(pod, scope, operator, values),
        Item::Claim(claim) => {
            scope == "VolumeAttributesClass" && claim_is_in(claim, operator, values)
        }
        _ => false,
    })
}

fn pod_is_in(pod: &Pod, scope: &str, operator: &str, values: &[String]) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let terminating = spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(spec),
        "NotBestEffort" => !is_best_effort(spec),
        "PriorityClass" => {
            let class = spec.priority_class_name.as_ref().filter(|class| !class.is_empty());
            chosen(class, operator, values)
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(spec),
        _ => false,
    }
}

fn chosen(class: Option<&String>, operator: &str, values: &[String]) -> bool {
    match operator {
        "In" => class.is_some_and(|class| values.contains(class)),
        "NotIn" => class.is_none_or(|class| !values.contains(class)),
        "DoesNotExist" => class.is_none(),
        _ => class.is_some(),
    }
}

/// A claim has the class that it wants, the one that it has, and the one that it is changed to.
fn claim_is_in(claim: &PersistentVolumeClaim, operator: &str, values: &[String]) -> bool {
    let status = claim.status.as_ref();
    let classes: Vec<&String> = [
        claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_ref()),
        status.and_then(|status| status.current_volume_attributes_class_name.as_ref()),
        status.and_then(|status| {
            status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.as_ref()
        }),
    ]
    .into_iter()
    .flatten()
    .filter(|class| !class.is_empty())
    .collect();
    if classes.is_empty() {
        return chosen(None, operator, values);
    }
    classes.into_iter().any(|class| chosen(Some(class), operator, values))
}

fn crosses_namespaces(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let crosses = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|names| !names.is_empty())
            || term.namespace_selector.is_some()
    };
    let near = affinity.pod_affinity.iter().flat_map(|own| {
        let required = own.required_during_scheduling_ignored_during_execution.iter().flatten();
        let preferred = own.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|weighted| &weighted.pod_affinity_term))
    });
    let far = affinity.pod_anti_affinity.iter().flat_map(|own| {
        let required = own.required_during_scheduling_ignored_during_execution.iter().flatten();
        let preferred = own.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|weighted| &weighted.pod_affinity_term))
    });
    near.chain(far).any(crosses)
}
