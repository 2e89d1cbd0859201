//! Kubernetes' jsonpath templates: text with `{…}` in it, for kubectl's output and for the columns
//! of custom resources.
//!
//! Fields, indexes, slices, wildcards, recursive descent, unions, filters, `range`/`end`, quoted
//! text. (kubectl reference, "JSONPath Support")

use serde_json::Value;

/// Why a template cannot be read, or has no answer for a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(String);

type Result<T> = std::result::Result<T, JsonPathError>;

fn failed<T>(why: impl Into<String>) -> Result<T> {
    Err(JsonPathError(why.into()))
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Node>);

impl Eq for Template {}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Root,
    Field(String),
    Wildcard,
    Recursive,
    Slice(Option<i64>, Option<i64>, i64),
    Union(Vec<Step>),
    Index(i64),
    Filter(Operand, String, Option<Operand>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Value(Value),
}

impl Template {
    /// Parses a template; one without braces is taken as a single path.
    ///
    /// # Errors
    /// When it is no template.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim_matches('\'');
        let relaxed = if text.contains('{') {
            text.to_owned()
        } else if text.starts_with('.') || text.starts_with('$') || text.starts_with('[') {
            format!("{{{text}}}")
        } else {
            format!("{{.{text}}}")
        };
        let mut rest = relaxed.as_str();
        let nodes = nodes(&mut rest, false)
            .map_err(|why| JsonPathError(format!("error parsing jsonpath {text}: {why}")))?;
        Ok(Self(nodes))
    }

    /// The values that the template's first path leads to; what is missing leads nowhere.
    ///
    /// # Errors
    /// When an index is out of bounds.
    pub fn find<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>> {
        match self.0.first() {
            Some(Node::Path(steps)) => walk(steps, value, value),
            _ => Ok(Vec::new()),
        }
    }

    /// The text that the template gives for a value.
    ///
    /// # Errors
    /// When an index is out of bounds.
    pub fn render(&self, value: &Value) -> Result<String> {
        let mut text = String::new();
        render(&self.0, value, value, &mut text)?;
        Ok(text)
    }
}

fn nodes(rest: &mut &str, in_range: bool) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            nodes.push(Node::Text((*rest).to_owned()));
            *rest = "";
            break;
        };
        if open > 0 {
            nodes.push(Node::Text(rest[..open].to_owned()));
        }
        let close =
            closing(&rest[open..]).ok_or_else(|| JsonPathError("unclosed action".into()))? + open;
        let action = rest[open + 1..close].trim().to_owned();
        *rest = &rest[close + 1..];
        if action == "end" {
            if in_range {
                return Ok(nodes);
            }
            return failed("not in range, nothing to end");
        }
        if let Some(path) = action.strip_prefix("range ") {
            let body = self::nodes(rest, true)?;
            nodes.push(Node::Range(steps(path.trim())?, body));
        } else if let Some(quoted) = quoted(&action) {
            nodes.push(Node::Text(quoted));
        } else {
            for part in split_paths(&action) {
                nodes.push(Node::Path(steps(&part)?));
            }
        }
    }
    if in_range {
        return failed("unclosed range");
    }
    Ok(nodes)
}

/// The position of the brace that closes the first one, quotes respected.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, own) in text.char_indices() {
        match (quote, own) {
            (None, '}') => return Some(at),
            (None, '\'' | '"') => quote = Some(own),
            (Some(open), own) if open == own => quote = None,
            _ => {}
        }
    }
    None
}

/// Several paths in one action, separated by blanks: `{.a .b}`.
fn split_paths(action: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0_usize, None);
    for own in action.chars() {
        match (quote, own) {
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, '\'' | '"') => quote = Some(own),
            (Some(open), own) if open == own => quote = None,
            (None, ' ') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(own);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn quoted(text: &str) -> Option<String> {
    let first = text.chars().next().filter(|own| *own == '"' || *own == '\'')?;
    let body = text.strip_prefix(first)?.strip_suffix(first)?;
    let unescaped = body.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"");
    Some(unescaped.replace("\\\\", "\\"))
}

