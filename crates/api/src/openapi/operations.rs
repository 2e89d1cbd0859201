//! Operations of paths.

use serde_json::{Map, Value, json};

use super::Form;
use super::facts::{Facts, Row};

/// What the query parameters mean.
const PARAMETERS: [(&str, &str, &str); 30] = [
    (
        "allowWatchBookmarks",
        "boolean",
        "allowWatchBookmarks requests watch events with type \"BOOKMARK\".",
    ),
    ("command", "string", "The remote command to execute. Not executed within a shell."),
    (
        "container",
        "string",
        "The container of the pod; defaults to the only one when there is one.",
    ),
    (
        "continue",
        "string",
        "Where a list that was cut by a limit goes on; from the metadata of the last answer.",
    ),
    ("dryRun", "string", "With \"All\", everything is done but nothing is stored."),
    ("fieldManager", "string", "The name of the actor or entity that makes the change."),
    ("fieldSelector", "string", "Restricts the list to objects by their fields."),
    (
        "fieldValidation",
        "string",
        "What to do with unknown or duplicate fields: Ignore, Warn (the default) or Strict.",
    ),
    ("follow", "boolean", "Follow the log stream of the pod."),
    ("force", "boolean", "Take over fields that other appliers own. Apply patches only."),
    (
        "gracePeriodSeconds",
        "integer",
        "The seconds before the object is deleted; 0 deletes immediately.",
    ),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Delete an object that cannot be read from the store.",
    ),
    (
        "insecureSkipTLSVerifyBackend",
        "boolean",
        "Do not verify the serving certificate of the kubelet.",
    ),
    ("labelSelector", "string", "Restricts the list to objects by their labels."),
    ("limit", "integer", "The most items to answer; the rest is got with continue."),
    ("limitBytes", "integer", "The bytes of the log to answer at most."),
    ("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    ("path", "string", "The path of the request to the proxied object."),
    ("ports", "integer", "The ports to forward."),
    ("pretty", "string", "With \"true\", the answer is indented."),
    ("previous", "boolean", "The logs of the container that ended before."),
    (
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan, Background or Foreground.",
    ),
    (
        "resourceVersion",
        "string",
        "A constraint on the resource versions that the answer may come from.",
    ),
    ("resourceVersionMatch", "string", "How resourceVersion is applied to lists."),
    (
        "sendInitialEvents",
        "boolean",
        "Begin a watch with events for what exists, and a bookmark behind them.",
    ),
    ("shardSelector", "string", "Restricts the list to a shard of the objects."),
    ("sinceSeconds", "integer", "Only logs of this many last seconds."),
    ("tailLines", "integer", "Only this many last lines of the log."),
    ("timeoutSeconds", "integer", "How long the list or watch may take."),
    ("watch", "boolean", "Watch for changes and answer them as a stream."),
];

/// A path's item with the parameters that all its methods have.
pub(super) fn path_item(path: &str, form: Form) -> Value {
    let mut parameters = Vec::new();
    for part in path.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let description = match name {
                "namespace" => "object name and auth scope, such as for teams and projects",
                "path" => "path to the resource",
                "logpath" => "path to the log",
                _ => "name of the object",
            };
            parameters.push(parameter(name, "path", "string", description, form));
        }
    }
    if parameters.is_empty() { json!({}) } else { json!({ "parameters": parameters }) }
}

fn parameter(name: &str, place: &str, kind: &str, description: &str, form: Form) -> Value {
    let mut made = json!({"name": name, "in": place, "description": description});
    if place == "path" {
        made["required"] = true.into();
    }
    match form {
        Form::V2 => {
            made["type"] = kind.into();
            made["uniqueItems"] = true.into();
        }
        Form::V3 => made["schema"] = json!({"type": kind, "uniqueItems": true}),
    }
    made
}

