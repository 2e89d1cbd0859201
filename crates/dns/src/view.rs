//! The shared caches as the zone sees them.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use reconcile::{Cache, Caches};

use crate::zone::{SERVICE_NAME, View, cluster_ips};

const BY_IP: &str = "dns/ip";
const BY_SERVICE: &str = "kubernetes.io/service-name";

/// Services, slices and namespaces, with the indexes that names need.
#[derive(Clone)]
pub(crate) struct ClusterView {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    namespaces: Cache<Namespace>,
}

impl ClusterView {
    pub(crate) fn new(caches: &Caches) -> Self {
        Self::over(caches.of(), caches.of(), caches.of())
    }

    pub(crate) fn over(
        services: Cache<Service>,
        slices: Cache<EndpointSlice>,
        namespaces: Cache<Namespace>,
    ) -> Self {
        services.add_index(BY_IP, |service, emit| {
            for ip in cluster_ips(service) {
                emit(&ip.to_string());
            }
        });
        slices.add_index(BY_SERVICE, |slice, emit| {
            let labels = slice.metadata.labels.as_ref();
            if let Some(name) = labels.and_then(|labels| labels.get(SERVICE_NAME)) {
                emit(&key(slice.metadata.namespace.as_deref().unwrap_or_default(), name));
            }
        });
        slices.add_index(BY_IP, |slice, emit| {
            for endpoint in slice.endpoints.iter().flatten() {
                let ip = endpoint.addresses.first().and_then(|ip| ip.parse::<IpAddr>().ok());
                if let Some(ip) = ip {
                    emit(&ip.to_string());
                }
            }
        });
        Self { services, slices, namespaces }
    }

    pub(crate) async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
        self.namespaces.synced().await;
    }

    pub(crate) fn has_synced(&self) -> bool {
        self.services.has_synced() && self.slices.has_synced() && self.namespaces.has_synced()
    }
}

impl View for ClusterView {
    fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.get("", namespace).is_some()
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        self.slices.by_index(BY_SERVICE, &key(namespace, service))
    }

    fn service_by_ip(&self, ip: IpAddr) -> Option<Arc<Service>> {
        self.services.by_index(BY_IP, &ip.to_string()).into_iter().next()
    }

    fn slices_by_ip(&self, ip: IpAddr) -> Vec<Arc<EndpointSlice>> {
        self.slices.by_index(BY_IP, &ip.to_string())
    }
}

fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}
