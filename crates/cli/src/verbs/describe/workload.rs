//! What makes pods: Deployments, ReplicaSets, DaemonSets, StatefulSets, Jobs, CronJobs.

use api::Value;
use api::object::{annotation, at, int_at, list_at, name, owner_references, str_at, uid};

use super::page::{Page, controller, or, plain, selector};
use super::pod::{node_selector, template};
use super::when::time;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// A Deployment, and the ReplicaSets of its namespace.
pub(super) fn deployment(page: &mut Page, own: &Value, sets: &[Value]) {
    let number = |field: &str| int_at(own, &["status", field]).unwrap_or_default();
    page.identity(own);
    page.field(0, "CreationTimestamp", time(str_at(own, &["metadata", "creationTimestamp"])));
    page.marks(own);
    page.field(0, "Selector", selector(at(own, &["spec", "selector"])));
    page.field(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            int_at(own, &["spec", "replicas"]).unwrap_or(1),
            number("updatedReplicas"),
            number("replicas"),
            number("availableReplicas"),
            number("unavailableReplicas")
        ),
    );
    page.field(0, "StrategyType", str_at(own, &["spec", "strategy", "type"]));
    page.field(0, "MinReadySeconds", int_at(own, &["spec", "minReadySeconds"]).unwrap_or_default());
    if let Some(rolling) = at(own, &["spec", "strategy", "rollingUpdate"]) {
        let part = |field: &str| rolling.get(field).map(plain).unwrap_or_default();
        let text =
            format!("{} max unavailable, {} max surge", part("maxUnavailable"), part("maxSurge"));
        page.field(0, "RollingUpdateStrategy", text);
    }
    template(page, &own["spec"]["template"]);
    conditions(page, own);
    let (old, new) = split(own, sets);
    page.field(0, "OldReplicaSets", old);
    page.field(0, "NewReplicaSet", new);
}

/// The sets of earlier revisions that still have pods, and the set of this one.
fn split(deployment: &Value, sets: &[Value]) -> (String, String) {
    let revision = annotation(deployment, REVISION).unwrap_or_default();
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for set in sets {
        if !owner_references(set).iter().any(|own| str_at(own, &["uid"]) == uid(deployment)) {
            continue;
        }
        let wanted = int_at(set, &["spec", "replicas"]).unwrap_or_default();
        let there = int_at(set, &["status", "replicas"]).unwrap_or_default();
        let text = format!("{} ({there}/{wanted} replicas created)", name(set));
        if annotation(set, REVISION).is_some_and(|own| own == revision) {
            new.push(text);
        } else {
            old.push(text);
        }
    }
    (or(&old.join(", "), "<none>").to_owned(), or(&new.join(", "), "<none>").to_owned())
}

/// A ReplicaSet or ReplicationController, and the pods that it owns.
pub(super) fn replica_set(page: &mut Page, own: &Value, pods: &[Value]) {
    page.identity(own);
    page.field(0, "Selector", plain_or_label_selector(own));
    page.marks(own);
    if let Some(owner) = controller(own) {
        page.field(0, "Controlled By", owner);
    }
    let current = int_at(own, &["status", "replicas"]).unwrap_or_default();
    let desired = int_at(own, &["spec", "replicas"]).unwrap_or(1);
    page.field(0, "Replicas", format!("{current} current / {desired} desired"));
    page.field(0, "Pods Status", pods_status(own, pods));
    template(page, &own["spec"]["template"]);
    conditions(page, own);
}

/// A DaemonSet, and the pods that it owns.
pub(super) fn daemon_set(page: &mut Page, own: &Value, pods: &[Value]) {
    page.identity(own);
    page.field(0, "Selector", selector(at(own, &["spec", "selector"])));
    page.field(0, "Node-Selector", node_selector(&own["spec"]["template"]["spec"]));
    page.marks(own);
    for (title, field) in [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        page.field(0, title, int_at(own, &["status", field]).unwrap_or_default());
    }
    page.field(0, "Pods Status", pods_status(own, pods));
    template(page, &own["spec"]["template"]);
}

