//! Short hashes for names: FNV-1a in 32 bits, written with characters that make no words.
//!
//! Upstream hashes Go's dump of the structure, which nobody outside of Go can repeat; only the
//! form of the result is a promise. We hash the JSON.

/// The hash of a pod template (or any serialized object) and the collisions met so far.
pub(crate) fn template(json: &[u8], collisions: Option<i32>) -> String {
    let mut hash = fnv32a(0x811c_9dc5, json);
    if let Some(collisions) = collisions {
        hash = fnv32a(hash, &collisions.to_le_bytes());
    }
    safe_encode(&hash.to_string())
}

fn fnv32a(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Each byte as one of the characters of generated names. (apimachinery `util/rand`)
fn safe_encode(text: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_is_fnv_and_collisions_change_it() {
        assert_eq!(fnv32a(0x811c_9dc5, b"foobar"), 0xbf9c_f968);
        let plain = template(b"{}", None);
        assert_ne!(plain, template(b"{}", Some(1)));
        assert!((1..=10).contains(&plain.len()));
        assert_eq!(safe_encode("0123456789"), "456789bcdf"[..].to_owned());
    }
}
