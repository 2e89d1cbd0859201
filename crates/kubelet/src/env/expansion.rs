//! `$(NAME)` references in env values, commands, arguments and `subPathExpr`.
//!
//! `$$` is a dollar; a name that is not known stays as it was written. (k8s.io/kubernetes
//! third_party/forked/golang/expansion)

/// Expands the references in `input`; `lookup` knows the names.
pub(crate) fn expand<'a>(input: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(next) = rest.chars().next() else {
            out.push('$');
            return out;
        };
        match next {
            '$' => {
                out.push('$');
                rest = &rest[1..];
            }
            '(' => match rest.find(')') {
                Some(end) => {
                    let name = &rest[1..end];
                    match lookup(name) {
                        Some(value) => out.push_str(value),
                        None => {
                            out.push_str("$(");
                            out.push_str(name);
                            out.push(')');
                        }
                    }
                    rest = &rest[end + 1..];
                }
                None => {
                    out.push_str("$(");
                    rest = &rest[1..];
                }
            },
            other => {
                out.push('$');
                out.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Whether `input` refers to a name that `known` does not know, and to which.
pub(crate) fn first_unknown(input: &str, known: impl Fn(&str) -> bool) -> Option<String> {
    let missing = std::cell::RefCell::new(None);
    expand(input, |name| {
        if !known(name) {
            missing.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        Some("")
    });
    missing.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let got = expand(input, |name| match name {
            "A" => Some("a"),
            "EMPTY" => Some(""),
            "REF" => Some("$(A)"),
            _ => None,
        });
        assert_eq!(got, expected, "{input}");
    }

    #[test]
    fn references_expand_as_upstreams() {
        check("$(A)", "a");
        check("x$(A)y$(A)", "xaya");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$a");
        check("$(UNKNOWN)", "$(UNKNOWN)");
        check("$(REF)", "$(A)");
        check("[$(EMPTY)]", "[]");
        check("$(A", "$(A");
        check("$", "$");
        check("$A", "$A");
        check("50$ $ü", "50$ $ü");
        check("$()", "$()");
    }

    #[test]
    fn the_first_unknown_name_is_found() {
        assert_eq!(first_unknown("$(A)/$(B)", |name| name == "A"), Some("B".into()));
        assert_eq!(first_unknown("$$(B)", |_| false), None);
    }
}
