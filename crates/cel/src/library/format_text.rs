//! `'%d of %s'.format([…])`.

use super::{Context, convert};
use crate::error::EvalError;
use crate::types::Type;
use crate::value::{List, Value};

/// How many digits stand behind the point unless a clause says so.
const PRECISION: usize = 6;

/// How many digits a clause may ask for. Upstream has no limit in this version of the library;
/// a number has no more digits than these.
const PRECISION_MAX: usize = 1_100;

const STRING: &str = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
const DECIMAL: &str = "decimal clause can only be used on integers";
const FIXED: &str = "fixed-point clause can only be used on doubles";
const SCIENTIFIC: &str = "scientific clause can only be used on doubles";
const BINARY: &str = "only integers and bools can be formatted as binary";
const HEX: &str = "only integers, byte buffers, and strings can be formatted as hex";
const OCTAL: &str = "octal clause can only be used on integers";

/// A part of a format: what stands before it, and what it wants.
enum Part {
    Text(char),
    Clause(char, Option<usize>),
}

/// The parts of a format.
fn parts(text: &str) -> impl Iterator<Item = Result<Part, EvalError>> {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        let char = chars.next()?;
        if char != '%' || chars.next_if_eq(&'%').is_some() {
            return Some(Ok(Part::Text(char)));
        }
        let Some(first) = chars.next() else {
            return Some(Err(EvalError::new("unexpected end of string")));
        };
        if first != '.' {
            return Some(Ok(Part::Clause(first, None)));
        }
        let mut digits = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        Some(read_precision(&digits).and_then(|precision| {
            let clause = chars.next().ok_or_else(|| {
                parse_problem(
                    "error while parsing precision: could not find end of precision specifier",
                )
            })?;
            Ok(Part::Clause(clause, Some(precision)))
        }))
    })
}

fn missing(index: usize) -> EvalError {
    EvalError::new(format!("index {index} out of range"))
}

/// Puts the arguments into the text.
///
/// # Errors
/// When a clause is none, or does not fit its argument.
pub(super) fn format(
    context: &Context<'_>,
    text: &str,
    args: &List<'_>,
) -> Result<String, EvalError> {
    let mut out = String::with_capacity(text.len());
    let mut next = 0;
    for part in parts(text) {
        match part? {
            Part::Text(char) => out.push(char),
            Part::Clause(clause, precision) => {
                let arg = args.get(next)?.ok_or_else(|| missing(next))?;
                next += 1;
                out.push_str(&one(clause, precision, &arg)?);
                context.room_for_text(out.len() as u64)?;
            }
        }
    }
    Ok(out)
}

/// What is wrong with a format whose arguments have these types, and with which of them.
pub(crate) fn problem(text: &str, args: &[&Type]) -> Option<(Option<usize>, String)> {
    let mut next = 0;
    for part in parts(text) {
        let clause = match part {
            Ok(Part::Text(_)) => continue,
            Ok(Part::Clause(clause, _)) => clause,
            Err(error) => return Some((None, error.to_string())),
        };
        let Some(ty) = args.get(next) else {
            return Some((None, missing(next).to_string()));
        };
        if let Err(error) = one_of_type(clause, ty) {
            return Some((Some(next), error.to_string()));
        }
        next += 1;
    }
    (args.len() > next).then(|| {
        let given = args.len();
        (
            None,
            format!("too many arguments supplied to string.format (expected {next}, got {given})"),
        )
    })
}

fn one_of_type(clause: char, ty: &Type) -> Result<(), EvalError> {
    let (fits, what) = match clause {
        's' => (!matches!(ty, Type::Struct(_) | Type::Opaque(..)), STRING),
        'd' => (matches!(ty, Type::Int | Type::Uint), DECIMAL),
        'f' => (matches!(ty, Type::Double | Type::String), FIXED),
        'e' => (matches!(ty, Type::Double | Type::String), SCIENTIFIC),
        'b' => (matches!(ty, Type::Int | Type::Uint | Type::Bool), BINARY),
        'x' | 'X' => (matches!(ty, Type::Int | Type::Uint | Type::String | Type::Bytes), HEX),
        'o' => (matches!(ty, Type::Int | Type::Uint), OCTAL),
        other => return Err(parse_problem(&format!("unrecognized formatting clause \"{other}\""))),
    };
    if fits || ty.is_dyn() {
        return Ok(());
    }
    Err(EvalError::new(format!("error during formatting: {what}, was given {}", ty.name())))
}

fn parse_problem(why: &str) -> EvalError {
    EvalError::new(format!("could not parse formatting clause: {why}"))
}

fn read_precision(digits: &str) -> Result<usize, EvalError> {
    let precision: usize = digits.parse().map_err(|_| {
        parse_problem(&format!(
            "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {digits:?}: invalid syntax"
        ))
    })?;
    if precision > PRECISION_MAX {
        return Err(parse_problem(&format!(
            "error while parsing precision: precision {precision} exceeds maximum allowed precision {PRECISION_MAX}"
        )));
    }
    Ok(precision)
}

