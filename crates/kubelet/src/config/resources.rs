//! Requests and limits as the kernel takes them: shares, quota, memory, OOM score, cgroup parent.
//!
//! The formulas are upstream's (`pkg/kubelet/cm/helpers_linux.go`, `pkg/kubelet/qos/policy.go`).

use container_runtime::{HugepageLimit, LinuxContainerResources};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{pod, quantity};

/// The time over which a quota counts.
pub(crate) const PERIOD_US: i64 = 100_000;
const QUOTA_US_MIN: i64 = 1000;
/// The least weight, and the least request in thousandths of a core that has one of its own.
pub(crate) const SHARES_MIN: i64 = 2;
/// The least limit that has a quota of its own, in thousandths of a core.
pub(crate) const MILLI_LIMIT_MIN: i64 = QUOTA_US_MIN * 1000 / PERIOD_US;
const SHARES_MAX: i64 = 262_144;

/// CPU weight of a request.
pub(crate) fn shares(milli: i64) -> i64 {
    if milli == 0 { SHARES_MIN } else { (milli * 1024 / 1000).clamp(SHARES_MIN, SHARES_MAX) }
}

/// CPU time in each period; 0 for no limit.
pub(crate) fn quota(milli: i64) -> i64 {
    if milli == 0 { 0 } else { i64::max(milli * PERIOD_US / 1000, QUOTA_US_MIN) }
}

/// The request that a weight stands for.
pub(crate) fn milli_of_shares(shares: i64) -> i64 {
    (shares * 1000 + 1023) / 1024
}

/// The limit that a quota stands for; 0 for none.
pub(crate) fn milli_of_quota(quota: i64, period: i64) -> i64 {
    if quota <= 0 || period <= 0 { 0 } else { quota * 1000 / period }
}

/// How readily the kernel kills the container when memory is short.
pub(crate) fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i64 {
    const GUARANTEED: i64 = -997;
    let priority = pod::spec(pod).priority.unwrap_or_default();
    if priority >= pod::PRIORITY_NODE_CRITICAL {
        return GUARANTEED;
    }
    match pod::qos_class(pod).as_str() {
        "Guaranteed" => GUARANTEED,
        "BestEffort" => 1000,
        _ => {
            let request = amount(container.resources.as_ref(), "memory", false, quantity::value);
            let share = i128::from(request) * 1000 / i128::from(node_memory.max(1));
            let score = 1000 - i64::try_from(share).unwrap_or(1000);
            // Above every guaranteed pod, below every best-effort one.
            score.clamp(1000 + GUARANTEED, 999)
        }
    }
}

/// The cgroup under which the pod's containers live.
pub(crate) fn cgroup_parent(pod: &Pod) -> String {
    let uid = pod::uid(pod);
    match pod::qos_class(pod).as_str() {
        "Guaranteed" => format!("/kubepods/pod{uid}"),
        "Burstable" => format!("/kubepods/burstable/pod{uid}"),
        _ => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// What a request or a limit says, in `read`'s unit; 0 when it says nothing.
pub(crate) fn amount(
    resources: Option<&ResourceRequirements>,
    name: &str,
    limit: bool,
    read: fn(&Quantity) -> Option<i64>,
) -> i64 {
    let map =
        resources.and_then(|all| if limit { all.limits.as_ref() } else { all.requests.as_ref() });
    map.and_then(|map| map.get(name)).and_then(read).unwrap_or_default()
}

/// A container's limits. `node_memory` is the node's capacity.
pub(crate) fn of_container(
    pod: &Pod,
    container: &Container,
    node_memory: i64,
) -> LinuxContainerResources {
    let resources = container.resources.as_ref();
    let spec = pod::spec(pod);
    // A container without a limit of its own has the pod's.
    let limit = |name: &str, read: fn(&Quantity) -> Option<i64>| match amount(
        resources, name, true, read,
    ) {
        0 => amount(spec.resources.as_ref(), name, true, read),
        own => own,
    };
    let limit_cpu = limit("cpu", quantity::milli);
    let own_limit_cpu = amount(resources, "cpu", true, quantity::milli);
    let has_request = resources
        .and_then(|all| all.requests.as_ref())
        .is_some_and(|requests| requests.contains_key("cpu"));
    let request_cpu =
        if has_request { amount(resources, "cpu", false, quantity::milli) } else { own_limit_cpu };
    LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: quota(limit_cpu),
        cpu_shares: shares(request_cpu),
        memory_limit_in_bytes: limit("memory", quantity::value),
        oom_score_adj: oom_score_adj(pod, container, node_memory),
        hugepage_limits: hugepages(resources),
        ..LinuxContainerResources::default()
    }
}

fn hugepages(resources: Option<&ResourceRequirements>) -> Vec<HugepageLimit> {
    let limits = resources.and_then(|all| all.limits.as_ref()).into_iter().flatten();
    limits
        .filter_map(|(name, amount)| {
            let size = name.strip_prefix("hugepages-")?;
            let limit = u64::try_from(quantity::value(amount)?).ok()?;
            let page_size = size.replace("Ki", "KB").replace("Mi", "MB").replace("Gi", "GB");
            Some(HugepageLimit { page_size, limit })
        })
        .collect()
}

/// The limits of the pod as a whole: a limit holds only when every container has one.
pub(crate) fn of_pod(pod: &Pod) -> LinuxContainerResources {
    let request = pod::request(pod, "cpu", quantity::milli);
    let spec = pod::spec(pod);
    let limit = |name: &str, read: fn(&Quantity) -> Option<i64>| {
        let own = amount(spec.resources.as_ref(), name, true, read);
        if own > 0 {
            return own;
        }
        let each: Vec<i64> = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten().filter(|one| pod::is_sidecar(one)))
            .map(|one| amount(one.resources.as_ref(), name, true, read))
            .collect();
        let init = spec.init_containers.iter().flatten().filter(|one| !pod::is_sidecar(one));
        let peak: Vec<i64> =
            init.map(|one| amount(one.resources.as_ref(), name, true, read)).collect();
        if each.iter().chain(&peak).any(|amount| *amount == 0) {
            return 0;
        }
        i64::max(each.iter().sum(), peak.into_iter().max().unwrap_or_default())
    };
    LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: quota(limit("cpu", quantity::milli)),
        cpu_shares: shares(request),
        memory_limit_in_bytes: limit("memory", quantity::value),
        ..LinuxContainerResources::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"},
            "spec": {"containers": [{"name": "c", "resources": resources}]}}))
        .unwrap()
    }

    fn check(resources: serde_json::Value, quota: i64, shares: i64, memory: i64, oom: i64) {
        let pod = pod(resources);
        let got = of_container(&pod, &pod::spec(&pod).containers[0], 8 << 30);
        let got = (got.cpu_quota, got.cpu_shares, got.memory_limit_in_bytes, got.oom_score_adj);
        assert_eq!(got, (quota, shares, memory, oom));
    }

    #[test]
    fn the_kernels_numbers() {
        check(json!({}), 0, 2, 0, 1000);
        check(json!({"limits": {"cpu": "500m"}}), 50_000, 512, 0, 999);
        check(
            json!({"requests": {"cpu": "1m", "memory": "4Gi"}, "limits": {"cpu": "5m"}}),
            1000,
            2,
            0,
            500,
        );
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), 100_000, 1024, 1 << 30, -997);
    }

    #[test]
    fn the_cgroup_follows_qos() {
        assert_eq!(cgroup_parent(&pod(json!({}))), "/kubepods/besteffort/podu");
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        assert_eq!(cgroup_parent(&pod(full)), "/kubepods/podu");
    }
}