fn steps(text: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('$') {
            steps.push(Step::Root);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('@') {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Recursive);
            rest = after;
            if !rest.is_empty() && !rest.starts_with('[') {
                let (name, after) = field(rest);
                steps.push(named(name));
                rest = after;
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() {
                break;
            }
            if after.starts_with('[') {
                rest = after;
                continue;
            }
            let (name, after) = field(after);
            steps.push(named(name));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let close =
                bracket_end(after).ok_or_else(|| JsonPathError("unterminated array".into()))?;
            steps.push(bracket(after[..close].trim())?);
            rest = &after[close + 1..];
        } else {
            return failed(format!("unrecognized character in action: {rest:?}"));
        }
    }
    Ok(steps)
}

fn named(name: String) -> Step {
    if name == "*" { Step::Wildcard } else { Step::Field(name) }
}

/// A field's name up to the next `.` or `[`; `\.` is a dot in the name.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, own)) = characters.next() {
        match own {
            '\\' => name.extend(characters.next().map(|(_, next)| next)),
            '.' | '[' => return (name, &text[at..]),
            other => name.push(other),
        }
    }
    (name, "")
}

fn bracket_end(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, own) in text.char_indices() {
        match (quote, own) {
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            (None, '\'' | '"') => quote = Some(own),
            (Some(open), own) if open == own => quote = None,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step> {
    if text == "*" {
        return Ok(Step::Wildcard);
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return self::filter(filter);
    }
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    if parts.len() > 1 {
        return Ok(Step::Union(parts.into_iter().map(bracket).collect::<Result<_>>()?));
    }
    if let Some(name) = quoted(text) {
        return Ok(Step::Field(name));
    }
    if text.contains(':') {
        let bound = |part: Option<&str>| -> Result<Option<i64>> {
            match part.map(str::trim) {
                None | Some("") => Ok(None),
                Some(number) => match number.parse() {
                    Ok(number) => Ok(Some(number)),
                    Err(_) => failed(format!("invalid array index {number}")),
                },
            }
        };
        let mut bounds = text.split(':');
        let (from, to) = (bound(bounds.next())?, bound(bounds.next())?);
        return Ok(Step::Slice(from, to, bound(bounds.next())?.unwrap_or(1)));
    }
    text.parse().map(Step::Index).map_err(|_| JsonPathError(format!("invalid array index {text}")))
}

fn filter(text: &str) -> Result<Step> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((left, right)) = text.split_once(operator) {
            let right = Some(operand(right.trim())?);
            return Ok(Step::Filter(operand(left.trim())?, operator.to_owned(), right));
        }
    }
    Ok(Step::Filter(operand(text.trim())?, "exists".to_owned(), None))
}

fn operand(text: &str) -> Result<Operand> {
    if let Some(text) = quoted(text) {
        return Ok(Operand::Value(text.into()));
    }
    if text.starts_with(['@', '.', '$']) {
        return Ok(Operand::Path(steps(text)?));
    }
    serde_json::from_str(text)
        .map(Operand::Value)
        .map_err(|_| JsonPathError(format!("invalid filter operand {text}")))
}

fn render(nodes: &[Node], root: &Value, value: &Value, text: &mut String) -> Result<()> {
    for node in nodes {
        match node {
            Node::Text(own) => text.push_str(own),
            Node::Path(steps) => {
                let found = walk(steps, root, value)?;
                let shown: Vec<_> = found.into_iter().map(shown).collect();
                text.push_str(&shown.join(" "));
            }
            Node::Range(steps, body) => {
                for item in walk(steps, root, value)? {
                    render(body, root, item, text)?;
                }
            }
        }
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn walk<'v>(steps: &[Step], root: &'v Value, value: &'v Value) -> Result<Vec<&'v Value>> {
    let mut found = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            apply(step, root, value, &mut next)?;
        }
        found = next;
    }
    Ok(found)
}

