//! Whether other servers are there: the condition `Available` of APIServices.
//!
//! Driven by changes of APIServices, Services and EndpointSlices; and by a timer, because whether
//! a server answers is nothing that anyone is told of. Conditions of other types are others'.
//! (Kubernetes kube-aggregator `pkg/controllers/status/remote`)

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::Service;
use api::k8s_openapi::api::discovery::v1::EndpointSlice;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use api::k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use async_trait::async_trait;
use base::clock::{Timestamp, rfc3339_seconds};
use parking_lot::Mutex;
use reconcile::{
    Action, Cache, Caches, Ctx, Error, Key, Patch, Queue, Reconciler, Watches, or_gone,
};
use serde_json::json;

use crate::Aggregation;
use crate::table::{Server, available, port_of};

/// How often a server that answers is asked again.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// The first wait after a failure, doubled with each one up to [`PROBE_EVERY`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// How many times at once a server is asked that has not answered the first time: behind a Service
/// there may be several, and one of them is enough.
const RETRIES: usize = 4;

const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const BY_SERVICE: &str = "service";

/// What is found out of an APIService.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn down(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }

    fn up(reason: &'static str, message: &str) -> Self {
        Self { status: "True", reason, message: message.to_owned() }
    }
}

/// The controller.
pub(crate) struct Availability {
    apis: Cache<APIService>,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    aggregation: Arc<Aggregation>,
    /// How often each has failed in a row.
    failures: Mutex<HashMap<Key, u32>>,
}

impl Availability {
    pub(crate) fn new(caches: &Caches, aggregation: Arc<Aggregation>) -> Self {
        let own = Self {
            apis: caches.of(),
            services: caches.of(),
            slices: caches.of(),
            aggregation,
            failures: Mutex::default(),
        };
        own.slices.add_index(BY_SERVICE, |slice, emit| {
            if let Some(key) = service_of(&slice.metadata) {
                emit(&key.to_string());
            }
        });
        own
    }

    async fn find(&self, api: &APIService) -> Finding {
        let spec = api.spec.as_ref();
        let Some(reference) = spec.and_then(|spec| spec.service.as_ref()) else {
            return Finding::up("Local", "Local APIServices are always available");
        };
        let key = Key::new(
            reference.namespace.as_deref().unwrap_or_default(),
            reference.name.as_deref().unwrap_or_default(),
        );
        let service = self.services.get_key(&key);
        let slices = self.slices.by_index(BY_SERVICE, &key.to_string());
        if let Err(down) = check(&key, port_of(api), service.as_deref(), &slices) {
            return down;
        }
        match self.probe(api, &key).await {
            Ok(()) => Finding::up("Passed", "all checks passed"),
            Err(why) => Finding::down("FailedDiscoveryCheck", why),
        }
    }

    /// Asks for the discovery document that every such server must have.
    async fn probe(&self, api: &APIService, service: &Key) -> Result<(), String> {
        let spec = api.spec.as_ref();
        let group = spec.and_then(|spec| spec.group.as_deref()).unwrap_or_default();
        let version = spec.and_then(|spec| spec.version.as_deref()).unwrap_or_default();
        let path = match group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let server = Server {
            namespace: service.namespace.to_string(),
            name: service.name.to_string(),
            port: port_of(api),
            ca_bundle: Vec::new(),
            // Whoever forges an answer gains nothing but that requests are tried, and those check.
            is_insecure: true,
        };
        let ask = || self.aggregation.clients.probe(&server, &path);
        if ask().await.is_ok() {
            return Ok(());
        }
        let all = futures::future::join_all((0..RETRIES).map(|_| ask())).await;
        let is_up = all.iter().any(Result::is_ok);
        match all.into_iter().find_map(Result::err) {
            Some(error) if !is_up => Err(error.probe_text(&server, &path)),
            _ => Ok(()),
        }
    }

    /// When to look again; a local one is looked at when it changes.
    fn again(&self, key: &Key, finding: &Finding) -> Action {
        let mut failures = self.failures.lock();
        match (finding.reason, finding.status) {
            ("Local", _) => {
                failures.remove(key);
                Action::Await
            }
            ("FailedDiscoveryCheck", _) => {
                let count = failures.entry(key.clone()).or_default();
                let wait = RETRY_FIRST.saturating_mul(1 << (*count).min(16)).min(PROBE_EVERY);
                *count = count.saturating_add(1);
                Action::After(wait)
            }
            // Something that somebody will be told of has to change first.
            (_, "False") => Action::Await,
            _ => {
                failures.remove(key);
                Action::After(PROBE_EVERY)
            }
        }
    }
}

