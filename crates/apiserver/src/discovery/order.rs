//! Documents with their fields in the order in which upstream writes them. Scripts look for pieces of
//! these documents with `grep`.

use serde_json::Value;

use crate::storage::stored::write_json;

/// The fields of a document itself.
const OUTER: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "groupVersion",
    "name",
    "versions",
    "preferredVersion",
    "serverAddressByClientCIDRs",
    "resources",
    "groups",
    "items",
];
/// The fields of everything in it.
const INNER: &[&str] = &[
    "metadata",
    "groupVersion",
    "name",
    "singularName",
    "namespaced",
    "group",
    "version",
    "kind",
    "resources",
    "freshness",
    "versions",
    "preferredVersion",
    "resource",
    "subresource",
    "responseKind",
    "scope",
    "singularResource",
    "acceptedTypes",
    "verbs",
    "shortNames",
    "categories",
    "subresources",
    "storageVersionHash",
];

/// Writes a document.
pub(super) fn write(document: &Value, out: &mut Vec<u8>) {
    ordered(document, OUTER, out);
}

fn ordered(value: &Value, order: &[&str], out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let first = order.iter().filter_map(|key| map.get_key_value(*key));
            let rest = map.iter().filter(|(key, _)| !order.contains(&key.as_str()));
            let fields = first.chain(rest).map(|(key, value)| (Some(key), value));
            enclosed(b"{}", fields, out);
        }
        Value::Array(items) => enclosed(b"[]", items.iter().map(|item| (None, item)), out),
        single => write_json(single, out),
    }
}

fn enclosed<'a>(
    [open, close]: &[u8; 2],
    fields: impl Iterator<Item = (Option<&'a String>, &'a Value)>,
    out: &mut Vec<u8>,
) {
    out.push(*open);
    for (at, (key, value)) in fields.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if let Some(key) = key {
            write_json(key, out);
            out.push(b':');
        }
        ordered(value, INNER, out);
    }
    out.push(*close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_are_written_as_upstream_writes_them() {
        let document = json!({"resources": [{"categories": ["all"], "kind": "Pod", "name": "pods",
            "namespaced": true, "shortNames": ["po"], "singularName": "pod", "verbs": ["get"],
            "storageVersionHash": "x="}], "groupVersion": "v1", "kind": "APIResourceList"});
        let mut out = Vec::new();
        write(&document, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get"],"shortNames":["po"],"categories":["all"],"storageVersionHash":"x="}]}"#
        );
    }
}
