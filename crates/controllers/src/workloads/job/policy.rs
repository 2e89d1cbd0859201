//! What a Job makes of a pod's failure, and when some successes are enough. Pure.
//!
//! (KEPs 3329, 3850, 3998)

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::Pod;

use super::indexes;
use crate::common::owner::{name, namespace};

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It counts.
    Count,
    /// It does not count; the pod is replaced.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The Job has failed, for this reason in words.
    FailJob(String),
}

/// Judges a failed pod by the Job's pod failure policy.
pub(crate) fn judge(job: &Job, pod: &Pod) -> Verdict {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    for (index, rule) in policy.iter().flat_map(|policy| &policy.rules).enumerate() {
        let Some(what) = matched(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{what} matching FailJob rule at index {index}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// What of a pod a rule matches, in words.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let whose = format!("{}/{}", namespace(&pod.metadata), name(&pod.metadata));
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let statuses = status.init_container_statuses.iter().flatten();
        for container in statuses.chain(status.container_statuses.iter().flatten()) {
            let wanted = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
            let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
            let Some(ended) = ended.filter(|ended| wanted && ended.exit_code != 0) else {
                continue;
            };
            let listed = codes.values.contains(&ended.exit_code);
            if listed == (codes.operator == "In") {
                return Some(format!(
                    "Container {} for pod {whose} failed with exit code {}",
                    container.name, ended.exit_code
                ));
            }
        }
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    rule.on_pod_conditions.iter().flatten().find_map(|pattern| {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        conditions
            .iter()
            .find(|found| found.type_ == pattern.type_ && found.status == wanted)
            .map(|found| format!("Pod {whose} has condition {}", found.type_))
    })
}

/// The rule of the Job's success policy that is met, in words.
pub(crate) fn succeeded(job: &Job, completed: &BTreeSet<i32>) -> Option<String> {
    let spec = job.spec.as_ref()?;
    let end = spec.completions.unwrap_or_default();
    for (index, rule) in spec.success_policy.iter().flat_map(|policy| &policy.rules).enumerate() {
        let of_interest: BTreeSet<i32> = match &rule.succeeded_indexes {
            Some(text) => indexes::parse(text, end),
            None => (0..end).collect(),
        };
        let count = of_interest.intersection(completed).count();
        let wanted = match rule.succeeded_count {
            Some(wanted) => usize::try_from(wanted).unwrap_or_default(),
            None => of_interest.len(),
        };
        if count >= wanted {
            return Some(format!("Matched rules at index {index}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(spec: serde_json::Value) -> Job {
        serde_json::from_value(json!({"metadata": {"name": "j"}, "spec": spec})).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let job = job(json!({"template": {}, "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1]}},
        ]}}));
        let check = |status: serde_json::Value, expected: Verdict| {
            let pod: Pod = serde_json::from_value(
                json!({"metadata": {"name": "p", "namespace": "n"}, "status": status}),
            )
            .unwrap();
            assert_eq!(judge(&job, &pod), expected);
        };
        let exit = |code: i32| {
            json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]})
        };
        check(json!({}), Verdict::Count);
        check(exit(1), Verdict::Count);
        check(exit(7), Verdict::FailIndex);
        let text =
            "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        check(exit(42), Verdict::FailJob(text.into()));
        let disrupted = json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}]});
        check(disrupted, Verdict::Ignore);
    }

    #[test]
    fn some_successes_may_be_enough() {
        let check = |rule: serde_json::Value, completed: &str, expected: bool| {
            let job = job(json!({"template": {}, "completions": 5,
                "successPolicy": {"rules": [rule]}}));
            assert_eq!(succeeded(&job, &indexes::parse(completed, 5)).is_some(), expected);
        };
        check(json!({"succeededIndexes": "0,2"}), "0", false);
        check(json!({"succeededIndexes": "0,2"}), "0,2", true);
        check(json!({"succeededIndexes": "0-4", "succeededCount": 1}), "3", true);
        check(json!({"succeededCount": 2}), "3", false);
        check(json!({"succeededCount": 2}), "3,4", true);
    }
}
