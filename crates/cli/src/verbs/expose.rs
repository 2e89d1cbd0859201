//! `expose`: a Service for what runs.

use std::process::ExitCode;

use anyhow::{Result, bail};
use api::Value;
use api::object::{at, kind, list_at, name, str_at};
use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::change::{self, DryRun};
use crate::mapper::Mapper;
use crate::print::{Output, output_args};
use crate::target;
use crate::verb::{Ctx, Verb};

pub(crate) struct Expose;

#[async_trait]
impl Verb for Expose {
    fn command(&self) -> Command {
        let value = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
        Command::new("expose")
            .about("Take a Deployment, Service, ReplicaSet or pod and expose it as a new Service")
            .args(target::target_args())
            .mut_arg("selector", |own| own.short(None))
            .args(output_args())
            .arg(value("port", "The port that the Service serves on"))
            .arg(value("target-port", "Name or number of the container's port"))
            .arg(value("protocol", "TCP, UDP or SCTP"))
            .arg(value("name", "The name of the Service"))
            .arg(value("type", "ClusterIP, NodePort, LoadBalancer or ExternalName"))
            .arg(value("cluster-ip", "The cluster IP; None for a headless Service"))
            .arg(value("external-ip", "An IP address that leads to the Service from outside"))
            .arg(value("load-balancer-ip", "The address of the load balancer"))
            .arg(value("session-affinity", "None or ClientIP"))
            .arg(value("labels", "Labels of the Service").short('l'))
            .arg(change::dry_run_arg())
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let output = Output::from_args(args)?;
        let dry_run = DryRun::from_args(args);
        let targets = target::parse(&api, &mapper, args)?;
        let text = |name: &str| args.get_one::<String>(name).cloned();
        let wanted = Wanted {
            port: text("port"),
            target_port: text("target-port"),
            protocol: text("protocol"),
            name: text("name"),
            kind: text("type"),
            cluster_ip: text("cluster-ip"),
            external_ip: text("external-ip"),
            load_balancer_ip: text("load-balancer-ip"),
            session_affinity: text("session-affinity"),
            labels: text("labels"),
        };
        let services = mapper.resource("services")?;
        for (target, object) in target::fetch(&api, &targets, args).await? {
            let service = service(&object, &wanted)?;
            let mut made = service.clone();
            if dry_run != DryRun::Client {
                let path = services.collection(&target.namespace);
                let path = format!("{path}{}", change::query("kubectl-expose", dry_run));
                made = api.send("POST", &path, &service).await?;
            }
            if output.is_table() {
                crate::outln!("service/{} exposed{}", name(&made), dry_run.suffix());
            } else {
                output.print(&made, Some(services))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the flags say.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) port: Option<String>,
    pub(super) target_port: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) cluster_ip: Option<String>,
    pub(super) external_ip: Option<String>,
    pub(super) load_balancer_ip: Option<String>,
    pub(super) session_affinity: Option<String>,
    pub(super) labels: Option<String>,
}

/// The Service for an object.
pub(super) fn service(object: &Value, wanted: &Wanted) -> Result<Value> {
    let ports = ports(object, wanted)?;
    let own_labels = match &wanted.labels {
        Some(text) => Value::Object(super::run::pairs(text)?),
        None => object["metadata"]["labels"].clone(),
    };
    let mut made = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": wanted.name.as_deref().unwrap_or(name(object)) },
        "spec": { "selector": selector(object)?, "ports": ports },
    });
    if !own_labels.is_null() {
        made["metadata"]["labels"] = own_labels;
    }
    for (field, value) in [
        ("type", &wanted.kind),
        ("clusterIP", &wanted.cluster_ip),
        ("loadBalancerIP", &wanted.load_balancer_ip),
        ("sessionAffinity", &wanted.session_affinity),
    ] {
        if let Some(value) = value {
            made["spec"][field] = value.clone().into();
        }
    }
    if let Some(ip) = &wanted.external_ip {
        made["spec"]["externalIPs"] = json!([ip]);
    }
    Ok(made)
}

