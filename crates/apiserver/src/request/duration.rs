//! Durations as Go writes them (`1m30s`), with Go's complaints. Pure.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
/// In the words of Go's `time.ParseDuration`. A negative duration counts as none.
pub(crate) fn go_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (is_negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter| !is_number(letter)).unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit_len = rest.find(is_number).unwrap_or(rest.len());
        let unit = match &rest[..unit_len] {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            unknown => return Err(format!("time: unknown unit {unknown:?} in duration {text:?}")),
        };
        seconds += number * unit;
        rest = &rest[unit_len..];
    }
    // Go counts nanoseconds in 63 bits.
    if seconds > i64::MAX as f64 / 1e9 {
        return Err(invalid());
    }
    let seconds = if is_negative { 0.0 } else { seconds };
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        let check = |text: &str, expected: Result<u64, &str>| {
            let got = go_duration(text).map(|one| u64::try_from(one.as_millis()).unwrap());
            assert_eq!(got, expected.map_err(str::to_owned), "{text}");
        };
        check("1m30s", Ok(90_000));
        check("32ms", Ok(32));
        check("1.5h", Ok(5_400_000));
        check("0", Ok(0));
        check("-3s", Ok(0));
        check("", Err("time: invalid duration \"\""));
        check("x", Err("time: invalid duration \"x\""));
        check("5", Err("time: missing unit in duration \"5\""));
        check("5x", Err("time: unknown unit \"x\" in duration \"5x\""));
        check("1.2.3s", Err("time: invalid duration \"1.2.3s\""));
        check("9999999999h", Err("time: invalid duration \"9999999999h\""));
    }
}