/// A StatefulSet, and the pods that it owns.
pub(super) fn stateful_set(page: &mut Page, own: &Value, pods: &[Value]) {
    page.identity(own);
    page.field(0, "CreationTimestamp", time(str_at(own, &["metadata", "creationTimestamp"])));
    page.field(0, "Selector", selector(at(own, &["spec", "selector"])));
    page.marks(own);
    let desired = int_at(own, &["spec", "replicas"]).unwrap_or(1);
    let total = int_at(own, &["status", "replicas"]).unwrap_or_default();
    page.field(0, "Replicas", format!("{desired} desired | {total} total"));
    page.field(0, "Update Strategy", str_at(own, &["spec", "updateStrategy", "type"]));
    if let Some(part) = int_at(own, &["spec", "updateStrategy", "rollingUpdate", "partition"]) {
        page.field(1, "Partition", part);
    }
    page.field(0, "Pods Status", pods_status(own, pods));
    template(page, &own["spec"]["template"]);
    let claims = list_at(own, &["spec", "volumeClaimTemplates"]);
    page.line(0, if claims.is_empty() { "Volume Claims:\t<none>" } else { "Volume Claims:" });
    for claim in claims {
        page.field(1, "Name", name(claim));
        page.field(1, "StorageClass", str_at(claim, &["spec", "storageClassName"]));
        let requests = at(claim, &["spec", "resources", "requests", "storage"]);
        page.field(1, "Capacity", requests.map(plain).unwrap_or_default());
        let modes: Vec<_> = list_at(claim, &["spec", "accessModes"]).iter().map(plain).collect();
        page.field(1, "Access Modes", format!("[{}]", modes.join(" ")));
    }
}

/// A Job.
pub(super) fn job(page: &mut Page, own: &Value) {
    page.identity(own);
    page.field(0, "Selector", selector(at(own, &["spec", "selector"])));
    page.marks(own);
    if let Some(owner) = controller(own) {
        page.field(0, "Controlled By", owner);
    }
    page.field(0, "Parallelism", int_at(own, &["spec", "parallelism"]).unwrap_or(1));
    match int_at(own, &["spec", "completions"]) {
        Some(number) => page.field(0, "Completions", number),
        None => page.field(0, "Completions", "<unset>"),
    }
    page.field_if(0, "Completion Mode", str_at(own, &["spec", "completionMode"]));
    page.field(0, "Suspend", own["spec"]["suspend"] == true);
    page.field(0, "Backoff Limit", int_at(own, &["spec", "backoffLimit"]).unwrap_or(6));
    if let Some(seconds) = int_at(own, &["spec", "ttlSecondsAfterFinished"]) {
        page.field(0, "TTL Seconds After Finished", seconds);
    }
    let (started, ended) =
        (str_at(own, &["status", "startTime"]), str_at(own, &["status", "completionTime"]));
    if !started.is_empty() {
        page.field(0, "Start Time", time(started));
    }
    if !ended.is_empty() {
        page.field(0, "Completed At", time(ended));
        if let (Ok(from), Ok(to)) =
            (started.parse::<jiff::Timestamp>(), ended.parse::<jiff::Timestamp>())
        {
            let seconds = to.as_second() - from.as_second();
            page.field(0, "Duration", api::duration::human(seconds));
        }
    }
    if let Some(seconds) = int_at(own, &["spec", "activeDeadlineSeconds"]) {
        page.field(0, "Active Deadline Seconds", format!("{seconds}s"));
    }
    let number = |field: &str| int_at(own, &["status", field]).unwrap_or_default();
    page.field(
        0,
        "Pods Statuses",
        format!(
            "{} Active ({} Ready) / {} Succeeded / {} Failed",
            number("active"),
            number("ready"),
            number("succeeded"),
            number("failed")
        ),
    );
    template(page, &own["spec"]["template"]);
}

