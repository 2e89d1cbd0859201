//! EndpointSlice: where the pods of a Service with a selector are.
//!
//! (Kubernetes `pkg/controller/endpointslice`, KEPs 752, 1672, 4444)

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use reconcile::{Action, Cache, Ctx, Error, Event, Expectations, Key, Reconciler, Watches};

use super::backends::{self, HEADLESS, SERVICE_NAME, TRIGGER_TIME};
use super::slices::{self, Form, Group};
use crate::common::owner::{controller_ref, name, namespace};
use crate::common::pods;
use crate::deps::Deps;

/// Names who manages a slice.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The index of slices by their Service.
pub(crate) const BY_SERVICE: &str = "kubernetes.io/service-name";

/// The controller.
pub(crate) struct Controller {
    services: Cache<Service>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    slices: Cache<EndpointSlice>,
    expectations: Arc<Expectations>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        services: deps.caches.of(),
        pods: deps.caches.of(),
        nodes: deps.caches.of(),
        slices: deps.caches.of(),
        expectations: Arc::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn component(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        index_by_service(&self.slices);
        watches.reads(&self.nodes);
        let expectations = self.expectations.clone();
        watches.on(&self.services, move |event, queue| {
            if let Event::Deleted(service) = event {
                expectations.forget(&Key::of(&service.metadata));
            }
            queue.add(Key::of(&event.object().metadata));
        });
        let services = self.services.clone();
        watches.on(&self.pods, move |event, queue| backends::pod_changed(&services, event, queue));
        watch_slices(watches, &self.slices, MANAGER, self.expectations.clone());
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(service) = self.services.get_key(key) else { return Ok(Action::Await) };
        if service.metadata.deletion_timestamp.is_some()
            || !backends::is_selecting(&service)
            || !self.expectations.fulfilled(key)
        {
            return Ok(Action::Await);
        }
        let pods = backends::of(&service, &self.pods);
        let zone = |node: &str| {
            let node = self.nodes.get("", node)?;
            node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned()
        };
        let groups = groups(&service, &pods, &zone);
        let existing = of_service(&self.slices, key, MANAGER);
        let steps = slices::plan(&form(&service, &pods), groups, &existing);
        slices::carry_out(ctx, &self.expectations, key, steps).await?;
        Ok(Action::Await)
    }
}

/// Adds the index of slices by the Service that they belong to.
pub(crate) fn index_by_service(slices: &Cache<EndpointSlice>) {
    slices.add_index(BY_SERVICE, |slice, emit| {
        if let Some(service) = label(slice, SERVICE_NAME) {
            emit(&format!("{}/{service}", namespace(&slice.metadata)));
        }
    });
}

/// The slices of a Service that a manager manages.
pub(crate) fn of_service(
    slices: &Cache<EndpointSlice>,
    key: &Key,
    manager: &str,
) -> Vec<Arc<EndpointSlice>> {
    let mut found = slices.by_index(BY_SERVICE, &format!("{}/{}", key.namespace, key.name));
    found.retain(|slice| {
        label(slice, MANAGED_BY) == Some(manager) && slice.metadata.deletion_timestamp.is_none()
    });
    found
}

/// Queues the Service of a slice that someone changed or deleted.
pub(crate) fn watch_slices(
    watches: &mut Watches,
    slices: &Cache<EndpointSlice>,
    manager: &'static str,
    expectations: Arc<Expectations>,
) {
    watches.on(slices, move |event, queue| {
        let slice = event.old().unwrap_or_else(|| event.object());
        let Some(service) = label(slice, SERVICE_NAME) else { return };
        if label(slice, MANAGED_BY) != Some(manager) {
            return;
        }
        let key = Key::new(namespace(&slice.metadata), service);
        if matches!(event, Event::Added(_)) {
            expectations.creation_seen(&key);
        }
        queue.add(key);
    });
}

fn label<'a>(slice: &'a EndpointSlice, key: &str) -> Option<&'a str> {
    slice.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn form(service: &Service, pods: &[Arc<Pod>]) -> Form {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let trigger = backends::trigger_time(service, pods);
    Form {
        namespace: namespace(&service.metadata).to_owned(),
        generate_name: format!("{}-", name(&service.metadata)),
        labels,
        annotations: trigger.map(|time| (TRIGGER_TIME.to_owned(), time)).into_iter().collect(),
        owner: controller_ref(service),
    }
}

/// The endpoints of a Service, by family and ports; one empty group a family without any.
fn groups(
    service: &Service,
    pods: &[Arc<Pod>],
    zone: &dyn Fn(&str) -> Option<String>,
) -> Vec<Group> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone());
    let families = families.filter(|families| !families.is_empty());
    let families = families.unwrap_or_else(|| vec!["IPv4".to_owned()]);
    let mut groups = Vec::new();
    for family in families {
        let ipv6 = family == "IPv6";
        let address_type = if ipv6 { "IPv6" } else { "IPv4" };
        let mut by_ports: BTreeMap<Vec<slices::PortKey>, Group> = BTreeMap::new();
        for pod in pods {
            let Some(address) = backends::address_of(pod, ipv6) else { continue };
            let ports = ports(service, pod);
            let key = ports.iter().map(slices::port_key).collect();
            let group = by_ports.entry(key).or_insert_with(|| Group {
                address_type,
                ports,
                endpoints: Vec::new(),
            });
            group.endpoints.push(endpoint(service, pod, address, zone));
        }
        if by_ports.is_empty() {
            groups.push(Group { address_type, ports: Vec::new(), endpoints: Vec::new() });
        }
        groups.extend(by_ports.into_values());
    }
    groups
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(backends::target_port(port, pod)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    address: &str,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Endpoint {
    let (serving, terminating) = (pods::is_ready(pod), pods::is_deleting(pod));
    let ready = backends::publishes_not_ready(service) || (serving && !terminating);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let zone = node.as_deref().and_then(zone);
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: backends::hostname(pod, service),
        hints: hints(service, ready, zone.as_ref(), node.as_ref()),
        zone,
        node_name: node,
        target_ref: Some(backends::reference(pod)),
        ..Endpoint::default()
    }
}

