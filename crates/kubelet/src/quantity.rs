//! Quantities of objects as the whole numbers that the node's arithmetic needs, and back.
//!
//! Invariant: never panics; what is not a quantity reads as `None`. What a quantity is, and how it is
//! written, is [`api::quantity`]'s.

use api::quantity::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

fn parse(quantity: &Quantity) -> Option<Amount> {
    quantity.0.parse().ok()
}

/// Whole units (bytes, pieces), rounded up.
pub(crate) fn value(quantity: &Quantity) -> Option<i64> {
    parse(quantity).map(Amount::value)
}

/// Thousandths (milli-CPU), rounded up.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    parse(quantity).map(Amount::milli_value)
}

/// `quantity / divisor`, rounded up; a divisor of 0 or none counts as 1.
pub(crate) fn divided(quantity: &Quantity, divisor: Option<&Quantity>) -> Option<i64> {
    let unit = divisor.and_then(parse).unwrap_or(Amount::from_int(1));
    parse(quantity).map(|amount| amount.in_units_of(unit))
}

/// An integer as a quantity.
pub(crate) fn whole(value: i64) -> Quantity {
    Quantity(Amount::from_int(value).to_string())
}

/// Thousandths as a quantity, `2` or `1500m`.
pub(crate) fn of_milli(milli: i64) -> Quantity {
    Quantity(Amount::from_milli(milli).to_string())
}

/// Bytes as a quantity, `16Gi` or `8148020Ki`.
pub(crate) fn of_bytes(bytes: i64) -> Quantity {
    Quantity(Amount::from_bytes(bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_and_write_as_upstreams() {
        for (text, whole, thousandths) in [
            ("100m", Some(1), Some(100)),
            ("128Mi", Some(134_217_728), Some(134_217_728_000)),
            ("x", None, None),
        ] {
            let quantity = Quantity(text.into());
            assert_eq!((value(&quantity), milli(&quantity)), (whole, thousandths), "{text}");
        }
        let (limit, mi) = (Quantity("100Mi".into()), Quantity("1Mi".into()));
        assert_eq!(divided(&limit, Some(&mi)), Some(100));
        assert_eq!(divided(&Quantity("1500m".into()), None), Some(2));
        let written = [whole(5), of_milli(1500), of_bytes(8148020 * 1024), of_bytes(1 << 34)];
        assert_eq!(written.map(|quantity| quantity.0), ["5", "1500m", "8148020Ki", "16Gi"]);
    }
}
