//! YAML as Kubernetes reads it: YAML 1.1 scalars (`yes` is a boolean, `0644` is octal), keys made
//! strings, anchors and merge keys, duplicate keys reported with their line.
//!
//! Invariant: no input makes it recurse or grow without bound; an alias bomb is an error.

mod print;

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

pub use print::to_string;

/// A document nested more deeply is refused.
const MAX_DEPTH: usize = 100;
/// So many values, copies through aliases counted, may come of one document.
const MAX_VALUES: usize = 2_000_000;

/// YAML that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// A document and what is doubtful in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The value.
    pub value: Value,
    /// Duplicate keys, as upstream reports them: `line 9: key "foo" already set in map`.
    pub duplicates: Vec<String>,
}

/// Reads the first document; `null` when there is none.
///
/// # Errors
/// When the text is no YAML, or exceeds the limits.
pub fn parse(text: &[u8]) -> Result<Document, YamlError> {
    let first = Reader::new(utf8(text)?).next_document()?;
    Ok(first.unwrap_or(Document { value: Value::Null, duplicates: Vec::new() }))
}

/// Reads all documents, empty ones left out.
///
/// # Errors
/// When the text is no YAML, or exceeds the limits.
pub fn parse_all(text: &[u8]) -> Result<Vec<Document>, YamlError> {
    let mut reader = Reader::new(utf8(text)?);
    let mut documents = Vec::new();
    while let Some(document) = reader.next_document()? {
        if !document.value.is_null() {
            documents.push(document);
        }
    }
    Ok(documents)
}

fn utf8(text: &[u8]) -> Result<&str, YamlError> {
    std::str::from_utf8(text)
        .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
        .map_err(|_| YamlError("yaml: invalid UTF-8".to_owned()))
}

struct Reader<'input> {
    events: Parser<'input, granit_parser::StrInput<'input>>,
    anchors: HashMap<usize, (Value, usize)>,
    duplicates: Vec<String>,
    values: usize,
}

impl<'input> Reader<'input> {
    fn new(text: &'input str) -> Self {
        Self {
            events: Parser::new_from_str(text),
            anchors: HashMap::new(),
            duplicates: Vec::new(),
            values: 0,
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'input>, usize)>, YamlError> {
        loop {
            match self.events.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok(Some((event, span.start.line()))),
                Some(Err(error)) => {
                    let (line, text) = (error.marker().line(), error.info());
                    return Err(YamlError(format!("yaml: line {line}: {text}")));
                }
            }
        }
    }

    fn next_document(&mut self) -> Result<Option<Document>, YamlError> {
        loop {
            match self.next()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::StreamStart | Event::DocumentEnd, _)) => {}
                Some((Event::DocumentStart(..), _)) => {
                    self.anchors.clear();
                    self.values = 0;
                    let value = match self.next()? {
                        None | Some((Event::DocumentEnd, _)) => Value::Null,
                        Some((event, line)) => self.node(event, line, 0)?,
                    };
                    let duplicates = std::mem::take(&mut self.duplicates);
                    return Ok(Some(Document { value, duplicates }));
                }
                Some((_, line)) => return Err(unexpected(line)),
            }
        }
    }

    fn count(&mut self, values: usize, line: usize) -> Result<(), YamlError> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(YamlError(format!(
                "yaml: line {line}: document contains excessive aliasing"
            )));
        }
        Ok(())
    }

    fn node(
        &mut self,
        event: Event<'input>,
        line: usize,
        depth: usize,
    ) -> Result<Value, YamlError> {
        if depth > MAX_DEPTH {
            return Err(YamlError(format!("yaml: line {line}: exceeded max depth of {MAX_DEPTH}")));
        }
        let before = self.values;
        self.count(1, line)?;
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let (value, size) = self
                    .anchors
                    .get(&id)
                    .map(|(value, size)| (value.clone(), *size))
                    .ok_or_else(|| YamlError(format!("yaml: line {line}: unknown anchor")))?;
                self.count(size, line)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().map(granit_parser::Tag::suffix);
                (scalar(&text, style, tag), anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            _ => return Err(unexpected(line)),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), self.values - before));
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Some((Event::SequenceEnd, _)) => return Ok(Value::Array(items)),
                Some((event, line)) => items.push(self.node(event, line, depth + 1)?),
                None => return Err(unexpected(0)),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, line) = match self.next()? {
                Some((Event::MappingEnd, _)) => break,
                Some(found) => found,
                None => return Err(unexpected(0)),
            };
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, line, depth + 1)?;
            let (event, value_line) = self.next()?.ok_or_else(|| unexpected(line))?;
            let value = self.node(event, value_line, depth + 1)?;
            if is_merge {
                merged.push((value, line));
                continue;
            }
            let key = key_text(key)
                .ok_or_else(|| YamlError(format!("yaml: line {line}: a key must be a scalar")))?;
            if map.contains_key(&key) {
                self.duplicates.push(format!("line {line}: key {key:?} already set in map"));
            }
            map.insert(key, value);
        }
        for (source, line) in merged {
            merge_into(&mut map, source, line)?;
        }
        Ok(Value::Object(map))
    }
}

