//! The environment variables that describe Services to a container.
//!
//! Upstream's form (`pkg/kubelet/envvars`): `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT[_PORTNAME]` and
//! the older `NAME_PORT…` links. Headless and ExternalName services have none.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

/// The variables of the services that a pod in `namespace` sees: all of its namespace when it wants
/// links, and always those of `default/kubernetes`.
pub(crate) fn service_variables(
    services: &[Arc<Service>],
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let Some(name) = service.metadata.name.as_deref() else { continue };
        let own = service.metadata.namespace.as_deref() == Some(namespace);
        let main = name == "kubernetes" && service.metadata.namespace.as_deref() == Some("default");
        // A service of the pod's own namespace wins over the cluster's main one of that name.
        if own && (links || main) {
            chosen.insert(name, service);
        } else if main {
            chosen.entry(name).or_insert(service);
        }
    }
    let mut variables = BTreeMap::new();
    for (name, service) in chosen {
        describe(name, service, &mut variables);
    }
    variables
}

fn describe(name: &str, service: &Service, into: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ip.is_empty() || ip == "None" || spec.type_.as_deref() == Some("ExternalName") {
        return;
    }
    let prefix = variable_name(name);
    into.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    for (index, port) in ports.iter().enumerate() {
        if index == 0 {
            into.insert(format!("{prefix}_SERVICE_PORT"), port.port.to_string());
        }
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let key = format!("{prefix}_SERVICE_PORT_{}", variable_name(port_name));
            into.insert(key, port.port.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            into.insert(format!("{prefix}_PORT"), url.clone());
        }
        let link = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        into.insert(format!("{link}_PROTO"), protocol.to_lowercase());
        into.insert(format!("{link}_PORT"), port.port.to_string());
        into.insert(format!("{link}_ADDR"), ip.to_owned());
        into.insert(link, url);
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(namespace: &str, name: &str, ip: &str, port: &str) -> Arc<Service> {
        let value = json!({
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": ip, "ports": [{"name": port, "port": 8765, "protocol": "TCP"}]},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_service_is_described_in_both_forms() {
        let services = [
            service("ns", "foo-service", "10.96.0.7", "web"),
            service("ns", "headless", "None", ""),
            service("other", "far", "10.96.0.8", ""),
            service("default", "kubernetes", "10.96.0.1", "https"),
        ];
        let all = service_variables(&services, "ns", true);
        for (key, value) in [
            ("FOO_SERVICE_SERVICE_HOST", "10.96.0.7"),
            ("FOO_SERVICE_SERVICE_PORT", "8765"),
            ("FOO_SERVICE_SERVICE_PORT_WEB", "8765"),
            ("FOO_SERVICE_PORT", "tcp://10.96.0.7:8765"),
            ("FOO_SERVICE_PORT_8765_TCP", "tcp://10.96.0.7:8765"),
            ("FOO_SERVICE_PORT_8765_TCP_PROTO", "tcp"),
            ("FOO_SERVICE_PORT_8765_TCP_PORT", "8765"),
            ("FOO_SERVICE_PORT_8765_TCP_ADDR", "10.96.0.7"),
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ] {
            assert_eq!(all.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert!(!all.keys().any(|key| key.starts_with("HEADLESS") || key.starts_with("FAR")));
        let main = service_variables(&services, "ns", false);
        assert!(main.keys().all(|key| key.starts_with("KUBERNETES_")), "{main:?}");
    }
}
