//! A pod's host name and its /etc/hosts, as upstream writes it.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// The longest name that the kernel takes.
const HOSTNAME_MAX: usize = 63;

/// A pod's own name in DNS: host name, and the domain under it when the pod has a subdomain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName {
    /// The short name.
    pub(crate) name: String,
    /// `SUBDOMAIN.NS.svc.DOMAIN`, or empty.
    pub(crate) domain: String,
    /// What the kernel shall answer.
    pub(crate) kernel: String,
}

/// The pod's names.
pub(crate) fn host_name(pod: &Pod, cluster_domain: &str) -> Result<HostName, String> {
    let spec = pod::spec(pod);
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(name) = given(&spec.hostname_override) {
        return Ok(HostName { kernel: name.clone(), name, domain: String::new() });
    }
    let mut name = given(&spec.hostname).unwrap_or_else(|| pod::name(pod).to_owned());
    if name.len() > HOSTNAME_MAX {
        name.truncate(HOSTNAME_MAX);
        name.truncate(name.trim_end_matches(['-', '.']).len());
    }
    let domain = given(&spec.subdomain)
        .map(|sub| format!("{sub}.{}.svc.{cluster_domain}", pod::namespace(pod)))
        .unwrap_or_default();
    let mut kernel = name.clone();
    if spec.set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        kernel = format!("{name}.{domain}");
        if kernel.len() > HOSTNAME_MAX + 1 {
            return Err(format!(
                "failed to construct FQDN from pod hostname and cluster domain, FQDN {kernel} is too long (64 characters is the max, {} characters requested)",
                kernel.len()
            ));
        }
    }
    Ok(HostName { name, domain, kernel })
}

/// The file for a pod with its own network.
pub(crate) fn managed(pod: &Pod, ips: &[String], names: &HostName) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        let _ = if names.domain.is_empty() {
            writeln!(text, "{ip}\t{}", names.name)
        } else {
            writeln!(text, "{ip}\t{}.{}\t{}", names.name, names.domain, names.name)
        };
    }
    text.push_str(&aliases(pod));
    text
}

/// The file for a pod on the node's network.
pub(crate) fn of_node(pod: &Pod, node_file: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_file}{}", aliases(pod))
}

fn aliases(pod: &Pod) -> String {
    let spec = pod::spec(pod);
    let all = spec.host_aliases.as_deref().unwrap_or_default();
    if all.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n# Entries added by HostAliases.\n");
    for alias in all {
        let names = alias.hostnames.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{}\t{}", alias.ip, names.join("\t"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "web-0", "namespace": "ns"}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn names_and_aliases() {
        let pod = pod(json!({"containers": [], "subdomain": "web",
            "hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]}));
        let names = host_name(&pod, "cluster.local").unwrap();
        let text = managed(&pod, &["10.42.0.3".into()], &names);
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.contains("\n10.42.0.3\tweb-0.web.ns.svc.cluster.local\tweb-0\n"));
        assert!(text.ends_with("\n\n# Entries added by HostAliases.\n123.45.67.89\tfoo\tbar\n"));
    }

    #[test]
    fn long_names_are_cut() {
        let mut pod = pod(json!({"containers": []}));
        pod.metadata.name = Some(format!("{}-x", "a".repeat(62)));
        assert_eq!(host_name(&pod, "c").unwrap().name, "a".repeat(62));
    }
}
