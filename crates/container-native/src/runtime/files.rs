//! The files of a sandbox that its containers see: host name, hosts, resolv.conf.

use container_runtime::{DnsConfig, PodSandboxConfig};

/// `resolv.conf` of a DNS configuration; the host's own when there is none.
pub(super) fn resolv_conf(dns: Option<&DnsConfig>, host: &str) -> String {
    let Some(dns) = dns.filter(|dns| **dns != DnsConfig::default()) else { return host.to_owned() };
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    text
}

/// `hosts` of a sandbox. The kubelet usually mounts a better one over it.
pub(super) fn hosts(config: &PodSandboxConfig) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    if !config.hostname.is_empty() {
        text += &format!("127.0.1.1\t{}\n", config.hostname);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_the_pods_or_the_hosts() {
        let dns = DnsConfig {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["default.svc.cluster.local".into(), "svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        };
        assert_eq!(
            resolv_conf(Some(&dns), ""),
            "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        assert_eq!(resolv_conf(None, "nameserver 9.9.9.9\n"), "nameserver 9.9.9.9\n");
    }
}
