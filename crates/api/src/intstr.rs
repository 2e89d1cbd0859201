//! `IntOrString`: a number, or a string such as `25%`.

use serde_json::Value;

/// Either of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A string: a port's name, a percentage.
    String(String),
}

impl IntOrString {
    /// Reads it from JSON; `None` when the value is neither.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_i64()?.try_into().ok().map(Self::Int),
            Value::String(text) => Some(Self::String(text.clone())),
            _ => None,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Int(number) => (*number).into(),
            Self::String(text) => text.as_str().into(),
        }
    }

    /// The number, or `total` × the percentage, rounded up or down; `None` for a string that is no
    /// percentage.
    #[must_use]
    pub fn scaled(&self, total: i64, round_up: bool) -> Option<i64> {
        match self {
            Self::Int(number) => Some(i64::from(*number)),
            Self::String(text) => {
                let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
                let product = percent.checked_mul(total)?;
                Some(if round_up { -(-product).div_euclid(100) } else { product.div_euclid(100) })
            }
        }
    }
}

impl std::fmt::Display for IntOrString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_scale() {
        let percent = IntOrString::String("25%".into());
        assert_eq!(percent.scaled(10, true), Some(3));
        assert_eq!(percent.scaled(10, false), Some(2));
        assert_eq!(IntOrString::Int(4).scaled(10, true), Some(4));
        assert_eq!(IntOrString::String("http".into()).scaled(10, true), None);
    }
}
