//! APIServices as a table: who answers for which group and version. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition,
};
use api::priority::Priority;
use webhook::ServiceReference;

/// The port of a Service when an APIService names none.
const DEFAULT_PORT: u16 = 443;

/// Another server, as an APIService says how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) server: Server,
    /// Whether the condition says that it is there.
    pub(crate) is_available: bool,
}

/// A server, and whom it must be certified by. APIServices that agree in this share connections
/// and documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Server {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: u16,
    /// PEM; the system's authorities when it is empty.
    pub(crate) ca_bundle: Vec<u8>,
    /// Whether any certificate will do.
    pub(crate) is_insecure: bool,
}

/// One APIService.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) priority: Priority,
    pub(crate) remote: Option<Remote>,
}

/// All APIServices.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn of(services: &[Arc<APIService>]) -> Self {
        Self { rows: services.iter().filter_map(|service| row(service)).collect() }
    }

    /// The server that answers for a version, when that is another one.
    pub(crate) fn remote(&self, group: &str, version: &str) -> Option<&Remote> {
        let is_it = |row: &&Row| row.group == group && row.version == version;
        self.rows.iter().find(is_it)?.remote.as_ref()
    }

    /// The other servers, each with whether it is there and the versions that it answers for.
    pub(crate) fn servers(&self) -> BTreeMap<Server, Versions> {
        let mut found: BTreeMap<Server, Versions> = BTreeMap::new();
        for row in &self.rows {
            let Some(remote) = &row.remote else { continue };
            let versions = found.entry(remote.server.clone()).or_default();
            versions.is_available |= remote.is_available;
            versions.all.push((row.group.clone(), row.version.clone()));
        }
        found
    }
}

/// The versions that a server answers for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    pub(crate) is_available: bool,
    pub(crate) all: Vec<(String, String)>,
}

impl Row {
    /// The APIService's name.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.version, self.group)
    }
}

impl Server {
    /// The Service.
    pub(crate) fn reference(&self) -> ServiceReference {
        ServiceReference {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            port: self.port,
        }
    }
}

fn row(service: &APIService) -> Option<Row> {
    let spec = service.spec.as_ref()?;
    let remote = spec.service.as_ref().map(|reference| Remote {
        server: Server {
            namespace: reference.namespace.clone().unwrap_or_default(),
            name: reference.name.clone().unwrap_or_default(),
            port: port_of(service),
            ca_bundle: spec.ca_bundle.clone().map(|bundle| bundle.0).unwrap_or_default(),
            is_insecure: spec.insecure_skip_tls_verify.unwrap_or(false),
        },
        is_available: available(service).is_some_and(|condition| condition.status == "True"),
    });
    Some(Row {
        group: spec.group.clone().unwrap_or_default(),
        version: spec.version.clone().unwrap_or_default(),
        priority: Priority { group: spec.group_priority_minimum, version: spec.version_priority },
        remote,
    })
}

/// The port of the Service of an APIService.
pub(crate) fn port_of(service: &APIService) -> u16 {
    let reference = service.spec.as_ref().and_then(|spec| spec.service.as_ref());
    let port = reference.and_then(|reference| reference.port);
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT)
}

/// The condition that says whether it is available.
pub(crate) fn available(service: &APIService) -> Option<&APIServiceCondition> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Available")
}
