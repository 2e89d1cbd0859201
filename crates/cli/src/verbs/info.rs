//! `cluster-info` and `api-versions`: what there is.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use api::Value;
use api::object::{label, list_at, name, namespace, str_at};
use async_trait::async_trait;
use clap::{ArgMatches, Command};

use crate::mapper::Mapper;
use crate::verb::{Ctx, Verb};

pub(crate) struct ClusterInfo;

#[async_trait]
impl Verb for ClusterInfo {
    fn command(&self) -> Command {
        Command::new("cluster-info")
            .about("Display the addresses of the control plane and its services")
    }

    async fn run(&self, ctx: &Ctx, _args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let path = "/api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io%2Fcluster-service%3Dtrue";
        let services = api.get(path).await?;
        let server = api.server().trim_end_matches('/');
        crate::outln!("Kubernetes control plane is running at {server}");
        for own in list_at(&services, &["items"]) {
            crate::outln!("{}", line(server, own));
        }
        crate::outln!();
        crate::outln!(
            "To further debug and diagnose cluster problems, use 'kubectl cluster-info dump'."
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a service of the cluster is reached.
fn line(server: &str, own: &Value) -> String {
    let shown = label(own, "kubernetes.io/name").unwrap_or(name(own));
    let ingress = list_at(own, &["status", "loadBalancer", "ingress"]).first();
    let ports = list_at(own, &["spec", "ports"]);
    if let Some(ingress) = ingress {
        let host = [str_at(ingress, &["ip"]), str_at(ingress, &["hostname"])];
        let host = host.into_iter().find(|own| !own.is_empty()).unwrap_or_default();
        let links: Vec<_> =
            ports.iter().map(|port| format!("http://{host}:{}", port["port"])).collect();
        return format!("{shown} is running at {}", links.join(" "));
    }
    // The proxy wants the scheme before and the port's name after.
    let port = ports.first();
    let scheme = match port {
        Some(port) if port["port"] == 443 || str_at(port, &["name"]) == "https" => "https:",
        _ => "",
    };
    let port = port.map(|own| str_at(own, &["name"])).filter(|own| !own.is_empty());
    let port = match (scheme, port) {
        (_, Some(port)) => format!(":{port}"),
        ("", None) => String::new(),
        (_, None) => ":".to_owned(),
    };
    let (place, name) = (namespace(own), name(own));
    format!(
        "{shown} is running at {server}/api/v1/namespaces/{place}/services/{scheme}{name}{port}/proxy"
    )
}

pub(crate) struct ApiVersions;

#[async_trait]
impl Verb for ApiVersions {
    fn command(&self) -> Command {
        Command::new("api-versions").about("Print the API versions of the server, as group/version")
    }

    async fn run(&self, ctx: &Ctx, _args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let all: BTreeSet<_> = mapper.all.iter().map(|own| own.api_version()).collect();
        for own in all {
            crate::outln!("{own}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_are_reached_through_the_proxy() {
        let own = json!({"metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"kubernetes.io/name": "CoreDNS"}},
            "spec": {"ports": [{"name": "dns", "port": 53}]}});
        assert_eq!(
            line("https://h:6443", &own),
            "CoreDNS is running at https://h:6443/api/v1/namespaces/kube-system/services/kube-dns:dns/proxy"
        );
    }
}