fn apply<'v>(
    step: &Step,
    root: &'v Value,
    value: &'v Value,
    next: &mut Vec<&'v Value>,
) -> Result<()> {
    match step {
        Step::Root => next.push(root),
        Step::Field(name) => next.extend(value.get(name.as_str())),
        Step::Wildcard => match value {
            Value::Array(list) => next.extend(list),
            Value::Object(map) => next.extend(map.values()),
            _ => {}
        },
        Step::Recursive => descend(value, next),
        Step::Index(index) => {
            let Some(list) = value.as_array() else { return Ok(()) };
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let at = if *index < 0 { length + index } else { *index };
            match usize::try_from(at).ok().and_then(|at| list.get(at)) {
                Some(item) => next.push(item),
                None => {
                    return failed(format!(
                        "array index out of bounds: index {index}, length {length}"
                    ));
                }
            }
        }
        Step::Slice(from, to, by) => {
            let Some(list) = value.as_array() else { return Ok(()) };
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let clamp = |at: i64| (if at < 0 { length + at } else { at }).clamp(0, length);
            let (from, to) = (clamp(from.unwrap_or(0)), clamp(to.unwrap_or(length)));
            let mut at = from;
            while *by > 0 && at < to {
                next.extend(usize::try_from(at).ok().and_then(|at| list.get(at)));
                at += by;
            }
        }
        Step::Union(steps) => {
            for step in steps {
                apply(step, root, value, next)?;
            }
        }
        Step::Filter(left, operator, right) => {
            for item in value.as_array().into_iter().flatten() {
                if holds(left, operator, right.as_ref(), root, item)? {
                    next.push(item);
                }
            }
        }
    }
    Ok(())
}

fn descend<'v>(value: &'v Value, next: &mut Vec<&'v Value>) {
    next.push(value);
    match value {
        Value::Array(list) => list.iter().for_each(|item| descend(item, next)),
        Value::Object(map) => map.values().for_each(|item| descend(item, next)),
        _ => {}
    }
}

fn holds(
    left: &Operand,
    operator: &str,
    right: Option<&Operand>,
    root: &Value,
    item: &Value,
) -> Result<bool> {
    let value = |operand: &Operand| -> Result<Option<Value>> {
        match operand {
            Operand::Value(value) => Ok(Some(value.clone())),
            Operand::Path(steps) => Ok(walk(steps, root, item)?.first().copied().cloned()),
        }
    };
    let left = value(left)?;
    let Some(right) = right else { return Ok(left.is_some()) };
    let (Some(left), Some(right)) = (left, value(right)?) else { return Ok(false) };
    let ordering = match (&left, &right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    Ok(match operator {
        "==" => left == right,
        "!=" => left != right,
        "<" => ordering.is_some_and(std::cmp::Ordering::is_lt),
        ">" => ordering.is_some_and(std::cmp::Ordering::is_gt),
        "<=" => ordering.is_some_and(std::cmp::Ordering::is_le),
        _ => ordering.is_some_and(std::cmp::Ordering::is_ge),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(template: &str, expected: &str) {
        let value = json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"x.io/y": "z"}}, "n": 1, "ready": true},
            {"metadata": {"name": "b"}, "n": 2}]});
        assert_eq!(
            Template::parse(template).unwrap().render(&value).unwrap(),
            expected,
            "{template}"
        );
    }

    #[test]
    fn templates_as_in_kubectls_reference() {
        check("{.kind}", "List");
        check(".kind", "List");
        check("kind", "List");
        check("{.items[0].metadata.name}", "a");
        check("{.items[-1:].metadata.name}", "b");
        check("{.items[*].metadata.name}", "a b");
        check("{.items[*]['metadata.name', 'n']}", "1 2");
        check("{..name}", "a b");
        check("{range .items[*]}{.metadata.name}={.n}{\"\\n\"}{end}", "a=1\nb=2\n");
        check("{.items[?(@.n==2)].metadata.name}", "b");
        check("{.items[?(@.metadata.name==\"a\")].n}", "1");
        check("{.items[?(@.ready)].metadata.name}", "a");
        check("{.items[0].metadata.labels.x\\.io/y}", "z");
        check("name: {.items[1].metadata.name}!", "name: b!");
        check("{.missing}", "");
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for bad in ["{.a", "{range .a}", "{end}", "{.a[x]}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