#[async_trait]
impl Reconciler for Availability {
    fn name(&self) -> &'static str {
        "apiservice-availability-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.apis);
        let apis = self.apis.clone();
        watches.on(&self.services, move |event, queue| {
            concerned(&apis, &Key::of(&event.object().metadata), queue);
        });
        let apis = self.apis.clone();
        watches.on(&self.slices, move |event, queue| {
            let metas = [event.old().map(|old| &old.metadata), Some(&event.object().metadata)];
            for service in metas.into_iter().flatten().filter_map(service_of) {
                concerned(&apis, &service, queue);
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(api) = self.apis.get_key(key) else {
            self.failures.lock().remove(key);
            return Ok(Action::Await);
        };
        let finding = self.find(&api).await;
        if let Some(condition) = condition(&api, &finding, ctx.clock.now()) {
            // Merged by type, so that conditions of other types stay.
            let patch = json!({ "status": { "conditions": [condition] } });
            or_gone(ctx.writer.patch::<APIService>(key, "status", Patch::Strategic(patch)).await)?;
        }
        Ok(self.again(key, &finding))
    }
}

/// Adds the APIServices that are behind a Service.
fn concerned(apis: &Cache<APIService>, service: &Key, queue: &Queue) {
    for api in apis.list() {
        let reference = api.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let is_it = reference.is_some_and(|reference| {
            reference.namespace.as_deref() == Some(&*service.namespace)
                && reference.name.as_deref() == Some(&*service.name)
        });
        if is_it {
            queue.add(Key::of(&api.metadata));
        }
    }
}

/// The Service that a slice belongs to.
fn service_of(meta: &ObjectMeta) -> Option<Key> {
    let name = meta.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(meta.namespace.as_deref().unwrap_or_default(), name))
}

/// What can be said without asking the server. Pure.
fn check(
    key: &Key,
    port: u16,
    service: Option<&Service>,
    slices: &[Arc<EndpointSlice>],
) -> Result<(), Finding> {
    let (name, namespace) = (&key.name, &key.namespace);
    let Some(service) = service else {
        let text = format!("service/{name} in {namespace:?} is not present");
        return Err(Finding::down("ServiceNotFound", text));
    };
    let spec = service.spec.as_ref();
    let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    if kind != "ClusterIP" {
        return Ok(());
    }
    let mut ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let Some(found) = ports.find(|one| one.port == i32::from(port)) else {
        let text = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Err(Finding::down("ServicePortError", text));
    };
    if slices.is_empty() {
        let text = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Err(Finding::down("EndpointsNotFound", text));
    }
    let port_name = found.name.as_deref().unwrap_or_default();
    if !slices.iter().any(|slice| has_endpoint(slice, port_name)) {
        let text = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        return Err(Finding::down("MissingEndpoints", text));
    }
    Ok(())
}

fn has_endpoint(slice: &EndpointSlice, port_name: &str) -> bool {
    let is_ready = slice.endpoints.iter().flatten().any(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let has_port =
        slice.ports.iter().flatten().any(|port| {
            port.name.as_deref().unwrap_or_default() == port_name && port.port.is_some()
        });
    is_ready && has_port
}

/// The condition that says so, when it does not already. The moment is that of the last change of
/// status.
fn condition(api: &APIService, finding: &Finding, now: Timestamp) -> Option<serde_json::Value> {
    let known = available(api);
    let same = |known: &Option<String>, new: &str| known.as_deref().unwrap_or_default() == new;
    if known.is_some_and(|known| {
        known.status == finding.status
            && same(&known.reason, finding.reason)
            && same(&known.message, &finding.message)
    }) {
        return None;
    }
    let kept = known.filter(|known| known.status == finding.status);
    let since = kept.and_then(|known| known.last_transition_time.as_ref());
    let since = since.map_or_else(|| json!(rfc3339_seconds(now)), |since| json!(since));
    Some(json!({
        "type": "Available", "status": finding.status, "reason": finding.reason,
        "message": finding.message, "lastTransitionTime": since,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value};

    fn findings(service: Option<Value>, slices: Vec<Value>) -> String {
        let service: Option<Service> = service.map(|service| from_value(service).unwrap());
        let slices: Vec<Arc<EndpointSlice>> =
            slices.into_iter().map(|slice| Arc::new(from_value(slice).unwrap())).collect();
        match check(&Key::new("n", "s"), 443, service.as_ref(), &slices) {
            Ok(()) => "fine".to_owned(),
            Err(down) => format!("{}: {}", down.reason, down.message),
        }
    }

    #[test]
    fn what_is_said_without_asking() {
        let service = |kind: &str, port: u16| {
            Some(json!({"spec": {"type": kind, "ports": [{"name": "https", "port": port}]}}))
        };
        let slice = |ready: bool, port: &str| {
            json!({"addressType": "IPv4", "metadata": {},
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
                "ports": [{"name": port, "port": 6443}]})
        };
        let check = |service, slices, expected: &str| {
            assert_eq!(findings(service, slices), expected);
        };
        check(None, vec![], "ServiceNotFound: service/s in \"n\" is not present");
        check(
            service("ClusterIP", 80),
            vec![],
            "ServicePortError: service/s in \"n\" is not listening on port 443",
        );
        check(
            service("ClusterIP", 443),
            vec![],
            "EndpointsNotFound: cannot find endpointslices for service/s in \"n\"",
        );
        let missing = "MissingEndpoints: endpointslices for service/s in \"n\" have no addresses with port name \"https\"";
        check(service("ClusterIP", 443), vec![slice(false, "https")], missing);
        check(service("ClusterIP", 443), vec![slice(true, "other")], missing);
        let both = vec![slice(false, "https"), slice(true, "https")];
        check(service("ClusterIP", 443), both, "fine");
        check(service("ExternalName", 1), vec![], "fine");
    }

    #[test]
    fn the_moment_is_that_of_the_last_change_of_status() {
        let api = |status: &str, reason: &str| -> APIService {
            from_value(json!({"metadata": {"name": "v1.g"}, "status": {"conditions": [
                {"type": "Other", "status": "True"},
                {"type": "Available", "status": status, "reason": reason, "message": "m",
                 "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
            .unwrap()
        };
        let now: Timestamp = "2026-02-02T00:00:00Z".parse().unwrap();
        let down = Finding::down("MissingEndpoints", "m".to_owned());
        assert_eq!(condition(&api("False", "MissingEndpoints"), &down, now), None);
        let same_status = condition(&api("False", "ServiceNotFound"), &down, now).unwrap();
        assert_eq!(same_status["lastTransitionTime"], "2026-01-01T00:00:00Z");
        let changed = condition(&api("True", "Passed"), &down, now).unwrap();
        assert_eq!(changed["lastTransitionTime"], "2026-02-02T00:00:00Z");
    }
}
