//! Tables for preemption: whom, and where.

use super::*;
use crate::cycle::Cycle;
use crate::framework::{Nominated, Snapshot};
use crate::testing::{named_pod, node};
use base::rng::SharedRng;
use serde_json::json;

/// `name priority cpu started`, and what is put behind it: `app=LABEL`, `going`.
fn running(line: &str) -> Arc<PodInfo> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [name, priority, cpu, start, ref more @ ..] = words[..] else { panic!("{line}") };
    let spec = json!({"priority": priority.parse::<i32>().unwrap(), "containers": [
        {"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    let mut pod = Pod::clone(&named_pod(name, &spec.to_string()).pod);
    let start: Timestamp = format!("2026-01-01T00:00:{start}Z").parse().unwrap();
    pod.status = serde_json::from_value(json!({"startTime": start.to_string()})).unwrap();
    for word in more {
        match word.split_once('=') {
            Some((key, value)) => {
                pod.metadata.labels.get_or_insert_default().insert(key.into(), value.into());
            }
            None => {
                let meta = json!({"deletionTimestamp": "2026-01-01T01:00:00Z"});
                let meta: api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta =
                    serde_json::from_value(meta).unwrap();
                pod.metadata.deletion_timestamp = meta.deletion_timestamp;
                pod.status.as_mut().unwrap().conditions = serde_json::from_value(json!([
                    {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
                ]))
                .unwrap();
            }
        }
    }
    Arc::new(PodInfo::new(Arc::new(pod)))
}

fn budget(app: &str, allowed: i32, disrupted: &str) -> Arc<PodDisruptionBudget> {
    let disrupted =
        if disrupted.is_empty() { json!({}) } else { json!({disrupted: "2026-01-01T00:00:00Z"}) };
    let selector = if app.is_empty() { json!({}) } else { json!({"matchLabels": {"app": app}}) };
    Arc::new(
        serde_json::from_value(json!({"metadata": {"name": app, "namespace": "default"},
            "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed, "disruptedPods": disrupted,
                "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}}))
        .unwrap(),
    )
}

struct Case<'a> {
    /// Nodes of four cores, with the pods on them.
    nodes: &'a [(&'a str, &'a [&'a str])],
    budgets: Vec<Arc<PodDisruptionBudget>>,
    /// The pods that were promised a node.
    promised: &'a [(&'a str, &'a str)],
    spec: serde_json::Value,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            nodes: &[],
            budgets: Vec::new(),
            promised: &[],
            spec: json!({"priority": 10, "containers": [
                {"name": "c", "resources": {"requests": {"cpu": "2"}}}]}),
        }
    }
}

/// `node: victims`, or what users read, or `fits NODE`.
fn check(case: &Case<'_>, expected: &str) {
    let nodes = case.nodes.iter().map(|(name, pods)| {
        let json = r#"{"metadata":{"labels":{"kubernetes.io/hostname":"NAME"}},
            "status":{"allocatable":{"cpu":"4","pods":"110"}}}"#;
        let mut node = node(name, &json.replace("NAME", name));
        pods.iter().for_each(|line| node.add_pod(running(line)));
        Arc::new(node)
    });
    let nodes = Snapshot::new(nodes.collect());
    let mut nominated = Nominated::default();
    for (line, node) in case.promised {
        nominated.set(running(line), node);
    }
    let world = World { nodes: &nodes, nominated: &nominated, budgets: &|| case.budgets.clone() };
    let mut cycle = Cycle::new(crate::plugins::all(), SharedRng::seeded(1));
    let pod = named_pod("new", &case.spec.to_string());
    let got = match cycle.schedule(&pod, &world) {
        Ok(node) => format!("fits {node}"),
        Err(refused) => match refused.nomination {
            Nomination::Node { node, victims } => {
                let names = victims.iter().map(|pod| pod.key.trim_start_matches("default/"));
                format!("{node}: {}", names.collect::<Vec<_>>().join(" "))
            }
            Nomination::Keep => format!("keep {}", refused.post_filter),
            Nomination::Clear => refused.post_filter,
        },
    };
    assert_eq!(got, expected);
}

fn on(nodes: &[(&str, &[&str])], expected: &str) {
    check(&Case { nodes, ..Case::default() }, expected);
}

#[test]
fn the_fewest_and_least_important_go() {
    on(&[("a", &["x 1 2 01", "y 2 2 01"])], "a: x");
    on(&[("a", &["x 1 1 01", "y 1 1 02", "z 1 2 03"])], "a: z");
    on(&[("a", &["x 1 1 01", "y 1 1 02", "z 9 2 03"])], "a: x y");
    // Of equals, the younger.
    on(&[("a", &["old 1 2 01", "young 1 2 09"])], "a: young");
    // One that alone makes no difference stays.
    on(&[("a", &["tiny 0 0 01", "big 5 4 01"])], "a: big");
}

