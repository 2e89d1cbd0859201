//! Reading resource quantities as whole numbers, rounded up, as the node's arithmetic needs them.
//!
//! Invariant: never panics; what is not a quantity reads as `None`. Writing quantities in their
//! canonical form is not needed here: the node writes integers and `Ki` only.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANO: i128 = 1_000_000_000;

/// The quantity in billionths.
fn nano(text: &str) -> Option<i128> {
    let text = text.trim();
    let split = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && "+-".contains(*c))))
        .map_or(text.len(), |(at, _)| at);
    let (number, suffix) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole = whole.trim_start_matches(['+', '-']);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    let (times, power10) = scale(suffix)?;
    let exponent = power10 + 9 - i32::try_from(places).ok()?;
    let scaled = digits.checked_mul(times)?;
    let value = if exponent >= 0 {
        scaled.checked_mul(10i128.checked_pow(exponent.unsigned_abs())?)?
    } else {
        let divisor = 10i128.checked_pow(exponent.unsigned_abs())?;
        // Rounds away from zero, as upstream does below its smallest unit.
        (scaled + divisor - 1) / divisor
    };
    Some(if negative { -value } else { value })
}

/// A suffix as a binary factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        other => {
            let exponent = other.strip_prefix(['e', 'E'])?;
            (1, exponent.parse().ok().filter(|power: &i32| power.abs() <= 18)?)
        }
    })
}

fn ceil(value: i128, unit: i128) -> i64 {
    let up = value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0);
    i64::try_from(up).unwrap_or(if up > 0 { i64::MAX } else { i64::MIN })
}

/// Whole units (bytes, pieces), rounded up.
pub(crate) fn value(quantity: &Quantity) -> Option<i64> {
    nano(&quantity.0).map(|nano| ceil(nano, NANO))
}

/// Thousandths (milli-CPU), rounded up.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    nano(&quantity.0).map(|nano| ceil(nano, NANO / 1000))
}

/// `quantity / divisor`, rounded up; a divisor of 0 or none counts as 1.
pub(crate) fn divided(quantity: &Quantity, divisor: Option<&Quantity>) -> Option<i64> {
    let by = divisor.and_then(|divisor| nano(&divisor.0)).filter(|by| *by > 0).unwrap_or(NANO);
    nano(&quantity.0).map(|nano| ceil(nano, by))
}

/// An integer as a quantity.
pub(crate) fn whole(value: i64) -> Quantity {
    Quantity(value.to_string())
}

/// Thousandths as a quantity, `2` or `1500m`.
pub(crate) fn of_milli(milli: i64) -> Quantity {
    if milli % 1000 == 0 { whole(milli / 1000) } else { Quantity(format!("{milli}m")) }
}

/// Bytes as a quantity: `Ki` where it is whole, bytes otherwise.
pub(crate) fn of_bytes(bytes: i64) -> Quantity {
    if bytes > 0 && bytes % 1024 == 0 {
        Quantity(format!("{}Ki", bytes / 1024))
    } else {
        whole(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_upstreams() {
        for (text, whole, thousandths) in [
            ("100m", Some(1), Some(100)),
            ("2", Some(2), Some(2000)),
            ("1.5", Some(2), Some(1500)),
            ("128Mi", Some(134_217_728), Some(134_217_728_000)),
            ("1e3", Some(1000), Some(1_000_000)),
            ("0.5Ki", Some(512), Some(512_000)),
            ("100n", Some(1), Some(1)),
            ("-1", Some(-1), Some(-1000)),
            ("x", None, None),
            ("", None, None),
        ] {
            let quantity = Quantity(text.into());
            assert_eq!((value(&quantity), milli(&quantity)), (whole, thousandths), "{text}");
        }
        let (limit, mi) = (Quantity("100Mi".into()), Quantity("1Mi".into()));
        assert_eq!(divided(&limit, Some(&mi)), Some(100));
        assert_eq!(divided(&Quantity("1500m".into()), None), Some(2));
    }
}
