//! A pod's resolver settings: `dnsPolicy` and `dnsConfig` to what goes into resolv.conf.
//!
//! The rules and limits are upstream's (`pkg/kubelet/network/dns`).

use container_runtime::DnsConfig;
use k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// resolv.conf allows this many name servers.
const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARS_MAX: usize = 2048;

/// The cluster's resolver as the node was told it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterDns {
    /// The addresses of the cluster's DNS service.
    pub(crate) servers: Vec<String>,
    /// The cluster's domain, `cluster.local`.
    pub(crate) domain: String,
}

/// The text of a resolv.conf as its parts. (`man 5 resolv.conf`: the last `search` or `domain` and
/// the last `options` of a name win.)
pub(crate) fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => {
                config.searches = words.map(|word| word.trim_end_matches('.').to_owned()).collect();
                config.searches.retain(|word| !word.is_empty());
            }
            Some("options") => merge_options(&mut config.options, words.map(str::to_owned)),
            _ => {}
        }
    }
    config
}

/// The resolver settings of a pod; the second value says what was left out.
pub(crate) fn pod_dns(
    pod: &Pod,
    cluster: &ClusterDns,
    host: &DnsConfig,
) -> (DnsConfig, Option<String>) {
    let spec = pod::spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let use_cluster = match policy {
        "ClusterFirst" => !pod::is_host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut config = if policy == "None" {
        DnsConfig::default()
    } else if use_cluster && !cluster.servers.is_empty() {
        let domain = &cluster.domain;
        let own = format!("{}.svc.{domain}", pod::namespace(pod));
        let mut searches = vec![own, format!("svc.{domain}"), domain.clone()];
        searches.extend(host.searches.iter().filter(|one| *one != ".").cloned());
        let mut unique = Vec::new();
        for search in searches {
            push_new(&mut unique, search);
        }
        DnsConfig {
            servers: cluster.servers.clone(),
            searches: unique,
            options: vec!["ndots:5".to_owned()],
        }
    } else {
        host.clone()
    };
    if let Some(extra) = &spec.dns_config {
        for server in extra.nameservers.iter().flatten() {
            push_new(&mut config.servers, server.clone());
        }
        for search in extra.searches.iter().flatten() {
            push_new(&mut config.searches, search.clone());
        }
        let options = extra.options.iter().flatten().filter_map(|option| {
            let name = option.name.as_deref()?;
            Some(match option.value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            })
        });
        merge_options(&mut config.options, options);
    }
    let warning = limit(&mut config);
    (config, warning)
}

fn push_new(list: &mut Vec<String>, one: String) {
    if !list.contains(&one) {
        list.push(one);
    }
}

/// Later options of the same name replace earlier ones.
fn merge_options(options: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for option in more {
        let name = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        options.retain(|old| name(old) != name(&option));
        options.push(option);
    }
}

fn limit(config: &mut DnsConfig) -> Option<String> {
    let mut warning = None;
    if config.servers.len() > SERVERS_MAX {
        config.servers.truncate(SERVERS_MAX);
        warning = Some(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            config.servers.join(" ")
        ));
    }
    let mut chars = 0;
    let fits = config.searches.iter().take(SEARCHES_MAX).take_while(|search| {
        chars += search.len() + 1;
        chars <= SEARCH_CHARS_MAX + 1
    });
    let fits = fits.count();
    if fits < config.searches.len() {
        config.searches.truncate(fits);
        warning = Some(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            config.searches.join(" ")
        ));
    }
    warning
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: serde_json::Value, servers: &[&str], searches: &[&str], options: &[&str]) {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns"}, "spec": spec}))
        .unwrap();
        let cluster =
            ClusterDns { servers: vec!["10.96.0.10".into()], domain: "cluster.local".into() };
        let host =
            parse_resolv_conf("# host\nnameserver 192.0.2.53\nsearch lan.example\noptions edns0\n");
        let (config, _) = pod_dns(&pod, &cluster, &host);
        assert_eq!(config.servers, servers);
        assert_eq!(config.searches, searches);
        assert_eq!(config.options, options);
    }

    #[test]
    fn policies() {
        let cluster = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan.example"];
        let base = json!({"containers": []});
        check(base.clone(), &["10.96.0.10"], &cluster, &["ndots:5"]);
        let mut spec = base.clone();
        spec["hostNetwork"] = json!(true);
        check(spec.clone(), &["192.0.2.53"], &["lan.example"], &["edns0"]);
        spec["dnsPolicy"] = json!("ClusterFirstWithHostNet");
        check(spec, &["10.96.0.10"], &cluster, &["ndots:5"]);
        let none = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["1.1.1.1", "1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"],
            "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "x"}]}});
        check(none, &["1.1.1.1", "2.2.2.2", "3.3.3.3"], &["a.b"], &["ndots:2", "x"]);
        let merged =
            json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}});
        check(merged, &["10.96.0.10"], &cluster, &["ndots:1"]);
    }
}
