//! Prefixes of ordered keys: where a prefix ends, and which of many prefixes a key has.
//!
//! Pure. Invariant: string order is byte order, which UTF-8 keeps.

use std::collections::BTreeMap;
use std::ops::Bound;

/// The first string after every string that starts with `prefix`; `None` when there is none.
pub(super) fn end(prefix: &str) -> Option<String> {
    let mut rest = prefix.to_owned();
    while let Some(last) = rest.pop() {
        if let Some(next) = next_char(last) {
            rest.push(next);
            return Some(rest);
        }
    }
    None
}

fn next_char(c: char) -> Option<char> {
    // Looks more than once only at U+D7FF, which the surrogates follow: they are not characters.
    (u32::from(c) + 1..=u32::from(char::MAX)).find_map(char::from_u32)
}

/// Whether a lower bound is not above an upper one: `BTreeMap::range` panics if it is.
pub(super) fn is_ordered(lower: Bound<&str>, upper: Bound<&str>) -> bool {
    match (lower, upper) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Excluded(a), Bound::Excluded(b)) => a < b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            a <= b
        }
    }
}

/// Calls `found` for every entry whose key is a prefix of `key`, the longest first. It costs a few
/// look-ups however many entries there are.
pub(super) fn each_prefix_of<V>(
    map: &mut BTreeMap<Box<str>, V>,
    key: &str,
    mut found: impl FnMut(&mut V),
) {
    let mut bound = key;
    loop {
        // The greatest entry up to `bound` either is a prefix of it, or no prefix of it is longer
        // than what the two have in common.
        let mut below = map.range_mut::<str, _>((Bound::Unbounded, Bound::Included(bound)));
        let Some((candidate, value)) = below.next_back() else { return };
        let common = common_len(bound, candidate);
        if common < candidate.len() {
            bound = &bound[..common];
            continue;
        }
        found(value);
        match bound[..common].char_indices().next_back() {
            Some((last, _)) => bound = &bound[..last],
            None => return,
        }
    }
}

/// The length of the longest common prefix, at a character boundary of both.
fn common_len(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    (0..=same).rev().find(|&at| a.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        for (prefix, expected) in [
            ("/registry/pods/", Some("/registry/pods0")),
            ("a\u{10FFFF}", Some("b")),
            ("\u{D7FF}", Some("\u{E000}")),
            ("\u{7F}", Some("\u{80}")),
            ("\u{10FFFF}", None),
            ("", None),
        ] {
            assert_eq!(end(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn the_prefixes_of_a_key() {
        fn check(prefixes: &[&str], key: &str, expected: &[&str]) {
            let mut map: BTreeMap<Box<str>, String> =
                prefixes.iter().map(|p| (Box::from(*p), (*p).to_owned())).collect();
            let mut got = Vec::new();
            each_prefix_of(&mut map, key, |value| got.push(value.clone()));
            assert_eq!(got, expected, "{key}");
        }
        let pods =
            ["/r/pods/", "/r/pods/ns1/", "/r/pods/ns10/", "/r/secrets/", "", "/r/pods/ns1/a"];
        check(&pods, "/r/pods/ns1/a", &["/r/pods/ns1/a", "/r/pods/ns1/", "/r/pods/", ""]);
        check(&pods, "/r/pods/ns1/b", &["/r/pods/ns1/", "/r/pods/", ""]);
        check(&pods, "/r/pods/ns10/b", &["/r/pods/ns10/", "/r/pods/", ""]);
        check(&pods, "/r/pods/ns100/b", &["/r/pods/", ""]);
        check(&pods, "/z", &[""]);
        check(&["é", "éa", "è"], "éb", &["é"]);
        check(&[], "x", &[]);
    }
}
