//! `fieldPath`: `.spec.ports['a.b']`, relative to the rule's place, of fields and map keys only.

use serde_json::Value as Json;

/// The path as errors show it, if it leads somewhere in the schema.
///
/// # Errors
/// Why it does not.
pub(super) fn normalized(path: &str, schema: &Json) -> Result<String, String> {
    field_of_path(path, schema).map(|(normalized, _)| normalized)
}

/// The path as errors show it, and the schema of the field that it leads to.
///
/// # Errors
/// Why it leads nowhere.
pub fn field_of_path<'s>(path: &str, schema: &'s Json) -> Result<(String, &'s Json), String> {
    let mut out = String::new();
    let mut at = schema;
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let name;
        match first {
            '.' => {
                let end = rest[1..].find(['.', '[', ']']).map_or(rest.len(), |end| end + 1);
                name = rest[1..end].to_owned();
                rest = &rest[end..];
                if name.is_empty() {
                    return Err("unexpected end of JSON path".to_owned());
                }
            }
            '[' => {
                let (quoted, tail) = quoted(&rest[1..])?;
                name = quoted;
                rest = tail;
            }
            _ => return Err(format!("expected [ or . but got: {rest}")),
        }
        at = step(at, &name, &mut out)?;
    }
    Ok((out, at))
}

fn step<'s>(schema: &'s Json, name: &str, out: &mut String) -> Result<&'s Json, String> {
    const NOWHERE: &str = "does not refer to a valid field";
    if let Some(properties) = schema.get("properties") {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(name);
        return properties.get(name).ok_or_else(|| NOWHERE.to_owned());
    }
    match schema.get("additionalProperties") {
        Some(value @ Json::Object(_)) => {
            out.push_str(&format!("[{name}]"));
            Ok(value)
        }
        _ => Err(NOWHERE.to_owned()),
    }
}

/// The text between single quotes and the bracket behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.char_indices();
    if chars.next().map(|(_, char)| char) != Some('\'') {
        return Err(format!("expected single quoted string but got {text}"));
    }
    let mut out = String::new();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => {
                let rest = &text[at + 1..];
                return match rest.strip_prefix(']') {
                    Some(rest) => Ok((out, rest)),
                    None => Err(format!("expected ] but got {rest}")),
                };
            }
            '\\' => out.push(match chars.next().map(|(_, char)| char) {
                Some('a') => '\u{7}',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('v') => '\u{b}',
                Some(same @ ('\'' | '\\')) => same,
                _ => return Err("invalid string literal".to_owned()),
            }),
            other => out.push(other),
        }
    }
    Err("unexpected end of JSON path".to_owned())
}
