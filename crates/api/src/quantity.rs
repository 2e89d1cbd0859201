//! Quantities: `100m`, `1.5Gi`, `12e6`. The number is kept exactly, in billionths; the text that
//! comes out is upstream's canonical form, whatever form came in.
//!
//! The rules are those of apimachinery's `resource.Quantity`: finer than a billionth is rounded
//! away from zero, larger than 2⁶³−1 is capped.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
const MAX: i128 = (i64::MAX as i128) * NANO;

/// In which family of suffixes a quantity was written, and is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `n u m k M G T P E`.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// An exact amount of something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// A text that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the form of a quantity.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number before the suffix is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// A whole number.
    #[must_use]
    pub fn from_int(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::DecimalSi }
    }

    /// A number of thousandths.
    #[must_use]
    pub fn from_milli(value: i64) -> Self {
        Self { nanos: i128::from(value) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// A whole number of bytes, printed with binary suffixes.
    #[must_use]
    pub fn from_bytes(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::BinarySi }
    }

    /// The number, rounded up to a whole one.
    #[must_use]
    pub fn value(self) -> i64 {
        clamp_i64(div_away(self.nanos, NANO))
    }

    /// How often `unit` is in the number, rounded up; a unit that is not above zero counts as 1.
    #[must_use]
    pub fn in_units_of(self, unit: Self) -> i64 {
        let unit = if unit.nanos > 0 { unit.nanos } else { NANO };
        clamp_i64(div_away(self.nanos, unit))
    }

    /// The number in thousandths, rounded up to a whole one.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        clamp_i64(div_away(self.nanos, NANO / 1000))
    }

    /// The nearest floating point number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn sign(self) -> i32 {
        self.nanos.signum() as i32
    }

    /// Whether the number has nothing behind the point.
    #[must_use]
    pub fn is_integer(self) -> bool {
        self.nanos % NANO == 0
    }

    /// In which family of suffixes it is printed.
    #[must_use]
    pub fn format(self) -> Format {
        self.format
    }

    /// The amount times a whole number.
    #[must_use]
    pub fn times(self, factor: i64) -> Self {
        let nanos = self.nanos.saturating_mul(i128::from(factor)).clamp(-MAX, MAX);
        Self { nanos, ..self }
    }

    /// Rounded away from zero to whole thousandths, as upstream rounds the resources of pods.
    #[must_use]
    pub fn round_up_to_milli(self) -> Self {
        let milli = NANO / 1000;
        Self { nanos: div_away(self.nanos, milli) * milli, ..self }
    }

    fn combined(self, other: Self, nanos: i128) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: nanos.clamp(-MAX, MAX), format }
    }
}

fn clamp_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Division that rounds away from zero.
fn div_away(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 { quotient } else { quotient + value.signum() }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.combined(other, self.nanos + other.nanos)
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.combined(other, self.nanos - other.nanos)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self { nanos: -self.nanos, ..self }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        check_suffix_form(suffix)?;
        if number.is_empty() {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Numeric);
        }
        let (format, binary, decimal) = suffix_power(suffix)?;
        let nanos = to_nanos(whole, fraction, binary, decimal);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

/// The form that upstream's regular expression asks of a suffix.
fn check_suffix_form(suffix: &str) -> Result<(), QuantityError> {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if rest.bytes().all(|byte| byte.is_ascii_digit()) { Ok(()) } else { Err(QuantityError::Format) }
}

/// The format of a suffix and its power of two and of ten.
fn suffix_power(suffix: &str) -> Result<(Format, u32, i32), QuantityError> {
    let (binary, decimal) = match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        other => {
            let exponent = other.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
            let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
            return Ok((Format::DecimalExponent, 0, exponent.clamp(-1000, 1000)));
        }
    };
    let format = if binary > 0 { Format::BinarySi } else { Format::DecimalSi };
    Ok((format, binary, decimal))
}