fn query_parameters(names: &str, form: Form) -> Vec<Value> {
    let describe = |name: &str| {
        let known = PARAMETERS.iter().find(|(known, ..)| *known == name);
        let (kind, text) = known.map_or(("boolean", ""), |(_, kind, text)| (*kind, *text));
        parameter(name, "query", kind, text, form)
    };
    names.split(',').filter(|name| !name.is_empty()).map(describe).collect()
}

/// The operation of a row; notes in `wanted` the definitions that it refers to.
pub(super) fn of_row(facts: &Facts, row: &Row<'_>, form: Form, wanted: &mut Vec<String>) -> Value {
    let mut made = Map::new();
    made.insert("description".to_owned(), description(row).into());
    if let Some(id) = operation_id(facts, row) {
        made.insert("operationId".to_owned(), id.into());
    }
    let tag = tag(row);
    made.insert("tags".to_owned(), json!([tag]));
    let mut parameters = query_parameters(row.parameters, form);
    let body = row.body.strip_prefix('#');
    wanted.extend(body.map(ToOwned::to_owned));
    let media = |types: &str| -> Vec<String> {
        // CBOR is not spoken here.
        let spoken = |name: &&str| !name.is_empty() && !name.contains("cbor");
        types.split(',').filter(spoken).map(ToOwned::to_owned).collect()
    };
    let (consumes, produces) = (media(row.consumes), media(row.produces));
    let is_required = row.method != "delete";
    if let Some(body) = body {
        let schema = json!({"$ref": form.reference(body)});
        match form {
            Form::V2 => {
                let mut parameter = json!({"in": "body", "name": "body", "schema": schema});
                if is_required {
                    parameter["required"] = true.into();
                }
                parameters.push(parameter);
            }
            Form::V3 => {
                let content: Map<_, _> = consumes
                    .iter()
                    .map(|name| (name.clone(), json!({ "schema": schema })))
                    .collect();
                let mut body = json!({ "content": content });
                if is_required {
                    body["required"] = true.into();
                }
                made.insert("requestBody".to_owned(), body);
            }
        }
    }
    if !parameters.is_empty() {
        made.insert("parameters".to_owned(), Value::Array(parameters));
    }
    made.insert("responses".to_owned(), responses(row.responses, &produces, form, wanted));
    if form == Form::V2 {
        made.insert("schemes".to_owned(), json!(["https"]));
        if !consumes.is_empty() {
            made.insert("consumes".to_owned(), json!(consumes));
        }
        if !produces.is_empty() {
            made.insert("produces".to_owned(), json!(produces));
        }
    }
    if !row.action.is_empty() {
        made.insert("x-kubernetes-action".to_owned(), row.action.into());
        made.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            json!({"group": row.group, "version": row.version, "kind": row.kind}),
        );
    }
    Value::Object(made)
}

fn responses(codes: &str, produces: &[String], form: Form, wanted: &mut Vec<String>) -> Value {
    let mut made = Map::new();
    for response in codes.split(',').filter(|code| !code.is_empty()) {
        let (code, of) = response.split_once('=').unwrap_or((response, ""));
        let description = match code {
            "200" => "OK",
            "201" => "Created",
            "202" => "Accepted",
            _ => "Unauthorized",
        };
        let mut entry = json!({ "description": description });
        let schema = match of.strip_prefix('#') {
            Some(definition) => {
                wanted.push(definition.to_owned());
                Some(json!({"$ref": form.reference(definition)}))
            }
            None => (!of.is_empty()).then(|| json!({ "type": of })),
        };
        if let Some(schema) = schema {
            match form {
                Form::V2 => entry["schema"] = schema,
                Form::V3 => {
                    let content: Map<_, _> = produces
                        .iter()
                        .map(|name| (name.clone(), json!({ "schema": schema })))
                        .collect();
                    entry["content"] = Value::Object(content);
                }
            }
        }
        made.insert(code.to_owned(), entry);
    }
    Value::Object(made)
}

