//! Numbers that may be percentages of something.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The number, or the share of `total`, rounded up or down; 0 when the text is no percentage.
pub(crate) fn scaled(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let Some(percent) = text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok())
            else {
                return 0;
            };
            let product = percent * i64::from(total);
            let share =
                if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let check = |text: &str, total, up, expected| {
            assert_eq!(scaled(&IntOrString::String(text.into()), total, up), expected);
        };
        check("25%", 10, true, 3);
        check("25%", 10, false, 2);
        check("0%", 10, true, 0);
        check("100%", 3, false, 3);
        check("x", 3, false, 0);
        assert_eq!(scaled(&IntOrString::Int(4), 100, true), 4);
    }
}
