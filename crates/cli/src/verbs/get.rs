//! `get`: show one or many resources.

use std::process::ExitCode;

use anyhow::Result;
use api::Value;
use api::object::{list_at, str_at};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use serde_json::json;

use crate::Failure;
use crate::client::{Api, TABLE};
use crate::mapper::Mapper;
use crate::print::{Output, output_args, table};
use crate::target::{self, Target};
use crate::verb::{Ctx, Verb};

/// The page size of lists; the server hands out long ones in pieces.
const CHUNK: usize = 500;

pub(crate) struct Get;

#[async_trait]
impl Verb for Get {
    fn command(&self) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        Command::new("get")
            .about("Display one or many resources")
            .args(target::target_args())
            .args(output_args())
            .arg(flag("watch", "After listing, watch for changes").short('w'))
            .arg(flag("watch-only", "Watch for changes without listing first"))
            .arg(flag("no-headers", "Leave the headings out"))
            .arg(flag("show-labels", "Show all labels as the last column"))
            .arg(flag("show-kind", "Write the type before each name"))
            .arg(flag("show-managed-fields", "Keep managedFields in JSON and YAML"))
            .arg(flag("ignore-not-found", "Missing objects are no error"))
            .arg(
                Arg::new("label-columns")
                    .short('L')
                    .long("label-columns")
                    .value_delimiter(',')
                    .action(ArgAction::Append)
                    .help("Labels that get a column of their own"),
            )
            .arg(Arg::new("sort-by").long("sort-by").value_name("JSONPATH").help("Sort the rows"))
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let output = Output::from_args(args)?;
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let targets = target::parse(&api, &mapper, args)?;
        if args.get_flag("watch") || args.get_flag("watch-only") {
            return watch(&api, &targets, args, &output).await;
        }
        if output.is_table() {
            tables(&api, &targets, args, &output).await
        } else {
            objects(&api, &targets, args, &output).await
        }
    }
}

fn style(args: &ArgMatches, output: &Output) -> table::Style {
    table::Style {
        wide: *output == Output::Table { wide: true },
        no_headers: args.get_flag("no-headers"),
        with_namespace: target::is_everywhere(args),
        show_labels: args.get_flag("show-labels"),
        label_columns: args.get_many("label-columns").into_iter().flatten().cloned().collect(),
        prefix: String::new(),
    }
}

async fn tables(
    api: &Api,
    targets: &[Target],
    args: &ArgMatches,
    output: &Output,
) -> Result<ExitCode> {
    let groups = grouped(targets);
    let several = groups.len() > 1;
    let (mut shown, mut failed) = (0, false);
    for group in &groups {
        let mut whole: Option<Value> = None;
        for target in group {
            match fetch_table(api, target, args).await {
                Ok(table) => join(&mut whole, table),
                Err(error) => {
                    if !(args.get_flag("ignore-not-found") && is_not_found(&error)) {
                        failed = true;
                        eprintln!("{}", crate::message(&error));
                    }
                }
            }
        }
        let Some(mut table) = whole else { continue };
        sort(&mut table, args)?;
        if list_at(&table, &["rows"]).is_empty() {
            continue;
        }
        if shown > 0 {
            crate::outln!();
        }
        shown += 1;
        let mut style = style(args, output);
        style.with_namespace &= group[0].mapping.namespaced;
        if several || args.get_flag("show-kind") {
            style.prefix = format!("{}/", group[0].mapping.short_form());
        }
        crate::out!("{}", table::align(&table::rows(&table, &style)));
    }
    if shown == 0 && !failed && !args.get_flag("ignore-not-found") {
        nothing_found(api, targets, args);
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn nothing_found(api: &Api, targets: &[Target], args: &ArgMatches) {
    let namespaced = targets.iter().any(|target| target.mapping.namespaced);
    if namespaced && !target::is_everywhere(args) {
        eprintln!("No resources found in {} namespace.", api.namespace());
    } else {
        eprintln!("No resources found");
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == 404)
}

/// Targets of one type that follow each other, which share a table.
fn grouped(targets: &[Target]) -> Vec<Vec<&Target>> {
    let mut groups: Vec<Vec<&Target>> = Vec::new();
    for target in targets {
        match groups.last_mut() {
            Some(group) if group[0].mapping == target.mapping => group.push(target),
            _ => groups.push(vec![target]),
        }
    }
    groups
}

async fn fetch_table(api: &Api, target: &Target, args: &ArgMatches) -> Result<Value> {
    // Sorting by a field needs the whole objects.
    let include = if args.get_one::<String>("sort-by").is_some() { "Object" } else { "Metadata" };
    let path = target.path(args);
    let separator = if path.contains('?') { '&' } else { '?' };
    let base = format!("{path}{separator}includeObject={include}");
    if target.name.is_some() {
        return api.get_as(&base, TABLE).await;
    }
    let mut whole: Option<Value> = None;
    let mut next = String::new();
    loop {
        let page = api.get_as(&format!("{base}&limit={CHUNK}{next}"), TABLE).await?;
        let token = str_at(&page, &["metadata", "continue"]).to_owned();
        join(&mut whole, page);
        if token.is_empty() {
            return Ok(whole.unwrap_or_default());
        }
        next = format!("&continue={}", crate::client::encode(&token));
    }
}

fn join(whole: &mut Option<Value>, mut table: Value) {
    match whole {
        None => *whole = Some(table),
        Some(whole) => {
            let rows = table["rows"].as_array_mut().map(std::mem::take).unwrap_or_default();
            if let Some(all) = whole["rows"].as_array_mut() {
                all.extend(rows);
            }
        }
    }
}

fn sort(table: &mut Value, args: &ArgMatches) -> Result<()> {
    let Some(path) = args.get_one::<String>("sort-by") else { return Ok(()) };
    let template = api::jsonpath::Template::parse(path)?;
    let Some(rows) = table["rows"].as_array_mut() else { return Ok(()) };
    let key = |row: &Value| template.render(&row["object"]).unwrap_or_default();
    rows.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.total_cmp(&b),
            _ => a.cmp(&b),
        }
    });
    Ok(())
}

