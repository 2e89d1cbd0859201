//! Endpoints: the older form of EndpointSlice, one object a Service, still read by many.
//!
//! (Kubernetes `pkg/controller/endpoint`)

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use reconcile::{Action, Cache, Class, Ctx, Delete, Error, Event, Key, Reconciler, Watches};

use super::backends::{self, HEADLESS, TRIGGER_TIME};
use crate::common::owner::{name, namespace};
use crate::common::pods;
use crate::deps::Deps;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// No Endpoints object has more addresses than this.
const MAX: usize = 1000;

/// The controller.
pub(crate) struct Controller {
    services: Cache<Service>,
    pods: Cache<Pod>,
    endpoints: Cache<Endpoints>,
    /// Services that were deleted; their Endpoints go too, whoever made them.
    deleted: Arc<Mutex<HashSet<Key>>>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        services: deps.caches.of(),
        pods: deps.caches.of(),
        endpoints: deps.caches.of(),
        deleted: Arc::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "endpoints-controller"
    }

    fn component(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        let deleted = self.deleted.clone();
        watches.on(&self.services, move |event, queue| {
            let key = Key::of(&event.object().metadata);
            if matches!(event, Event::Deleted(_)) {
                deleted.lock().insert(key.clone());
            }
            queue.add(key);
        });
        let services = self.services.clone();
        watches.on(&self.pods, move |event, queue| backends::pod_changed(&services, event, queue));
        watches.own(&self.endpoints);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let existing = self.endpoints.get_key(key);
        let Some(service) = self.services.get_key(key) else {
            let with_service = self.deleted.lock().remove(key);
            if let Some(existing) = existing.filter(|found| with_service || is_ours(found)) {
                let how = Delete::uid(existing.metadata.uid.as_deref());
                reconcile::or_gone(ctx.writer.delete::<Endpoints>(key, how).await)?;
            }
            return Ok(Action::Await);
        };
        if !backends::is_selecting(&service) || service.metadata.deletion_timestamp.is_some() {
            return Ok(Action::Await);
        }
        let pods = backends::of(&service, &self.pods);
        match existing {
            None => match ctx.writer.create(&wanted(&service, &pods, None)).await {
                Err(failure) if failure.class == Class::NamespaceTerminating => {}
                other => {
                    other?;
                }
            },
            Some(existing) => {
                let wanted = wanted(&service, &pods, Some(&existing.metadata));
                if !same(&existing, &wanted) {
                    ctx.writer.update(&wanted).await?;
                }
            }
        }
        Ok(Action::Await)
    }
}

fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == MANAGER)
}

/// The Endpoints of a Service, on the metadata of those that exist.
fn wanted(service: &Service, pods: &[Arc<Pod>], old: Option<&ObjectMeta>) -> Endpoints {
    let mut meta = old.cloned().unwrap_or_else(|| ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: Some(namespace(&service.metadata).to_owned()),
        ..ObjectMeta::default()
    });
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    meta.labels = Some(labels);
    let annotations = meta.annotations.get_or_insert_default();
    annotations.remove(OVER_CAPACITY);
    if let Some(time) = backends::trigger_time(service, pods) {
        annotations.insert(TRIGGER_TIME.to_owned(), time);
    }
    let mut chosen: Vec<&Arc<Pod>> = pods
        .iter()
        .filter(|pod| backends::publishes_not_ready(service) || !pods::is_deleting(pod))
        .collect();
    if chosen.len() > MAX {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
        chosen.sort_by_key(|pod| !pods::is_ready(pod));
        chosen.truncate(MAX);
    }
    let subsets = subsets(service, &chosen);
    Endpoints { metadata: meta, subsets: (!subsets.is_empty()).then_some(subsets) }
}

