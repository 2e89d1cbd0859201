//! Tables for resizes in place.

use super::*;
use container_runtime::{ContainerAttributes, ContainerStats, MemoryUsage};
use serde_json::{Value, json};

/// A pod of containers `name=cpu/memory`, both requests and limits, `cpu!` where a change restarts.
fn pod(containers: &str) -> Pod {
    let containers: Vec<Value> = containers
        .split_whitespace()
        .map(|text| {
            let (name, amounts) = text.split_once('=').unwrap();
            let (cpu, memory) = amounts.split_once('/').unwrap();
            let restarts = cpu.ends_with('!');
            let amounts = json!({"cpu": format!("{}m", cpu.trim_end_matches('!')),
                "memory": format!("{memory}Mi")});
            let policy = if restarts { "RestartContainer" } else { "NotRequired" };
            json!({"name": name, "resources": {"limits": amounts, "requests": amounts},
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy},
                    {"resourceName": "memory", "restartPolicy": "NotRequired"}]})
        })
        .collect();
    serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u", "generation": 2},
        "spec": {"containers": containers}, "status": {"qosClass": "Guaranteed"}}))
    .unwrap()
}

fn show(step: &Step, updates: &[Update]) -> String {
    match step {
        Step::Memory(index) => format!("{}.memory", updates[*index].name),
        Step::Cpu(index) => format!("{}.cpu", updates[*index].name),
        Step::Pod(limits) => {
            let parts = [
                (limits.memory_limit_in_bytes / (1 << 20), "memory"),
                (limits.cpu_quota, "quota"),
                (limits.cpu_shares, "shares"),
            ];
            let set: Vec<_> = parts
                .into_iter()
                .filter(|(amount, _)| *amount != 0)
                .map(|(amount, what)| format!("{what}={amount}"))
                .collect();
            format!("pod.{}", set.join(","))
        }
    }
}

fn check(from: &str, to: &str, expected: &str) {
    let (before, after) = (pod(from), pod(to));
    let in_force = Resources::asked(&before);
    let mut updates = Vec::new();
    let mut words = Vec::new();
    for container in &pod::spec(&after).containers {
        match need(&after, container, "id", &in_force) {
            Need::Nothing => {}
            Need::Restart => words.push(format!("{}.restart", container.name)),
            Need::Update(update) => updates.push(update),
        }
    }
    let steps = steps(&updates, &resources::of_pod(&before), &resources::of_pod(&after));
    words.extend(steps.iter().map(|step| show(step, &updates)));
    assert_eq!(words.join(" "), expected, "{from} -> {to}");
}

#[test]
fn growth_begins_outside_and_shrinking_inside() {
    check("a=20/35", "a=20/35", "");
    check("a=100/35", "a=200/35", "pod.quota=20000 pod.shares=204 a.cpu");
    check("a=200/35", "a=100/35", "a.cpu pod.shares=102 pod.quota=10000");
    check("a=100/35", "a=100/40", "pod.memory=40 a.memory");
    check("a=100/40", "a=100/35", "a.memory pod.memory=35");
    // What one container gives up, another may take.
    check("a=100/35 b=100/35", "a=150/35 b=50/35", "b.cpu a.cpu");
    check(
        "a=100/40 b=100/30",
        "a=50/40 b=100/50",
        "pod.memory=90 b.memory a.cpu pod.shares=153 pod.quota=15000",
    );
    check("a=100!/35", "a=200!/35", "a.restart pod.quota=20000 pod.shares=204");
    check("a=100!/35", "a=100!/40", "pod.memory=40 a.memory");
}

#[test]
fn a_container_of_which_nothing_is_known_is_left_alone() {
    let pod = pod("a=100/35");
    let found = need(&pod, &pod::spec(&pod).containers[0], "id", &Resources::default());
    assert_eq!(found, Need::Nothing);
}

#[test]
fn limits_of_the_pod_are_those_of_containers_without() {
    let with = |cpu: &str| -> Pod {
        serde_json::from_value(json!({"spec": {"resources": {"limits": {"cpu": cpu}},
            "containers": [{"name": "a"}]}}))
        .unwrap()
    };
    let in_force = Resources::asked(&with("1"));
    let after = with("2");
    let found = need(&after, &pod::spec(&after).containers[0], "id", &in_force);
    assert!(matches!(found, Need::Update(update) if update.to.cpu_limit == 2000));
    assert!(pod_differs(&after, &in_force) && !pod_differs(&with("1"), &in_force));
}

#[test]
fn memory_does_not_go_below_what_is_used() {
    let usage = |bytes| Some(MemoryUsage { usage_bytes: Some(bytes), ..MemoryUsage::default() });
    let stats = PodSandboxStats {
        memory: usage(30 << 20),
        containers: vec![ContainerStats {
            attributes: ContainerAttributes { id: "id".into(), ..Default::default() },
            memory: usage(20 << 20),
            ..ContainerStats::default()
        }],
        ..PodSandboxStats::default()
    };
    let error = |from: &str, to: &str| {
        let (before, after) = (pod(from), pod(to));
        let Need::Update(update) =
            need(&after, &pod::spec(&after).containers[0], "id", &Resources::asked(&before))
        else {
            panic!("nothing to do")
        };
        let limits = (resources::of_pod(&before), resources::of_pod(&after));
        let updates = [update];
        let asked = less_memory(&updates, &limits.0, &limits.1);
        too_little(&updates, &limits.0, &limits.1, &stats).filter(|_| asked).unwrap_or_default()
    };
    assert_eq!(error("a=100/40", "a=100/50"), "");
    assert_eq!(error("a=100/40", "a=100/31"), "");
    assert_eq!(
        error("a=100/40", "a=100/25"),
        "cannot decrease memory limits: attempting to set pod memory limit (26214400) below current usage (31457280)"
    );
    assert_eq!(
        error("a=100/40", "a=100/1"),
        "cannot decrease memory limits: [attempting to set pod memory limit (1048576) below current usage (31457280), \
         attempting to set container \"a\" memory limit (1048576) below current usage (20971520)]"
    );
}

#[test]
fn events_show_what_is_asked_for() {
    let text = said("Pod resize error", &pod("a=100/35"), 2, "no");
    let expected = r#"Pod resize error: {"containers":[{"name":"a","resources":{"limits":{"cpu":"100m","memory":"35Mi"},"requests":{"cpu":"100m","memory":"35Mi"}}}],"generation":2,"error":"no"}"#;
    assert_eq!(text, expected);
}