/// For whom an endpoint is meant, when the Service prefers what is near. (KEPs 4444 and 3015)
fn hints(
    service: &Service,
    ready: bool,
    zone: Option<&String>,
    node: Option<&String>,
) -> Option<EndpointHints> {
    let spec = service.spec.as_ref()?;
    let prefers = spec.traffic_distribution.as_deref()?;
    let for_zones = || Some(vec![ForZone { name: zone?.clone() }]);
    if !ready {
        return None;
    }
    match prefers {
        "PreferClose" | "PreferSameZone" => {
            Some(EndpointHints { for_zones: Some(for_zones()?), for_nodes: None })
        }
        "PreferSameNode" => Some(EndpointHints {
            for_zones: for_zones(),
            for_nodes: Some(vec![ForNode { name: node?.clone() }]),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::{at, running};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn service(json: &str) -> Service {
        serde_json::from_str(json).unwrap()
    }

    fn web() -> Service {
        service(
            r#"{"metadata":{"name":"web","namespace":"n"},"spec":{"clusterIP":"10.96.0.9",
                "selector":{"app":"web"},
                "ports":[{"name":"http","port":80,"targetPort":"www"},
                         {"name":"admin","port":81,"targetPort":9000,"protocol":"UDP"}]}}"#,
        )
    }

    fn backend(name: &str, ready: bool, ip: &str) -> Arc<Pod> {
        let mut pod = running(name, "n1", ready.then_some(0));
        pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
        pod.status.as_mut().unwrap().pod_ip = Some(ip.into());
        pod.spec.as_mut().unwrap().containers =
            serde_json::from_str(r#"[{"name":"c","ports":[{"name":"www","containerPort":8080}]}]"#)
                .unwrap();
        Arc::new(pod)
    }

    fn zone(_: &str) -> Option<String> {
        Some("z1".into())
    }

    #[test]
    fn ports_are_found_by_name_and_conditions_say_what_is() {
        let mut leaving = (*backend("c", true, "10.42.0.4")).clone();
        leaving.metadata.deletion_timestamp = Some(Time(at(0)));
        let pods =
            [backend("a", true, "10.42.0.2"), backend("b", false, "10.42.0.3"), Arc::new(leaving)];
        let groups = groups(&web(), &pods, &zone);
        assert_eq!(groups.len(), 1);
        let ports: Vec<_> = groups[0].ports.iter().filter_map(|port| port.port).collect();
        assert_eq!(ports, [8080, 9000]);
        let said: Vec<_> = groups[0]
            .endpoints
            .iter()
            .map(|endpoint| {
                let conditions = endpoint.conditions.clone().unwrap();
                (
                    conditions.ready.unwrap(),
                    conditions.serving.unwrap(),
                    conditions.terminating.unwrap(),
                )
            })
            .collect();
        assert_eq!(said, [(true, true, false), (false, false, false), (false, true, true)]);
        assert_eq!(groups[0].endpoints[0].zone.as_deref(), Some("z1"));
        assert_eq!(groups[0].endpoints[0].node_name.as_deref(), Some("n1"));
    }

    #[test]
    fn nothing_behind_a_service_is_one_empty_slice() {
        let groups = groups(&web(), &[], &zone);
        assert!(groups.len() == 1 && groups[0].ports.is_empty() && groups[0].endpoints.is_empty());
        let steps = slices::plan(&form(&web(), &[]), groups, &[]);
        assert!(matches!(steps.as_slice(), [slices::Step::Create(_)]));
    }

    #[test]
    fn pods_that_are_not_ready_may_be_published() {
        let mut web = web();
        web.spec.as_mut().unwrap().publish_not_ready_addresses = Some(true);
        let groups = groups(&web, &[backend("b", false, "10.42.0.3")], &zone);
        let conditions = groups[0].endpoints[0].conditions.clone().unwrap();
        assert_eq!((conditions.ready, conditions.serving), (Some(true), Some(false)));
    }

    #[test]
    fn labels_say_whose_and_how() {
        let mut web = web();
        web.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
        web.spec.as_mut().unwrap().cluster_ip = Some("None".into());
        let labels = form(&web, &[]).labels;
        assert_eq!(labels["team"], "a");
        assert_eq!(labels[HEADLESS], "");
        assert_eq!(labels[SERVICE_NAME], "web");
        assert_eq!(labels[MANAGED_BY], MANAGER);
    }

    #[test]
    fn what_is_near_is_hinted_when_preferred() {
        let mut web = web();
        web.spec.as_mut().unwrap().traffic_distribution = Some("PreferSameNode".into());
        let groups = groups(&web, &[backend("a", true, "10.42.0.2")], &zone);
        let hints = groups[0].endpoints[0].hints.clone().unwrap();
        assert_eq!(hints.for_nodes.unwrap()[0].name, "n1");
        assert_eq!(hints.for_zones.unwrap()[0].name, "z1");
    }
}
