//! From a Service to addresses.
//!
//! A Service's cluster IP is the address that it promises. Where the node of this server has no
//! data plane (a control plane of its own, a test) nobody routes it, so the ready endpoints behind
//! it follow: whoever dials tries them when the first does not answer at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::{OnceLock, Weak};

use api::Value;
use api::names::GroupResource;
use api::object::{at, int_at, label, list_at, str_at};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

use crate::config::ServiceReference;
use crate::dial::Destination;
use crate::error::DialError;

/// Says where a Service is.
#[async_trait]
pub trait ServiceResolver: Send + Sync {
    /// Whom to connect to for a port of a Service, the best first.
    async fn resolve(&self, service: &ServiceReference) -> Result<Vec<Destination>, DialError>;
}

/// The Services of the server that this is a part of. It is made before the server is, and told
/// of it when it is there; it does not keep it alive.
#[derive(Default)]
pub struct Services(OnceLock<Weak<dyn ObjectApi>>);

impl Services {
    /// Tells of the server. Only the first word counts.
    pub fn serve_from(&self, api: Weak<dyn ObjectApi>) {
        // A second server in one process would be a mistake of the composition's; the first stays.
        let _ = self.0.set(api);
    }
}

#[async_trait]
impl ServiceResolver for Services {
    async fn resolve(&self, wanted: &ServiceReference) -> Result<Vec<Destination>, DialError> {
        let Some(api) = self.0.get().and_then(Weak::upgrade) else {
            return Err(DialError::Service("the API server does not serve yet".to_owned()));
        };
        let services = GroupResource::new("", "services");
        let found = api.get(&services, &wanted.namespace, &wanted.name).await;
        let service = found.map_err(|error| match error.code() {
            404 => DialError::Service(format!("service \"{}\" not found", wanted.name)),
            _ => DialError::Service(error.to_string()),
        })?;
        if str_at(&service, &["spec", "type"]) == "ExternalName" {
            let name = str_at(&service, &["spec", "externalName"]).to_owned();
            return Ok(vec![Destination::Name(name, wanted.port)]);
        }
        let ports = list_at(&service, &["spec", "ports"]);
        let port = ports.iter().find(|port| int_at(port, &["port"]) == Some(wanted.port.into()));
        let Some(port) = port else {
            let (port, name) = (wanted.port, &wanted.name);
            let text = format!("no service port {port} found for service \"{name}\"");
            return Err(DialError::Service(text));
        };
        let cluster_ip = str_at(&service, &["spec", "clusterIP"]).parse::<IpAddr>().ok();
        let mut found: Vec<_> = cluster_ip
            .map(|ip| Destination::Address(SocketAddr::new(ip, wanted.port)))
            .into_iter()
            .collect();
        found.extend(endpoints(&*api, wanted, str_at(port, &["name"])).await);
        if found.is_empty() {
            let text = format!("no endpoints available for service \"{}\"", wanted.name);
            return Err(DialError::Service(text));
        }
        Ok(found)
    }
}

/// The ready addresses behind a Service's port.
async fn endpoints(api: &dyn ObjectApi, wanted: &ServiceReference, port: &str) -> Vec<Destination> {
    let slices = GroupResource::new("discovery.k8s.io", "endpointslices");
    let all = api.list(&slices, &wanted.namespace).await.unwrap_or_default();
    let own = all
        .iter()
        .filter(|slice| label(slice, "kubernetes.io/service-name") == Some(wanted.name.as_str()));
    own.flat_map(|slice| ready(slice, port)).collect()
}

fn ready<'a>(slice: &'a Value, port: &str) -> impl Iterator<Item = Destination> + 'a {
    let ports = list_at(slice, &["ports"]);
    let number = ports
        .iter()
        .find(|one| str_at(one, &["name"]) == port)
        .and_then(|one| int_at(one, &["port"]))
        .and_then(|number| u16::try_from(number).ok());
    let is_ready = |endpoint: &&Value| {
        at(endpoint, &["conditions", "ready"]).and_then(Value::as_bool).unwrap_or(true)
    };
    let addresses = list_at(slice, &["endpoints"])
        .iter()
        .filter(is_ready)
        .filter_map(|endpoint| list_at(endpoint, &["addresses"]).first()?.as_str()?.parse().ok());
    addresses.filter_map(move |ip: IpAddr| Some(Destination::Address(SocketAddr::new(ip, number?))))
}
