//! Which objects a command line means: `TYPE NAME…`, `TYPE/NAME…`, `TYPE -l …`, `-f FILE`.

use anyhow::{Result, bail};
use api::Value;
use api::object::{list_at, name, namespace};
use clap::{Arg, ArgAction, ArgMatches};

use crate::client::{Api, encode};
use crate::files;
use crate::mapper::{Mapper, Mapping};

/// The arguments that name objects.
pub(crate) fn target_args() -> Vec<Arg> {
    let mut args = files::file_args();
    args.extend([
        Arg::new("targets").value_name("TYPE[/NAME] NAME").action(ArgAction::Append),
        Arg::new("selector")
            .short('l')
            .long("selector")
            .value_name("SELECTOR")
            .help("Label query to filter on"),
        Arg::new("field-selector")
            .long("field-selector")
            .value_name("SELECTOR")
            .help("Field query to filter on"),
        Arg::new("all-namespaces")
            .short('A')
            .long("all-namespaces")
            .action(ArgAction::SetTrue)
            .help("Across all namespaces"),
    ]);
    args
}

/// One object, or a collection of them.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) mapping: Mapping,
    /// Empty for cluster-scoped objects and across all namespaces.
    pub(crate) namespace: String,
    /// `None` for a collection.
    pub(crate) name: Option<String>,
}

impl Target {
    /// The path of the object or the collection, with selectors.
    pub(crate) fn path(&self, args: &ArgMatches) -> String {
        match &self.name {
            Some(name) => self.mapping.object(&self.namespace, name),
            None => {
                let mut path = self.mapping.collection(&self.namespace);
                let mut separator = '?';
                for (flag, key) in
                    [("selector", "labelSelector"), ("field-selector", "fieldSelector")]
                {
                    if let Some(text) = args.get_one::<String>(flag) {
                        path.push_str(&format!("{separator}{key}={}", encode(text)));
                        separator = '&';
                    }
                }
                path
            }
        }
    }
}

/// Whether the command line asks across all namespaces.
pub(crate) fn is_everywhere(args: &ArgMatches) -> bool {
    args.get_flag("all-namespaces")
}

/// What a command line means. An empty one is an error that says what to type.
pub(crate) fn parse(api: &Api, mapper: &Mapper, args: &ArgMatches) -> Result<Vec<Target>> {
    let words: Vec<String> =
        args.get_many::<String>("targets").into_iter().flatten().cloned().collect();
    parse_words(api, mapper, args, &words)
}

/// As [`parse`], of a verb that takes some of the words for itself.
pub(crate) fn parse_words(
    api: &Api,
    mapper: &Mapper,
    args: &ArgMatches,
    words: &[String],
) -> Result<Vec<Target>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let from_files = !files::names(args).is_empty();
    if from_files {
        if !words.is_empty() {
            bail!("when paths are given with -f, no resources may be named");
        }
        return files::load(args)?
            .iter()
            .map(|loaded| of_object(api, mapper, &loaded.object))
            .collect();
    }
    let place = |mapping: &Mapping| {
        if !mapping.namespaced || is_everywhere(args) {
            String::new()
        } else {
            api.namespace().to_owned()
        }
    };
    let of = |mapping: &Mapping, name: Option<&str>| Target {
        mapping: mapping.clone(),
        namespace: place(mapping),
        name: name.map(str::to_owned),
    };
    let Some(first) = words.first() else {
        bail!(
            "you must name the resources: a type (pods), a type and names (pods web), or -f FILE; \
             see `api-resources` for the types"
        );
    };
    let mut targets = Vec::new();
    if words.iter().any(|word| word.contains('/')) {
        for word in &words {
            let Some((kind, name)) = word.split_once('/') else {
                bail!("there is no need to name a type and a TYPE/NAME at once: {word}");
            };
            targets.push(of(mapper.resource(kind)?, Some(name)));
        }
        return named_everywhere(args, targets);
    }
    let mut mappings = Vec::new();
    for word in first.split(',') {
        let members = mapper.category(word);
        if members.is_empty() {
            mappings.push(mapper.resource(word)?);
        } else {
            mappings.extend(members);
        }
    }
    for mapping in mappings {
        if words.len() == 1 {
            targets.push(of(mapping, None));
        } else {
            targets.extend(words[1..].iter().map(|name| of(mapping, Some(name))));
        }
    }
    named_everywhere(args, targets)
}

fn named_everywhere(args: &ArgMatches, targets: Vec<Target>) -> Result<Vec<Target>> {
    if is_everywhere(args) && targets.iter().any(|own| own.name.is_some() && own.mapping.namespaced)
    {
        bail!("a resource cannot be retrieved by name across all namespaces");
    }
    if args.get_one::<String>("selector").is_some() && targets.iter().any(|own| own.name.is_some())
    {
        bail!("name cannot be provided when a selector is specified");
    }
    Ok(targets)
}

/// The object that a file's document stands for.
pub(crate) fn of_object(api: &Api, mapper: &Mapper, object: &Value) -> Result<Target> {
    let mapping = mapper.of_object(object)?.clone();
    let own = namespace(object);
    let namespace = match (mapping.namespaced, own) {
        (false, _) => String::new(),
        (true, "") => api.namespace().to_owned(),
        (true, own) => own.to_owned(),
    };
    let name = Some(name(object)).filter(|name| !name.is_empty()).map(str::to_owned);
    Ok(Target { mapping, namespace, name })
}

/// The objects that targets stand for, fetched: each with its target by name.
pub(crate) async fn fetch(
    api: &Api,
    targets: &[Target],
    args: &ArgMatches,
) -> Result<Vec<(Target, Value)>> {
    let mut found = Vec::new();
    for target in targets {
        let answer = api.get(&target.path(args)).await?;
        if target.name.is_some() {
            found.push((target.clone(), answer));
            continue;
        }
        for item in list_at(&answer, &["items"]) {
            let mut item = item.clone();
            // Items of a list leave out what the list says for all.
            item["apiVersion"] = target.mapping.api_version().into();
            item["kind"] = target.mapping.kind.clone().into();
            let own = Target {
                namespace: namespace(&item).to_owned(),
                name: Some(name(&item).to_owned()),
                ..target.clone()
            };
            found.push((own, item));
        }
    }
    Ok(found)
}
