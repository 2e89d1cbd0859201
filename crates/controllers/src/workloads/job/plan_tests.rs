//! Tables of Jobs.

use super::*;
use crate::common::pods::tests::at;
use serde_json::json;

fn job(spec: serde_json::Value, status: serde_json::Value) -> Job {
    let mut object = json!({"metadata": {"name": "j", "namespace": "n", "uid": "j"},
        "spec": {"template": {}}, "status": status});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

/// `a` is active, `s` succeeded, `f` failed, `d` deleting; a digit before is its index; `-` after
/// says that the finalizer is gone.
fn pod(number: usize, text: &str) -> Arc<Pod> {
    let index: String = text.chars().take_while(char::is_ascii_digit).collect();
    let kind = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let phase = match kind.chars().next() {
        Some('s') => "Succeeded",
        Some('f') => "Failed",
        _ => "Running",
    };
    let mut object = json!({
        "metadata": {"name": format!("p{number}"), "namespace": "n", "uid": format!("p{number}")},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "False",
            "lastTransitionTime": base::clock::rfc3339_seconds(at(0))}]},
    });
    if !kind.ends_with('-') {
        object["metadata"]["finalizers"] = json!([FINALIZER]);
    }
    if kind.starts_with('d') {
        object["metadata"]["deletionTimestamp"] = json!(base::clock::rfc3339_seconds(at(0)));
    }
    if !index.is_empty() {
        object["metadata"]["labels"] = json!({indexes::INDEX: index});
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

fn planned(job: &Job, pods: &str, second: i64) -> Plan {
    let pods: Vec<_> = pods.split_whitespace().enumerate().map(|(n, text)| pod(n, text)).collect();
    let released = HashSet::new();
    plan(&Snapshot { job, pods: &pods, released: &released, settled: true, now: at(second) })
}

fn said(plan: &Plan) -> String {
    let mut words = Vec::new();
    match plan.create.as_slice() {
        [] => {}
        [NewPod { index: None, .. }, ..] => words.push(format!("+{}", plan.create.len())),
        indexed => words.extend(indexed.iter().map(|pod| format!("+#{}", pod.index.unwrap()))),
    }
    if !plan.delete.is_empty() {
        words.push(format!("-{}", plan.delete.len()));
    }
    if !plan.release.is_empty() {
        words.push(format!("release {}", plan.release.len()));
    }
    let conditions = plan.status.conditions.iter().flatten();
    words.extend(
        conditions
            .filter(|condition| condition.status == "True")
            .map(|condition| format!("{}:{}", condition.type_, condition.reason.clone().unwrap())),
    );
    words.join(" ")
}

fn check(spec: serde_json::Value, status: serde_json::Value, pods: &str, expected: &str) {
    let plan = planned(&job(spec, status), pods, 100);
    assert_eq!(said(&plan), expected, "{pods}");
}

#[test]
fn pods_are_made_as_many_as_may_run() {
    let five = || json!({"completions": 5, "parallelism": 2});
    check(five(), json!({}), "", "+2");
    check(five(), json!({}), "a", "+1");
    check(five(), json!({}), "a a a", "-1");
    check(five(), json!({"succeeded": 4}), "", "+1");
    check(json!({"parallelism": 3}), json!({}), "", "+3");
    check(json!({"parallelism": 3}), json!({"succeeded": 1}), "a", "");
}

#[test]
fn what_ended_is_counted_once() {
    let five = || json!({"completions": 5, "parallelism": 2});
    let first = planned(&job(five(), json!({})), "s a", 100);
    let uncounted = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!(uncounted.succeeded.as_deref(), Some(&["p0".to_owned()][..]));
    assert_eq!((first.status.succeeded, first.release.len()), (None, 1));
    let status = serde_json::to_value(&first.status).unwrap();
    let again = planned(&job(five(), status.clone()), "s a", 100);
    assert_eq!((again.status.succeeded, again.release.len()), (None, 1));
    let later = planned(&job(five(), status.clone()), "s- a", 100);
    assert_eq!((later.status.succeeded, later.release.len()), (Some(1), 0));
    assert_eq!(later.status.uncounted_terminated_pods.unwrap().succeeded, None);
    let gone = planned(&job(five(), status), "", 100);
    assert_eq!(gone.status.succeeded, Some(1));
}

#[test]
fn completion_is_told_when_all_have_ended() {
    let two = || json!({"completions": 2, "parallelism": 2});
    let met = "SuccessCriteriaMet:CompletionsReached";
    check(two(), json!({}), "s s", &format!("release 2 {met}"));
    let status = json!({"succeeded": 2});
    check(two(), status.clone(), "a", &format!("-1 {met}"));
    check(two(), status, "s- s-", &format!("{met} Complete:CompletionsReached"));
}

#[test]
fn failures_back_off_and_have_a_limit() {
    let one = || json!({"completions": 1, "backoffLimit": 1});
    // The failure was 100 s ago, the back-off is 10 s.
    check(one(), json!({"failed": 1}), "f-", "+1");
    let soon = planned(&job(one(), json!({"failed": 1})), "f-", 3);
    assert_eq!((said(&soon).as_str(), soon.again), ("", Some(Duration::from_secs(7))));
    check(one(), json!({"failed": 1}), "f- f", "release 1 FailureTarget:BackoffLimitExceeded");
    check(
        one(),
        json!({"failed": 2}),
        "f- f-",
        "FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded",
    );
}

#[test]
fn indexes_are_filled_and_told() {
    let three = || json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed"});
    check(three(), json!({}), "", "+#0 +#1");
    check(three(), json!({"completedIndexes": "0", "succeeded": 1}), "1a", "+#2");
    let plan = planned(&job(three(), json!({})), "0s 2s 1a", 100);
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("0,2"));
    // One of a pair is too many; the other index comes when the pair is resolved.
    check(three(), json!({}), "0a 0a", "-1");
}