fn unexpected(line: usize) -> YamlError {
    YamlError(format!("yaml: line {line}: unexpected end of the document"))
}

fn merge_into(map: &mut Map<String, Value>, source: Value, line: usize) -> Result<(), YamlError> {
    match source {
        Value::Object(source) => {
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(sources) => {
            sources.into_iter().try_for_each(|source| merge_into(map, source, line))
        }
        _ => Err(YamlError(format!(
            "yaml: line {line}: map merge requires map or sequence of maps as the value"
        ))),
    }
}

fn key_text(key: Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null => Some("null".to_owned()),
        _ => None,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Value {
    match tag {
        Some("str" | "binary") => return Value::String(text.to_owned()),
        Some(_) => {}
        None if style != ScalarStyle::Plain => return Value::String(text.to_owned()),
        None => {}
    }
    plain(text)
}

/// What an unquoted scalar is, by the rules of YAML 1.1 as Go's yaml reads them; a lone `y` or `n`
/// stays a string, as people mean it.
#[must_use]
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && let Some(number) = number(text)
    {
        return Value::Number(number);
    }
    Value::String(text.to_owned())
}

fn number(text: &str) -> Option<Number> {
    let digits = text.replace('_', "");
    let (negative, body) = match digits.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let radix = |prefix: &[&str], radix| {
        let rest = prefix.iter().find_map(|prefix| body.strip_prefix(prefix))?;
        if rest.starts_with(['+', '-']) { None } else { u64::from_str_radix(rest, radix).ok() }
    };
    let magnitude = if body.len() > 1
        && body.bytes().all(|byte| byte.is_ascii_digit())
        && body.starts_with('0')
    {
        u64::from_str_radix(body, 8).ok()
    } else {
        radix(&["0x", "0X"], 16)
            .or_else(|| radix(&["0b", "0B"], 2))
            .or_else(|| radix(&["0o", "0O"], 8))
            .or_else(|| {
                if body.bytes().all(|byte| byte.is_ascii_digit()) {
                    body.parse().ok()
                } else {
                    None
                }
            })
    };
    if let Some(magnitude) = magnitude {
        if !negative {
            return Some(magnitude.into());
        }
        if let Ok(value) = i64::try_from(-i128::from(magnitude)) {
            return Some(value.into());
        }
    }
    is_float(body).then(|| digits.parse::<f64>().ok().and_then(go_number)).flatten()
}

/// `[0-9]+(\.[0-9]*)?` or `\.[0-9]+`, with an exponent or without.
fn is_float(body: &str) -> bool {
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent_ok
}

/// A float as Go prints it: whole numbers without a point.
#[must_use]
pub fn go_number(float: f64) -> Option<Number> {
    if float.fract() == 0.0 && float.abs() < 9.0e15 {
        return Some((float as i64).into());
    }
    Number::from_f64(float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(text: &str, expected: Value) {
        assert_eq!(parse(text.as_bytes()).unwrap().value, expected, "{text}");
    }

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        check("yes", json!(true));
        check("'yes'", json!("yes"));
        check("0644", json!(420));
        check("0o644", json!(420));
        check("0x1F", json!(31));
        check("-3", json!(-3));
        check("1e3", json!(1000));
        check("1.50", json!(1.5));
        check("1.2.3", json!("1.2.3"));
        check("2001-01-01", json!("2001-01-01"));
        check("12345678901234567890", json!(12_345_678_901_234_567_890_u64));
        check("100m", json!("100m"));
        check("!!str 5", json!("5"));
        check("~", Value::Null);
        check("09", json!(9));
    }

    #[test]
    fn maps_lists_anchors_and_merges() {
        check("a: 1\nb: [x, {c: d}]\n1: z\n", json!({"a": 1, "b": ["x", {"c": "d"}], "1": "z"}));
        check(
            "base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\n",
            json!({"base": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}),
        );
        check("a: |\n  line\n  two\n", json!({"a": "line\ntwo\n"}));
        check("", Value::Null);
    }

    #[test]
    fn documents_are_split_and_duplicates_found() {
        let all = parse_all(b"a: 1\n---\n# nothing\n---\nb: 2\nb: 3\n").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].value, json!({"b": 3}));
        assert_eq!(all[1].duplicates, ["line 6: key \"b\" already set in map"]);
    }

    #[test]
    fn bombs_and_nonsense_are_errors() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let item = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![item; 10].join(",")));
        }
        assert!(parse(bomb.as_bytes()).unwrap_err().to_string().contains("excessive aliasing"));
        assert!(parse("[".repeat(10_000).as_bytes()).is_err());
        assert!(parse(b"a: [1").is_err());
        assert!(parse(b"a: b: c").is_err());
        assert!(parse(b"\xff").is_err());
    }
}