/// The operation that answers a definition, for the discovery of a custom group.
pub(super) fn get_of(path: &str, definition: &str, form: Form) -> Value {
    let produces: Vec<String> = vec!["application/json".to_owned(), "application/yaml".to_owned()];
    let codes = format!("200=#{definition},401");
    let mut made = json!({
        "description": format!("get available resources of {path}"),
        "responses": responses(&codes, &produces, form, &mut Vec::new()),
    });
    if form == Form::V2 {
        made["schemes"] = json!(["https"]);
        made["produces"] = json!(produces);
    }
    made
}

fn description(row: &Row<'_>) -> String {
    let kind = row.kind;
    let sub = match row.segments().as_slice() {
        [_, "{name}", sub, ..] => format!("{sub} of the specified {kind}"),
        _ => format!("the specified {kind}"),
    };
    match row.action {
        "list" => format!("list or watch objects of kind {kind}"),
        "get" => format!("read {sub}"),
        "post" => format!("create a {kind}"),
        "put" => format!("replace {sub}"),
        "patch" => format!("partially update {sub}"),
        "delete" => format!("delete a {kind}"),
        "deletecollection" => format!("delete collection of {kind}"),
        "watch" => format!(
            "watch changes to an object of kind {kind}. deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter."
        ),
        "watchlist" => format!(
            "watch individual changes to a list of {kind}. deprecated: use the 'watch' parameter with a list operation instead."
        ),
        "connect" => format!("connect {} requests to {sub}", row.method.to_uppercase()),
        _ => match row.path.trim_matches('/').split('/').count() {
            3 => "get available resources".to_owned(),
            2 if row.path.starts_with("/apis/") => "get information of a group".to_owned(),
            _ => "get available API versions".to_owned(),
        },
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// `Core`, `Apps`, `RbacAuthorization`.
fn group_name(group: &str) -> String {
    if group.is_empty() {
        return "Core".to_owned();
    }
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    group.split(['.', '-']).map(capitalized).collect()
}

fn tag(row: &Row<'_>) -> String {
    match row.group_version() {
        Some((group, version)) => {
            let name = group_name(group);
            let mut chars = name.chars();
            let name: String =
                chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect();
            match version {
                Some(version) => format!("{name}_{version}"),
                None => name,
            }
        }
        None => row.path.trim_matches('/').split('/').next().unwrap_or_default().to_owned(),
    }
}

/// The name that client generators make methods of: `createAppsV1NamespacedDeployment`.
pub(super) fn operation_id(facts: &Facts, row: &Row<'_>) -> Option<String> {
    let (group, version) = row.group_version()?;
    if row.action.is_empty() {
        let what = if version.is_some() { "Resources" } else { "" };
        let version = capitalized(version.unwrap_or_default());
        return Some(format!("getAPI{what}{}{version}", group_name(group)));
    }
    let verb = match row.action {
        "get" => "read".to_owned(),
        "post" => "create".to_owned(),
        "put" => "replace".to_owned(),
        "deletecollection" => "deleteCollection".to_owned(),
        "watch" | "watchlist" => "watch".to_owned(),
        "connect" => format!("connect{}", capitalized(row.method)),
        other => other.to_owned(),
    };
    let is_namespaced = row.is_namespaced();
    let kind = facts.parent_kind(row).unwrap_or(row.kind);
    let segments = row.segments();
    let sub: String = segments
        .iter()
        .skip(2)
        .filter(|part| !part.starts_with('{'))
        .map(|part| capitalized(part))
        .collect();
    let with_path = if row.path.ends_with("{path}") { "WithPath" } else { "" };
    let list = if row.action == "watchlist" { "List" } else { "" };
    let all = if segments.len() == 1
        && !is_namespaced
        && facts.lives_in_namespaces(row)
        && matches!(row.action, "list" | "watchlist")
    {
        "ForAllNamespaces"
    } else {
        ""
    };
    let namespaced = if is_namespaced { "Namespaced" } else { "" };
    let version = capitalized(version.unwrap_or_default());
    Some(format!(
        "{verb}{}{version}{namespaced}{kind}{sub}{list}{all}{with_path}",
        group_name(group)
    ))
}
