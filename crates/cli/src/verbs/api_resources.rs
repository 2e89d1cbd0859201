//! `api-resources`: the types that the server has.

use std::process::ExitCode;

use anyhow::Result;
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::mapper::Mapper;
use crate::print::table::align;
use crate::verb::{Ctx, Verb};

pub(crate) struct ApiResources;

#[async_trait]
impl Verb for ApiResources {
    fn command(&self) -> Command {
        Command::new("api-resources")
            .about("Print the supported API resources on the server")
            .arg(Arg::new("no-headers").long("no-headers").action(ArgAction::SetTrue))
            .arg(Arg::new("api-group").long("api-group").help("Only this group"))
            .arg(
                Arg::new("namespaced")
                    .long("namespaced")
                    .value_parser(clap::value_parser!(bool))
                    .help("Only namespaced types, or only others"),
            )
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_parser(["name", "wide"])
                    .help("name or wide"),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let output = args.get_one::<String>("output").map(String::as_str);
        let group = args.get_one::<String>("api-group");
        let namespaced = args.get_one::<bool>("namespaced");
        let shown = mapper.all.iter().filter(|own| {
            own.preferred
                && group.is_none_or(|group| own.group == *group)
                && namespaced.is_none_or(|wanted| own.namespaced == *wanted)
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural)));
        if output == Some("name") {
            for own in shown {
                let dot = if own.group.is_empty() { "" } else { "." };
                crate::outln!("{}{dot}{}", own.plural, own.group);
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = Vec::new();
        if !args.get_flag("no-headers") {
            let mut headings = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
            if output == Some("wide") {
                headings.extend(["VERBS", "CATEGORIES"]);
            }
            rows.push(headings.into_iter().map(str::to_owned).collect());
        }
        for own in shown {
            let mut row = vec![
                own.plural.clone(),
                own.short_names.join(","),
                own.api_version(),
                own.namespaced.to_string(),
                own.kind.clone(),
            ];
            if output == Some("wide") {
                row.extend([own.verbs.join(","), own.categories.join(",")]);
            }
            rows.push(row);
        }
        crate::out!("{}", align(&rows));
        Ok(ExitCode::SUCCESS)
    }
}
