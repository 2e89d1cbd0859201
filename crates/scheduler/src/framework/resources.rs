//! Amounts of resources: what pods ask for and nodes have.

use std::collections::BTreeMap;

use api::k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amounts by resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU, in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory, in bytes.
    pub memory_bytes: i64,
    /// Local ephemeral storage, in bytes.
    pub ephemeral_bytes: i64,
    /// Everything else by name, `nvidia.com/gpu`, `hugepages-2Mi`.
    pub extended: BTreeMap<String, i64>,
}

/// CPU and memory as scores count them: a pod without a request counts as the small amounts below,
/// so that many of them still spread. Upstream fills in every container that asks for nothing
/// (scheduler `util.GetNonzeroRequests`); here it is the pod's sum, where that is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScoredRequests {
    /// CPU, in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory, in bytes.
    pub memory_bytes: i64,
}

const CPU_MILLI_UNSET: i64 = 100;
const MEMORY_BYTES_UNSET: i64 = 200 << 20;

impl ScoredRequests {
    /// What one pod with these requests counts as.
    #[must_use]
    pub fn of(requests: &Resources) -> Self {
        let or = |amount: i64, unset: i64| if amount == 0 { unset } else { amount };
        Self {
            cpu_milli: or(requests.cpu_milli, CPU_MILLI_UNSET),
            memory_bytes: or(requests.memory_bytes, MEMORY_BYTES_UNSET),
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.cpu_milli += other.cpu_milli;
        self.memory_bytes += other.memory_bytes;
    }

    /// Takes others away.
    pub fn subtract(&mut self, other: Self) {
        self.cpu_milli -= other.cpu_milli;
        self.memory_bytes -= other.memory_bytes;
    }
}

impl Resources {
    /// The amounts of a `ResourceList`; quantities that cannot be read count as zero, since
    /// validation has refused them before.
    #[must_use]
    pub fn from_list(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut sum = Self::default();
        for (name, amount) in list.into_iter().flatten() {
            match name.as_str() {
                "cpu" => sum.cpu_milli = parsed(amount).milli_value(),
                "memory" => sum.memory_bytes = parsed(amount).value(),
                "ephemeral-storage" => {
                    sum.ephemeral_bytes = parsed(amount).value();
                }
                "pods" => {}
                _ => {
                    let value = parsed(amount).value();
                    sum.extended.insert(name.clone(), value);
                }
            }
        }
        sum
    }

    /// Adds other amounts.
    pub fn add(&mut self, other: &Self) {
        self.cpu_milli += other.cpu_milli;
        self.memory_bytes += other.memory_bytes;
        self.ephemeral_bytes += other.ephemeral_bytes;
        for (name, amount) in &other.extended {
            *self.extended.entry(name.clone()).or_default() += amount;
        }
    }

    /// Takes other amounts away.
    pub fn subtract(&mut self, other: &Self) {
        self.cpu_milli -= other.cpu_milli;
        self.memory_bytes -= other.memory_bytes;
        self.ephemeral_bytes -= other.ephemeral_bytes;
        for (name, amount) in &other.extended {
            *self.extended.entry(name.clone()).or_default() -= amount;
        }
    }

    /// Whether there is more of anything here than there.
    #[must_use]
    pub fn exceeds(&self, other: &Self) -> bool {
        let mut most = self.clone();
        most.max(other);
        most != *other
    }

