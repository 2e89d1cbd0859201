//! Tables of conditions.

use super::super::plan::tests::{deployment, set as replicaset, surge};
use super::*;
use crate::common::pods::tests::at;

fn progress_of(status: &DeploymentStatus) -> (String, String) {
    let found = find(status.conditions.as_deref().unwrap(), PROGRESSING).unwrap();
    (found.status.clone(), found.reason.clone().unwrap())
}

fn says(status: &DeploymentStatus, state: &str, reason: &str) {
    assert_eq!(progress_of(status), (state.to_owned(), reason.to_owned()));
}

#[test]
fn a_rollout_progresses_completes_and_stays_complete() {
    let mut d = deployment(2, surge(1, 0));
    let with = |available| Sets::of(&d, vec![replicaset("new", 1, 2, available, 2)]);
    let (first, again) = compute(&d, &with(1), at(0));
    says(&first, "True", "ReplicaSetUpdated");
    assert_eq!(again, Some(Duration::from_secs(601)));
    let (half, full) = (with(1), with(2));
    d.status = Some(first);
    let (done, again) = compute(&d, &full, at(5));
    says(&done, "True", NEW_AVAILABLE);
    assert_eq!(again, None);
    d.status = Some(done);
    // A pod that fails later is no rollout that is stuck.
    let (later, _) = compute(&d, &half, at(9_000));
    says(&later, "True", NEW_AVAILABLE);
    let available = find(later.conditions.as_deref().unwrap(), AVAILABLE).unwrap();
    assert_eq!(available.status, "False");
}

#[test]
fn a_rollout_that_does_not_move_is_late() {
    let mut d = deployment(2, surge(1, 0));
    let sets = Sets::of(&d, vec![replicaset("new", 1, 2, 1, 2)]);
    d.status = Some(compute(&d, &sets, at(0)).0);
    let (waiting, again) = compute(&d, &sets, at(599));
    says(&waiting, "True", "ReplicaSetUpdated");
    assert_eq!(again, Some(Duration::from_secs(2)));
    let (late, again) = compute(&d, &sets, at(600));
    says(&late, "False", TIMED_OUT);
    assert_eq!(again, None);
}

#[test]
fn a_pause_stops_the_clock() {
    let mut d = deployment(2, surge(1, 0));
    let sets = Sets::of(&d, vec![replicaset("new", 1, 2, 1, 2)]);
    d.status = Some(compute(&d, &sets, at(0)).0);
    d.spec.as_mut().unwrap().paused = Some(true);
    let (paused, again) = compute(&d, &sets, at(10));
    says(&paused, "Unknown", PAUSED);
    assert_eq!(again, None);
    d.status = Some(paused);
    d.spec.as_mut().unwrap().paused = None;
    let (resumed, again) = compute(&d, &sets, at(5_000));
    says(&resumed, "Unknown", RESUMED);
    assert_eq!(again, Some(Duration::from_secs(601)));
}

#[test]
fn what_a_set_cannot_make_is_told() {
    let d = deployment(2, surge(1, 0));
    let mut rs = (*replicaset("new", 1, 2, 1, 2)).clone();
    rs.status.as_mut().unwrap().conditions = serde_json::from_str(
        r#"[{"type":"ReplicaFailure","status":"True","reason":"FailedCreate","message":"quota"}]"#,
    )
    .unwrap();
    let (status, _) = compute(&d, &Sets::of(&d, vec![std::sync::Arc::new(rs)]), at(0));
    let failed = find(status.conditions.as_deref().unwrap(), REPLICA_FAILURE).unwrap().clone();
    assert_eq!(failed.message.as_deref(), Some("quota"));
    let mut d = d;
    d.status = Some(status);
    let healthy = Sets::of(&d, vec![replicaset("new", 1, 2, 1, 2)]);
    let (mended, _) = compute(&d, &healthy, at(1));
    assert!(find(mended.conditions.as_deref().unwrap(), REPLICA_FAILURE).is_none());
}
