//! `scale`: say how many pods.

use std::process::ExitCode;

use anyhow::{Result, bail};
use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use crate::mapper::Mapper;
use crate::target;
use crate::verb::{Ctx, Verb};

pub(crate) struct Scale;

#[async_trait]
impl Verb for Scale {
    fn command(&self) -> Command {
        let number = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_parser(clap::value_parser!(i64)).help(help)
        };
        Command::new("scale")
            .about("Set a new size for a Deployment, ReplicaSet or StatefulSet")
            .args(target::target_args())
            .arg(number("replicas", "The new number of pods").required(true))
            .arg(number("current-replicas", "Only when the number is this now"))
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let replicas = args.get_one::<i64>("replicas").copied().unwrap_or_default();
        if replicas < 0 {
            bail!(
                "the --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0"
            );
        }
        let targets = target::parse(&api, &mapper, args)?;
        for (target, _) in target::fetch(&api, &targets, args).await? {
            let name = target.name.as_deref().unwrap_or_default();
            let path = format!("{}/scale", target.mapping.object(&target.namespace, name));
            let mut patch = json!({ "spec": { "replicas": replicas } });
            if let Some(wanted) = args.get_one::<i64>("current-replicas") {
                let scale = api.get(&path).await?;
                let current = scale["spec"]["replicas"].as_i64().unwrap_or_default();
                if current != *wanted {
                    bail!("Expected replicas to be {wanted}, was {current}");
                }
                patch["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"].clone();
            }
            api.send_as("PATCH", &path, "application/merge-patch+json", &patch).await?;
            crate::outln!("{}/{name} scaled", target.mapping.short_form());
        }
        Ok(ExitCode::SUCCESS)
    }
}
