//! Tables of rollouts.

use super::*;
use crate::common::pods::tests::at;
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

pub(crate) fn deployment(replicas: i32, strategy: serde_json::Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("new"),
            "strategy": strategy,
            "progressDeadlineSeconds": 600,
        },
    }))
    .unwrap()
}

fn template(image: &str) -> serde_json::Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

pub(crate) fn surge(surge: i32, unavailable: i32) -> serde_json::Value {
    json!({"type": "RollingUpdate",
           "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

/// A ReplicaSet of an image with a size and so many available pods, sized for `desired`.
pub(crate) fn set(
    image: &str,
    age: i64,
    size: i32,
    available: i32,
    desired: i32,
) -> Arc<ReplicaSet> {
    let mut rs: ReplicaSet = serde_json::from_value(json!({
        "metadata": {
            "name": format!("web-{image}"), "namespace": "n", "uid": image, "generation": 1,
            "annotations": {
                DESIRED: desired.to_string(),
                revisions::MAX: (desired + 1).to_string(),
                revisions::REVISION: (100 - age).to_string(),
            },
        },
        "spec": {"replicas": size, "selector": {}, "template": template(image)},
    }))
    .unwrap();
    rs.metadata.creation_timestamp = Some(Time(at(-age)));
    rs.status = Some(ReplicaSetStatus {
        replicas: size,
        available_replicas: Some(available),
        ready_replicas: Some(available),
        observed_generation: Some(1),
        ..ReplicaSetStatus::default()
    });
    Arc::new(rs)
}

fn said(steps: &[Step]) -> String {
    let words: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Create { size, revision } => format!("create {size} as {revision}"),
            Step::Refresh(_) => "refresh".to_owned(),
            Step::Scale { rs, to } => format!("{}={to}", rs.metadata.uid.as_deref().unwrap()),
            Step::Delete(rs) => format!("-{}", rs.metadata.uid.as_deref().unwrap()),
        })
        .collect();
    words.join(" ")
}

fn check(deployment: &Deployment, sets: Vec<Arc<ReplicaSet>>, expected: &str) {
    let sets = Sets::of(deployment, sets);
    assert_eq!(said(&plan(deployment, &sets, false)), expected);
}

#[test]
fn a_rolling_update_step_by_step() {
    let d = deployment(3, surge(1, 0));
    check(&d, vec![], "create 3 as 1");
    check(&d, vec![set("old", 9, 3, 3, 3)], "create 1 as 92");
    // The new pod is not available yet: nothing may go.
    check(&d, vec![set("old", 9, 3, 3, 3), set("new", 1, 1, 0, 3)], "");
    check(&d, vec![set("old", 9, 3, 3, 3), set("new", 1, 1, 1, 3)], "old=2");
    check(&d, vec![set("old", 9, 2, 2, 3), set("new", 1, 1, 1, 3)], "new=2");
    check(&d, vec![set("old", 9, 1, 1, 3), set("new", 1, 3, 3, 3)], "old=0");
    check(&d, vec![set("old", 9, 0, 0, 3), set("new", 1, 3, 3, 3)], "");
}

#[test]
fn unavailability_that_is_allowed_is_used() {
    let d = deployment(4, surge(0, 2));
    check(&d, vec![set("old", 9, 4, 4, 4)], "create 0 as 92");
    check(&d, vec![set("old", 9, 4, 4, 4), set("new", 1, 0, 0, 4)], "old=2");
    check(&d, vec![set("old", 9, 2, 2, 4), set("new", 1, 0, 0, 4)], "new=2");
}

#[test]
fn broken_old_pods_go_first() {
    let d = deployment(3, surge(1, 0));
    // Two of the old pods never became available; they make room although nothing is spare.
    let sets = vec![set("old", 9, 3, 1, 3), set("new", 1, 1, 1, 3)];
    check(&d, sets, "old=2");
    let d = deployment(10, surge(3, 2));
    let sets = vec![set("a", 9, 4, 0, 10), set("b", 8, 5, 5, 10), set("new", 1, 4, 4, 10)];
    check(&d, sets, "a=0 b=4");
}

#[test]
fn a_rollback_reuses_the_old_set_under_a_new_revision() {
    let d = deployment(3, surge(1, 0));
    let sets = vec![set("new", 9, 0, 0, 3), set("bad", 1, 3, 3, 3)];
    let planned = plan(&d, &Sets::of(&d, sets.clone()), false);
    assert_eq!(said(&planned), "refresh new=1");
    let Step::Refresh(refreshed) = &planned[0] else { panic!() };
    let annotations = refreshed.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations[revisions::REVISION], "100");
    assert_eq!(annotations[revisions::HISTORY], "91");
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let d = deployment(3, json!({"type": "Recreate"}));
    check(&d, vec![set("old", 9, 3, 3, 3)], "old=0");
    let emptied = || vec![set("old", 9, 0, 0, 3)];
    check(&d, emptied(), "create 3 as 92");
    let sets = Sets::of(&d, emptied());
    assert_eq!(said(&plan(&d, &sets, true)), "");
}

