//! Services, and where they lead.

use api::Value;
use api::object::{at, int_at, list_at, str_at};

use super::page::{Page, equations, or, plain};

/// Endpoints shown before "+ N more...".
const ENDPOINTS_SHOWN: usize = 3;

/// A Service and its EndpointSlices.
pub(super) fn service(page: &mut Page, own: &Value, slices: &[Value]) {
    let spec = |field: &str| str_at(own, &["spec", field]);
    let joined = |field: &str| -> String {
        list_at(own, &["spec", field]).iter().map(plain).collect::<Vec<_>>().join(",")
    };
    page.identity(own);
    page.marks(own);
    let labels = equations(at(own, &["spec", "selector"])).join(",");
    page.field(0, "Selector", or(&labels, "<none>"));
    page.field(0, "Type", spec("type"));
    page.field_if(0, "IP Family Policy", spec("ipFamilyPolicy"));
    let families = joined("ipFamilies");
    page.field(0, "IP Families", or(&families, "<none>"));
    page.field(0, "IP", spec("clusterIP"));
    let ips = joined("clusterIPs");
    page.field(0, "IPs", or(&ips, "<none>"));
    page.field_if(0, "External IPs", &joined("externalIPs"));
    page.field_if(0, "Desired LoadBalancer IP", spec("loadBalancerIP"));
    page.field_if(0, "External Name", spec("externalName"));
    let ingress: Vec<String> = list_at(own, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|own| match (str_at(own, &["ip"]), str_at(own, &["ipMode"])) {
            ("", _) => str_at(own, &["hostname"]).to_owned(),
            (ip, "") => ip.to_owned(),
            (ip, mode) => format!("{ip} ({mode})"),
        })
        .collect();
    page.field_if(0, "LoadBalancer Ingress", &ingress.join(", "));
    for port in list_at(own, &["spec", "ports"]) {
        ports(page, port, slices);
    }
    page.field(0, "Session Affinity", spec("sessionAffinity"));
    page.field_if(0, "External Traffic Policy", spec("externalTrafficPolicy"));
    page.field_if(0, "Internal Traffic Policy", spec("internalTrafficPolicy"));
    page.field_if(0, "Traffic Distribution", spec("trafficDistribution"));
    if let Some(port) = int_at(own, &["spec", "healthCheckNodePort"]).filter(|own| *own != 0) {
        page.field(0, "HealthCheck NodePort", port);
    }
    page.field_if(0, "LoadBalancer Source Ranges", &joined("loadBalancerSourceRanges"));
}

fn ports(page: &mut Page, port: &Value, slices: &[Value]) {
    let name = str_at(port, &["name"]);
    let shown = or(name, "<unset>");
    let protocol = or(str_at(port, &["protocol"]), "TCP");
    page.field(0, "Port", format!("{shown}\t{}/{protocol}", port["port"]));
    let target = port.get("targetPort").map(plain).unwrap_or_default();
    page.field(0, "TargetPort", format!("{target}/{protocol}"));
    if let Some(number) = int_at(port, &["nodePort"]).filter(|number| *number != 0) {
        page.field(0, "NodePort", format!("{shown}\t{number}/{protocol}"));
    }
    page.field(0, "Endpoints", endpoints(name, slices));
}

/// `10.0.0.1:80,10.0.0.2:80 + 4 more...`: the addresses that are ready, of a port.
fn endpoints(port: &str, slices: &[Value]) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for slice in slices {
        for own in list_at(slice, &["ports"]).iter().filter(|own| str_at(own, &["name"]) == port) {
            for endpoint in list_at(slice, &["endpoints"]) {
                if endpoint["conditions"]["ready"] == false {
                    continue;
                }
                let number = int_at(own, &["port"]).unwrap_or_default();
                all.extend(list_at(endpoint, &["addresses"]).iter().filter_map(|address| {
                    let address = address.as_str()?;
                    let is_six = address.contains(':');
                    Some(if is_six {
                        format!("[{address}]:{number}")
                    } else {
                        format!("{address}:{number}")
                    })
                }));
            }
        }
    }
    let rest = all.len().saturating_sub(ENDPOINTS_SHOWN);
    all.truncate(ENDPOINTS_SHOWN);
    let more = if rest > 0 { format!(" + {rest} more...") } else { String::new() };
    format!("{}{more}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_are_those_that_are_ready() {
        let endpoint = |address: &str, ready: bool| json!({"addresses": [address], "conditions": {"ready": ready}});
        let slice = |endpoints: Vec<Value>| json!({"ports": [{"name": "", "port": 80}], "endpoints": endpoints});
        let check = |slices: &[Value], expected: &str| assert_eq!(endpoints("", slices), expected);
        check(&[], "<none>");
        check(&[slice(vec![])], "");
        check(
            &[slice(vec![endpoint("10.0.0.1", true), endpoint("10.0.0.2", false)])],
            "10.0.0.1:80",
        );
        let many = (1..6).map(|at| endpoint(&format!("10.0.0.{at}"), true)).collect();
        check(&[slice(many)], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
        check(&[slice(vec![endpoint("fd00::1", true)])], "[fd00::1]:80");
    }

    #[test]
    fn a_service_as_kubectl_shows_it() {
        let mut page = Page::default();
        service(
            &mut page,
            &json!({"metadata": {"name": "kubia", "namespace": "default"},
            "spec": {"selector": {"app": "kubia"}, "type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
                "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}}),
            &[],
        );
        let text = page.finish();
        assert!(
            text.contains("Selector:          app=kubia\nType:              ClusterIP\n"),
            "{text}"
        );
        assert!(
            text.contains("Port:              <unset>  80/TCP\nTargetPort:        8080/TCP\n"),
            "{text}"
        );
    }
}