#[test]
fn each_index_has_its_own_limit() {
    let spec = || {
        json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
               "backoffLimitPerIndex": 0})
    };
    let plan = planned(&job(spec(), json!({})), "0f 1s", 100);
    assert_eq!(plan.status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(said(&plan), "release 2 FailureTarget:FailedIndexes");
    let mut limited = spec();
    limited["maxFailedIndexes"] = json!(0);
    limited["completions"] = json!(4);
    check(limited, json!({}), "0f 1a", "-1 release 1 FailureTarget:MaxFailedIndexesExceeded");
}

#[test]
fn suspension_takes_pods_away_and_stops_the_clock() {
    let spec = json!({"completions": 2, "suspend": true});
    let plan = planned(&job(spec, json!({"startTime": "2023-11-14T22:13:20Z"})), "a", 100);
    assert_eq!(said(&plan), "-1 Suspended:JobSuspended");
    assert!(plan.status.start_time.is_none());
    let status = serde_json::to_value(&plan.status).unwrap();
    let resumed = planned(&job(json!({"completions": 2}), status), "", 200);
    assert_eq!(said(&resumed), "+1");
    assert_eq!(resumed.status.start_time.unwrap().0, at(200));
}

#[test]
fn a_deadline_ends_it() {
    let spec = || json!({"completions": 2, "activeDeadlineSeconds": 50});
    let status = |second| json!({"startTime": base::clock::rfc3339_seconds(at(second))});
    let going = planned(&job(spec(), status(60)), "a", 100);
    assert_eq!(going.again, Some(Duration::from_secs(10)));
    check(spec(), status(50), "a", "-1 FailureTarget:DeadlineExceeded");
}

#[test]
fn a_job_that_is_being_deleted_keeps_no_pod() {
    let mut deleted = job(json!({"completions": 5, "parallelism": 3}), json!({}));
    deleted.metadata.deletion_timestamp =
        serde_json::from_value(json!("2023-11-14T22:13:20Z")).unwrap();
    assert_eq!(said(&planned(&deleted, "a d s f", 100)), "release 4");
    assert_eq!(said(&planned(&deleted, "a- d- s-", 100)), "");
}
