//! The worker on caches without a server and a data plane without packets.

use std::net::IpAddr;
use std::sync::Arc;

use api::typed::Kind;
use parking_lot::Mutex;
use reconcile::SharedCache;
use serde_json::json;

use super::*;
use crate::dataplane::Memory;

/// A data plane that tests can look into, and make refuse.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<(Memory, bool)>>);

impl Dataplane for Watched {
    fn replace(&mut self, all: &Ruleset) -> Result<(), DataplaneError> {
        self.0.lock().1 = false;
        self.0.lock().0.replace(all)
    }

    fn sync(&mut self, delta: &Delta) -> Result<(), DataplaneError> {
        let mut inner = self.0.lock();
        if inner.1 {
            return Err(DataplaneError { plane: "test", source: "refused".into() });
        }
        inner.0.sync(delta)
    }

    fn leads_to(&self, ip: IpAddr) -> bool {
        self.0.lock().0.leads_to(ip)
    }

    fn clean(&mut self) -> Result<(), DataplaneError> {
        self.0.lock().0.clean()
    }
}

struct Lab {
    services: Arc<SharedCache>,
    slices: Arc<SharedCache>,
    plane: Watched,
    handle: ProxyHandle,
    revision: std::cell::Cell<u64>,
}

impl Lab {
    fn new() -> Self {
        let cache = |resource| Arc::new(SharedCache::new(resource));
        let services = cache(Service::resource());
        let slices = cache(EndpointSlice::resource());
        let nodes = cache(NodeObject::resource());
        let sources = Sources {
            services: Cache::over(services.clone()),
            slices: Cache::over(slices.clone()),
            nodes: Cache::over(nodes.clone()),
        };
        nodes.replace(Vec::new(), 1);
        let plane = Watched::default();
        let options = Options { node_name: "here".into() };
        let handle = start_on(options, sources, Box::new(plane.clone()), Drain::new());
        Self { services, slices, plane, handle, revision: std::cell::Cell::new(1) }
    }

    fn next(&self) -> String {
        self.revision.set(self.revision.get() + 1);
        self.revision.get().to_string()
    }

    fn service(&self) -> Arc<Service> {
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "namespace": "default", "name": "web", "uid": "1",
                    "resourceVersion": self.next(),
                },
                "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]},
            }))
            .unwrap(),
        )
    }

    fn slice(&self, ips: &[&str]) -> Arc<EndpointSlice> {
        let endpoints: Vec<_> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "addressType": "IPv4",
                "metadata": {
                    "namespace": "default", "name": "web-1", "uid": "2",
                    "resourceVersion": self.next(),
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "ports": [{"port": 8080}], "endpoints": endpoints,
            }))
            .unwrap(),
        )
    }

    async fn transaction_after(&self, change: impl FnOnce()) {
        let before = self.handle.transactions();
        change();
        self.handle.wait(|state| state.transactions > before).await;
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn rules_follow_the_objects_and_waiters_are_woken() {
    let lab = Lab::new();
    lab.services.replace(vec![lab.service()], 2);
    lab.slices.replace(vec![lab.slice(&["10.42.0.2", "10.42.0.3"])], 3);
    lab.handle.synced().await;
    assert_eq!(lab.plane.0.lock().0.frontends.len(), 1);
    assert!(lab.plane.leads_to(ip("10.42.0.3")));
    // Nobody waits for an address that no service has.
    lab.handle.endpoint_removed(ip("10.42.0.9")).await;
    let waiter = {
        let handle = lab.handle.clone();
        tokio::spawn(async move { handle.endpoint_removed(ip("10.42.0.3")).await })
    };
    lab.transaction_after(|| lab.slices.upsert(lab.slice(&["10.42.0.2"]))).await;
    waiter.await.unwrap();
    lab.transaction_after(|| lab.services.remove(lab.service())).await;
    assert!(lab.plane.0.lock().0.frontends.is_empty());
    assert!(!lab.plane.leads_to(ip("10.42.0.2")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_made_good_by_the_whole() {
    let lab = Lab::new();
    lab.services.replace(vec![lab.service()], 2);
    lab.slices.replace(vec![lab.slice(&["10.42.0.2"])], 3);
    lab.handle.synced().await;
    lab.plane.0.lock().1 = true;
    lab.transaction_after(|| lab.slices.upsert(lab.slice(&["10.42.0.7"]))).await;
    assert!(lab.plane.leads_to(ip("10.42.0.7")) && !lab.plane.leads_to(ip("10.42.0.2")));
}
