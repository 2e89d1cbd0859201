//! EndpointSlice mirroring: Endpoints that someone wrote for a Service without a selector, as
//! slices, for those who read only slices.
//!
//! (Kubernetes `pkg/controller/endpointslicemirroring`)

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use reconcile::{Action, Cache, Ctx, Error, Event, Expectations, Key, Reconciler, Watches};

use super::backends::SERVICE_NAME;
use super::endpointslice::{MANAGED_BY, index_by_service, of_service, watch_slices};
use super::slices::{self, Form, Group};
use crate::common::owner::{annotation, controller_ref, name, namespace};
use crate::deps::Deps;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// No more addresses of one subset are mirrored.
const MAX_OF_SUBSET: usize = 1000;

/// The controller.
pub(crate) struct Controller {
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Cache<EndpointSlice>,
    expectations: Arc<Expectations>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        services: deps.caches.of(),
        endpoints: deps.caches.of(),
        slices: deps.caches.of(),
        expectations: Arc::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "endpointslice-mirroring-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        index_by_service(&self.slices);
        watches.own(&self.services);
        let expectations = self.expectations.clone();
        watches.on(&self.endpoints, move |event, queue| {
            let key = Key::of(&event.object().metadata);
            if matches!(event, Event::Deleted(_)) {
                expectations.forget(&key);
            }
            queue.add(key);
        });
        watch_slices(watches, &self.slices, MANAGER, self.expectations.clone());
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        if !self.expectations.fulfilled(key) {
            return Ok(Action::Await);
        }
        let existing = of_service(&self.slices, key, MANAGER);
        let endpoints = self.endpoints.get_key(key).filter(|endpoints| is_mirrored(endpoints));
        let service = self.services.get_key(key).filter(|service| !has_selector(service));
        let steps = match (endpoints, service) {
            (Some(endpoints), Some(_)) => {
                slices::plan(&form(&endpoints), groups(&endpoints), &existing)
            }
            _ => existing.into_iter().map(slices::Step::Delete).collect(),
        };
        slices::carry_out(ctx, &self.expectations, key, steps).await?;
        Ok(Action::Await)
    }
}

fn has_selector(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.selector.is_some())
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(SKIP)).is_none_or(|skip| skip != "true")
        && annotation(&endpoints.metadata, LEADER).is_none()
        && endpoints.metadata.deletion_timestamp.is_none()
}

fn form(endpoints: &Endpoints) -> Form {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name(&endpoints.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    Form {
        namespace: namespace(&endpoints.metadata).to_owned(),
        generate_name: format!("{}-", name(&endpoints.metadata)),
        labels,
        annotations,
        owner: controller_ref(endpoints),
    }
}

fn groups(endpoints: &Endpoints) -> Vec<Group> {
    let mut groups: BTreeMap<(&str, Vec<slices::PortKey>), Group> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready).take(MAX_OF_SUBSET) {
            let address_type = match address.ip.parse() {
                Ok(std::net::IpAddr::V4(_)) => "IPv4",
                Ok(std::net::IpAddr::V6(_)) => "IPv6",
                Err(_) => continue,
            };
            let key = (address_type, ports.iter().map(slices::port_key).collect());
            let group = groups.entry(key).or_insert_with(|| Group {
                address_type,
                ports: ports.clone(),
                endpoints: Vec::new(),
            });
            group.endpoints.push(endpoint(address, ready));
        }
    }
    groups.into_values().collect()
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten();
    ports
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(port.port),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(json: &str) -> Endpoints {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn families_and_ports_are_groups() {
        let made = groups(&endpoints(
            r#"{"metadata":{"name":"x"},"subsets":[
                {"addresses":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],"notReadyAddresses":[{"ip":"10.0.0.2"}],
                 "ports":[{"port":80}]},
                {"addresses":[{"ip":"10.0.0.3"},{"ip":"not an address"}],"ports":[{"port":81}]}]}"#,
        ));
        let said: Vec<_> = made
            .iter()
            .map(|group| (group.address_type, group.ports[0].port.unwrap(), group.endpoints.len()))
            .collect();
        assert_eq!(said, [("IPv4", 80, 2), ("IPv4", 81, 1), ("IPv6", 80, 1)]);
    }

    #[test]
    fn some_are_not_mirrored() {
        let check =
            |json: &str, expected| assert_eq!(is_mirrored(&endpoints(json)), expected, "{json}");
        check(r#"{"metadata":{}}"#, true);
        check(
            r#"{"metadata":{"labels":{"endpointslice.kubernetes.io/skip-mirror":"true"}}}"#,
            false,
        );
        check(
            r#"{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":"{}"}}}"#,
            false,
        );
    }
}
