//! What is wrong with a service.

use api::Value;
use api::field::{ErrorList, FieldError};
use api::validate;

use crate::check::{self, IMMUTABLE, in_range, one_of, required_one_of};
use crate::core::pod::validation::probe;
use crate::cursor::{Field, rule, same};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

fn is_headless(spec: Field<'_>) -> bool {
    spec.get("clusterIP").str() == "None" || spec.get("clusterIPs").index(0).str() == "None"
}

/// What is wrong with a service, new or changed.
pub(super) fn service(service: Field<'_>, errors: &mut ErrorList) {
    let spec = service.get("spec");
    let kind = spec.get("type").str();
    if spec.get("ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.push(spec.get("ports").required(""));
    }
    of_type(spec, kind, errors);
    ports(spec, kind, errors);
    check::labels(spec.get("selector"), errors);
    required_one_of(spec.get("sessionAffinity"), &["ClientIP", "None"], errors);
    affinity(spec, errors);
    cluster_ips(spec, errors);
    external_ips(spec, errors);
    required_one_of(spec.get("type"), &TYPES, errors);
    policies(spec, kind, errors);
    load_balancer(spec, kind, errors);
}

fn of_type(spec: Field<'_>, kind: &str, errors: &mut ErrorList) {
    match kind {
        "LoadBalancer" => {
            for port in spec.get("ports").items() {
                let text = "cannot expose port 10250 externally since it is used by Kubelet";
                if port.get("port").int() == Some(10_250) {
                    errors.push(port.get("port").invalid(text));
                }
            }
            if is_headless(spec) {
                let text = "may not be set to 'None' for LoadBalancer services";
                errors.push(spec.get("clusterIPs").index(0).invalid(text));
            }
        }
        "NodePort" if is_headless(spec) => {
            let text = "may not be set to 'None' for NodePort services";
            errors.push(spec.get("clusterIPs").index(0).invalid(text));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let field = Field::get(spec, field);
                if !field.is_empty() {
                    errors.push(field.forbidden("may not be set for ExternalName services"));
                }
            }
            let name = spec.get("externalName");
            let bare = name.str().strip_suffix('.').unwrap_or(name.str());
            if bare.is_empty() {
                errors.push(name.required(""));
            } else {
                errors.extend(
                    validate::dns1123_subdomain(bare).into_iter().map(|text| name.invalid(text)),
                );
            }
        }
        _ => {}
    }
}

fn ports(spec: Field<'_>, kind: &str, errors: &mut ErrorList) {
    let list = spec.get("ports");
    let mut names: Vec<&str> = Vec::new();
    let mut numbers: Vec<(&str, i64)> = Vec::new();
    let mut nodes: Vec<(&str, i64)> = Vec::new();
    for port in list.items() {
        self::port(port, list.len() > 1, errors);
        let name = port.get("name");
        if !name.is_empty() {
            if names.contains(&name.str()) {
                errors.push(name.duplicate());
            }
            names.push(name.str());
        }
        let node = port.get("nodePort");
        let number = node.int().unwrap_or_default();
        if number != 0 {
            if kind == "ClusterIP" {
                errors.push(node.forbidden("may not be used when `type` is 'ClusterIP'"));
            }
            let key = (port.get("protocol").str(), number);
            if nodes.contains(&key) {
                errors.push(node.duplicate());
            }
            nodes.push(key);
        }
    }
    for port in list.items() {
        let key = (port.get("protocol").str(), port.get("port").int().unwrap_or_default());
        if numbers.contains(&key) {
            let shown = serde_json::json!({"protocol": key.0, "port": key.1});
            errors.push(FieldError::duplicate(port.path(), shown));
        }
        numbers.push(key);
    }
}

fn port(port: Field<'_>, needs_name: bool, errors: &mut ErrorList) {
    let name = port.get("name");
    if needs_name && name.is_empty() {
        errors.push(name.required(""));
    }
    rule(name, validate::dns1123_label, errors);
    let number = port.get("port");
    let value = number.int().unwrap_or_default();
    errors.extend(
        validate::port_number(value).into_iter().map(|text| number.invalid_as(value, text)),
    );
    required_one_of(port.get("protocol"), &["SCTP", "TCP", "UDP"], errors);
    if port.get("targetPort").is_set() {
        probe::port(port.get("targetPort"), errors);
    }
    rule(port.get("appProtocol"), validate::qualified_name, errors);
}

