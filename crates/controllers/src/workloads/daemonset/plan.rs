//! What a DaemonSet does on which node. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, PodTemplateSpec, Toleration};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use crate::common::history;
use crate::common::intstr::scaled;
use crate::common::node_fit;
use crate::common::owner::{annotation, name};
use crate::common::pods::{self, Availability};

/// The generation of the template, which older clients know.
pub(crate) const GENERATION: &str = "deprecated.daemonset.template.generation";

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The nodes that get a pod.
    pub(crate) create: Vec<String>,
    pub(crate) delete: Vec<Arc<Pod>>,
    /// Pods among those to be deleted that have ended by themselves, with whether they failed.
    pub(crate) ended: Vec<(Arc<Pod>, String, bool)>,
}

/// What the status counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) desired: i32,
    pub(crate) current: i32,
    pub(crate) misscheduled: i32,
    pub(crate) ready: i32,
    pub(crate) updated: i32,
    pub(crate) available: i32,
    pub(crate) next_available: Option<Duration>,
}

/// A DaemonSet, the nodes, and its pods by node.
pub(crate) struct Snapshot<'a> {
    pub(crate) set: &'a DaemonSet,
    pub(crate) nodes: &'a [Arc<Node>],
    pub(crate) pods: BTreeMap<String, Vec<Arc<Pod>>>,
    /// The hash of the current template.
    pub(crate) hash: &'a str,
}

/// The pods of a set by the node that they are on, or are meant for.
pub(crate) fn by_node(pods: Vec<Arc<Pod>>) -> BTreeMap<String, Vec<Arc<Pod>>> {
    let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        if let Some(node) = target(&pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    by_node
}

fn target(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_ref().filter(|node| !node.is_empty()) {
        return Some(node.clone());
    }
    let required = spec
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let mut fields =
        required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.find(|field| field.key == "metadata.name")?.values.as_ref()?.first().cloned()
}

/// Whether a node should run a pod, and whether one that runs there may go on.
fn fits(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let empty = PodSpec::default();
    let spec = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).unwrap_or(&empty);
    let named = spec.node_name.as_deref().filter(|wanted| !wanted.is_empty());
    if named.is_some_and(|wanted| wanted != name(&node.metadata)) || !node_fit::selects(spec, node)
    {
        return (false, false);
    }
    let tolerations = tolerations(spec);
    if node_fit::untolerated(node, &tolerations, &["NoSchedule", "NoExecute"]).is_none() {
        return (true, true);
    }
    (false, node_fit::untolerated(node, &tolerations, &["NoExecute"]).is_none())
}

/// The tolerations of a daemon's pods: nodes in trouble keep theirs.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let mut add = |key: &str, effect: &str| {
        let one = Toleration {
            key: Some(format!("node.kubernetes.io/{key}")),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !all.contains(&one) {
            all.push(one);
        }
    };
    add("not-ready", "NoExecute");
    add("unreachable", "NoExecute");
    add("disk-pressure", "NoSchedule");
    add("memory-pressure", "NoSchedule");
    add("pid-pressure", "NoSchedule");
    add("unschedulable", "NoSchedule");
    if spec.host_network == Some(true) {
        add("network-unavailable", "NoSchedule");
    }
    all
}

/// The template of the pod for one node.
pub(crate) fn template_for(set: &DaemonSet, node: &str, hash: &str) -> PodTemplateSpec {
    let mut template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(history::HASH.to_owned(), hash.to_owned());
    if let Some(generation) = annotation(&set.metadata, GENERATION) {
        labels.insert("pod-template-generation".to_owned(), generation.to_owned());
    }
    let spec = template.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let required = json!({"nodeSelectorTerms": [{
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}],
    }]});
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        serde_json::from_value(required).ok();
    template
}

/// Which nodes lack a pod, and which pods are too many. `may_retry` says whether a failed pod of
/// a node may be replaced now.
pub(crate) fn manage(snapshot: &Snapshot<'_>, may_retry: &dyn Fn(&str) -> bool) -> Plan {
    let mut plan = Plan::default();
    let surging = limits(snapshot.set, 100).1 > 0;
    for node in snapshot.nodes {
        let node_name = name(&node.metadata);
        let none = Vec::new();
        let here = snapshot.pods.get(node_name).unwrap_or(&none);
        let (should_run, may_go_on) = fits(snapshot.set, node);
        if should_run && here.is_empty() {
            plan.create.push(node_name.to_owned());
        } else if may_go_on {
            keep_one(&mut plan, node_name, here, surging, snapshot.hash, may_retry);
        } else {
            plan.delete.extend(here.iter().filter(|pod| !pods::is_deleting(pod)).cloned());
        }
    }
    // Pods of nodes that are gone are the pod garbage collector's.
    plan
}

