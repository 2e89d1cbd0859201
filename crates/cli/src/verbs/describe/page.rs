//! A page of a description: lines of cells, aligned as kubectl's tab writer aligns them.
//!
//! Invariant: a column ends where a line has no cell in it, so each block of lines that follow each
//! other is aligned by itself.

use api::Value;
use api::object::{at, labels, list_at, str_at};

/// Blanks between a column and the next.
const GAP: usize = 2;
/// The longest annotation that stays on its key's line.
const ANNOTATION_LEN_MAX: usize = 140;
/// The annotation that says nothing to people.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Text with tabs, written line by line.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// A line, indented by two blanks a level.
    pub(super) fn line(&mut self, level: usize, text: impl AsRef<str>) {
        self.0.extend(std::iter::repeat_n("  ", level));
        self.0.push_str(text.as_ref());
        self.0.push('\n');
    }

    /// `Key:  value`.
    pub(super) fn field(&mut self, level: usize, key: &str, value: impl std::fmt::Display) {
        self.line(level, format!("{key}:\t{value}"));
    }

    /// `Key:  value`, when there is one.
    pub(super) fn field_if(&mut self, level: usize, key: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, key, value);
        }
    }

    /// Several values under one key, a line each; `<none>` when there are none.
    pub(super) fn several(&mut self, key: &str, values: &[String]) {
        if values.is_empty() {
            self.field(0, key, "<none>");
        }
        for (at, value) in values.iter().enumerate() {
            let head = if at == 0 { format!("{key}:") } else { String::new() };
            self.line(0, format!("{head}\t{value}"));
        }
    }

    /// `key=value` pairs of a map of strings, a line each.
    pub(super) fn pairs(&mut self, key: &str, map: Option<&Value>) {
        self.several(key, &equations(map));
    }

    /// Name, and the namespace if there is one.
    pub(super) fn identity(&mut self, object: &Value) {
        self.field(0, "Name", api::object::name(object));
        self.field_if(0, "Namespace", api::object::namespace(object));
    }

    /// Labels and annotations.
    pub(super) fn marks(&mut self, object: &Value) {
        let own: Vec<_> = labels(object).map(|(key, value)| format!("{key}={value}")).collect();
        self.several("Labels", &sorted(own));
        self.annotations("Annotations", object);
    }

    /// Annotations; long ones under their key.
    pub(super) fn annotations(&mut self, title: &str, object: &Value) {
        let all = at(object, &["metadata", "annotations"]).and_then(Value::as_object);
        let mut own: Vec<(&str, &str)> = all
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.as_str() != LAST_APPLIED)
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
            .collect();
        own.sort_unstable();
        if own.is_empty() {
            self.field(0, title, "<none>");
        }
        for (at, (key, value)) in own.iter().enumerate() {
            let head = if at == 0 { format!("{title}:") } else { String::new() };
            let value = value.trim_end_matches('\n');
            if value.len() + key.len() + 2 <= ANNOTATION_LEN_MAX && !value.contains('\n') {
                self.line(0, format!("{head}\t{key}: {value}"));
                continue;
            }
            self.line(0, format!("{head}\t{key}:"));
            for line in value.split('\n') {
                self.line(0, format!("\t  {}", shorten(line, ANNOTATION_LEN_MAX - 2)));
            }
        }
    }

    /// The text, aligned.
    pub(super) fn finish(&self) -> String {
        let lines: Vec<Vec<&str>> = self.0.lines().map(|line| line.split('\t').collect()).collect();
        let mut widths: Vec<Vec<usize>> = lines.iter().map(|_| Vec::new()).collect();
        measure(&lines, &mut widths, 0, lines.len(), 0);
        let mut text = String::with_capacity(self.0.len() * 2);
        for (line, widths) in lines.iter().zip(&widths) {
            for (at, cell) in line.iter().enumerate() {
                text.push_str(cell);
                if let Some(width) = widths.get(at).filter(|_| at + 1 < line.len()) {
                    text.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Finds the width of `column` in each block of lines that have it, then of the columns after it.
fn measure(lines: &[Vec<&str>], widths: &mut [Vec<usize>], from: usize, to: usize, column: usize) {
    let mut at = from;
    while at < to {
        if column + 1 >= lines[at].len() {
            at += 1;
            continue;
        }
        let start = at;
        let mut width = 0;
        while at < to && column + 1 < lines[at].len() {
            width = width.max(lines[at][column].chars().count() + GAP);
            at += 1;
        }
        for own in &mut widths[start..at] {
            own.push(width);
        }
        measure(lines, widths, start, at, column + 1);
    }
}

fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length).chain("...".chars()).collect()
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort_unstable();
    all
}

/// A map's entries as `key=value`, by key.
pub(super) fn equations(map: Option<&Value>) -> Vec<String> {
    let all = map.and_then(Value::as_object).into_iter().flatten();
    sorted(all.map(|(key, value)| format!("{key}={}", plain(value))).collect())
}

/// A value as text, strings without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// What stands there, or `otherwise`.
pub(super) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// `Kind/name` of the owner that controls an object.
pub(super) fn controller(object: &Value) -> Option<String> {
    let owner =
        api::object::owner_references(object).iter().find(|own| own["controller"] == true)?;
    Some(format!("{}/{}", str_at(owner, &["kind"]), str_at(owner, &["name"])))
}

/// A label selector as people write it.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector.filter(|own| !own.is_null()) else { return "<unset>".to_owned() };
    let mut terms = equations(selector.get("matchLabels"));
    for term in list_at(selector, &["matchExpressions"]) {
        let key = str_at(term, &["key"]);
        let values: Vec<_> = list_at(term, &["values"]).iter().map(plain).collect();
        let values = sorted(values).join(",");
        terms.push(match str_at(term, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or(&terms.join(","), "<none>").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_column_ends_with_its_block() {
        let check = |lines: &[&str], expected: &str| {
            let mut page = Page::default();
            lines.iter().for_each(|line| page.line(0, line));
            assert_eq!(page.finish(), expected);
        };
        check(&["Name:\tx", "Longer:\ty"], "Name:    x\nLonger:  y\n");
        check(&["Name:\tx", "C:", "  Longer:\ty"], "Name:  x\nC:\n  Longer:  y\n");
        check(&["a\tb\tc", "ddd\te", "f\tggg\th"], "a    b  c\nddd  e\nf    ggg  h\n");
    }

    #[test]
    fn marks_and_selectors() {
        let mut page = Page::default();
        page.marks(&json!({"metadata": {"labels": {"b": "2", "a": "1"},
            "annotations": {LAST_APPLIED: "{}", "note": "one\ntwo"}}}));
        assert_eq!(
            page.finish(),
            "Labels:       a=1\n              b=2\nAnnotations:  note:\n                one\n                two\n"
        );
        let check = |value: Value, expected: &str| assert_eq!(selector(Some(&value)), expected);
        check(json!({"matchLabels": {"app": "x"}}), "app=x");
        check(
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "1"]}]}),
            "a in (1,2)",
        );
        check(json!({}), "<none>");
    }
}
