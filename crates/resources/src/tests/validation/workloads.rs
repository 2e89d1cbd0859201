//! Workloads, jobs, budgets and autoscalers.

use serde_json::json;

use super::*;

#[test]
fn workloads() {
    let spec = |more: Value| {
        let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template()});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "spec": spec })
    };
    create(
        "apps",
        "replicasets",
        spec(json!({"replicas": -1})),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    );
    update(
        "apps",
        "replicasets",
        None,
        spec(json!({})),
        spec(json!({"selector": {"matchLabels": {"a": "b", "c": "d"}}})),
        "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable",
    );
    create(
        "apps",
        "daemonsets",
        spec(
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}),
        ),
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
    );
    create(
        "apps",
        "daemonsets",
        spec(
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
        ),
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
    );
    update(
        "apps",
        "statefulsets",
        None,
        spec(json!({"serviceName": "a"})),
        spec(json!({"serviceName": "b"})),
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    );
    update(
        "apps",
        "statefulsets",
        None,
        spec(json!({"replicas": 1})),
        spec(json!({"replicas": 2})),
        "",
    );
    create("apps", "controllerrevisions", json!({}), "data: Required value: data is mandatory");
    create(
        "",
        "replicationcontrollers",
        json!({"spec": {"selector": {"a": "c"}, "template": template()}}),
        "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
    );
    let job = |more: Value| {
        let mut spec = json!({"template": job_template(), "manualSelector": true, "selector": {"matchLabels": {"a": "b"}}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "spec": spec })
    };
    create("batch", "jobs", job(json!({})), "");
    create(
        "batch",
        "jobs",
        job(json!({"template": template()})),
        "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"Never\", \"OnFailure\"",
    );
    create(
        "batch",
        "jobs",
        job(json!({"completionMode": "Indexed", "parallelism": 1})),
        "spec.completions: Required value: when completion mode is Indexed",
    );
    create(
        "batch",
        "jobs",
        job(json!({"backoffLimitPerIndex": 1})),
        "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
    );
    create(
        "batch",
        "jobs",
        job(json!({"managedBy": "x"})),
        "spec.managedBy: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")",
    );
    update(
        "batch",
        "jobs",
        None,
        job(json!({"completions": 1})),
        job(json!({"completions": 2})),
        "spec.completions: Invalid value: 2: field is immutable",
    );
    let cron = |schedule: &str, more: Value| {
        let mut spec =
            json!({"schedule": schedule, "jobTemplate": {"spec": {"template": job_template()}}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "spec": spec })
    };
    create("batch", "cronjobs", cron("* * * * *", json!({})), "");
    create(
        "batch",
        "cronjobs",
        cron("* * *", json!({})),
        "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields",
    );
    create(
        "batch",
        "cronjobs",
        cron("TZ=UTC * * * * *", json!({})),
        "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
    );
    create(
        "batch",
        "cronjobs",
        cron("* * * * *", json!({"timeZone": "Nowhere/X"})),
        "spec.timeZone: Invalid value: \"Nowhere/X\": unknown time zone Nowhere/X",
    );
    create(
        "policy",
        "poddisruptionbudgets",
        json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}),
        "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
    );
    create(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"spec": {"maxReplicas": 0, "scaleTargetRef": {"apiVersion": "c/v1", "kind": "a", "name": "b"}}}),
        "spec.maxReplicas: Invalid value: 0: must be greater than 0",
    );
    create(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"apiVersion": "c/v1", "kind": "a", "name": "b"}}}),
        "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
    );
}

fn workload() -> serde_json::Value {
    json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}})
}

#[test]
fn deployments() {
    let empty = json!({"spec": {"selector": {"matchLabels": null}}});
    rows(
        "apps",
        "deployments",
        &workload(),
        &[
            (
                json!({"spec": {"replicas": -1}}),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (json!({"spec": {"minReadySeconds": -1}}), "spec.minReadySeconds: Invalid value: -1"),
            (
                json!({"spec": {"revisionHistoryLimit": -1}}),
                "spec.revisionHistoryLimit: Invalid value: -1",
            ),
            (
                json!({"spec": {"minReadySeconds": 5, "progressDeadlineSeconds": 5}}),
                "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
            ),
            (json!({"spec": {"selector": null}}), "spec.selector: Required value"),
            (empty, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
            (
                json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}}),
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ),
            (
                json!({"spec": {"strategy": {"type": "Sudden"}}}),
                "spec.strategy.type: Unsupported value: \"Sudden\": supported values: \"Recreate\", \"RollingUpdate\"",
            ),
            (
                json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}}),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "110%"}}}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"110%\": must not be greater than 100%",
            ),
            (
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ),
            (
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "x"}}}}),
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%'",
            ),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            ),
        ],
    );
    changes(
        "apps",
        "deployments",
        None,
        &workload(),
        &[(
            json!({"spec": {"selector": {"matchLabels": {"c": "d"}}, "template": {"metadata": {"labels": {"c": "d"}}}}}),
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable",
        )],
    );
    changes(
        "apps",
        "deployments",
        Some("status"),
        &merged(&workload(), &json!({"status": {"replicas": 2, "collisionCount": 1}})),
        &[
            (
                json!({"status": {"replicas": -1}}),
                "status.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"status": {"readyReplicas": 3}}),
                "status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas",
            ),
            (
                json!({"status": {"readyReplicas": 1, "availableReplicas": 2}}),
                "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas",
            ),
            (json!({"status": {"readyReplicas": 0, "availableReplicas": 2}}), ""),
            (
                json!({"status": {"collisionCount": 0}}),
                "status.collisionCount: Invalid value: 0: cannot be decremented",
            ),
        ],
    );
}

