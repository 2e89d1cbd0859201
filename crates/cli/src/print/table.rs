//! Tables as people read them: the server's own, with the columns aligned.

use api::Value;
use api::object::{list_at, str_at};

/// How to print the server's table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Style {
    pub(crate) wide: bool,
    pub(crate) no_headers: bool,
    pub(crate) with_namespace: bool,
    pub(crate) show_labels: bool,
    /// Labels that get a column of their own.
    pub(crate) label_columns: Vec<String>,
    /// `pod/`, `deployment.apps/`: what stands before each name, when several types are shown.
    pub(crate) prefix: String,
}

/// Three blanks between columns, as tabwriter has them in kubectl.
const GAP: usize = 3;

/// Aligns rows in columns; the last cell of a row is not padded.
#[must_use]
pub fn align(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |text: &str| text.chars().count();
    let mut widths = vec![0; count];
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            widths[at] = widths[at].max(width(cell));
        }
    }
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                let padding = widths[at] + GAP - width(cell);
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text
}

/// The rows of a server's `Table`, headings first.
pub(crate) fn rows(table: &Value, style: &Style) -> Vec<Vec<String>> {
    let shown: Vec<usize> = list_at(table, &["columnDefinitions"])
        .iter()
        .enumerate()
        .filter(|(_, column)| style.wide || column["priority"].as_i64().unwrap_or_default() == 0)
        .map(|(at, _)| at)
        .collect();
    let mut rows = Vec::new();
    if !style.no_headers {
        rows.push(headings(table, &shown, style));
    }
    let name_at = list_at(table, &["columnDefinitions"])
        .iter()
        .position(|column| column["format"] == "name")
        .unwrap_or_default();
    for row in list_at(table, &["rows"]) {
        rows.push(cells(row, &shown, name_at, style));
    }
    rows
}

fn headings(table: &Value, shown: &[usize], style: &Style) -> Vec<String> {
    let columns = list_at(table, &["columnDefinitions"]);
    let mut row = Vec::new();
    if style.with_namespace {
        row.push("NAMESPACE".to_owned());
    }
    row.extend(shown.iter().map(|at| str_at(&columns[*at], &["name"]).to_uppercase()));
    for label in &style.label_columns {
        row.push(label.rsplit('/').next().unwrap_or(label).to_uppercase());
    }
    if style.show_labels {
        row.push("LABELS".to_owned());
    }
    row
}

fn cells(row: &Value, shown: &[usize], name_at: usize, style: &Style) -> Vec<String> {
    let object = &row["object"];
    let all = list_at(row, &["cells"]);
    let mut cells = Vec::new();
    if style.with_namespace {
        cells.push(api::object::namespace(object).to_owned());
    }
    for at in shown {
        let text = all.get(*at).map(cell).unwrap_or_default();
        cells.push(if *at == name_at { format!("{}{text}", style.prefix) } else { text });
    }
    for label in &style.label_columns {
        cells.push(api::object::label(object, label).unwrap_or_default().to_owned());
    }
    if style.show_labels {
        let labels: Vec<_> =
            api::object::labels(object).map(|(key, value)| format!("{key}={value}")).collect();
        cells.push(if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") });
    }
    cells
}

/// A cell in one line; what breaks lines is shown as kubectl shows it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.replace('\n', "\\n").replace('\t', "\\t"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_wide_ones_hidden() {
        let table = json!({
            "columnDefinitions": [
                {"name": "Name", "format": "name", "priority": 0}, {"name": "Ready", "priority": 0},
                {"name": "IP", "priority": 1}],
            "rows": [
                {"cells": ["web", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "d", "labels": {"a": "b"}}}},
                {"cells": ["database", "0/1", null], "object": {"metadata": {"namespace": "d"}}}],
        });
        let check = |style: Style, expected: &str| {
            assert_eq!(align(&rows(&table, &style)), expected);
        };
        check(Style::default(), "NAME       READY\nweb        1/1\ndatabase   0/1\n");
        check(
            Style { wide: true, no_headers: true, prefix: "pod/".into(), ..Style::default() },
            "pod/web        1/1   10.0.0.1\npod/database   0/1   <none>\n",
        );
        check(
            Style { with_namespace: true, show_labels: true, no_headers: true, ..Style::default() },
            "d   web        1/1   a=b\nd   database   0/1   <none>\n",
        );
    }
}
