//! Several servers' v2 documents in one. Pure.
//!
//! (kube-openapi `pkg/aggregator`: `FilterSpecByPaths`, `MergeSpecsIgnorePathConflict`)

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

const DEFINITIONS: &str = "#/definitions/";

/// Cuts a document down to the paths that begin with one of these, and to the definitions that
/// they need.
pub fn only_below(document: &mut Value, prefixes: &[String]) {
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        paths.retain(|path, _| prefixes.iter().any(|prefix| path.starts_with(prefix.as_str())));
    }
    let mut needed = BTreeSet::new();
    let mut open = Vec::new();
    references(&document["paths"], &mut open);
    while let Some(name) = open.pop() {
        if needed.insert(name.clone()) {
            references(&document["definitions"][&name], &mut open);
        }
    }
    if let Some(definitions) = document.get_mut("definitions").and_then(Value::as_object_mut) {
        definitions.retain(|name, _| needed.contains(name));
    }
}

/// Adds another server's paths and definitions. A path that is there already stays as it is; a
/// definition of the same name that says something else gets a name of its own.
pub fn merge_v2(document: &mut Value, mut other: Value) {
    let renamed = renames(&document["definitions"], &other["definitions"]);
    if !renamed.is_empty() {
        rename(&mut other, &renamed);
    }
    for part in ["definitions", "paths"] {
        let Some(Value::Object(added)) = other.get_mut(part).map(Value::take) else { continue };
        let own = document[part].as_object_mut();
        let Some(own) = own else {
            document[part] = Value::Object(added);
            continue;
        };
        for (name, value) in added {
            let name =
                renamed.get(&name).filter(|_| part == "definitions").cloned().unwrap_or(name);
            own.entry(name).or_insert(value);
        }
    }
}

/// The new names of definitions that both have and that differ: `NAME_v2`, `NAME_v3` …
fn renames(own: &Value, other: &Value) -> BTreeMap<String, String> {
    let none = Map::new();
    let (own, other) = (own.as_object().unwrap_or(&none), other.as_object().unwrap_or(&none));
    other
        .iter()
        .filter(|(name, definition)| own.get(*name).is_some_and(|known| known != *definition))
        .filter_map(|(name, definition)| {
            let free = |name: &String| own.get(name).is_none_or(|known| known == definition);
            let new = (2..).map(|number| format!("{name}_v{number}")).find(free)?;
            Some((name.clone(), new))
        })
        .collect()
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().and_then(|text| text.strip_prefix(DEFINITIONS)) {
                    Some(name) if key == "$ref" => found.push(name.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = value.as_str().and_then(|text| text.strip_prefix(DEFINITIONS));
                match name.filter(|_| key == "$ref").and_then(|name| renamed.get(name)) {
                    Some(new) => *value = format!("{DEFINITIONS}{new}").into(),
                    None => rename(value, renamed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(definition: &str) -> Value {
        json!({ "get": { "schema": { "$ref": format!("{DEFINITIONS}{definition}") } } })
    }

    #[test]
    fn a_document_is_cut_down_to_what_is_needed() {
        let mut document = json!({
            "paths": { "/apis/a/v1/x": path("X"), "/apis/b/v1/y": path("Y"), "/version/": {} },
            "definitions": {
                "X": { "properties": { "z": { "$ref": "#/definitions/Z" } } },
                "Y": {}, "Z": { "items": { "$ref": "#/definitions/X" } },
            },
        });
        only_below(&mut document, &["/apis/a/v1/".to_owned()]);
        assert_eq!(document["paths"].as_object().unwrap().len(), 1);
        let names: Vec<_> = document["definitions"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["X", "Z"]);
    }

    #[test]
    fn definitions_that_differ_get_a_name_of_their_own() {
        let mut document = json!({
            "paths": { "/a": path("Same") },
            "definitions": { "Same": {}, "Meta": { "type": "object" } },
        });
        let other = json!({
            "paths": { "/a": {}, "/b": path("Meta"), "/c": path("Same") },
            "definitions": { "Same": {}, "Meta": { "type": "string" } },
        });
        merge_v2(&mut document, other.clone());
        merge_v2(&mut document, other);
        assert_eq!(document["paths"]["/a"], path("Same"));
        assert_eq!(document["paths"]["/b"], path("Meta_v2"));
        assert_eq!(document["paths"]["/c"], path("Same"));
        let names: Vec<_> = document["definitions"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["Meta", "Meta_v2", "Same"]);
    }
}