fn selector(object: &Value) -> Result<Value> {
    let found = match kind(object) {
        "Pod" => at(object, &["metadata", "labels"]),
        "Service" | "ReplicationController" => at(object, &["spec", "selector"]),
        "Deployment" | "ReplicaSet" => {
            if !list_at(object, &["spec", "selector", "matchExpressions"]).is_empty() {
                bail!(
                    "couldn't convert expressions - \"matchExpressions\" to map-based selector format"
                );
            }
            at(object, &["spec", "selector", "matchLabels"])
        }
        other => bail!("cannot expose a {other}"),
    };
    let found = found.filter(|own| own.as_object().is_some_and(|map| !map.is_empty()));
    match found {
        Some(found) => Ok(found.clone()),
        None => bail!(
            "couldn't retrieve selectors via --selector flag or introspection: the {} has no labels \
             and cannot be exposed",
            kind(object).to_lowercase()
        ),
    }
}

/// The ports: of the flags, or of the object's containers.
fn ports(object: &Value, wanted: &Wanted) -> Result<Vec<Value>> {
    let known: Vec<(u64, String)> = match kind(object) {
        "Service" => list_at(object, &["spec", "ports"]).iter().map(port_of("port")).collect(),
        "Pod" => containers_ports(list_at(object, &["spec", "containers"])),
        _ => containers_ports(list_at(object, &["spec", "template", "spec", "containers"])),
    };
    let protocol = |number: u64| {
        let found = known.iter().find(|(own, _)| *own == number).map(|(_, own)| own.as_str());
        wanted.protocol.as_deref().or(found).unwrap_or("TCP").to_owned()
    };
    let numbers: Vec<u64> = match &wanted.port {
        Some(text) => text
            .split(',')
            .map(|own| own.parse().map_err(|_| anyhow::anyhow!("{own} is no port")))
            .collect::<Result<_>>()?,
        None => known.iter().map(|(number, _)| *number).collect(),
    };
    if numbers.is_empty() {
        bail!("couldn't find port via --port flag or introspection");
    }
    let several = numbers.len() > 1;
    Ok(numbers
        .into_iter()
        .enumerate()
        .map(|(at, number)| {
            let target = match wanted.target_port.as_deref() {
                Some(text) => text.parse::<u64>().map_or_else(|_| json!(text), |own| json!(own)),
                None => json!(number),
            };
            let mut port =
                json!({ "port": number, "targetPort": target, "protocol": protocol(number) });
            if several {
                port["name"] = format!("port-{}", at + 1).into();
            }
            port
        })
        .collect())
}

fn containers_ports(containers: &[Value]) -> Vec<(u64, String)> {
    let all = containers.iter().flat_map(|own| list_at(own, &["ports"]));
    all.map(port_of("containerPort")).collect()
}

fn port_of(field: &'static str) -> impl Fn(&Value) -> (u64, String) {
    move |own| {
        let protocol = str_at(own, &["protocol"]);
        let protocol = if protocol.is_empty() { "TCP" } else { protocol };
        (own[field].as_u64().unwrap_or_default(), protocol.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(ports: Value) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "web", "labels": {"l": "1"}}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"ports": ports}]}}}})
    }

    #[test]
    fn a_service_for_a_deployment() {
        let check = |ports: Value, wanted: Wanted, expected: Value| {
            let made = service(&deployment(ports), &wanted).unwrap();
            assert_eq!(made["spec"]["ports"], expected);
            assert_eq!(made["spec"]["selector"], json!({"app": "web"}));
            assert_eq!(made["metadata"]["labels"], json!({"l": "1"}));
        };
        check(
            json!([{"containerPort": 8080}]),
            Wanted::default(),
            json!([{"port": 8080, "targetPort": 8080, "protocol": "TCP"}]),
        );
        check(
            json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80}]),
            Wanted::default(),
            json!([{"port": 53, "targetPort": 53, "protocol": "UDP", "name": "port-1"},
                {"port": 80, "targetPort": 80, "protocol": "TCP", "name": "port-2"}]),
        );
        check(
            json!([]),
            Wanted {
                port: Some("80".into()),
                target_port: Some("http".into()),
                ..Wanted::default()
            },
            json!([{"port": 80, "targetPort": "http", "protocol": "TCP"}]),
        );
        assert!(service(&deployment(json!([])), &Wanted::default()).is_err());
    }
}
