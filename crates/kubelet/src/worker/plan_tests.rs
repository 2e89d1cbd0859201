//! Tables for the pod plan.

use super::*;
use container_runtime::{ContainerMetadata, PodSandboxNetworkStatus, PodSandboxStatus};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Default)]
struct Said {
    dead: BTreeSet<String>,
    started: BTreeSet<String>,
}

impl Verdicts for Said {
    fn alive(&self, id: &str) -> Option<bool> {
        self.dead.contains(id).then_some(false)
    }
    fn started(&self, id: &str) -> Option<bool> {
        self.started.contains(id).then_some(true)
    }
}

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    for list in ["containers", "initContainers"] {
        for one in spec[list].as_array_mut().into_iter().flatten() {
            one["image"] = json!("image");
        }
    }
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}),
    )
    .unwrap()
}

/// `c=run`, `c=exit0`, `c=exit1`, `c=created`, `c=unknown`, `c=changed`.
fn view(sandbox: Option<PodSandboxState>, containers: &str) -> PodView {
    let sandboxes = sandbox.map(|state| PodSandboxStatus {
        id: "s".into(),
        state,
        network: Some(PodSandboxNetworkStatus { ip: "10.0.0.1".into(), additional_ips: vec![] }),
        ..PodSandboxStatus::default()
    });
    let containers = containers.split_whitespace().map(|text| {
        let (name, state) = text.split_once('=').unwrap();
        let (state, exit_code) = match state {
            "run" | "changed" => (ContainerState::Running, 0),
            "exit0" => (ContainerState::Exited, 0),
            "exit1" => (ContainerState::Exited, 1),
            "created" => (ContainerState::Created, 0),
            _ => (ContainerState::Unknown, 0),
        };
        let container =
            Container { name: name.into(), image: Some("image".into()), ..Container::default() };
        let mut hash = pod::container_hash(&container);
        if text.ends_with("changed") {
            hash.push('x');
        }
        ContainerStatus {
            id: format!("{name}-id"),
            metadata: ContainerMetadata { name: name.into(), attempt: 0 },
            state,
            exit_code,
            annotations: [(labels::HASH.to_owned(), hash)].into(),
            ..ContainerStatus::default()
        }
    });
    PodView::new(sandboxes.into_iter().collect(), containers.collect())
}

const READY: Option<PodSandboxState> = Some(PodSandboxState::Ready);
const DEAD: Option<PodSandboxState> = Some(PodSandboxState::NotReady);

fn check(spec: Value, sandbox: Option<PodSandboxState>, containers: &str, expected: &str) {
    let plan = plan(
        &pod(spec.clone()),
        &view(sandbox, containers),
        &Said::default(),
        &Resources::default(),
    );
    assert_eq!(show(&plan), expected, "{spec} {containers}");
}

fn show(plan: &Plan) -> String {
    let mut words = Vec::new();
    if plan.kill_pod {
        words.push("kill-pod".to_owned());
    }
    words.extend(plan.create_sandbox.map(|attempt| format!("sandbox-{attempt}")));
    words.extend(plan.kill.iter().map(|kill| format!("-{}", kill.name)));
    words.extend(plan.start.iter().map(|name| format!("+{name}")));
    words.join(" ")
}

fn apps(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]})
}

#[test]
fn sandboxes() {
    check(apps("Always"), None, "", "kill-pod sandbox-0 +a +b");
    check(apps("Always"), READY, "", "+a +b");
    check(apps("Always"), READY, "a=run b=run", "");
    check(apps("Always"), DEAD, "a=exit1 b=run", "kill-pod sandbox-1 +a +b");
    check(apps("OnFailure"), DEAD, "a=exit0 b=exit1", "kill-pod sandbox-1 +b");
    check(apps("Never"), DEAD, "a=exit0 b=exit1", "kill-pod");
}

#[test]
fn restart_policies() {
    check(apps("Always"), READY, "a=exit0 b=run", "+a");
    check(apps("OnFailure"), READY, "a=exit0 b=run", "");
    check(apps("OnFailure"), READY, "a=exit1 b=run", "+a");
    check(apps("Never"), READY, "a=exit1 b=run", "");
    check(apps("Never"), READY, "a=exit1 b=exit0", "kill-pod");
    check(apps("OnFailure"), READY, "a=exit0 b=exit0", "kill-pod");
    check(apps("Always"), READY, "a=changed b=run", "-a +a");
    check(apps("Never"), READY, "a=created b=run", "+a");
    check(apps("Always"), READY, "a=unknown b=run", "-a +a");
}

#[test]
fn init_containers_go_one_by_one() {
    let spec = |policy: &str| {
        json!({"restartPolicy": policy, "initContainers": [{"name": "i"}, {"name": "j"}],
            "containers": [{"name": "a"}]})
    };
    check(spec("Always"), None, "", "kill-pod sandbox-0 +i");
    check(spec("Always"), READY, "", "+i");
    check(spec("Always"), READY, "i=run", "");
    check(spec("Always"), READY, "i=exit0", "+j");
    check(spec("Always"), READY, "i=exit1", "+i");
    check(spec("Never"), READY, "i=exit1", "kill-pod");
    check(spec("Always"), READY, "i=exit0 j=run", "");
    check(spec("Always"), READY, "j=exit0", "+a");
    check(spec("Always"), READY, "a=run", "");
    check(spec("Always"), READY, "i=exit0 j=exit0 a=exit1", "+a");
}

#[test]
fn sidecars_stay() {
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}],
        "containers": [{"name": "a"}]});
    check(spec.clone(), READY, "", "+s");
    check(spec.clone(), READY, "s=run", "+i");
    check(spec.clone(), READY, "s=exit1", "+s");
    check(spec.clone(), READY, "s=exit1 i=run", "+s");
    check(spec.clone(), READY, "s=run i=exit0", "+a");
    check(spec.clone(), READY, "s=exit0 i=exit0 a=run", "+s");
    let mut probed = spec;
    probed["initContainers"][0]["startupProbe"] = json!({"exec": {"command": ["x"]}});
    check(probed, READY, "s=run", "");
}

#[test]
fn probes_restart() {
    let mut said = Said::default();
    said.dead.insert("a-id".into());
    let got = plan(&pod(apps("Always")), &view(READY, "a=run b=run"), &said, &Resources::default());
    assert_eq!(show(&got), "-a +a");
    assert_eq!(got.kill[0].message, "Container a failed liveness probe, will be restarted");
    let got = plan(&pod(apps("Never")), &view(READY, "a=run b=run"), &said, &Resources::default());
    assert_eq!(
        (show(&got).as_str(), got.kill[0].message.as_str()),
        ("-a", "Container a failed liveness probe")
    );
}
