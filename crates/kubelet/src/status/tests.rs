//! Phases and conditions from container states.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::containers::Three;
use super::{conditions, phase};

/// `a:run`, `a:exit0`, `a:exit1`, `a:wait`, `a:again` (waits after a failure), `a:notready`.
fn three(init: &str, app: &str) -> Three {
    let read = |text: &str| -> Vec<ContainerStatus> {
        text.split_whitespace()
            .map(|one| {
                let (name, state) = one.split_once(':').unwrap();
                let end = |code: i32| json!({"terminated": {"exitCode": code}});
                let (state, last, ready) = match state {
                    "run" => (json!({"running": {}}), json!({}), true),
                    "notready" => (json!({"running": {}}), json!({}), false),
                    "exit0" => (end(0), json!({}), true),
                    "exit1" => (end(1), json!({}), false),
                    "again" => (json!({"waiting": {}}), end(1), false),
                    _ => (json!({"waiting": {}}), json!({}), false),
                };
                let value = json!({"name": name, "image": "", "imageID": "", "restartCount": 0,
                    "ready": ready, "started": ready, "state": state, "lastState": last});
                serde_json::from_value(value).unwrap()
            })
            .collect()
    };
    [read(init), read(app), Vec::new()]
}

fn pod(policy: &str) -> Pod {
    let spec = json!({"restartPolicy": policy, "initContainers": [{"name": "i"}],
        "containers": [{"name": "a"}, {"name": "b"}]});
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

#[test]
fn phases() {
    for (policy, init, app, finished, expected) in [
        ("Always", "", "", false, "Pending"),
        ("Always", "i:run", "a:wait b:wait", false, "Pending"),
        ("Always", "i:exit1", "a:wait b:wait", false, "Pending"),
        ("Always", "i:again", "a:wait b:wait", false, "Pending"),
        ("Never", "i:exit1", "a:wait b:wait", false, "Failed"),
        ("Always", "i:exit0", "a:run b:wait", false, "Pending"),
        ("Always", "i:exit0", "a:run b:run", false, "Running"),
        ("Always", "i:exit0", "a:run b:again", false, "Running"),
        ("Always", "i:exit0", "a:exit1 b:exit0", false, "Running"),
        ("Always", "i:exit0", "a:exit1 b:exit0", true, "Failed"),
        ("Always", "i:exit0", "a:exit0 b:exit0", true, "Succeeded"),
        ("OnFailure", "i:exit0", "a:exit1 b:exit0", false, "Running"),
        ("OnFailure", "i:exit0", "a:exit0 b:exit0", false, "Succeeded"),
        ("Never", "i:exit0", "a:exit1 b:exit0", false, "Failed"),
        ("Never", "i:exit0", "a:exit1 b:run", false, "Running"),
    ] {
        let got = phase::phase(&pod(policy), &three(init, app), finished);
        assert_eq!(got, expected, "{policy} {init} {app} {finished}");
    }
}

fn check(init: &str, app: &str, phase: &str, expected: &[(&str, &str, &str, &str)]) {
    let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
    let all = conditions::conditions(&pod("Always"), &three(init, app), phase, true, &now);
    for (name, status, reason, message) in expected {
        let one = all.iter().find(|one| one.type_ == *name).unwrap();
        let got = (
            one.status.as_str(),
            one.reason.as_deref().unwrap_or(""),
            one.message.as_deref().unwrap_or(""),
        );
        assert_eq!(got, (*status, *reason, *message), "{name}");
    }
}

#[test]
fn conditions_in_upstreams_words() {
    let unready = "containers with unready status: [a b]";
    check(
        "i:notready",
        "a:wait b:wait",
        "Pending",
        &[
            (
                "Initialized",
                "False",
                "ContainersNotInitialized",
                "containers with incomplete status: [i]",
            ),
            ("Ready", "False", "ContainersNotReady", unready),
            ("ContainersReady", "False", "ContainersNotReady", unready),
            ("PodScheduled", "True", "", ""),
        ],
    );
    check(
        "i:exit0",
        "a:run b:notready",
        "Running",
        &[
            ("Initialized", "True", "", ""),
            ("Ready", "False", "ContainersNotReady", "containers with unready status: [b]"),
        ],
    );
    check(
        "i:exit0",
        "a:run b:run",
        "Running",
        &[("Ready", "True", "", ""), ("ContainersReady", "True", "", "")],
    );
    let done =
        [("Ready", "False", "PodCompleted", ""), ("Initialized", "True", "PodCompleted", "")];
    check("i:exit0", "a:exit0 b:exit0", "Succeeded", &done);
}

#[test]
fn a_gate_holds_readiness_back() {
    let mut pod = pod("Always");
    let gate: Value = json!([{"conditionType": "x/y"}]);
    pod.spec.as_mut().unwrap().readiness_gates = serde_json::from_value(gate).unwrap();
    let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
    let all = conditions::conditions(&pod, &three("i:exit0", "a:run b:run"), "Running", true, &now);
    let ready = all.iter().find(|one| one.type_ == "Ready").unwrap();
    assert_eq!(ready.reason.as_deref(), Some("ReadinessGatesNotReady"));
    assert_eq!(
        ready.message.as_deref(),
        Some("corresponding condition of pod readiness gate \"x/y\" does not exist.")
    );
}
