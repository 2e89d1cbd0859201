//! YAML in the form in which Go programs write it: keys sorted, lists not indented below their key,
//! quotes only where a plain word would read as something else.

use std::fmt::Write as _;

use serde_json::Value;

/// An object as a YAML document.
#[must_use]
pub fn to_string(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut text, value, 0),
        Value::Array(list) if !list.is_empty() => block(&mut text, value, 0),
        other => {
            scalar(&mut text, other, 0);
            text.push('\n');
        }
    }
    text
}

fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            for (at, (key, value)) in map.iter().enumerate() {
                if at > 0 {
                    pad(text, indent);
                }
                string(text, key, indent, true);
                text.push(':');
                entry(text, value, indent);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    pad(text, indent);
                }
                text.push('-');
                match value {
                    Value::Object(map) if !map.is_empty() => {
                        text.push(' ');
                        block(text, value, indent + 2);
                    }
                    Value::Array(list) if !list.is_empty() => {
                        text.push(' ');
                        block(text, value, indent + 2);
                    }
                    other => {
                        text.push(' ');
                        scalar(text, other, indent);
                        text.push('\n');
                    }
                }
            }
        }
        _ => {}
    }
}

/// What follows a key: on the same line, or below.
fn entry(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            pad(text, indent + 2);
            block(text, value, indent + 2);
        }
        Value::Array(list) if !list.is_empty() => {
            text.push('\n');
            pad(text, indent);
            block(text, value, indent);
        }
        other => {
            text.push(' ');
            scalar(text, other, indent);
            text.push('\n');
        }
    }
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(own) => {
            let _ = write!(text, "{own}");
        }
        Value::Number(own) => {
            let _ = write!(text, "{own}");
        }
        Value::String(own) => string(text, own, indent, false),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

fn string(text: &mut String, own: &str, indent: usize, is_key: bool) {
    if !is_key && own.contains('\n') && is_printable(own) && !own.starts_with([' ', '\n']) {
        return literal(text, own, indent);
    }
    if reads_as_other(own) || !is_printable(own) || own.contains('\n') {
        return double_quoted(text, own);
    }
    if needs_quotes(own) {
        let _ = write!(text, "'{}'", own.replace('\'', "''"));
    } else {
        text.push_str(own);
    }
}

fn literal(text: &mut String, own: &str, indent: usize) {
    let body = own.trim_end_matches('\n');
    let trailing = own.len() - body.len();
    text.push_str(match trailing {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in own.strip_suffix('\n').unwrap_or(own).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            pad(text, indent + 2);
            text.push_str(line);
        }
    }
}

/// Whether a plain word would be read as null, a boolean, a number or a time.
fn reads_as_other(own: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", "yes",
        "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N",
        ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "-.inf", "+.inf", "<<", "=",
    ];
    if WORDS.contains(&own) {
        return true;
    }
    let unsigned = own.strip_prefix(['-', '+']).unwrap_or(own);
    let plain = unsigned.replace('_', "");
    let digits =
        |text: &str, radix: u32| !text.is_empty() && text.chars().all(|own| own.is_digit(radix));
    let starts_as_number = unsigned.starts_with(|own: char| own.is_ascii_digit() || own == '.');
    let is_number = starts_as_number && plain.parse::<f64>().is_ok()
        || plain.strip_prefix("0x").is_some_and(|rest| digits(rest, 16))
        || plain.strip_prefix("0o").is_some_and(|rest| digits(rest, 8))
        || plain.strip_prefix("0b").is_some_and(|rest| digits(rest, 2));
    is_number || is_sexagesimal(unsigned) || is_time(own)
}

/// `1:30`, which YAML 1.1 reads as a number.
fn is_sexagesimal(own: &str) -> bool {
    let mut parts = own.split(':');
    let first = parts.next().unwrap_or_default();
    let mut rest = parts.peekable();
    !first.is_empty()
        && first.chars().all(|own| own.is_ascii_digit())
        && rest.peek().is_some()
        && rest.all(|part| {
            let whole = part.split('.').next().unwrap_or_default();
            whole.len() <= 2 && !whole.is_empty() && whole.parse::<u8>().is_ok_and(|own| own < 60)
        })
}

fn is_time(own: &str) -> bool {
    let bytes = own.as_bytes();
    bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && own.chars().all(|own| own.is_ascii_digit() || "-:.TtZz+ ".contains(own))
}

fn is_printable(own: &str) -> bool {
    own.chars().all(|own| own == '\n' || own == '\t' || !own.is_control())
}

/// Whether the YAML grammar forbids the word to stand plain.
fn needs_quotes(own: &str) -> bool {
    const FIRST: &str = "!&*%@`'\"#,[]{}|>";
    let first = own.chars().next().unwrap_or_default();
    let indicator =
        matches!(first, '-' | '?' | ':') && own[1..].chars().next().is_none_or(|next| next == ' ');
    FIRST.contains(first)
        || indicator
        || own.starts_with([' ', '\t'])
        || own.ends_with([' ', '\t'])
        || own.ends_with(':')
        || own.contains(": ")
        || own.contains(" #")
        || own.contains('\t')
        || own == "---"
        || own == "..."
}

fn double_quoted(text: &mut String, own: &str) {
    text.push('"');
    for character in own.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            '\u{1b}' => text.push_str("\\e"),
            other if other.is_control() => {
                let _ = write!(text, "\\x{:02X}", u32::from(other));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_print_as_go_prints_them() {
        let object = json!({
            "apiVersion": "v1",
            "metadata": {"creationTimestamp": "2026-01-02T03:04:05Z", "labels": {}, "name": "web"},
            "spec": {"containers": [{"args": ["-c", "sleep 1: x"], "name": "a", "port": 80}], "none": []},
        });
        assert_eq!(
            to_string(&object),
            "apiVersion: v1\nmetadata:\n  creationTimestamp: \"2026-01-02T03:04:05Z\"\n  labels: {}\n  \
             name: web\nspec:\n  containers:\n  - args:\n    - -c\n    - 'sleep 1: x'\n    name: a\n    \
             port: 80\n  none: []\n"
        );
    }

    #[test]
    fn words_are_quoted_where_they_would_read_as_something_else() {
        let check = |own: &str, expected: &str| {
            let mut text = String::new();
            string(&mut text, own, 0, false);
            assert_eq!(text, expected);
        };
        check("plain", "plain");
        check("true", "\"true\"");
        check("1", "\"1\"");
        check("1.5e3", "\"1.5e3\"");
        check("1:30", "\"1:30\"");
        check("", "\"\"");
        check("*.x", "'*.x'");
        check("it's", "it's");
        check("'a", "'''a'");
        check("a:b", "a:b");
        check("10.0.0.1", "10.0.0.1");
        check("a\nb\n", "|\n  a\n  b");
        check("a\nb", "|-\n  a\n  b");
        check("100m", "100m");
        check("- a", "'- a'");
        check("-c", "-c");
    }

    #[test]
    fn what_is_printed_reads_back_as_itself() {
        for text in
            ["a: b", "multi\nline\n", "  lead", "tab\there", "#x", "x #y", "é\u{1}", "0x1f", "~"]
        {
            let value = json!({"k": [text, {"n": text}]});
            let printed = to_string(&value);
            let back = crate::yaml::parse_all(printed.as_bytes()).unwrap();
            assert_eq!(back[0].value, value, "{printed}");
        }
    }
}