/// `WHOLE.FRACTION` × 2^binary × 10^decimal in billionths, rounded up, capped.
fn to_nanos(whole: &str, fraction: &str, binary: u32, decimal: i32) -> i128 {
    const DIGITS: u32 = 19;
    let mut mantissa: i128 = 0;
    let mut taken = 0;
    let mut exponent = decimal + 9 - i32::try_from(fraction.len()).unwrap_or(i32::MAX / 2);
    let mut rest = false;
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| i128::from(byte - b'0')) {
        if taken < DIGITS {
            mantissa = mantissa * 10 + digit;
            taken += u32::from(mantissa > 0);
        } else {
            rest |= digit != 0;
            exponent = exponent.saturating_add(1);
        }
    }
    if mantissa == 0 {
        return 0;
    }
    // 19 digits times 2^60 is below 2^124.
    mantissa <<= binary;
    let nanos = if exponent >= 0 {
        10i128
            .checked_pow(exponent.unsigned_abs())
            .and_then(|power| mantissa.checked_mul(power))
            .map(|nanos| nanos.saturating_add(i128::from(rest)))
    } else {
        match 10i128.checked_pow(exponent.unsigned_abs()) {
            Some(power) => Some(div_away(mantissa, power).max(1)),
            None => Some(1),
        }
    };
    nanos.unwrap_or(MAX).min(MAX)
}

/// The canonical form: no fraction, no digit lost, the largest suffix that allows it.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.is_integer() {
            let mut value = self.nanos / NANO;
            let mut power = 0;
            while value % 1024 == 0 && power < 6 {
                value /= 1024;
                power += 1;
            }
            return write!(f, "{value}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let mut value = self.nanos;
        let mut exponent: i32 = -9;
        while value % 10 == 0 {
            value /= 10;
            exponent += 1;
        }
        while exponent.rem_euclid(3) != 0 {
            value *= 10;
            exponent -= 1;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 {
                write!(f, "{value}")
            } else {
                write!(f, "{value}e{exponent}")
            };
        }
        let suffix = match exponent {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            0 => "",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            18 => "E",
            more => return write!(f, "{value}e{more}"),
        };
        write!(f, "{value}{suffix}")
    }
}

/// The canonical form of a quantity's text; borrowed when it is canonical already.
///
/// # Errors
/// When the text is no quantity.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, QuantityError> {
    let trimmed = text.trim();
    // The two commonest canonical forms are told without arithmetic: `100m`, `5`.
    let digits = trimmed.strip_suffix('m').unwrap_or(trimmed).as_bytes();
    let plain = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let ends_in_thousand = digits.ends_with(b"000");
    if plain && digits[0] != b'0' && !ends_in_thousand {
        return Ok(Cow::Borrowed(trimmed));
    }
    let made = trimmed.parse::<Quantity>()?.to_string();
    Ok(if made == text { Cow::Borrowed(text) } else { Cow::Owned(made) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let quantity: Quantity = input.parse().unwrap();
        assert_eq!(quantity.to_string(), expected, "{input}");
        assert_eq!(canonical(input).unwrap(), expected, "{input}");
        assert_eq!(expected.parse::<Quantity>().unwrap(), quantity, "{input}");
    }

    #[test]
    fn canonical_forms_are_upstreams() {
        for (input, expected) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("100m", "100m"),
            ("2000", "2k"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1536Mi", "1536Mi"),
            ("12e6", "12e6"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("10e2", "1e3"),
            ("1500e-3", "1500e-3"),
            ("0.0000000001", "1n"),
            ("100000000000000000000", "9223372036854775807"),
            ("-1.5", "-1500m"),
            ("+5", "5"),
            ("007", "7"),
            ("1Ei", "1Ei"),
            ("123456789012345678", "123456789012345678"),
        ] {
            check(input, expected);
        }
    }

    #[test]
    fn bad_texts_get_upstreams_errors() {
        for (input, error) in [
            ("", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1.1.1", QuantityError::Format),
            ("1 ", QuantityError::Format),
            ("1kb", QuantityError::Format),
            (".", QuantityError::Numeric),
            ("1mm", QuantityError::Suffix),
            ("1i", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
        ] {
            assert_eq!(input.parse::<Quantity>().unwrap_err(), error, "{input}");
        }
    }

    #[test]
    fn arithmetic_is_exact_and_rounds_up() {
        let q = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!((q("100m") + q("900m")).to_string(), "1");
        assert_eq!((q("0") + q("1Gi") + q("1Gi")).to_string(), "2Gi");
        assert_eq!((q("1") - q("1500m")).to_string(), "-500m");
        assert_eq!(q("1001m").value(), 2);
        assert_eq!(q("-1001m").value(), -2);
        assert_eq!(q("1.0001").milli_value(), 1001);
        assert_eq!(q("1500m").in_units_of(q("1")), 2);
        assert_eq!(q("100Mi").in_units_of(q("1Mi")), 100);
        assert_eq!(q("5").in_units_of(q("0")), 5);
        assert_eq!(q("250m").times(3).to_string(), "750m");
        assert!(q("1Gi") > q("1G"));
    }
}
