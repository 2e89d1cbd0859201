//! The Service `default/kubernetes`, which leads to the API servers: kept as it must be, and made
//! again when someone deletes it.

use std::net::IpAddr;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Endpoints, Service};
use api::k8s_openapi::api::discovery::v1::EndpointSlice;
use api::typed::Kind;
use async_trait::async_trait;
use reconcile::{Action, Caches, Ctx, Error, Event, Key, Queue, Reconciler, Watches};
use serde_json::{Value, json};

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";

/// What the Service must say.
#[derive(Debug, Clone)]
pub(crate) struct KubernetesService {
    /// The first address of the service range.
    pub(crate) cluster_ip: IpAddr,
    /// Where this API server listens.
    pub(crate) address: IpAddr,
    /// On which port.
    pub(crate) port: u16,
}

/// Keeps the Service and its endpoints.
pub(crate) struct Keeper {
    caches: Caches,
    wanted: KubernetesService,
}

impl Keeper {
    pub(crate) fn new(caches: Caches, wanted: KubernetesService) -> Arc<Self> {
        if wanted.address.is_loopback() {
            tracing::warn!(
                address = %wanted.address,
                "the Service kubernetes leads nowhere: no pod can reach a loopback address (--node-ip)"
            );
        }
        Arc::new(Self { caches, wanted })
    }
}

impl KubernetesService {
    fn service(&self) -> Value {
        let family = if self.cluster_ip.is_ipv4() { "IPv4" } else { "IPv6" };
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE,
                "labels": { "component": "apiserver", "provider": "kubernetes" },
            },
            "spec": {
                "clusterIP": self.cluster_ip, "clusterIPs": [self.cluster_ip],
                "ipFamilies": [family], "ipFamilyPolicy": "SingleStack", "type": "ClusterIP",
                "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                "ports": [{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": self.port }],
            },
        })
    }

    fn endpoints(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE,
                // This controller keeps the slice too; nobody else is to mirror it.
                "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
            },
            "subsets": [{
                "addresses": [{ "ip": self.address }],
                "ports": [{ "name": "https", "port": self.port, "protocol": "TCP" }],
            }],
        })
    }

    fn slice(&self) -> Value {
        let family = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE,
                "labels": { "kubernetes.io/service-name": NAME },
            },
            "addressType": family,
            "endpoints": [{ "addresses": [self.address], "conditions": { "ready": true } }],
            "ports": [{ "name": "https", "port": self.port, "protocol": "TCP" }],
        })
    }
}

#[async_trait]
impl Reconciler for Keeper {
    fn name(&self) -> &'static str {
        "kubernetes-service-keeper"
    }

    fn workers(&self) -> usize {
        1
    }

    fn watches(&self, watches: &mut Watches) {
        watches.once(Key::new(NAMESPACE, NAME));
        watches.on(&self.caches.of::<Service>(), concerns);
        watches.on(&self.caches.of::<Endpoints>(), concerns);
        watches.on(&self.caches.of::<EndpointSlice>(), concerns);
    }

    async fn reconcile(&self, ctx: &Ctx, _: &Key) -> Result<Action, Error> {
        self.keep::<Service>(ctx, self.wanted.service(), &["spec"]).await?;
        if self.wanted.address.is_loopback() {
            // An endpoint's address must not be one.
            return Ok(Action::Await);
        }
        self.keep::<Endpoints>(ctx, self.wanted.endpoints(), &["subsets"]).await?;
        self.keep::<EndpointSlice>(ctx, self.wanted.slice(), &["endpoints", "ports"]).await?;
        Ok(Action::Await)
    }
}

fn concerns<K: Kind>(event: &Event<K>, queue: &Queue) {
    let meta = event.object().meta();
    if meta.name.as_deref() == Some(NAME) && meta.namespace.as_deref() == Some(NAMESPACE) {
        queue.add(Key::new(NAMESPACE, NAME));
    }
}

impl Keeper {
    /// Creates the object, or brings these fields of it back to what they must be.
    async fn keep<K: Kind>(&self, ctx: &Ctx, wanted: Value, fields: &[&str]) -> Result<(), Error> {
        let typed = |value: &Value| {
            K::decode(value.to_string().as_bytes())
                .map_err(|error| Error::Stuck(format!("the object to keep is malformed: {error}")))
        };
        let Some(current) = self.caches.of::<K>().get(NAMESPACE, NAME) else {
            return match ctx.writer.create(&typed(&wanted)?).await {
                Err(failure) if failure.is_already_exists() => Ok(()),
                created => Ok(created.map(drop)?),
            };
        };
        let mut now: Value = serde_json::from_slice(&current.encode()).unwrap_or_default();
        let mut differs = false;
        for field in fields {
            if !contains(now.get(field), wanted.get(field)) {
                now[*field] = wanted[*field].clone();
                differs = true;
            }
        }
        if differs {
            ctx.writer.update(&typed(&now)?).await?;
        }
        Ok(())
    }
}

/// Whether everything that is wanted is there; what the server adds does not count.
fn contains(have: Option<&Value>, wanted: Option<&Value>) -> bool {
    match (have, wanted) {
        (_, None) => true,
        (Some(Value::Object(have)), Some(Value::Object(wanted))) => {
            wanted.iter().all(|(key, value)| contains(have.get(key), Some(value)))
        }
        (Some(Value::Array(have)), Some(Value::Array(wanted))) => {
            have.len() == wanted.len()
                && have.iter().zip(wanted).all(|(have, wanted)| contains(Some(have), Some(wanted)))
        }
        (have, wanted) => have == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_adds_is_no_difference() {
        let wanted = json!({"ports": [{"port": 443}]});
        assert!(contains(Some(&json!({"ports": [{"port": 443, "x": 1}], "y": 2})), Some(&wanted)));
        assert!(!contains(Some(&json!({"ports": [{"port": 80}]})), Some(&wanted)));
        assert!(!contains(Some(&json!({"ports": []})), Some(&wanted)));
        assert!(!contains(None, Some(&wanted)));
    }
}
