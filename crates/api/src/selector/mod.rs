//! Label selectors, in their string form (`app in (a,b),!gone`) and as `LabelSelector` objects,
//! and field selectors (`spec.nodeName=n1,status.phase!=Running`).
//!
//! Grammar and error texts are those of apimachinery's `labels` and `fields`.

mod fields;
mod typed;

use std::fmt;

use serde_json::Value;

use crate::status::{ApiError, ApiResult};

pub use fields::{FieldSelector, FieldTerm};
pub use typed::selects;

/// What a requirement asks of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of these (`=`, `==`, `in`).
    In,
    /// There is no value, or it is none of these (`!=`, `notin`).
    NotIn,
    /// There is a value.
    Exists,
    /// There is no value.
    DoesNotExist,
    /// The value is a number, larger than this.
    GreaterThan,
    /// The value is a number, smaller than this.
    LessThan,
}

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
    /// The values, sorted.
    pub values: Vec<String>,
    /// Whether the requirement was written `key=value`, for printing.
    equals: bool,
}

/// A label selector: all requirements hold. Without requirements it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// Whether a label with this value (or none) is what is asked for.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.iter().any(|v| v == value)),
            Operator::NotIn => !value.is_some_and(|value| self.values.iter().any(|v| v == value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let (Some(value), Some(bound)) =
                    (value.and_then(number), self.values.first().and_then(|text| number(text)))
                else {
                    return false;
                };
                if self.operator == Operator::GreaterThan { value > bound } else { value < bound }
            }
        }
    }
}

impl LabelSelector {
    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The requirements, sorted by key.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Reads the string form.
    ///
    /// # Errors
    /// 400 with upstream's text.
    pub fn parse(text: &str) -> ApiResult<Self> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let mut requirements = parser.requirements().map_err(ApiError::bad_request)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Reads a `LabelSelector` object (`matchLabels`, `matchExpressions`). `null` selects nothing,
    /// an empty object everything, as upstream's `LabelSelectorAsSelector` has it.
    ///
    /// # Errors
    /// 400 when an operator or key is not valid.
    pub fn from_object(selector: &Value) -> ApiResult<Self> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        push_labels(&mut requirements, &selector["matchLabels"]);
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let text = |key: &str| expression[key].as_str().unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let why = format!("{other:?} is not a valid label selector operator");
                    return Err(ApiError::bad_request(why));
                }
            };
            let mut values: Vec<_> = expression["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|value| value.as_str().map(ToOwned::to_owned))
                .collect();
            values.sort();
            let requirement =
                Requirement { key: text("key").to_owned(), operator, values, equals: false };
            check(&requirement).map_err(ApiError::bad_request)?;
            requirements.push(requirement);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Makes a selector of a map of labels (a Service's or ReplicationController's).
    #[must_use]
    pub fn from_map(labels: &Value) -> Self {
        let mut requirements = Vec::new();
        push_labels(&mut requirements, labels);
        Self { requirements, nothing: false }
    }

    /// Whether labels (a JSON object of strings, or `null`) are selected.
    #[must_use]
    pub fn matches(&self, labels: &Value) -> bool {
        self.matches_with(|key| labels.get(key).and_then(Value::as_str))
    }

    /// Whether an object's labels are selected.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_with(|key| crate::object::label(object, key))
    }

    /// Whether what a look-up of labels answers is selected.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing
            && self.requirements.iter().all(|asked| asked.matches(label(asked.key.as_str())))
    }
}

fn push_labels(requirements: &mut Vec<Requirement>, labels: &Value) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        requirements.push(Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.as_str().unwrap_or_default().to_owned()],
            equals: true,
        });
    }
}

/// The string form, as `status.selector` of a scale and `kubectl describe` show it.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::In if self.equals => write!(f, "{key}={values}"),
            Operator::NotIn if self.equals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

const NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alnum = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    alnum(bytes.first())
        && alnum(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn check(requirement: &Requirement) -> Result<(), String> {
    let Requirement { key, operator, values, .. } = requirement;
    let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
    if !is_name(name) {
        return Err(format!("<nil>: Invalid value: {key:?}: {NAME_RULE}"));
    }
    if name.len() > 63 {
        return Err(format!(
            "<nil>: Invalid value: {key:?}: name part must be no more than 63 bytes"
        ));
    }
    if let Some((prefix, _)) = key.rsplit_once('/') {
        let texts = crate::validate::dns1123_subdomain(prefix);
        if let Some(text) = texts.first() {
            return Err(format!("<nil>: Invalid value: {key:?}: prefix part {text}"));
        }
    }
    if let Some((prefix, _)) = key.rsplit_once('/')
        && let Some(text) = crate::validate::dns1123_subdomain(prefix).first()
    {
        return Err(format!("<nil>: Invalid value: {key:?}: prefix part {text}"));
    }
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            return Err(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                    .to_owned(),
            );
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            return Err(format!(
                "values: Invalid value: {values:?}: values set must be empty for exists and does not exist"
            ));
        }
        Operator::GreaterThan | Operator::LessThan
            if values.iter().any(|value| value.parse::<i64>().is_err()) =>
        {
            return Err(format!(
                "values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
                values.first().map(String::as_str).unwrap_or_default()
            ));
        }
        _ => {}
    }
    for value in values {
        if value.len() > 63 {
            return Err(format!(
                "values[0][{key}]: Invalid value: {value:?}: must be no more than 63 bytes"
            ));
        }
        if !value.is_empty() && !is_name(value) {
            return Err(format!("values[0][{key}]: Invalid value: {value:?}: {VALUE_RULE}"));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "=!(),><".contains(c))
                .unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    tokens.push(Token::End);
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if *self.peek() == Token::End {
            return Ok(requirements);
        }
        loop {
            let read = self.requirement().and_then(|made| check(&made).map(|()| made));
            let requirement = read.map_err(|why| format!("unable to parse requirement: {why}"))?;
            requirements.push(requirement);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => {
                    if !matches!(self.peek(), Token::Word(_) | Token::Symbol("!")) {
                        let found = self.peek().shown();
                        return Err(format!("found '{found}', expected: identifier after ','"));
                    }
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',' or 'end of string'",
                        other.shown()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = *self.peek() == Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.shown())),
        };
        let made =
            |operator, values, equals| Requirement { key: key.clone(), operator, values, equals };
        if absent {
            return Ok(made(Operator::DoesNotExist, Vec::new(), false));
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(made(Operator::Exists, Vec::new(), false));
        }
        let operator = self.next();
        match operator {
            Token::Symbol("=" | "==") => Ok(made(Operator::In, vec![self.exact()?], true)),
            Token::Symbol("!=") => Ok(made(Operator::NotIn, vec![self.exact()?], true)),
            Token::Symbol(">") => Ok(made(Operator::GreaterThan, vec![self.exact()?], false)),
            Token::Symbol("<") => Ok(made(Operator::LessThan, vec![self.exact()?], false)),
            Token::Word(word) if word == "in" => Ok(made(Operator::In, self.set()?, false)),
            Token::Word(word) if word == "notin" => Ok(made(Operator::NotIn, self.set()?, false)),
            other => {
                Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.shown()))
            }
        }
    }

    fn exact(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(word) => {
                let word = word.clone();
                self.next();
                Ok(word)
            }
            other => Err(format!("found '{}', expected: identifier", other.shown())),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if self.next() != Token::Symbol("(") {
            let found = self.tokens[self.at.min(self.tokens.len()) - 1].shown();
            return Err(format!("found '{found}', expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(word) => {
                    let word = word.clone();
                    self.next();
                    word
                }
                Token::Symbol("," | ")") => String::new(),
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', ')' or identifier",
                        other.shown()
                    ));
                }
            };
            values.push(value);
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => break,
                other => {
                    return Err(format!("found '{}', expected: ',' or ')'", other.shown()));
                }
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(selector: &str, labels: &Value) -> bool {
        LabelSelector::parse(selector).unwrap().matches(labels)
    }

    #[test]
    fn string_forms_select() {
        let labels = json!({"app": "web", "tier": "front", "n": "5", "empty": ""});
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app == web , tier=front", true),
            ("app!=web", false),
            ("gone!=web", true),
            ("app in (web, db)", true),
            ("app in (db)", false),
            ("app notin (db),tier", true),
            ("!gone", true),
            ("!app", false),
            ("n>4,n<6", true),
            ("n>5", false),
            ("empty=", true),
            ("empty in (,a)", true),
            ("in in (a)", false),
        ] {
            assert_eq!(selects(selector, &labels), expected, "{selector}");
        }
    }

    #[test]
    fn bad_string_forms_are_refused() {
        for selector in [
            "=",
            "app=a,",
            "app in",
            "app in (",
            "app in (a",
            "a b",
            "a=b=c",
            "!",
            "-a=b",
            "a>x",
            "a=b/c",
        ] {
            let error = LabelSelector::parse(selector).unwrap_err();
            assert_eq!(error.code(), 400, "{selector}");
            let of_all = ["app=a,", "a=b=c"].contains(&selector);
            let start = if of_all { "found '" } else { "unable to parse requirement: " };
            assert!(error.to_string().starts_with(start), "{error}");
        }
    }

    #[test]
    fn objects_select_and_print() {
        let selector = LabelSelector::from_object(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]},
                {"key": "x", "operator": "DoesNotExist"}],
        }))
        .unwrap();
        assert_eq!(selector.to_string(), "app=web,tier in (a,b),!x");
        assert!(selector.matches(&json!({"app": "web", "tier": "a"})));
        assert!(!selector.matches(&json!({"app": "web"})));
        assert!(!LabelSelector::from_object(&Value::Null).unwrap().matches(&json!({})));
        assert!(LabelSelector::from_object(&json!({})).unwrap().matches(&Value::Null));
        assert!(
            LabelSelector::from_object(
                &json!({"matchExpressions": [{"key": "a", "operator": "Foo"}]})
            )
            .is_err()
        );
    }
}
