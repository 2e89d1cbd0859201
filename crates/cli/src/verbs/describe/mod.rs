//! `describe`: objects as people read them, with what belongs to them and what happened to them.
//!
//! To add a kind: a pure function from objects to a [`page::Page`] in the file of its family, and a
//! line in [`write`], which fetches what the kind needs beside itself.

mod config;
mod generic;
pub(crate) mod node;
mod page;
mod pod;
mod service;
pub(crate) mod when;
mod workload;

use std::process::ExitCode;

use anyhow::Result;
use api::Value;
use api::object::{kind, list_at, name, namespace, str_at, uid};
use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};

use crate::client::{Api, encode};
use crate::mapper::Mapper;
use crate::target::{self, Target};
use crate::verb::{Ctx, Verb};
use page::Page;

pub(crate) struct Describe;

#[async_trait]
impl Verb for Describe {
    fn command(&self) -> Command {
        Command::new("describe")
            .about("Show details of a specific resource or group of resources")
            .args(target::target_args())
            .arg(
                Arg::new("show-events")
                    .long("show-events")
                    .default_value("true")
                    .num_args(0..=1)
                    .default_missing_value("true")
                    .require_equals(true)
                    .value_parser(clap::value_parser!(bool))
                    .help("Show the events about the object"),
            )
            .arg(
                Arg::new("chunk-size")
                    .long("chunk-size")
                    .default_value("500")
                    .value_parser(clap::value_parser!(u32))
                    .hide(true),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let targets = target::parse(&api, &mapper, args)?;
        let with_events = args.get_one::<bool>("show-events").copied().unwrap_or(true);
        let (mut shown, mut failed) = (0, false);
        for target in &targets {
            let found = match target::fetch(&api, std::slice::from_ref(target), args).await {
                Ok(found) => found,
                Err(error) => match by_prefix(&api, target).await {
                    Some(found) => found,
                    None => {
                        eprintln!("{}", crate::message(&error));
                        failed = true;
                        continue;
                    }
                },
            };
            for (_, object) in &found {
                if shown > 0 {
                    crate::out!("\n\n");
                }
                shown += 1;
                let mut page = Page::default();
                write(&api, &mut page, object).await?;
                if with_events && kind(object) != "Event" {
                    let all = events_of(&api, object).await;
                    events(&mut page, &all);
                }
                crate::out!("{}", page.finish());
            }
        }
        if shown == 0 && !failed {
            if targets.iter().any(|own| own.mapping.namespaced) && !target::is_everywhere(args) {
                eprintln!("No resources found in {} namespace.", api.namespace());
            } else {
                eprintln!("No resources found");
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The objects whose names begin with the one that is not there.
async fn by_prefix(api: &Api, target: &Target) -> Option<Vec<(Target, Value)>> {
    let prefix = target.name.as_deref()?;
    let found = list(api, &target.mapping.collection(&target.namespace)).await;
    let found: Vec<_> = found
        .into_iter()
        .filter(|own| name(own).starts_with(prefix))
        .map(|mut own| {
            own["apiVersion"] = target.mapping.api_version().into();
            own["kind"] = target.mapping.kind.clone().into();
            (target.clone(), own)
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

/// The items of a list; none when it may not be read, since the object itself is worth showing.
async fn list(api: &Api, path: &str) -> Vec<Value> {
    api.get(path).await.map(|list| list_at(&list, &["items"]).to_vec()).unwrap_or_default()
}

async fn write(api: &Api, page: &mut Page, own: &Value) -> Result<()> {
    let place = namespace(own);
    let core = format!("/api/v1/namespaces/{place}");
    let group = str_at(own, &["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    match (group, kind(own)) {
        ("", "Pod") => pod::pod(page, own),
        ("apps", "Deployment") => {
            let sets = list(api, &format!("/apis/apps/v1/namespaces/{place}/replicasets")).await;
            workload::deployment(page, own, &sets);
        }
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            workload::replica_set(page, own, &list(api, &format!("{core}/pods")).await);
        }
        ("apps", "DaemonSet") => {
            workload::daemon_set(page, own, &list(api, &format!("{core}/pods")).await);
        }
        ("apps", "StatefulSet") => {
            workload::stateful_set(page, own, &list(api, &format!("{core}/pods")).await);
        }
        ("batch", "Job") => workload::job(page, own),
        ("batch", "CronJob") => workload::cron_job(page, own),
        ("", "Service") => {
            let selector = encode(&format!("kubernetes.io/service-name={}", name(own)));
            let path = format!(
                "/apis/discovery.k8s.io/v1/namespaces/{place}/endpointslices?labelSelector={selector}"
            );
            service::service(page, own, &list(api, &path).await);
        }
        ("", "Node") => {
            let lease = format!(
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}",
                name(own)
            );
            let lease = api.get(&lease).await.unwrap_or_default();
            let selector =
                format!("spec.nodeName={},status.phase!=Failed,status.phase!=Succeeded", name(own));
            let pods = format!("/api/v1/pods?fieldSelector={}", encode(&selector));
            node::node(page, own, &lease, &list(api, &pods).await);
        }
        ("", "Namespace") => {
            let core = format!("/api/v1/namespaces/{}", name(own));
            let quotas = list(api, &format!("{core}/resourcequotas")).await;
            let limits = list(api, &format!("{core}/limitranges")).await;
            config::namespace(page, own, &quotas, &limits);
        }
        ("", "ConfigMap") => config::config_map(page, own),
        ("", "Secret") => config::secret(page, own),
        ("", "ServiceAccount") => {
            config::service_account(page, own, &list(api, &format!("{core}/secrets")).await);
        }
        _ => generic::generic(page, own),
    }
    Ok(())
}

/// The events about an object, the oldest first. Secrets and namespaces have none in kubectl either.
async fn events_of(api: &Api, own: &Value) -> Option<Vec<Value>> {
    if ["Secret", "Namespace"].contains(&kind(own)) {
        return None;
    }
    let mut fields = vec![
        format!("involvedObject.name={}", name(own)),
        format!("involvedObject.kind={}", kind(own)),
    ];
    // The kubelet says a node's name for its uid.
    if kind(own) != "Node" {
        fields.push(format!("involvedObject.uid={}", uid(own)));
    }
    let place = namespace(own);
    let root = if place.is_empty() {
        "/api/v1/events".to_owned()
    } else {
        fields.push(format!("involvedObject.namespace={place}"));
        format!("/api/v1/namespaces/{place}/events")
    };
    let mut all = list(api, &format!("{root}?fieldSelector={}", encode(&fields.join(",")))).await;
    all.sort_by(|a, b| when::last_seen(a).cmp(when::last_seen(b)));
    Some(all)
}

fn events(page: &mut Page, all: &Option<Vec<Value>>) {
    let Some(all) = all else { return };
    if all.is_empty() {
        page.field(0, "Events", "<none>");
        return;
    }
    page.line(0, "Events:");
    page.line(1, "Type\tReason\tAge\tFrom\tMessage");
    page.line(1, "----\t------\t----\t----\t-------");
    for own in all {
        let from = match str_at(own, &["source", "component"]) {
            "" => str_at(own, &["reportingComponent"]),
            component => component,
        };
        page.line(
            1,
            format!(
                "{}\t{}\t{}\t{from}\t{}",
                str_at(own, &["type"]),
                str_at(own, &["reason"]),
                when::event_age(own),
                str_at(own, &["message"]).trim().replace('\n', " ")
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_stand_in_columns() {
        let check = |all: Option<Vec<Value>>, expected: &str| {
            let mut page = Page::default();
            events(&mut page, &all);
            assert_eq!(page.finish(), expected);
        };
        check(None, "");
        check(Some(vec![]), "Events:  <none>\n");
        check(
            Some(vec![
                json!({"type": "Normal", "reason": "Pulled", "message": "done\n", "source": {"component": "kubelet", "host": "n"}}),
            ]),
            "Events:\n  Type    Reason  Age        From     Message\n  ----    ------  ----       ----     -------\n  Normal  Pulled  <unknown>  kubelet  done\n",
        );
    }
}
