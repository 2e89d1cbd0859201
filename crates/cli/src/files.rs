//! Objects from `-f`: files, folders, stdin, several documents, lists taken apart.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use api::Value;
use api::object::{list_at, str_at};
use clap::{Arg, ArgAction, ArgMatches};

/// The arguments that name files.
pub(crate) fn file_args() -> Vec<Arg> {
    vec![
        Arg::new("filename")
            .short('f')
            .long("filename")
            .value_name("FILE")
            .action(ArgAction::Append)
            .help("File, folder or - for stdin that contains the objects"),
        Arg::new("recursive")
            .short('R')
            .long("recursive")
            .action(ArgAction::SetTrue)
            .help("Process the folders in -f recursively"),
    ]
}

/// An object and where it was read, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) object: Value,
    pub(crate) source: String,
}

/// The names given with `-f`.
pub(crate) fn names(args: &ArgMatches) -> Vec<String> {
    args.get_many::<String>("filename").into_iter().flatten().cloned().collect()
}

/// Reads everything that `-f` names, in the order given; files of a folder by name.
pub(crate) fn load(args: &ArgMatches) -> Result<Vec<Loaded>> {
    let mut loaded = Vec::new();
    for name in names(args) {
        if name == "-" {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).context("cannot read stdin")?;
            parse(&text, "STDIN", &mut loaded)?;
            continue;
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            bail!("cannot read {name}: fetch it first and pass the file");
        }
        for path in expand(Path::new(&name), args.get_flag("recursive"))? {
            let text =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            parse(&text, &path.display().to_string(), &mut loaded)?;
        }
    }
    if loaded.is_empty() {
        bail!("no objects passed");
    }
    Ok(loaded)
}

fn expand(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let meta = std::fs::metadata(path)
        .with_context(|| format!("the path \"{}\" does not exist", path.display()))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<_> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|own| own.path())).collect())
        .with_context(|| format!("cannot read the folder {}", path.display()))?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                files.extend(expand(&entry, true)?);
            }
        } else if entry
            .extension()
            .is_some_and(|own| own == "yaml" || own == "yml" || own == "json")
        {
            files.push(entry);
        }
    }
    Ok(files)
}

fn parse(text: &[u8], source: &str, loaded: &mut Vec<Loaded>) -> Result<()> {
    let documents =
        api::yaml::parse_all(text).with_context(|| format!("error parsing {source}"))?;
    for document in documents {
        let value = document.value;
        if value.is_null() {
            continue;
        }
        if str_at(&value, &["kind"]).ends_with("List") && value.get("items").is_some() {
            for item in list_at(&value, &["items"]) {
                loaded.push(checked(item.clone(), source)?);
            }
        } else {
            loaded.push(checked(value, source)?);
        }
    }
    Ok(())
}

fn checked(object: Value, source: &str) -> Result<Loaded> {
    for (field, name) in [("kind", "kind"), ("apiVersion", "apiVersion")] {
        if str_at(&object, &[field]).is_empty() {
            bail!("error validating \"{source}\": error validating data: {name} not set");
        }
    }
    Ok(Loaded { object, source: source.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart_in_order() {
        let text = b"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n---\n\
            apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
        let mut loaded = Vec::new();
        parse(text, "x", &mut loaded).unwrap();
        let names: Vec<_> = loaded.iter().map(|own| api::object::name(&own.object)).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(parse(b"kind: Pod\n", "x", &mut Vec::new()).is_err());
    }
}