#[test]
fn scaling_amid_a_rollout_is_proportional() {
    let d = deployment(20, surge(1, 0));
    // 11 pods were allowed for 10 replicas, 21 are for 20.
    let sets = vec![set("old", 9, 8, 8, 10), set("new", 1, 3, 3, 10)];
    check(&d, sets, "old=15 new=6");
    let d = deployment(5, surge(1, 0));
    let sets = vec![set("old", 9, 8, 8, 10), set("new", 1, 3, 3, 10)];
    check(&d, sets, "old=4 new=2");
    // One active set takes it all.
    check(&d, vec![set("new", 1, 3, 3, 3)], "new=5");
    let d = deployment(0, surge(1, 0));
    let sets = vec![set("old", 9, 2, 2, 3), set("new", 1, 2, 2, 3)];
    check(&d, sets, "old=0 new=0");
}

#[test]
fn a_paused_deployment_scales_and_rolls_nothing_out() {
    let mut d = deployment(5, surge(1, 0));
    d.spec.as_mut().unwrap().paused = Some(true);
    check(&d, vec![set("old", 9, 3, 3, 3)], "old=5");
    check(&d, vec![set("old", 9, 5, 5, 5)], "");
    check(&d, vec![], "");
}

#[test]
fn history_beyond_the_limit_is_deleted_when_all_is_done() {
    let mut d = deployment(1, surge(1, 0));
    d.spec.as_mut().unwrap().revision_history_limit = Some(1);
    let sets = || {
        vec![
            set("a", 9, 0, 0, 1),
            set("b", 8, 0, 0, 1),
            set("c", 7, 0, 0, 1),
            set("new", 1, 1, 1, 1),
        ]
    };
    check(&d, sets(), "");
    d.status = serde_json::from_value(json!({
        "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 1,
    }))
    .unwrap();
    check(&d, sets(), "-a -b");
}

#[test]
fn limits_round_up_and_down_and_never_both_to_nothing() {
    let check = |replicas, surge: &str, unavailable: &str, expected: (i32, i32)| {
        let d = deployment(
            replicas,
            json!({"type": "RollingUpdate",
                   "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}),
        );
        let limits = Limits::of(&d);
        assert_eq!((limits.surge, limits.unavailable), expected);
    };
    check(10, "25%", "25%", (3, 2));
    check(1, "25%", "25%", (1, 0));
    check(3, "0%", "10%", (0, 1));
}

#[test]
fn a_hash_is_added_to_labels_selector_and_template() {
    let d = deployment(1, surge(1, 0));
    let rs = revisions::build(&d, None, 7);
    let hash = rs.metadata.labels.as_ref().unwrap()[revisions::HASH].clone();
    assert_eq!(rs.metadata.name.as_deref(), Some(format!("web-{hash}").as_str()));
    let spec = rs.spec.as_ref().unwrap();
    assert_eq!(spec.selector.match_labels.as_ref().unwrap()[revisions::HASH], hash);
    assert_eq!(revisions::revision(&rs.metadata), 7);
    assert!(Sets::of(&d, vec![Arc::new(rs)]).new.is_some(), "it is the Deployment's own");
}
