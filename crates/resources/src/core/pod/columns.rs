//! The row of a pod: above all the word that says how it is.

use api::Value;
use api::object::{at, int_at, is_deleting, list_at, str_at};
use apiserver::resource::Row;
use base::clock::Timestamp;
use serde_json::json;

use crate::table::{self, NONE};

/// What the containers of a pod add up to.
#[derive(Default)]
struct Sum {
    ready: i64,
    total: i64,
    restarts: i64,
    restarts_sidecars: i64,
    last_restart: Option<Timestamp>,
    last_restart_sidecars: Option<Timestamp>,
}

/// The row of a pod.
pub(crate) fn row(pod: &Value, now: Timestamp) -> Row {
    let mut sum =
        Sum { total: list_at(pod, &["spec", "containers"]).len() as i64, ..Sum::default() };
    let mut reason = first_reason(pod);
    let blocked = init_reason(pod, &mut sum);
    let initializing = blocked.is_some() && !is_true(pod, "Initialized");
    match blocked {
        Some(blocked) if initializing => reason = blocked,
        _ => {
            sum.restarts = sum.restarts_sidecars;
            sum.last_restart = sum.last_restart_sidecars;
            reason = container_reason(pod, reason, &mut sum);
        }
    }
    let phase = str_at(pod, &["status", "phase"]);
    if is_deleting(pod) {
        if str_at(pod, &["status", "reason"]) == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            reason = "Terminating".to_owned();
        }
    }
    let restarts = match sum.last_restart {
        Some(at) if sum.restarts != 0 => {
            let ago = api::duration::human(now.as_second() - at.as_second());
            format!("{} ({ago} ago)", sum.restarts)
        }
        _ => sum.restarts.to_string(),
    };
    Row {
        cells: vec![
            table::name(pod),
            format!("{}/{}", sum.ready, sum.total).into(),
            reason.into(),
            restarts.into(),
            table::age(pod, now),
            ip(pod),
            table::text_or(pod, &["spec", "nodeName"], NONE),
            table::text_or(pod, &["status", "nominatedNodeName"], NONE),
            gates(pod),
        ],
        conditions: completed(phase),
    }
}

fn completed(phase: &str) -> Vec<Value> {
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": phase, "message": message})]
}

fn ip(pod: &Value) -> Value {
    let first = list_at(pod, &["status", "podIPs"]).first().map(|ip| str_at(ip, &["ip"]));
    match first.filter(|ip| !ip.is_empty()) {
        Some(ip) => ip.into(),
        None => NONE.into(),
    }
}

fn gates(pod: &Value) -> Value {
    let gates = list_at(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.into();
    }
    let open = gates.iter().filter(|gate| is_true(pod, str_at(gate, &["conditionType"]))).count();
    format!("{open}/{}", gates.len()).into()
}

fn is_true(pod: &Value, kind: &str) -> bool {
    table::condition(pod, kind).is_some_and(|found| str_at(found, &["status"]) == "True")
}

/// The phase, or what the status says instead.
fn first_reason(pod: &Value) -> String {
    let gated = table::condition(pod, "PodScheduled")
        .is_some_and(|found| str_at(found, &["reason"]) == "SchedulingGated");
    let own = str_at(pod, &["status", "reason"]);
    if gated {
        "SchedulingGated".to_owned()
    } else if own.is_empty() {
        str_at(pod, &["status", "phase"]).to_owned()
    } else {
        own.to_owned()
    }
}

fn finished_at(status: &Value) -> Option<Timestamp> {
    str_at(status, &["lastState", "terminated", "finishedAt"]).parse().ok()
}

/// How a terminated container ended, in words.
fn ended(terminated: &Value) -> String {
    let reason = str_at(terminated, &["reason"]);
    let signal = int_at(terminated, &["signal"]).unwrap_or_default();
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", int_at(terminated, &["exitCode"]).unwrap_or_default())
    }
}