#[test]
fn the_node_where_it_hurts_least() {
    // The least of the highest priorities.
    on(&[("a", &["x 5 4 01"]), ("b", &["y 4 4 01"])], "b: y");
    // The least sum.
    on(
        &[
            ("a", &["h 10 2 01", "x 4 1 01", "y 3 1 01"]),
            ("b", &["h 10 2 01", "z 4 1 01", "v 2 1 01"]),
        ],
        "b: z v",
    );
    // The fewest, with priorities below zero, too.
    on(
        &[("a", &["x -1 1 01", "y -1 1 01", "h 10 2 01"]), ("b", &["z -1 2 01", "h 10 2 01"])],
        "b: z",
    );
    // The latest start.
    on(&[("a", &["x 4 4 01"]), ("b", &["y 4 4 09"])], "b: y");
}

#[test]
fn budgets_are_kept_where_possible() {
    let nodes: &[(&str, &[&str])] = &[("a", &["x 1 2 09 app=web", "y 2 2 01"])];
    let with = |budgets| Case { nodes, budgets, ..Case::default() };
    check(&with(vec![budget("web", 1, "")]), "a: x");
    check(&with(vec![budget("web", 0, "")]), "a: y");
    check(&with(vec![budget("web", 0, "x")]), "a: x");
    check(&with(vec![budget("", 0, "")]), "a: x");
    let both: &[(&str, &[&str])] = &[("a", &["x 1 4 01 app=web"]), ("b", &["y 9 4 01"])];
    let protected = Case { nodes: both, budgets: vec![budget("web", 0, "")], ..Case::default() };
    check(&protected, "b: y");
    // Where there is no other way, they are not.
    let only: &[(&str, &[&str])] = &[("a", &["x 1 4 01 app=web"])];
    check(&Case { nodes: only, budgets: vec![budget("web", 0, "")], ..Case::default() }, "a: x");
}

#[test]
fn nobody_goes_in_vain() {
    on(
        &[("a", &["x 10 4 01"]), ("b", &["y 11 4 01"])],
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.",
    );
    on(
        &[("a", &["x 10 3 01", "y 1 1 01"])],
        "preemption: 0/1 nodes are available: 1 Insufficient cpu.",
    );
    let spec = |more: serde_json::Value| {
        let mut spec = Case::default().spec;
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let nodes: &[(&str, &[&str])] = &[("a", &["x 1 4 01"])];
    check(
        &Case { nodes, spec: spec(json!({"nodeSelector": {"no": "where"}})), ..Case::default() },
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
    check(
        &Case { nodes, spec: spec(json!({"preemptionPolicy": "Never"})), ..Case::default() },
        "keep preemption: not eligible due to preemptionPolicy=Never.",
    );
}

#[test]
fn a_promise_is_waited_for_and_kept() {
    let me = "new 10 2 01";
    let going: &[(&str, &[&str])] = &[("a", &["x 1 4 01 going"])];
    check(
        &Case { nodes: going, promised: &[(me, "a")], ..Case::default() },
        "keep preemption: not eligible due to a terminating pod on the nominated node.",
    );
    let free: &[(&str, &[&str])] = &[("a", &["x 1 2 01"]), ("b", &[])];
    check(&Case { nodes: free, promised: &[(me, "a")], ..Case::default() }, "fits a");
    // Room that was promised to others is not free, unless they are less important.
    let one: &[(&str, &[&str])] = &[("a", &["x 20 2 01"])];
    check(&Case { nodes: one, promised: &[("other 9 2 01", "a")], ..Case::default() }, "fits a");
    check(
        &Case { nodes: one, promised: &[("other 10 2 01", "a")], ..Case::default() },
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
}

#[test]
fn who_is_spread_counts_without_those_that_go() {
    let spread = json!({"priority": 10,
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let mut spec = spread;
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": "b"});
    spec["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    let nodes: &[(&str, &[&str])] = &[
        ("a", &["h 20 4 01 app=web"]),
        ("b", &["x 1 1 01 app=web", "y 1 1 02 app=web", "z 1 2 03 app=web"]),
    ];
    // One would be enough for the CPU; for the spread, all but one have to go, and a pod without the
    // label does not count itself.
    check(&Case { nodes, spec, ..Case::default() }, "b: z");
}