/// A CronJob.
pub(super) fn cron_job(page: &mut Page, own: &Value) {
    let spec = |field: &str| str_at(own, &["spec", field]);
    let limit = |field: &str| match int_at(own, &["spec", field]) {
        Some(number) => number.to_string(),
        None => "<unset>".to_owned(),
    };
    page.identity(own);
    page.marks(own);
    page.field(0, "Schedule", spec("schedule"));
    page.field_if(0, "Time Zone", spec("timeZone"));
    page.field(0, "Concurrency Policy", spec("concurrencyPolicy"));
    let suspend = if own["spec"]["suspend"] == true { "True" } else { "False" };
    page.field(0, "Suspend", suspend);
    page.field(0, "Successful Job History Limit", limit("successfulJobsHistoryLimit"));
    page.field(0, "Failed Job History Limit", limit("failedJobsHistoryLimit"));
    match int_at(own, &["spec", "startingDeadlineSeconds"]) {
        Some(seconds) => page.field(0, "Starting Deadline Seconds", format!("{seconds}s")),
        None => page.field(0, "Starting Deadline Seconds", "<unset>"),
    }
    let job = &own["spec"]["jobTemplate"]["spec"];
    page.field(0, "Selector", selector(job.get("selector")));
    for (title, field) in [("Parallelism", "parallelism"), ("Completions", "completions")] {
        let number = int_at(job, &[field]).map(|own| own.to_string());
        page.field(0, title, number.as_deref().unwrap_or("<unset>"));
    }
    template(page, &job["template"]);
    match str_at(own, &["status", "lastScheduleTime"]) {
        "" => page.field(0, "Last Schedule Time", "<unset>"),
        at => page.field(0, "Last Schedule Time", time(at)),
    }
    let active: Vec<_> = list_at(own, &["status", "active"])
        .iter()
        .map(|job| str_at(job, &["name"]).to_owned())
        .collect();
    page.field(0, "Active Jobs", or(&active.join(", "), "<none>"));
}

/// ReplicationControllers select by a bare map.
fn plain_or_label_selector(own: &Value) -> String {
    let found = at(own, &["spec", "selector"]);
    if api::object::kind(own) == "ReplicationController" {
        return or(&super::page::equations(found).join(","), "<none>").to_owned();
    }
    selector(found)
}

fn pods_status(owner: &Value, pods: &[Value]) -> String {
    let owned =
        |pod: &&Value| owner_references(pod).iter().any(|own| str_at(own, &["uid"]) == uid(owner));
    let count = |phase: &str| {
        pods.iter().filter(owned).filter(|pod| str_at(pod, &["status", "phase"]) == phase).count()
    };
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    )
}

fn conditions(page: &mut Page, own: &Value) {
    let all = list_at(own, &["status", "conditions"]);
    if all.is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tReason");
    page.line(1, "----\t------\t------");
    for own in all {
        let part = |field: &str| str_at(own, &[field]);
        page.line(1, format!("{} \t{}\t{}", part("type"), part("status"), part("reason")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_names_its_sets() {
        let set = |name: &str, revision: &str, replicas: i64| {
            json!({"metadata": {"name": name, "annotations": {REVISION: revision}, "ownerReferences": [{"uid": "u"}]},
                "spec": {"replicas": replicas}, "status": {"replicas": replicas}})
        };
        let own = json!({"metadata": {"name": "web", "uid": "u", "annotations": {REVISION: "2"}}});
        let check = |sets: &[Value], old: &str, new: &str| {
            assert_eq!(split(&own, sets), (old.to_owned(), new.to_owned()));
        };
        check(&[], "<none>", "<none>");
        check(
            &[set("web-1", "1", 0), set("web-2", "2", 3)],
            "web-1 (0/0 replicas created)",
            "web-2 (3/3 replicas created)",
        );
    }

    #[test]
    fn a_templates_containers_stand_a_blank_further() {
        let mut page = Page::default();
        template(
            &mut page,
            &json!({"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "web", "image": "x:1"}]}}),
        );
        assert_eq!(
            page.finish(),
            "Pod Template:\n  Labels:  a=b\n  Containers:\n   web:\n    Image:         x:1\n    Port:          <none>\n    Host Port:     <none>\n    Environment:   <none>\n    Mounts:        <none>\n  Volumes:         <none>\n  Node-Selectors:  <none>\n  Tolerations:     <none>\n"
        );
    }
}
