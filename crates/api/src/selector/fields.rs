//! Field selectors, `spec.nodeName=n1,status.phase!=Running`: equality only, with `\\`, `,` and `=`
//! escaped by a backslash.

use std::fmt;

use crate::status::{ApiError, ApiResult};

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field, `metadata.name`.
    pub field: String,
    /// The value that it is compared with.
    pub value: String,
    /// Whether the field must have the value (`=`, `==`) or must not (`!=`).
    pub equal: bool,
}

/// A field selector: all terms hold. Without terms it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Reads the string form.
    ///
    /// # Errors
    /// 400 with upstream's text.
    pub fn parse(text: &str) -> ApiResult<Self> {
        let mut terms = Vec::new();
        for term in split_unescaped(text) {
            if term.is_empty() {
                continue;
            }
            let (field, value, equal) = split_term(term).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ))
            })?;
            let value = unescape(value)
                .ok_or_else(|| ApiError::bad_request(format!("invalid field selector: {text}")))?;
            terms.push(FieldTerm { field: field.to_owned(), value, equal });
        }
        Ok(Self { terms })
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that the selector asks a field to have, if it asks for exactly one.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.field == field)
            .map(|term| term.value.as_str())
    }

    /// Whether what a look-up of fields answers is selected.
    pub fn matches_with(&self, value: impl Fn(&str, &str) -> bool) -> bool {
        self.terms.iter().all(|term| value(&term.field, &term.value) == term.equal)
    }

    /// 400 when a term names a field that the kind does not select by.
    ///
    /// # Errors
    /// 400 with upstream's text.
    pub fn check_fields(&self, known: impl Fn(&str) -> bool) -> ApiResult<()> {
        match self.terms.iter().find(|term| !known(&term.field)) {
            None => Ok(()),
            Some(term) => {
                Err(ApiError::bad_request(format!("field label not supported: {}", term.field)))
            }
        }
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let sign = if term.equal { "=" } else { "!=" };
            let mut value = String::new();
            for c in term.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    value.push('\\');
                }
                value.push(c);
            }
            write!(f, "{comma}{}{sign}{value}", term.field)?;
        }
        Ok(())
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            ',' if !escaped => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => escaped = false,
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(term: &str) -> Option<(&str, &str, bool)> {
    for (index, _) in term.char_indices() {
        let rest = &term[index..];
        for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(sign) {
                return Some((&term[..index], value, equal));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                escaped @ ('\\' | ',' | '=') => out.push(escaped),
                _ => return None,
            },
            ',' | '=' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_selectors_read_match_and_print() {
        let selector = FieldSelector::parse("metadata.name=a,status.phase!=Running").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a"));
        assert_eq!(selector.to_string(), "metadata.name=a,status.phase!=Running");
        assert!(selector.matches_with(|field, value| field == "metadata.name" && value == "a"));
        assert!(FieldSelector::parse("nonsense").is_err());
        assert!(FieldSelector::parse(r"a=b\,c").unwrap().matches_with(|_, value| value == "b,c"));
        assert!(selector.check_fields(|field| field == "metadata.name").is_err());
    }
}