#[test]
fn sets_and_controllers() {
    rows(
        "apps",
        "statefulsets",
        &merged(&workload(), &json!({"spec": {"serviceName": "s"}})),
        &[
            (
                json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}}),
                "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
            ),
            (
                json!({"spec": {"podManagementPolicy": "x"}}),
                "spec.podManagementPolicy: Unsupported value: \"x\"",
            ),
            (
                json!({"spec": {"updateStrategy": {"type": "x"}}}),
                "spec.updateStrategy: Invalid value: {\"type\":\"x\"}: must be 'RollingUpdate' or 'OnDelete'",
            ),
            (
                json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}),
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
            ),
            (
                json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": -1}}}}),
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"ordinals": {"start": -1}}}),
                "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "x"}}}),
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"x\"",
            ),
            (json!({"spec": {"selector": null}}), "spec.selector: Required value"),
            (json!({"spec": {"serviceName": "A.b"}}), "spec.serviceName: Invalid value: \"A.b\""),
        ],
    );
    rows(
        "apps",
        "daemonsets",
        &workload(),
        &[
            (json!({"spec": {"selector": null}}), "spec.selector: Required value"),
            (
                json!({"spec": {"updateStrategy": {"type": "x"}}}),
                "spec.updateStrategy.type: Unsupported value: \"x\"",
            ),
            (json!({"spec": {"minReadySeconds": -1}}), "spec.minReadySeconds: Invalid value: -1"),
            (
                json!({"spec": {"revisionHistoryLimit": -1}}),
                "spec.revisionHistoryLimit: Invalid value: -1",
            ),
        ],
    );
    rows(
        "apps",
        "replicasets",
        &workload(),
        &[
            (json!({"spec": {"selector": null}}), "spec.selector: Required value"),
            (json!({"spec": {"minReadySeconds": -1}}), "spec.minReadySeconds: Invalid value: -1"),
        ],
    );
    changes(
        "apps",
        "replicasets",
        Some("status"),
        &merged(&workload(), &json!({"status": {"replicas": 1}})),
        &[(
            json!({"status": {"fullyLabeledReplicas": 2}}),
            "status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas",
        )],
    );
    rows(
        "",
        "replicationcontrollers",
        &json!({"spec": {"selector": {"a": "b"}, "template": template()}}),
        &[
            (
                json!({"spec": {"replicas": -1}}),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (json!({"spec": {"template": null}}), "spec.template: Required value"),
        ],
    );
    changes(
        "apps",
        "controllerrevisions",
        None,
        &json!({"data": {"a": 1}, "revision": 1}),
        &[
            (json!({"data": {"a": 2}}), "data: Invalid value: {\"a\":2}: field is immutable"),
            (
                json!({"revision": -1}),
                "revision: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
    );
}

#[test]
fn budgets_and_autoscalers() {
    rows(
        "policy",
        "poddisruptionbudgets",
        &json!({"spec": {"minAvailable": 1}}),
        &[
            (
                json!({"spec": {"minAvailable": -1}}),
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"minAvailable": "101%"}}),
                "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "X"}]}}}),
                "spec.selector.matchExpressions[0].operator: Invalid value: \"X\": not a valid selector operator",
            ),
            (
                json!({"spec": {"unhealthyPodEvictionPolicy": "X"}}),
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"X\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ),
        ],
    );
    changes(
        "policy",
        "poddisruptionbudgets",
        Some("status"),
        &json!({"spec": {"minAvailable": 1}}),
        &[(
            json!({"status": {"currentHealthy": -1}}),
            "status.currentHealthy: Invalid value: -1: must be greater than or equal to 0",
        )],
    );
    let metric = |metric: serde_json::Value| json!({"spec": {"metrics": [metric]}});
    let behavior = |rules: serde_json::Value| json!({"spec": {"behavior": {"scaleUp": rules}}});
    rows(
        "autoscaling",
        "horizontalpodautoscalers",
        &json!({"spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b"}}}),
        &[
            (
                json!({"spec": {"minReplicas": 0}}),
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            ),
            (
                json!({"spec": {"scaleTargetRef": {"kind": null}}}),
                "spec.scaleTargetRef.kind: Required value",
            ),
            (
                json!({"spec": {"scaleTargetRef": {"apiVersion": "v1"}}}),
                "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group",
            ),
            (
                json!({"spec": {"scaleTargetRef": {"name": "a/b"}}}),
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ),
            (metric(json!({"type": "X"})), "spec.metrics[0].type: Unsupported value: \"X\""),
            (metric(json!({"type": "Pods"})), "spec.metrics[0].pods: Required value"),
            (
                behavior(json!({"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1}]})),
                "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            ),
            (
                behavior(
                    json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}),
                ),
                "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ),
            (
                behavior(json!({"policies": [{"type": "X", "value": 1, "periodSeconds": 1}]})),
                "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"X\"",
            ),
            (
                behavior(json!({"stabilizationWindowSeconds": 3601})),
                "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
            ),
            (
                behavior(json!({"selectPolicy": "X"})),
                "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"X\"",
            ),
        ],
    );
}
