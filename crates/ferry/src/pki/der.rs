//! The few forms of DER that a certificate is made of. (ITU-T X.690)

/// Tags, with the bit of constructed values where they have one.
pub(super) mod tag {
    pub(in super::super) const BOOLEAN: u8 = 0x01;
    pub(in super::super) const INTEGER: u8 = 0x02;
    pub(in super::super) const BIT_STRING: u8 = 0x03;
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    pub(in super::super) const NULL: u8 = 0x05;
    pub(in super::super) const OID: u8 = 0x06;
    pub(in super::super) const UTC_TIME: u8 = 0x17;
    pub(in super::super) const GENERALIZED_TIME: u8 = 0x18;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    /// `[0]` of a structure, explicit.
    pub(in super::super) const CONTEXT_0: u8 = 0xa0;
    /// `[3]` of a structure, explicit.
    pub(in super::super) const CONTEXT_3: u8 = 0xa3;
    /// `[0]` of a primitive value, implicit.
    pub(in super::super) const IMPLICIT_0: u8 = 0x80;
}

/// A value with its tag and length.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=127 => out.push(u8::try_from(short).expect("below 128")),
        long => {
            let bytes = long.to_be_bytes();
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
            let bytes = &bytes[first..];
            out.push(0x80 | u8::try_from(bytes.len()).expect("at most eight"));
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A sequence of finished values.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(tag::SEQUENCE, &parts.concat())
}

/// An object identifier.
pub(super) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    let [first, second, rest @ ..] = arcs else { return value(tag::OID, &content) };
    for arc in std::iter::once(first * 40 + second).chain(rest.iter().copied()) {
        let mut groups = vec![(arc & 0x7f) as u8];
        let mut left = arc >> 7;
        while left > 0 {
            groups.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        groups.reverse();
        content.extend(groups);
    }
    value(tag::OID, &content)
}

/// A moment, in seconds since 1970: with two digits of the year before 2050. (RFC 5280, 4.1.2.5)
pub(super) fn time(at: base::clock::Timestamp) -> Vec<u8> {
    let text = base::clock::rfc3339_seconds(at);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if ("1950".."2050").contains(&&digits[..4]) {
        value(tag::UTC_TIME, format!("{}Z", &digits[2..]).as_bytes())
    } else {
        value(tag::GENERALIZED_TIME, format!("{digits}Z").as_bytes())
    }
}

/// A bit string of these bits, the first the most significant; trailing zeros are left out, as DER
/// wants for named bits.
pub(super) fn named_bits(bits: &[bool]) -> Vec<u8> {
    let len = bits.iter().rposition(|bit| *bit).map_or(0, |last| last + 1);
    let mut content = vec![u8::try_from((8 - len % 8) % 8).expect("below eight")];
    for chunk in bits[..len].chunks(8) {
        let byte = chunk.iter().enumerate().fold(
            0_u8,
            |byte, (at, bit)| {
                if *bit { byte | 0x80 >> at } else { byte }
            },
        );
        content.push(byte);
    }
    value(tag::BIT_STRING, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_identifiers_bits_and_times() {
        assert_eq!(value(tag::NULL, &[]), [5, 0]);
        assert_eq!(value(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(value(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(
            oid(&[1, 2, 840, 10045, 4, 3, 2]),
            [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]
        );
        // digitalSignature and keyEncipherment.
        assert_eq!(named_bits(&[true, false, true]), [3, 2, 5, 0xa0]);
        assert_eq!(named_bits(&[false]), [3, 1, 0]);
        let at = |text: &str| time(text.parse().unwrap());
        assert_eq!(at("2026-01-02T03:04:05Z"), [&[0x17, 13][..], b"260102030405Z"].concat());
        assert_eq!(at("2050-01-02T03:04:05Z"), [&[0x18, 15][..], b"20500102030405Z"].concat());
    }
}
