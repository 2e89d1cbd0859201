//! Ways to print objects, by `-o`.

pub(crate) mod table;
pub(crate) use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use api::Value;
use clap::{Arg, ArgMatches};

use crate::mapper::Mapping;
use crate::out::Out;

/// How to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// A table; with the columns of low priority when wide.
    Table { wide: bool },
    /// JSON, four blanks a level.
    Json,
    /// YAML, as Go writes it.
    Yaml,
    /// `pod/web`.
    Name,
    /// A jsonpath template.
    JsonPath(api::jsonpath::Template),
    /// Headings and jsonpath fields.
    CustomColumns(Vec<(String, api::jsonpath::Template)>),
}

/// `-o`.
pub(crate) fn output_args() -> Vec<Arg> {
    vec![
        Arg::new("output").short('o').long("output").value_name("FORMAT").help(
            "json, yaml, name, wide, jsonpath=…, jsonpath-file=…, custom-columns=HEADING:.path,…",
        ),
        Arg::new("template")
            .long("template")
            .value_name("TEMPLATE")
            .help("The template, for -o jsonpath"),
    ]
}

impl Output {
    /// What `-o` and `--template` ask for.
    pub(crate) fn from_args(args: &ArgMatches) -> Result<Self> {
        let text = args.get_one::<String>("output").map(String::as_str).unwrap_or_default();
        let template = args.get_one::<String>("template");
        let (format, rest) = match text.split_once('=') {
            Some((format, rest)) => (format, Some(rest.to_owned())),
            None => (text, template.cloned()),
        };
        let needed = |what: &str| {
            rest.clone().with_context(|| format!("-o {format} needs {what}: -o {format}=…"))
        };
        Ok(match format {
            "" => Self::Table { wide: false },
            "wide" => Self::Table { wide: true },
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "jsonpath" => Self::JsonPath(api::jsonpath::Template::parse(&needed("a template")?)?),
            "jsonpath-file" => {
                let path = needed("a file")?;
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {path}"))?;
                Self::JsonPath(api::jsonpath::Template::parse(text.trim_end_matches('\n'))?)
            }
            "custom-columns" => Self::CustomColumns(columns(&needed("columns")?)?),
            other => bail!(
                "unable to match a printer suitable for the output format \"{other}\", allowed \
                 formats are: custom-columns,json,jsonpath,jsonpath-file,name,wide,yaml"
            ),
        })
    }

    /// Whether the server's table is wanted.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Table { .. })
    }

    /// Prints one object (or a `List`) in any format but the table.
    pub(crate) fn print(&self, object: &Value, mapping: Option<&Mapping>) -> Result<()> {
        let mut out = Out;
        match self {
            Self::Json => {
                let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
                let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
                serde::Serialize::serialize(object, &mut serializer)?;
                writeln!(out)?;
            }
            Self::Yaml => write!(out, "{}", api::yaml::to_string(object))?,
            Self::Name => {
                let name = api::object::name(object);
                match mapping {
                    Some(mapping) => writeln!(out, "{}/{name}", mapping.short_form())?,
                    None => writeln!(out, "{name}")?,
                }
            }
            Self::JsonPath(template) => write!(out, "{}", template.render(object)?)?,
            Self::CustomColumns(columns) => custom(&mut out, columns, object)?,
            Self::Table { .. } => bail!("a table is printed from the server's own"),
        }
        Ok(out.flush()?)
    }
}

fn columns(text: &str) -> Result<Vec<(String, api::jsonpath::Template)>> {
    text.split(',')
        .map(|column| {
            let (heading, path) = column.split_once(':').with_context(|| {
                format!(
                    "unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>"
                )
            })?;
            let path = path.trim_start_matches('{').trim_end_matches('}');
            let path = if path.starts_with('.') { path.to_owned() } else { format!(".{path}") };
            Ok((heading.to_owned(), api::jsonpath::Template::parse(&format!("{{{path}}}"))?))
        })
        .collect()
}

fn custom(
    out: &mut impl std::io::Write,
    columns: &[(String, api::jsonpath::Template)],
    object: &Value,
) -> Result<()> {
    let items = match object.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().collect(),
        None => vec![object],
    };
    let mut rows = vec![columns.iter().map(|(heading, _)| heading.clone()).collect::<Vec<_>>()];
    for item in items {
        rows.push(
            columns
                .iter()
                .map(|(_, template)| {
                    let text = template.render(item).unwrap_or_default();
                    if text.is_empty() { "<none>".to_owned() } else { text.replace(' ', ",") }
                })
                .collect(),
        );
    }
    write!(out, "{}", table::align(&rows))?;
    Ok(())
}
