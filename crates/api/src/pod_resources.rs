//! What a pod as a whole asks for and is limited to. Pure.
//!
//! (Kubernetes `k8s.io/component-helpers/resource`)

use std::collections::BTreeMap;
use std::str::FromStr;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::Quantity;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

type Listed = Option<BTreeMap<String, Text>>;

/// Adds an amount.
pub fn add(amounts: &mut Amounts, resource: &str, amount: Quantity) {
    match amounts.get_mut(resource) {
        Some(sum) => *sum += amount,
        None => drop(amounts.insert(resource.to_owned(), amount)),
    }
}

/// A quantity of a stored object, which has been validated.
#[must_use]
pub fn parse(text: &Text) -> Quantity {
    Quantity::from_str(&text.0).unwrap_or_else(|_| Quantity::from_int(0))
}

/// What a pod asks for: the larger of what its init containers need one after the other and what
/// its containers and sidecars need together, and its overhead.
#[must_use]
pub fn requests(spec: &PodSpec) -> Amounts {
    let mut total = total(spec, |resources| &resources.requests);
    for (name, text) in spec.overhead.iter().flatten() {
        add(&mut total, name, parse(text));
    }
    total
}

/// What a pod is limited to. The overhead widens only limits that there are.
#[must_use]
pub fn limits(spec: &PodSpec) -> Amounts {
    let mut total = total(spec, |resources| &resources.limits);
    for (name, text) in spec.overhead.iter().flatten() {
        if let Some(sum) = total.get_mut(name) {
            *sum += parse(text);
        }
    }
    total
}

/// Whether nothing is asked for and nothing limited: the `BestEffort` class.
#[must_use]
pub fn is_best_effort(spec: &PodSpec) -> bool {
    let counts = |(name, amount): (&String, &Quantity)| {
        matches!(name.as_str(), "cpu" | "memory") && !amount.is_zero()
    };
    !total(spec, |resources| &resources.requests).iter().any(counts)
        && !total(spec, |resources| &resources.limits).iter().any(counts)
}

/// What a pod asks for while it may be resized: of each container the most of what it asks for, was
/// given and has. (KEP-1287)
#[must_use]
pub fn requests_in_use(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let in_use = |asked: Amounts, own: InUse<'_>| {
        let Some(actual) = own.actual else { return asked };
        let mut most = listed(own.given);
        raise(&mut most, &listed(actual.requests.as_ref()));
        if !is_infeasible(pod) {
            raise(&mut most, &asked);
        }
        most
    };
    let mut total = total_of(spec, pod.status.as_ref(), |own| &own.requests, &in_use);
    for (name, text) in spec.overhead.iter().flatten() {
        add(&mut total, name, parse(text));
    }
    total
}

/// What a pod is limited to while it may be resized: of each container the most of what it is to be
/// limited to, and is.
#[must_use]
pub fn limits_in_use(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let in_use = |asked: Amounts, own: InUse<'_>| {
        let Some(actual) = own.actual else { return asked };
        let mut most = listed(actual.limits.as_ref());
        if !is_infeasible(pod) {
            raise(&mut most, &asked);
        }
        most
    };
    let mut total = total_of(spec, pod.status.as_ref(), |own| &own.limits, &in_use);
    for (name, text) in spec.overhead.iter().flatten() {
        if let Some(sum) = total.get_mut(name) {
            *sum += parse(text);
        }
    }
    total
}

/// A resize that can never be given asks for nothing.
fn is_infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut pending = conditions.filter(|one| one.type_ == "PodResizePending");
    pending.any(|one| one.reason.as_deref() == Some("Infeasible"))
}

/// What is known of a container, or of the pod as a whole, beside what is asked for.
#[derive(Default)]
struct InUse<'a> {
    given: Option<&'a BTreeMap<String, Text>>,
    actual: Option<&'a ResourceRequirements>,
}

fn listed(list: Option<&BTreeMap<String, Text>>) -> Amounts {
    list.into_iter().flatten().map(|(name, text)| (name.clone(), parse(text))).collect()
}

fn total(spec: &PodSpec, of: fn(&ResourceRequirements) -> &Listed) -> Amounts {
    total_of(spec, None, of, &|asked, _| asked)
}

