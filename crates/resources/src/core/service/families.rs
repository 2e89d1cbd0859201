//! The address families of a service: one, or two where the cluster has two (KEP-563).

use api::Value;
use api::field::{FieldError, Path};
use api::object::{at, list_at, set, str_at};
use ipnet::IpNet;

use super::patch::needs_cluster_ip;

fn family_of(network: &IpNet) -> &'static str {
    if network.addr().is_ipv6() { "IPv6" } else { "IPv4" }
}

fn other(family: &str) -> &'static str {
    if family == "IPv6" { "IPv4" } else { "IPv6" }
}

fn texts(object: &Value, field: &str) -> Vec<String> {
    list_at(object, &["spec", field])
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// Fills in `ipFamilies` and `ipFamilyPolicy`.
pub(super) fn fill(
    service: &mut Value,
    old: Option<&Value>,
    networks: &[IpNet],
) -> Result<(), FieldError> {
    if !needs_cluster_ip(service) {
        return Ok(());
    }
    let spec = Path::new("spec");
    let configured: Vec<&str> = networks.iter().map(family_of).collect();
    let primary = configured.first().copied().unwrap_or("IPv4");
    let headless = str_at(service, &["spec", "clusterIP"]) == "None";
    let selectorless = at(service, &["spec", "selector"])
        .and_then(Value::as_object)
        .is_none_or(serde_json::Map::is_empty);
    let mut ips = texts(service, "clusterIPs");
    let mut families = texts(service, "ipFamilies");
    let mut policy = str_at(service, &["spec", "ipFamilyPolicy"]).to_owned();
    if policy == "SingleStack" && old.is_some_and(|old| texts(old, "ipFamilies").len() == 2) {
        // Going back to one family gives the second address up.
        ips.truncate(1);
        families.truncate(1);
        set(service, &["spec", "clusterIPs"], ips.clone());
    }
    let free_headless = headless && selectorless;
    if policy.is_empty() {
        let dual = families.len() == 2 || ips.len() == 2 || (free_headless && families.is_empty());
        policy = if dual { "RequireDualStack" } else { "SingleStack" }.to_owned();
    }
    if policy == "SingleStack" && (families.len() == 2 || ips.len() == 2) {
        let what = if ips.len() == 2 { "clusterIPs" } else { "ipFamilies" };
        let text = format!(
            "must be RequireDualStack or PreferDualStack when multiple {what} are specified"
        );
        return Err(FieldError::invalid(spec.child("ipFamilyPolicy"), policy, text));
    }
    if !headless {
        for (index, ip) in ips.iter().enumerate() {
            let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
            if families.len() <= index {
                families.push(family.to_owned());
            }
        }
    }
    if families.is_empty() {
        families.push(primary.to_owned());
    }
    if !free_headless {
        for (index, family) in families.iter().enumerate() {
            if !configured.contains(&family.as_str()) {
                let path = spec.child("ipFamilies").index(index);
                return Err(FieldError::invalid(
                    path,
                    family.as_str(),
                    "not configured on this cluster",
                ));
            }
        }
        if policy == "RequireDualStack" && configured.len() < 2 {
            let text = "this cluster is not configured for dual-stack services";
            return Err(FieldError::invalid(spec.child("ipFamilyPolicy"), policy, text));
        }
    }
    let two = policy != "SingleStack" && (free_headless || configured.len() > 1);
    if two && families.len() == 1 {
        let second = other(&families[0]);
        families.push(second.to_owned());
    }
    set(service, &["spec", "ipFamilies"], families);
    set(service, &["spec", "ipFamilyPolicy"], policy);
    Ok(())
}