fn keep_one(
    plan: &mut Plan,
    node: &str,
    here: &[Arc<Pod>],
    surging: bool,
    hash: &str,
    may_retry: &dyn Fn(&str) -> bool,
) {
    let mut running: Vec<&Arc<Pod>> = Vec::new();
    for pod in here.iter().filter(|pod| !pods::is_deleting(pod)) {
        match pods::phase(pod) {
            "Failed" if may_retry(node) => {
                plan.ended.push((pod.clone(), node.to_owned(), true));
                plan.delete.push(pod.clone());
            }
            "Failed" => {}
            "Succeeded" => {
                plan.ended.push((pod.clone(), node.to_owned(), false));
                plan.delete.push(pod.clone());
            }
            _ => running.push(pod),
        }
    }
    running.sort_by_key(|pod| {
        (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.metadata.name.clone())
    });
    if surging {
        // During a surge one old and one new pod may run side by side.
        for new in [true, false] {
            let of_kind = running.iter().filter(|pod| is_updated(pod, hash) == new).skip(1);
            plan.delete.extend(of_kind.map(|pod| (*pod).clone()));
        }
    } else {
        plan.delete.extend(running.into_iter().skip(1).cloned());
    }
}

fn is_updated(pod: &Pod, hash: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(history::HASH)).is_some_and(|found| found == hash)
}

/// `maxUnavailable` and `maxSurge` for so many pods.
fn limits(set: &DaemonSet, desired: i32) -> (i32, i32) {
    let rolling = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref())
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let one = IntOrString::Int(1);
    let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref()).unwrap_or(&one);
    let surge = rolling.and_then(|r| r.max_surge.as_ref());
    let surge = surge.map_or(0, |surge| scaled(surge, desired, true));
    let unavailable = scaled(unavailable, desired, true);
    (if surge == 0 { unavailable.max(1) } else { unavailable }, surge)
}

/// The next step of a rolling update: pods to be replaced, nodes that get a second pod.
pub(crate) fn roll(snapshot: &Snapshot<'_>, now: Timestamp) -> Plan {
    let set = snapshot.set;
    let fitting: Vec<_> = snapshot.nodes.iter().filter(|node| fits(set, node).0).collect();
    let desired = i32::try_from(fitting.len()).unwrap_or(i32::MAX);
    let (max_unavailable, max_surge) = limits(set, desired);
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
    let is_available =
        |pod: &Pod| pods::availability(pod, min_ready, now) == Availability::Available;
    let (mut broken, mut healthy) = (Plan::default(), Plan::default());
    let (mut unavailable, mut surge) = (0, 0);
    for node in fitting {
        let node_name = name(&node.metadata);
        let none = Vec::new();
        let here = snapshot.pods.get(node_name).unwrap_or(&none);
        let alive = || here.iter().filter(|pod| !pods::is_deleting(pod));
        let new = alive().find(|pod| is_updated(pod, snapshot.hash));
        let old = alive().find(|pod| !is_updated(pod, snapshot.hash));
        match (old, new) {
            (Some(old), Some(new)) if max_surge > 0 => {
                if is_available(new) {
                    broken.delete.push(old.clone());
                } else {
                    surge += 1;
                }
            }
            (Some(old), None) if is_available(old) => {
                healthy.delete.push(old.clone());
                healthy.create.push(node_name.to_owned());
            }
            (Some(old), None) => {
                unavailable += 1;
                broken.delete.push(old.clone());
            }
            (None, Some(new)) if is_available(new) => {}
            _ => unavailable += 1,
        }
    }
    if max_surge > 0 {
        let left = usize::try_from(max_surge - surge).unwrap_or_default();
        broken.create = healthy.create.into_iter().take(left).collect();
    } else {
        let left = usize::try_from(max_unavailable - unavailable).unwrap_or_default();
        broken.delete.extend(healthy.delete.into_iter().take(left));
    }
    broken
}