/// What the first init container that is not done waits for; counts sidecars on the way.
fn init_reason(pod: &Value, sum: &mut Sum) -> Option<String> {
    let containers = list_at(pod, &["spec", "initContainers"]);
    let sidecar = |name: &str| {
        containers.iter().any(|one| {
            str_at(one, &["name"]) == name && str_at(one, &["restartPolicy"]) == "Always"
        })
    };
    sum.total +=
        containers.iter().filter(|one| str_at(one, &["restartPolicy"]) == "Always").count() as i64;
    for (index, status) in list_at(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        let restarts = int_at(status, &["restartCount"]).unwrap_or_default();
        let is_sidecar = sidecar(str_at(status, &["name"]));
        sum.restarts += restarts;
        sum.last_restart = sum.last_restart.max(finished_at(status));
        if is_sidecar {
            sum.restarts_sidecars += restarts;
            sum.last_restart_sidecars = sum.last_restart_sidecars.max(finished_at(status));
        }
        let terminated = at(status, &["state", "terminated"]);
        let waiting = str_at(status, &["state", "waiting", "reason"]);
        let started = at(status, &["started"]).and_then(Value::as_bool).unwrap_or_default();
        if let Some(terminated) = terminated {
            if int_at(terminated, &["exitCode"]).unwrap_or_default() == 0 {
                continue;
            }
            return Some(format!("Init:{}", ended(terminated)));
        }
        if is_sidecar && started {
            if at(status, &["ready"]).and_then(Value::as_bool).unwrap_or_default() {
                sum.ready += 1;
            }
            continue;
        }
        return Some(if waiting.is_empty() || waiting == "PodInitializing" {
            format!("Init:{index}/{}", containers.len())
        } else {
            format!("Init:{waiting}")
        });
    }
    None
}

/// What the app containers say, the first one having the last word.
fn container_reason(pod: &Value, first: String, sum: &mut Sum) -> String {
    let mut reason = first;
    let mut failed = None;
    let mut running = false;
    for status in list_at(pod, &["status", "containerStatuses"]).iter().rev() {
        sum.restarts += int_at(status, &["restartCount"]).unwrap_or_default();
        sum.last_restart = sum.last_restart.max(finished_at(status));
        let waiting = str_at(status, &["state", "waiting", "reason"]);
        let ready = at(status, &["ready"]).and_then(Value::as_bool).unwrap_or_default();
        if !waiting.is_empty() {
            reason = waiting.to_owned();
        } else if let Some(terminated) = at(status, &["state", "terminated"]) {
            reason = ended(terminated);
            if int_at(terminated, &["exitCode"]).unwrap_or_default() != 0 {
                failed = Some(reason.clone());
            }
        } else if ready && at(status, &["state", "running"]).is_some() {
            running = true;
            sum.ready += 1;
        }
    }
    if reason == "Completed" {
        if running {
            return if is_true(pod, "Ready") {
                "Running"
            } else {
                failed.as_deref().unwrap_or("NotReady")
            }
            .to_owned();
        }
        if let Some(failed) = failed {
            return failed;
        }
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(pod: Value) -> Vec<Value> {
        row(&pod, "2026-01-01T01:00:00Z".parse().unwrap()).cells
    }

    fn check(status: Value, expected: [&str; 3]) {
        let pod = json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n", "containers": [{"name": "a"}], "initContainers": [{"name": "i"}]},
            "status": status});
        let cells = cells(pod);
        assert_eq!(cells[1..4], expected.map(Value::from), "{cells:?}");
    }

    #[test]
    fn the_word_for_a_pod() {
        check(json!({"phase": "Pending"}), ["0/1", "Pending", "0"]);
        check(
            json!({"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": 2,
                "state": {"running": {}},
                "lastState": {"terminated": {"finishedAt": "2026-01-01T00:50:00Z"}}}]}),
            ["1/1", "Running", "2 (10m ago)"],
        );
        check(
            json!({"phase": "Running", "containerStatuses": [{"restartCount": 1,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            ["0/1", "CrashLoopBackOff", "1"],
        );
        check(
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 3,
                "state": {"running": {}}}]}),
            ["0/1", "Init:0/1", "3"],
        );
        check(
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i",
                "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            ["0/1", "Init:Error", "0"],
        );
        check(
            json!({"phase": "Succeeded", "containerStatuses": [{
                "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
            ["0/1", "Completed", "0"],
        );
        check(
            json!({"phase": "Failed", "containerStatuses": [{
                "state": {"terminated": {"exitCode": 3}}}]}),
            ["0/1", "ExitCode:3", "0"],
        );
        check(json!({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]);
    }

    #[test]
    fn the_rest_of_the_row() {
        let pod = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{}], "readinessGates": [{"conditionType": "x"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]}});
        assert_eq!(
            Value::Array(cells(pod)),
            json!([
                "a",
                "0/1",
                "Terminating",
                "0",
                "<unknown>",
                "10.0.0.1",
                "<none>",
                "<none>",
                "0/1"
            ])
        );
    }
}