/// Addresses with the same ports make one subset.
fn subsets(service: &Service, pods: &[&Arc<Pod>]) -> Vec<EndpointSubset> {
    let spec = service.spec.clone().unwrap_or_default();
    let service_ports = spec.ports.unwrap_or_default();
    let ipv6 = spec.ip_families.iter().flatten().next().is_some_and(|family| family == "IPv6");
    let mut by_ports: BTreeMap<Vec<(String, i32, String)>, EndpointSubset> = BTreeMap::new();
    for pod in pods {
        let Some(ip) = backends::address_of(pod, ipv6) else { continue };
        let mut ports: Vec<EndpointPort> = service_ports
            .iter()
            .filter_map(|port| {
                Some(EndpointPort {
                    name: port.name.clone().filter(|name| !name.is_empty()),
                    port: backends::target_port(port, pod)?,
                    protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                    app_protocol: port.app_protocol.clone(),
                })
            })
            .collect();
        if ports.is_empty() && !service_ports.is_empty() {
            continue;
        }
        let key_of = |port: &EndpointPort| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            (text(&port.name), port.port, text(&port.protocol))
        };
        ports.sort_by_key(key_of);
        let key = ports.iter().map(key_of).collect();
        let subset = by_ports.entry(key).or_insert_with(|| EndpointSubset {
            ports: (!ports.is_empty()).then_some(ports),
            ..EndpointSubset::default()
        });
        let address = EndpointAddress {
            ip: ip.to_owned(),
            hostname: backends::hostname(pod, service),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(backends::reference(pod)),
        };
        let ready = backends::publishes_not_ready(service) || pods::is_ready(pod);
        let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address);
    }
    let mut subsets: Vec<_> = by_ports.into_values().collect();
    for subset in &mut subsets {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            list.sort_by(|a, b| (&a.ip, name_of(a)).cmp(&(&b.ip, name_of(b))));
        }
    }
    subsets
}

fn name_of(address: &EndpointAddress) -> Option<&str> {
    address.target_ref.as_ref()?.name.as_deref()
}

/// Whether two Endpoints say the same; the time of the change alone is no change.
fn same(a: &Endpoints, b: &Endpoints) -> bool {
    let capacity = |endpoints: &Endpoints| {
        endpoints.metadata.annotations.as_ref().and_then(|all| all.get(OVER_CAPACITY)).cloned()
    };
    debug_assert_eq!(name(&a.metadata), name(&b.metadata));
    a.subsets.as_deref().unwrap_or_default() == b.subsets.as_deref().unwrap_or_default()
        && a.metadata.labels == b.metadata.labels
        && capacity(a) == capacity(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::running;

    fn pod(name: &str, ready: bool, ip: &str) -> Arc<Pod> {
        let mut pod = running(name, "n1", ready.then_some(0));
        pod.status.as_mut().unwrap().pod_ip = Some(ip.into());
        Arc::new(pod)
    }

    fn service(ports: &str) -> Service {
        serde_json::from_str(&format!(
            r#"{{"metadata":{{"name":"web","namespace":"n"}},"spec":{{"ports":{ports}}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn ready_and_not_ready_addresses_stand_apart() {
        let pods =
            [pod("b", true, "10.0.0.3"), pod("a", true, "10.0.0.2"), pod("c", false, "10.0.0.4")];
        let made = wanted(&service(r#"[{"port":80,"targetPort":8080}]"#), &pods, None);
        let subsets = made.subsets.clone().unwrap();
        assert_eq!(subsets.len(), 1);
        let ips = |list: &Option<Vec<EndpointAddress>>| -> Vec<String> {
            list.iter().flatten().map(|address| address.ip.clone()).collect()
        };
        assert_eq!(ips(&subsets[0].addresses), ["10.0.0.2", "10.0.0.3"]);
        assert_eq!(ips(&subsets[0].not_ready_addresses), ["10.0.0.4"]);
        assert_eq!(subsets[0].ports.as_ref().unwrap()[0].port, 8080);
        assert!(is_ours(&made) && same(&made, &made));
    }

    #[test]
    fn no_pods_no_subsets_and_no_ports_no_matter() {
        assert_eq!(wanted(&service("[]"), &[], None).subsets, None);
        let portless = wanted(&service("[]"), &[pod("a", true, "10.0.0.2")], None);
        let subsets = portless.subsets.unwrap();
        assert!(subsets[0].ports.is_none() && subsets[0].addresses.is_some());
    }

    #[test]
    fn beyond_a_thousand_the_ready_ones_stay() {
        let pods: Vec<_> = (0..1200)
            .map(|n| pod(&format!("p{n}"), n >= 300, &format!("10.0.{}.{}", n / 250, n % 250)))
            .collect();
        let made = wanted(&service(r#"[{"port":80}]"#), &pods, None);
        assert_eq!(made.metadata.annotations.unwrap()[OVER_CAPACITY], "truncated");
        let subset = &made.subsets.unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 900);
        assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 100);
    }
}
