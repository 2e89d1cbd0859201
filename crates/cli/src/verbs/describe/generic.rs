//! Any object at all: its fields, by name.

use api::Value;

use super::page::{Page, plain};

/// Said by the page's head already, or to nobody's use.
const SKIPPED: [&str; 5] = ["name", "namespace", "labels", "annotations", "managedFields"];

/// An object whose kind has no form of its own.
pub(super) fn generic(page: &mut Page, own: &Value) {
    page.identity(own);
    page.marks(own);
    fields(page, own, 0, "");
}

fn fields(page: &mut Page, own: &Value, level: usize, path: &str) {
    let mut all: Vec<_> = own.as_object().into_iter().flatten().collect();
    all.sort_by_key(|(key, _)| key.as_str());
    for (key, value) in all {
        if path == "metadata" && SKIPPED.contains(&key.as_str()) {
            continue;
        }
        let title = title(key);
        match value {
            Value::Object(_) => {
                page.line(level, format!("{title}:"));
                fields(
                    page,
                    value,
                    level + 1,
                    &if path.is_empty() { key.clone() } else { format!("{path}.{key}") },
                );
            }
            Value::Array(items) => {
                page.line(level, format!("{title}:"));
                for item in items {
                    if item.is_object() {
                        fields(page, item, level + 1, &format!("{path}.{key}"));
                    } else {
                        page.line(level + 1, plain(item));
                    }
                }
            }
            other => page.field(level, &title, plain(other)),
        }
    }
}

/// `creationTimestamp` → `Creation Timestamp`, `apiVersion` → `API Version`.
fn title(key: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let chars: Vec<char> = key.chars().collect();
    for (at, own) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let starts = match before {
            None => true,
            Some(before) => {
                let next_is_lower = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
                (own.is_uppercase() && (!before.is_uppercase() || next_is_lower))
                    || (own.is_ascii_digit() != before.is_ascii_digit())
                    || !own.is_alphanumeric()
                    || !before.is_alphanumeric()
            }
        };
        match words.last_mut().filter(|_| !starts) {
            Some(word) => word.push(*own),
            None => words.push(own.to_string()),
        }
    }
    let words = words.into_iter().filter(|word| word.chars().all(char::is_alphanumeric));
    let words = words.map(|word| {
        let upper = word.to_uppercase();
        if ["API", "URL", "UID", "OSB", "GUID"].contains(&upper.as_str()) {
            return upper;
        }
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn titles_are_words() {
        let check = |key: &str, expected: &str| assert_eq!(title(key), expected);
        check("creationTimestamp", "Creation Timestamp");
        check("apiVersion", "API Version");
        check("uid", "UID");
        check("storageClassName", "Storage Class Name");
    }

    #[test]
    fn any_object_by_its_fields() {
        let mut page = Page::default();
        generic(
            &mut page,
            &json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a", "uid": "u"},
            "spec": {"hosts": ["h"], "rules": [{"port": 1}]}}),
        );
        assert_eq!(
            page.finish(),
            "Name:         a\nLabels:       <none>\nAnnotations:  <none>\nAPI Version:  x/v1\nKind:         X\nMetadata:\n  UID:  u\nSpec:\n  Hosts:\n    h\n  Rules:\n    Port:  1\n"
        );
    }
}