fn affinity(spec: Field<'_>, errors: &mut ErrorList) {
    let config = spec.get("sessionAffinityConfig");
    match spec.get("sessionAffinity").str() {
        "ClientIP" => {
            let seconds = config.at(&["clientIP", "timeoutSeconds"]);
            if !seconds.is_set() {
                let text = "when session affinity type is ClientIP";
                errors.push(config.required(text));
            } else if !(1..=86_400).contains(&seconds.int().unwrap_or_default()) {
                let text = "must be greater than 0 and less than 86400";
                errors.push(seconds.invalid(text));
            }
        }
        "None" if config.is_set() => {
            let text = "must not be set when session affinity is None";
            errors.push(config.forbidden(text));
        }
        _ => {}
    }
}

fn family(ip: &str) -> &'static str {
    if ip.contains(':') { "IPv6" } else { "IPv4" }
}

fn cluster_ips(spec: Field<'_>, errors: &mut ErrorList) {
    if spec.get("type").str() == "ExternalName" {
        return;
    }
    let (one, many) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    let (families, policy) = (spec.get("ipFamilies"), spec.get("ipFamilyPolicy"));
    let shown = || many.value().cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    one_of(policy, &["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
    for item in families.items() {
        one_of(item, &["IPv4", "IPv6"], errors);
    }
    if families.len() == 2 && families.index(0).str() == families.index(1).str() {
        errors.push(families.index(1).duplicate());
    }
    if !one.is_empty() && many.is_empty() {
        errors.push(many.required(""));
    } else if one.is_empty() && !many.is_empty() {
        let text = "must be empty when `clusterIP` is not specified";
        errors.push(many.invalid_as(shown(), text));
    } else if one.str() != many.index(0).str() && !many.is_empty() {
        let text = "first value must match `clusterIP`";
        errors.push(many.invalid_as(shown(), text));
    }
    if many.len() > 2 {
        let text = "may only hold up to 2 values";
        errors.push(many.invalid_as(shown(), text));
    }
    for (index, ip) in many.items().enumerate() {
        if ip.str() == "None" {
            if index > 0 {
                let text = "'None' must be the first and only value";
                errors.push(many.invalid_as(shown(), text));
            }
            continue;
        }
        errors.extend(validate::net::ip_legacy(ip.str()).into_iter().map(|text| ip.invalid(text)));
        if let Some(wanted) = families.list().get(index).and_then(Value::as_str)
            && wanted != family(ip.str())
        {
            let text = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            errors.push(ip.invalid(text));
        }
    }
    if many.len() == 2 && family(many.index(0).str()) == family(many.index(1).str()) {
        let text = "may specify no more than one IP for each IP family";
        errors.push(many.invalid_as(shown(), text));
    }
}

fn external_ips(spec: Field<'_>, errors: &mut ErrorList) {
    for ip in spec.get("externalIPs").items() {
        let texts = validate::net::ip_legacy(ip.str());
        if texts.is_empty() {
            errors.extend(
                validate::net::endpoint_ip(ip.str()).into_iter().map(|text| ip.invalid(text)),
            );
        }
        errors.extend(texts.into_iter().map(|text| ip.invalid(text)));
    }
}

fn policies(spec: Field<'_>, kind: &str, errors: &mut ErrorList) {
    let external = spec.get("externalTrafficPolicy");
    let exposed = matches!(kind, "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !spec.get("externalIPs").is_empty());
    if exposed {
        required_one_of(external, &["Cluster", "Local"], errors);
    } else if !external.is_empty() {
        errors.push(external.invalid("may only be set for externally-accessible services"));
    }
    let internal = spec.get("internalTrafficPolicy");
    if internal.is_set() {
        required_one_of(internal, &["Cluster", "Local"], errors);
    } else if matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer") {
        errors.push(internal.required(""));
    }
    let health = spec.get("healthCheckNodePort");
    if let Some(port) = health.int().filter(|port| *port != 0) {
        if kind != "LoadBalancer" || external.str() != "Local" {
            let text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(health.invalid(text));
        }
        if port < 0 {
            errors.push(health.invalid(validate::range_text(1, 65_535)));
        }
    }
    let distribution = spec.get("trafficDistribution");
    one_of(distribution, &["PreferClose", "PreferSameNode", "PreferSameZone"], errors);
}

fn load_balancer(spec: Field<'_>, kind: &str, errors: &mut ErrorList) {
    let ranges = spec.get("loadBalancerSourceRanges");
    if !ranges.is_empty() {
        if kind != "LoadBalancer" {
            errors.push(ranges.forbidden("may only be used when `type` is 'LoadBalancer'"));
        }
        for range in ranges.items() {
            let text = range.str().trim();
            errors.extend(
                validate::net::cidr_legacy(text).into_iter().map(|text| range.invalid(text)),
            );
        }
    }
    let allocate = spec.get("allocateLoadBalancerNodePorts");
    if kind == "LoadBalancer" {
        if !allocate.is_set() {
            errors.push(allocate.required(""));
        }
    } else if allocate.is_set() {
        errors.push(allocate.forbidden("may only be used when `type` is 'LoadBalancer'"));
    }
    let class = spec.get("loadBalancerClass");
    if class.is_set() {
        if kind == "LoadBalancer" {
            check::label_key(class, errors);
        } else {
            errors.push(class.forbidden("may only be used when `type` is 'LoadBalancer'"));
        }
    }
    in_range(spec.get("healthCheckNodePort"), 0, 65_535, errors);
}

/// What is wrong with a change.
pub(super) fn change(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let kinds = (spec.get("type").str(), before.get("type").str());
    if kinds.0 != "ExternalName" && kinds.1 != "ExternalName" {
        cluster_ip_change(spec, before, errors);
    }
    let class = spec.get("loadBalancerClass");
    if kinds == ("LoadBalancer", "LoadBalancer")
        && !same(class.value(), before.get("loadBalancerClass").value())
    {
        errors.push(
            class.invalid_as(class.value().cloned().unwrap_or_default(), "may not change once set"),
        );
    }
    let health = spec.get("healthCheckNodePort");
    let needs = |spec: Field<'_>| {
        spec.get("type").str() == "LoadBalancer"
            && spec.get("externalTrafficPolicy").str() == "Local"
    };
    if needs(spec)
        && needs(before)
        && !same(health.value(), before.get("healthCheckNodePort").value())
    {
        errors.push(health.invalid_as(health.int().unwrap_or_default(), IMMUTABLE));
    }
}

fn cluster_ip_change(spec: Field<'_>, before: Field<'_>, errors: &mut ErrorList) {
    let (ips, old_ips) = (spec.get("clusterIPs"), before.get("clusterIPs"));
    let shown = || ips.value().cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    if !old_ips.is_empty() {
        if ips.is_empty() {
            let text = "primary clusterIP can not be unset";
            errors.push(ips.index(0).invalid_as(Value::Null, text));
        } else if ips.index(0).str() != old_ips.index(0).str() {
            errors.push(ips.index(0).invalid_as(shown(), "may not change once set"));
        } else if ips.len() == 2
            && old_ips.len() == 2
            && ips.index(1).str() != old_ips.index(1).str()
        {
            errors.push(ips.index(1).invalid("may not change once set"));
        }
    }
    let (families, old_families) = (spec.get("ipFamilies"), before.get("ipFamilies"));
    if !old_families.is_empty() {
        let shown = families.value().cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        if families.is_empty() {
            let text = "primary ipFamily can not be unset";
            errors.push(families.index(0).invalid_as(Value::Null, text));
        } else if families.index(0).str() != old_families.index(0).str() {
            errors.push(families.index(0).invalid_as(shown, "may not change once set"));
        }
    }
}

/// What is wrong with a service's status.
pub(super) fn status(new: Field<'_>, errors: &mut ErrorList) {
    let ingress = new.at(&["status", "loadBalancer", "ingress"]);
    if !ingress.is_empty() && new.at(&["spec", "type"]).str() != "LoadBalancer" {
        let text = "may only be used when `spec.type` is LoadBalancer";
        errors.push(ingress.forbidden(text));
        return;
    }
    ingress_list(ingress, true, errors);
}

/// The addresses of a load balancer, of a Service or an Ingress.
pub(crate) fn ingress_list(list: Field<'_>, with_mode: bool, errors: &mut ErrorList) {
    for one in list.items() {
        let (ip, mode, host) = (one.get("ip"), one.get("ipMode"), one.get("hostname"));
        rule(ip, validate::net::ip_legacy, errors);
        if with_mode && mode.is_set() && ip.is_empty() {
            errors.push(mode.forbidden("may not be specified when `ip` is not set"));
        } else if with_mode && !ip.is_empty() && !mode.is_set() {
            errors.push(mode.required("must be specified when `ip` is set"));
        }
        one_of(mode, &["Proxy", "VIP"], errors);
        rule(host, validate::dns1123_subdomain, errors);
        if validate::net::parse_ip(host.str()).is_some() {
            errors.push(host.invalid("must be a DNS name, not an IP address"));
        }
    }
}
