//! What a pod as a whole asks for and is limited to. Pure.
//!
//! (Kubernetes `k8s.io/component-helpers/resource`)

use std::collections::BTreeMap;
use std::str::FromStr;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
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

fn total(spec: &PodSpec, of: fn(&ResourceRequirements) -> &Listed) -> Amounts {
    let list = |resources: Option<&ResourceRequirements>| -> Amounts {
        let listed = resources.and_then(|resources| of(resources).as_ref());
        listed.into_iter().flatten().map(|(name, text)| (name.clone(), parse(text))).collect()
    };
    let mut running = Amounts::new();
    for container in &spec.containers {
        for (name, amount) in list(container.resources.as_ref()) {
            add(&mut running, &name, amount);
        }
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = list(container.resources.as_ref());
        if container.restart_policy.as_deref() == Some("Always") {
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
    for (name, amount) in list(spec.resources.as_ref()) {
        // What is said of the pod as a whole holds.
        running.insert(name, amount);
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
}
