//! Field names as identifiers: `a.b` is `a__dot__b`, `namespace` is `__namespace__`.

use crate::syntax::words::is_word;

/// The identifier by which an expression names a field; `None` when it cannot.
#[must_use]
pub fn escape(name: &str) -> Option<String> {
    let first = name.chars().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    if is_word(name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(char) = rest.chars().next() {
        let mut length = char.len_utf8();
        match char {
            '_' if rest.starts_with("__") => {
                out.push_str("__underscores__");
                length = 2;
            }
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => out.push(char),
            _ => return None,
        }
        rest = &rest[length..];
    }
    Some(out)
}

/// The field that an identifier names; `None` when it has an escape that is none.
#[must_use]
pub fn unescape(identifier: &str) -> Option<String> {
    let mut out = String::with_capacity(identifier.len());
    let mut rest = identifier;
    while let Some(at) = rest.find("__") {
        let Some(end) = rest[at + 2..].find("__").filter(|end| *end > 0) else {
            break;
        };
        let word = &rest[at + 2..at + 2 + end];
        out.push_str(&rest[..at]);
        match word {
            "underscores" => out.push_str("__"),
            "dot" => out.push('.'),
            "dash" => out.push('-'),
            "slash" => out.push('/'),
            word if is_word(word) && word.len() + 4 == identifier.len() => {
                out.push_str(word);
            }
            _ => return None,
        }
        rest = &rest[at + end + 4..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_back() {
        for (name, escaped) in [
            ("spec", "spec"),
            ("a.b-c/d", "a__dot__b__dash__c__slash__d"),
            ("namespace", "__namespace__"),
            ("a__b", "a__underscores__b"),
            ("_x", "_x"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(escaped), "{name}");
            assert_eq!(unescape(escaped).as_deref(), Some(name), "{escaped}");
        }
        assert_eq!(escape("1a"), None);
        assert_eq!(escape("a$b"), None);
        assert_eq!(escape(""), None);
        assert_eq!(unescape("a__bogus__b"), None);
    }
}