fn refused<T>(what: &str, arg: &Value<'_>) -> Result<T, EvalError> {
    let ty = arg.type_of();
    Err(EvalError::new(format!("error during formatting: {what}, was given {}", ty.name())))
}

fn one(clause: char, precision: Option<usize>, arg: &Value<'_>) -> Result<String, EvalError> {
    match clause {
        's' => plain(arg),
        'd' => match arg {
            Value::Int(value) => Ok(value.to_string()),
            Value::Uint(value) => Ok(value.to_string()),
            _ => refused(DECIMAL, arg),
        },
        'f' => match double(arg) {
            Some(value) => Ok(fixed(value, precision.unwrap_or(PRECISION))),
            None => refused(FIXED, arg),
        },
        'e' => match double(arg) {
            Some(value) => Ok(scientific(value, precision.unwrap_or(PRECISION))),
            None => refused(SCIENTIFIC, arg),
        },
        'b' => match arg {
            Value::Int(value) => Ok(signed(*value, |value| format!("{value:b}"))),
            Value::Uint(value) => Ok(format!("{value:b}")),
            Value::Bool(value) => Ok(u8::from(*value).to_string()),
            _ => refused(BINARY, arg),
        },
        'x' | 'X' => {
            let text = hex(arg)?;
            Ok(if clause == 'X' { text.to_uppercase() } else { text })
        }
        'o' => match arg {
            Value::Int(value) => Ok(signed(*value, |value| format!("{value:o}"))),
            Value::Uint(value) => Ok(format!("{value:o}")),
            _ => refused(OCTAL, arg),
        },
        other => Err(parse_problem(&format!("unrecognized formatting clause \"{other}\""))),
    }
}

fn signed(value: i64, write: fn(u64) -> String) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", write(value.unsigned_abs()))
}

fn hex(arg: &Value<'_>) -> Result<String, EvalError> {
    let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match arg {
        Value::String(text) => Ok(bytes(text.as_bytes())),
        Value::Bytes(of) => Ok(bytes(of)),
        Value::Int(value) => Ok(signed(*value, |value| format!("{value:x}"))),
        Value::Uint(value) => Ok(format!("{value:x}")),
        _ => refused(HEX, arg),
    }
}

fn double(arg: &Value<'_>) -> Option<f64> {
    match arg {
        Value::Double(value) => Some(*value),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        return Some("NaN");
    }
    value.is_infinite().then_some(if value > 0.0 { "∞" } else { "-∞" })
}

/// With groups of three, as the English that upstream prints with has them.
fn fixed(value: f64, precision: usize) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let plain = format!("{value:.precision$}");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

fn scientific(value: f64, precision: usize) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let plain = format!("{value:.precision$e}");
    let (digits, exponent) = plain.split_once('e').expect("this form has an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    // Upstream writes the power of ten out.
    let power: String = format!("{exponent:0>2}").chars().map(superscript).collect();
    format!("{digits}×10{}{power}", if sign == '-' { "⁻" } else { "" })
}

fn superscript(digit: char) -> char {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    digit.to_digit(10).map_or(digit, |digit| DIGITS[digit as usize])
}

fn plain(arg: &Value<'_>) -> Result<String, EvalError> {
    match arg {
        Value::Null => Ok("null".to_owned()),
        Value::Type(ty) => Ok(ty.name().to_owned()),
        Value::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::List(list) => {
            let parts: Result<Vec<String>, _> = list.iter().map(|item| literal(&item?)).collect();
            Ok(format!("[{}]", parts?.join(", ")))
        }
        Value::Map(map) => {
            let mut parts = Vec::new();
            for (key, value) in map.entries()? {
                parts.push(format!("{}:{}", literal(&key)?, literal(&value)?));
            }
            parts.sort();
            Ok(format!("{{{}}}", parts.join(", ")))
        }
        Value::Opaque(_) | Value::Optional(_) | Value::Variables => refused(STRING, arg),
        other => Ok(convert::display(other)),
    }
}

/// A value inside a list or a map, as the language would write it.
fn literal(value: &Value<'_>) -> Result<String, EvalError> {
    match value {
        Value::String(text) => Ok(format!("{:?}", &**text)),
        Value::Bytes(bytes) => Ok(format!("b{:?}", String::from_utf8_lossy(bytes))),
        Value::Double(value) if value.is_nan() => Ok("\"NaN\"".to_owned()),
        Value::Double(value) if value.is_infinite() => {
            Ok(if *value > 0.0 { "\"+Inf\"" } else { "\"-Inf\"" }.to_owned())
        }
        Value::Double(value) => Ok(format!("{value:.PRECISION$}")),
        Value::Timestamp(_) => Ok(format!("timestamp({:?})", convert::display(value))),
        Value::Duration(_) => Ok(format!("duration({:?})", convert::display(value))),
        other => plain(other),
    }
}
