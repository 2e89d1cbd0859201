//! Jobs and CronJobs.

use api::Value;
use serde_json::json;

use super::*;

fn job(more: Value) -> Value {
    let own = json!({"template": job_template(), "manualSelector": true, "selector": {"matchLabels": {"a": "b"}}});
    merged(&json!({ "spec": own }), &json!({ "spec": more }))
}

#[test]
fn numbers_and_modes() {
    let negative = "Invalid value: -1: must be greater than or equal to 0";
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        create("batch", "jobs", job(json!({ field: -1 })), &format!("spec.{field}: {negative}"));
    }
    let indexed = job(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 1}));
    rows(
        "batch",
        "jobs",
        &indexed,
        &[
            (
                json!({"spec": {"completionMode": "X"}}),
                "spec.completionMode: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"parallelism": 100_001}}),
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
            ),
            (
                json!({"spec": {"maxFailedIndexes": 1}}),
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            ),
            (
                json!({"spec": {"backoffLimitPerIndex": 1, "maxFailedIndexes": 3}}),
                "spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions",
            ),
            (
                json!({"spec": {"podReplacementPolicy": "X"}}),
                "spec.podReplacementPolicy: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"managedBy": "a.b/".to_owned() + &"c".repeat(63)}}),
                "spec.managedBy: Too long: may not be more than 63",
            ),
            (
                json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true, "template": {"metadata": {"labels": {"a": "c"}}}}}),
                "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
            ),
        ],
    );
}

#[test]
fn failure_and_success_policies() {
    let failure = |rule: Value| job(json!({"podFailurePolicy": {"rules": [rule]}}));
    let exits = |exits: Value| failure(json!({"action": "FailJob", "onExitCodes": exits}));
    let rule = "spec.podFailurePolicy.rules[0]";
    for (object, expected) in [
        (exits(json!({"operator": "In", "values": [1, 2]})), String::new()),
        (
            failure(json!({"action": "X", "onExitCodes": {"operator": "In", "values": [1]}})),
            format!("{rule}.action: Unsupported value: \"X\""),
        ),
        (
            failure(json!({"action": "FailJob"})),
            format!(
                "{rule}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"
            ),
        ),
        (
            exits(json!({"operator": "X", "values": [1]})),
            format!("{rule}.onExitCodes.operator: Unsupported value: \"X\""),
        ),
        (
            exits(json!({"operator": "In", "values": []})),
            format!("{rule}.onExitCodes.values: Invalid value: []: at least one value is required"),
        ),
        (
            exits(json!({"operator": "In", "values": [0]})),
            format!(
                "{rule}.onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"
            ),
        ),
        (
            exits(json!({"operator": "In", "values": [2, 1]})),
            format!("{rule}.onExitCodes.values: Invalid value: [2,1]: must be ordered"),
        ),
        (
            exits(json!({"operator": "In", "values": [1, 1]})),
            format!("{rule}.onExitCodes.values[1]: Duplicate value: 1"),
        ),
        (
            exits(json!({"operator": "In", "values": [1], "containerName": "x"})),
            format!(
                "{rule}.onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template"
            ),
        ),
    ] {
        create("batch", "jobs", object, &expected);
    }
    let restarting = merged(
        &exits(json!({"operator": "In", "values": [1]})),
        &json!({"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}),
    );
    create(
        "batch",
        "jobs",
        restarting,
        "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
    );
    create(
        "batch",
        "jobs",
        job(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}})),
        "spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode",
    );
    let indexed = |rules: Value| {
        job(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 1,
            "successPolicy": { "rules": rules }}))
    };
    create("batch", "jobs", indexed(json!([{"succeededCount": 1}])), "");
    create(
        "batch",
        "jobs",
        indexed(json!([])),
        "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified",
    );
    create(
        "batch",
        "jobs",
        indexed(json!([{"succeededIndexes": "x"}])),
        "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"x\"",
    );
}

#[test]
fn what_stays() {
    changes(
        "batch",
        "jobs",
        None,
        &job(
            json!({"completionMode": "NonIndexed", "completions": 1, "selector": {"matchLabels": {"a": "b"}}, "manualSelector": true}),
        ),
        &[
            (
                json!({"spec": {"selector": {"matchLabels": {"a": "b", "c": "d"}}}}),
                "spec.selector: Invalid value",
            ),
            (
                json!({"spec": {"completionMode": "Indexed"}}),
                "spec.completionMode: Invalid value: \"Indexed\": field is immutable",
            ),
            (
                json!({"spec": {"template": {"spec": {"hostNetwork": true}}}}),
                "spec.template: Invalid value",
            ),
            (
                json!({"spec": {"managedBy": "a.b/c"}}),
                "spec.managedBy: Invalid value: \"a.b/c\": field is immutable",
            ),
            (json!({"spec": {"parallelism": 5, "suspend": true}}), ""),
        ],
    );
}

#[test]
fn cron_jobs() {
    rows(
        "batch",
        "cronjobs",
        &json!({"spec": {"schedule": "*/5 * * * *", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": job_template()}}}}),
        &[
            (json!({"spec": {"schedule": null}}), "spec.schedule: Required value"),
            (json!({"spec": {"timeZone": "Local"}}), "spec.timeZone: Invalid value: \"Local\""),
            (
                json!({"spec": {"concurrencyPolicy": "X"}}),
                "spec.concurrencyPolicy: Unsupported value: \"X\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ),
            (
                json!({"spec": {"startingDeadlineSeconds": -1}}),
                "spec.startingDeadlineSeconds: Invalid value: -1",
            ),
            (
                json!({"spec": {"successfulJobsHistoryLimit": -1}}),
                "spec.successfulJobsHistoryLimit: Invalid value: -1",
            ),
            (
                json!({"spec": {"failedJobsHistoryLimit": -1}}),
                "spec.failedJobsHistoryLimit: Invalid value: -1",
            ),
            (
                json!({"spec": {"jobTemplate": {"spec": {"manualSelector": true}}}}),
                "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: ",
            ),
            (json!({"metadata": {"name": "a".repeat(53)}}), "metadata.name: Invalid value"),
        ],
    );
}