    fn max(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.max(other.ephemeral_bytes);
        for (name, amount) in &other.extended {
            let own = self.extended.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }

    /// What a pod asks for: the sum over its containers and sidecars, or the greatest init
    /// container together with the sidecars before it, whichever is more; plus overhead.
    /// While it is resized, the most of what it asks for, was given and has, counts, so that
    /// nobody is promised what is not free yet. (KEP-753, sidecar containers; KEP-1287, resizes;
    /// component-helpers `resource.PodRequests`)
    #[must_use]
    pub fn requested_by(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let mut total = Self::of_containers(spec, pod.status.as_ref());
        if let Some(pod_level) = spec.resources.as_ref().and_then(|own| own.requests.as_ref()) {
            let mut stated = Self::from_list(Some(pod_level));
            if let Some(status) = pod.status.as_ref()
                && let Some(actual) = &status.resources
            {
                let actual = actual.requests.as_ref();
                stated = effective(&stated, status.allocated_resources.as_ref(), actual, status);
            }
            if pod_level.contains_key("cpu") {
                total.cpu_milli = stated.cpu_milli;
            }
            if pod_level.contains_key("memory") {
                total.memory_bytes = stated.memory_bytes;
            }
        }
        total.add(&Self::from_list(spec.overhead.as_ref()));
        total
    }

    fn of_containers(spec: &PodSpec, status: Option<&PodStatus>) -> Self {
        let mut total = Self::default();
        for container in &spec.containers {
            total.add(&of_container(container, status));
        }
        let (mut sidecars, mut start) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            // Only those that go on beside the others are resized while others wait for room.
            let is_sidecar = container.restart_policy.as_deref() == Some("Always");
            let own = of_container(container, status.filter(|_| is_sidecar));
            let mut then = sidecars.clone();
            then.add(&own);
            if is_sidecar {
                sidecars.add(&own);
            }
            start.max(&then);
        }
        total.add(&sidecars);
        total.max(&start);
        total
    }
}

/// A quantity; zero when it cannot be read, since validation has refused it before.
pub(crate) fn parsed(amount: &Quantity) -> api::quantity::Quantity {
    amount.0.parse().unwrap_or_else(|_| api::quantity::Quantity::from_int(0))
}

fn of_container(container: &Container, status: Option<&PodStatus>) -> Resources {
    let asked =
        Resources::from_list(container.resources.as_ref().and_then(|own| own.requests.as_ref()));
    let Some(status) = status else { return asked };
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let mut all = lists.into_iter().flatten().flatten();
    let own = all.find(|one| one.name == container.name);
    let Some((own, actual)) = own.and_then(|own| Some((own, own.resources.as_ref()?))) else {
        return asked;
    };
    effective(&asked, own.allocated_resources.as_ref(), actual.requests.as_ref(), status)
}

/// What counts of what is asked for, was given and is in force. A resize that can never be given
/// asks for nothing.
fn effective(
    asked: &Resources,
    given: Option<&BTreeMap<String, Quantity>>,
    actual: Option<&BTreeMap<String, Quantity>>,
    status: &PodStatus,
) -> Resources {
    let mut most = Resources::from_list(given);
    most.max(&Resources::from_list(actual));
    let pending = status.conditions.iter().flatten().find(|one| one.type_ == "PodResizePending");
    if pending.is_none_or(|one| one.reason.as_deref() != Some("Infeasible")) {
        most.max(asked);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, cpu_milli: i64, memory_mib: i64) {
        let pod: Pod = serde_json::from_str(&format!(r#"{{"spec":{spec}}}"#)).unwrap();
        let got = Resources::requested_by(&pod);
        assert_eq!((got.cpu_milli, got.memory_bytes >> 20), (cpu_milli, memory_mib), "{spec}");
    }

    #[test]
    fn containers_add_up_and_init_containers_take_turns() {
        let c = |cpu: &str, memory: &str, rest: &str| {
            format!(
                r#"{{"name":"c","resources":{{"requests":{{"cpu":"{cpu}","memory":"{memory}"}}}}{rest}}}"#
            )
        };
        let sidecar = r#","restartPolicy":"Always""#;
        check(
            &format!(r#"{{"containers":[{},{}]}}"#, c("100m", "1Mi", ""), c("1", "2Mi", "")),
            1100,
            3,
        );
        check(
            &format!(
                r#"{{"containers":[{}],"initContainers":[{},{}]}}"#,
                c("100m", "1Mi", ""),
                c("2", "1Mi", ""),
                c("1", "5Mi", "")
            ),
            2000,
            5,
        );
        check(
            &format!(
                r#"{{"containers":[{}],"initContainers":[{},{}],"overhead":{{"cpu":"10m"}}}}"#,
                c("100m", "1Mi", ""),
                c("50m", "1Mi", sidecar),
                c("120m", "1Mi", "")
            ),
            180,
            2,
        );
    }

    #[test]
    fn a_pod_that_is_resized_counts_with_the_most() {
        let check = |asked: &str, given: &str, actual: &str, reason: &str, cpu_milli: i64| {
            let pod: Pod = serde_json::from_str(&format!(
                r#"{{"spec":{{"containers":[{{"name":"c","resources":{{"requests":{{"cpu":"{asked}"}}}}}}]}},
                "status":{{"conditions":[{{"type":"PodResizePending","status":"True","reason":"{reason}"}}],
                    "containerStatuses":[{{"name":"c","ready":true,"restartCount":0,"image":"","imageID":"",
                    "allocatedResources":{{"cpu":"{given}"}},"resources":{{"requests":{{"cpu":"{actual}"}}}}}}]}}}}"#
            ))
            .unwrap();
            assert_eq!(Resources::requested_by(&pod).cpu_milli, cpu_milli);
        };
        check("1", "2", "3", "Deferred", 3000);
        check("1", "2", "1", "Deferred", 2000);
        check("4", "2", "1", "Deferred", 4000);
        check("4", "2", "1", "Infeasible", 2000);
    }
}