async fn objects(
    api: &Api,
    targets: &[Target],
    args: &ArgMatches,
    output: &Output,
) -> Result<ExitCode> {
    let (mut found, mut failed) = (Vec::new(), false);
    for target in targets {
        match target::fetch(api, std::slice::from_ref(target), args).await {
            Ok(objects) => found.extend(objects),
            Err(error) if args.get_flag("ignore-not-found") && is_not_found(&error) => {}
            Err(error) => {
                failed = true;
                eprintln!("{}", crate::message(&error));
            }
        }
    }
    let keep_managed = args.get_flag("show-managed-fields");
    for (_, object) in &mut found {
        if !keep_managed && let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("managedFields");
        }
    }
    let single = matches!(targets, [target] if target.name.is_some());
    match (output, found.as_slice()) {
        (Output::Name, all) => {
            for (target, object) in all {
                output.print(object, Some(&target.mapping))?;
            }
        }
        (_, []) if single => {}
        (_, [(target, object)]) if single => output.print(object, Some(&target.mapping))?,
        (_, all) => {
            let items: Vec<_> = all.iter().map(|(_, object)| object.clone()).collect();
            let list = json!({
                "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" },
                "items": items,
            });
            output.print(&list, None)?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn watch(
    api: &Api,
    targets: &[Target],
    args: &ArgMatches,
    output: &Output,
) -> Result<ExitCode> {
    let [target] = targets else {
        anyhow::bail!("you may only specify a single resource type when watching");
    };
    let mut style = style(args, output);
    let accept = if output.is_table() { TABLE } else { "application/json" };
    let list = match &target.name {
        None => target.path(args),
        Some(name) => format!(
            "{}?fieldSelector=metadata.name%3D{}",
            target.mapping.collection(&target.namespace),
            crate::client::encode(name)
        ),
    };
    let current = api.get_as(&list, accept).await?;
    let revision = str_at(&current, &["metadata", "resourceVersion"]).to_owned();
    let mut columns = Value::Null;
    if output.is_table() {
        columns = current["columnDefinitions"].clone();
        if !args.get_flag("watch-only") && !list_at(&current, &["rows"]).is_empty() {
            crate::out!("{}", table::align(&table::rows(&current, &style)));
            style.no_headers = true;
        }
    } else if !args.get_flag("watch-only") {
        for item in list_at(&current, &["items"]) {
            let mut item = item.clone();
            item["apiVersion"] = target.mapping.api_version().into();
            item["kind"] = target.mapping.kind.clone().into();
            output.print(&item, Some(&target.mapping))?;
        }
    }
    let separator = if list.contains('?') { '&' } else { '?' };
    let path = format!("{list}{separator}watch=true&resourceVersion={revision}");
    let mut lines = api.stream(&path, accept).await?.lines();
    while let Some(line) = lines.next().await {
        let event: Value = serde_json::from_str(&line?)?;
        let mut object = event["object"].clone();
        match str_at(&event, &["type"]) {
            "BOOKMARK" => continue,
            "ERROR" => anyhow::bail!("{}", str_at(&object, &["message"])),
            _ => {}
        }
        if output.is_table() {
            if object["columnDefinitions"].as_array().is_none_or(Vec::is_empty) {
                object["columnDefinitions"] = columns.clone();
            }
            crate::out!("{}", table::align(&table::rows(&object, &style)));
            style.no_headers = true;
        } else {
            output.print(&object, Some(&target.mapping))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