/// Counts for the status.
pub(crate) fn count(snapshot: &Snapshot<'_>, now: Timestamp) -> Counts {
    let set = snapshot.set;
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
    let mut counts = Counts::default();
    for node in snapshot.nodes {
        let (should_run, _) = fits(set, node);
        let here = snapshot.pods.get(name(&node.metadata));
        let Some(here) = here.filter(|here| !here.is_empty()) else {
            counts.desired += i32::from(should_run);
            continue;
        };
        if !should_run {
            counts.misscheduled += 1;
            continue;
        }
        counts.desired += 1;
        counts.current += 1;
        let oldest = here.iter().min_by_key(|pod| {
            let alive = !pods::is_deleting(pod);
            (!alive, pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
        });
        counts.updated += i32::from(here.iter().any(|pod| is_updated(pod, snapshot.hash)));
        let Some(pod) = oldest else { continue };
        counts.ready += i32::from(pods::is_ready(pod));
        match pods::availability(pod, min_ready, now) {
            Availability::Available => counts.available += 1,
            Availability::In(left) => {
                counts.next_available =
                    Some(counts.next_available.map_or(left, |other| other.min(left)));
            }
            Availability::NotReady => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::{at, running};

    fn set(strategy: serde_json::Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "ds", "annotations": {GENERATION: "3"}},
            "spec": {"selector": {}, "template": {"spec": {"containers": []}},
                     "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": strategy}},
        }))
        .unwrap()
    }

    fn nodes(count: usize) -> Vec<Arc<Node>> {
        let node = |n| serde_json::from_value(json!({"metadata": {"name": format!("n{n}")}}));
        (0..count).map(|n| Arc::new(node(n).unwrap())).collect()
    }

    fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
        let mut pod = running(name, node, ready.then_some(0));
        pod.metadata.labels = Some([(history::HASH.to_owned(), hash.to_owned())].into());
        Arc::new(pod)
    }

    fn said(plan: &Plan) -> String {
        let deleted = plan.delete.iter().map(|pod| format!("-{}", name(&pod.metadata)));
        let created = plan.create.iter().map(|node| format!("+{node}"));
        deleted.chain(created).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_pod_a_node() {
        let (set, mut nodes) = (set(json!({})), nodes(3));
        let tainted = json!({"metadata": {"name": "n3"},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
        nodes.push(Arc::new(serde_json::from_value(tainted).unwrap()));
        let mut failed = (*pod("f", "n2", "new", false)).clone();
        failed.status.as_mut().unwrap().phase = Some("Failed".into());
        let pods = vec![
            pod("a", "n0", "new", true),
            pod("b", "n0", "new", true),
            Arc::new(failed),
            pod("stays", "n3", "new", true),
        ];
        let snapshot = Snapshot { set: &set, nodes: &nodes, pods: by_node(pods), hash: "new" };
        assert_eq!(said(&manage(&snapshot, &|_| true)), "-b -f +n1");
        assert_eq!(said(&manage(&snapshot, &|_| false)), "-b +n1");
        let counts = count(&snapshot, at(10));
        assert_eq!((counts.desired, counts.current, counts.misscheduled), (3, 2, 1));
    }

    #[test]
    fn a_rolling_update_keeps_to_its_limits() {
        let check = |strategy, pods: Vec<Arc<Pod>>, expected: &str| {
            let (set, nodes) = (set(strategy), nodes(3));
            let snapshot = Snapshot { set: &set, nodes: &nodes, pods: by_node(pods), hash: "new" };
            assert_eq!(said(&roll(&snapshot, at(10))), expected);
        };
        let old = |n: usize, ready| pod(&format!("old{n}"), &format!("n{n}"), "old", ready);
        let new = |n: usize, ready| pod(&format!("new{n}"), &format!("n{n}"), "new", ready);
        check(json!({}), vec![old(0, true), old(1, true), old(2, true)], "-old0");
        check(json!({}), vec![new(0, false), old(1, true), old(2, true)], "");
        check(json!({}), vec![new(0, true), old(1, false), old(2, true)], "-old1");
        let surge = || json!({"maxSurge": 1, "maxUnavailable": 0});
        check(surge(), vec![old(0, true), old(1, true), old(2, true)], "+n0");
        check(surge(), vec![old(0, true), new(0, false), old(1, true), old(2, true)], "");
        check(surge(), vec![old(0, true), new(0, true), old(1, true), old(2, true)], "-old0 +n1");
    }

    #[test]
    fn a_pod_is_bound_to_its_node_by_affinity() {
        let template = template_for(&set(json!({})), "n7", "abc");
        let labels = template.metadata.clone().unwrap().labels.unwrap();
        assert_eq!(labels["pod-template-generation"], "3");
        assert_eq!(labels[history::HASH], "abc");
        let pod = Pod { spec: template.spec, ..Pod::default() };
        assert_eq!(target(&pod).as_deref(), Some("n7"));
        assert_eq!(pod.spec.unwrap().tolerations.unwrap().len(), 6);
    }
}