fn total_of(
    spec: &PodSpec,
    status: Option<&PodStatus>,
    of: fn(&ResourceRequirements) -> &Listed,
    in_use: &dyn Fn(Amounts, InUse<'_>) -> Amounts,
) -> Amounts {
    let asked = |resources: Option<&ResourceRequirements>| -> Amounts {
        listed(resources.and_then(|resources| of(resources).as_ref()))
    };
    let known = |name: &str| {
        let lists = status
            .into_iter()
            .flat_map(|status| [&status.container_statuses, &status.init_container_statuses]);
        let own = lists.flatten().flatten().find(|one| one.name == name);
        own.map_or_else(InUse::default, |own| InUse {
            given: own.allocated_resources.as_ref(),
            actual: own.resources.as_ref(),
        })
    };
    let mut running = Amounts::new();
    for container in &spec.containers {
        for (name, amount) in in_use(asked(container.resources.as_ref()), known(&container.name)) {
            add(&mut running, &name, amount);
        }
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = asked(container.resources.as_ref());
        if container.restart_policy.as_deref() == Some("Always") {
            let own = in_use(own, known(&container.name));
            for (name, amount) in &own {
                add(&mut running, name, *amount);
                add(&mut sidecars, name, *amount);
            }
            raise(&mut peak, &sidecars);
        } else {
            let mut together = sidecars.clone();
            own.iter().for_each(|(name, amount)| add(&mut together, name, *amount));
            raise(&mut peak, &together);
        }
    }
    raise(&mut running, &peak);
    let whole = asked(spec.resources.as_ref());
    if !whole.is_empty() {
        let known = status.map_or_else(InUse::default, |status| InUse {
            given: status.allocated_resources.as_ref(),
            actual: status.resources.as_ref(),
        });
        let used = in_use(whole.clone(), known);
        for name in whole.into_keys() {
            // What is said of the pod as a whole holds.
            let amount = used.get(&name).copied().unwrap_or_default();
            running.insert(name, amount);
        }
    }
    running
}

fn raise(amounts: &mut Amounts, at_least: &Amounts) {
    for (name, amount) in at_least {
        let slot = amounts.entry(name.clone()).or_insert(*amount);
        *slot = (*slot).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(amounts: &Amounts) -> String {
        let words: Vec<_> = amounts.iter().map(|(name, sum)| format!("{name}={sum}")).collect();
        words.join(" ")
    }

    fn check(spec: &str, asked: &str, limited: &str) {
        let spec: PodSpec = serde_json::from_str(spec).unwrap();
        assert_eq!(
            (said(&requests(&spec)).as_str(), said(&limits(&spec)).as_str()),
            (asked, limited)
        );
    }

    #[test]
    fn the_larger_of_start_and_run() {
        check(
            r#"{"initContainers":[
                    {"name":"i","resources":{"requests":{"cpu":"2"}}},
                    {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}}],
                "containers":[
                    {"name":"a","resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"cpu":"1"}}},
                    {"name":"b","resources":{"requests":{"cpu":"500m"}}}]}"#,
            "cpu=2 memory=1Gi",
            "cpu=1",
        );
    }

    #[test]
    fn overhead_adds_to_requests_and_to_limits_that_there_are() {
        check(
            r#"{"overhead":{"cpu":"10m","memory":"1Mi"},
                "containers":[{"name":"a","resources":{"requests":{"cpu":"1"},"limits":{"cpu":"1"}}}]}"#,
            "cpu=1010m memory=1Mi",
            "cpu=1010m",
        );
    }

    #[test]
    fn what_is_said_of_the_pod_holds() {
        let spec = r#"{"resources":{"requests":{"cpu":"3"}},
            "containers":[{"name":"a","resources":{"requests":{"cpu":"1","memory":"1Mi"}}}]}"#;
        check(spec, "cpu=3 memory=1Mi", "");
        assert!(!is_best_effort(&serde_json::from_str(spec).unwrap()));
        assert!(is_best_effort(&serde_json::from_str(r#"{"containers":[{"name":"a"}]}"#).unwrap()));
    }

    #[test]
    fn a_resize_counts_with_the_most() {
        let pod = |asked: &str, reason: &str| -> Pod {
            serde_json::from_str(&format!(
                r#"{{"spec":{{"containers":[{{"name":"a","resources":
                    {{"requests":{{"cpu":"{asked}"}},"limits":{{"cpu":"{asked}"}}}}}}]}},
                "status":{{"conditions":[{{"type":"PodResizePending","status":"True","reason":"{reason}"}}],
                    "containerStatuses":[{{"name":"a","ready":true,"restartCount":0,"image":"","imageID":"",
                    "allocatedResources":{{"cpu":"2"}},
                    "resources":{{"requests":{{"cpu":"1"}},"limits":{{"cpu":"3"}}}}}}]}}}}"#
            ))
            .unwrap()
        };
        let check = |asked: &str, reason: &str, requests: &str, limits: &str| {
            let pod = pod(asked, reason);
            let got = (said(&requests_in_use(&pod)), said(&limits_in_use(&pod)));
            assert_eq!(got, (format!("cpu={requests}"), format!("cpu={limits}")));
        };
        check("1", "Deferred", "2", "3");
        check("4", "Deferred", "4", "4");
        check("4", "Infeasible", "2", "3");
    }
}
