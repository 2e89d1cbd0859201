//! Why a pattern is no regular expression, in the words of Go's `regexp`, which authors of
//! definitions know.

/// What is wrong with a pattern.
pub(super) fn problem(pattern: &str) -> Option<String> {
    let Err(error) = regex::Regex::new(pattern) else { return None };
    let text = error.to_string();
    let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    Some(translated(pattern, &text, why).unwrap_or_else(|| why.to_owned()))
}

/// Go's text, for the mistakes that people make.
fn translated(pattern: &str, text: &str, why: &str) -> Option<String> {
    // The parser points below the pattern: four columns of margin, then the place.
    let is_mark = |line: &&str| line.contains('^') && line.chars().all(|one| " ^".contains(one));
    let caret = text.lines().rev().find(is_mark);
    let from = caret.and_then(|line| line.find('^')).and_then(|column| column.checked_sub(4));
    let rest = from.and_then(|from| {
        let (start, _) = pattern.char_indices().nth(from)?;
        Some(&pattern[start..])
    });
    let first = |count: usize| rest.map(|rest| rest.chars().take(count).collect::<String>());
    let (what, part) = if why.starts_with("unclosed group") {
        ("missing closing )", pattern.to_owned())
    } else if why.starts_with("unopened group") {
        ("unexpected )", pattern.to_owned())
    } else if why.starts_with("unclosed character class") {
        ("missing closing ]", rest?.to_owned())
    } else if why.starts_with("look-around") {
        ("invalid or unsupported Perl syntax", first(3)?)
    } else if why.starts_with("repetition operator missing") {
        ("missing argument to repetition operator", first(1)?)
    } else if why.starts_with("unrecognized escape") || why.starts_with("backreferences") {
        ("invalid escape sequence", first(2)?)
    } else if why.starts_with("incomplete escape") {
        ("trailing backslash at end of expression", String::new())
    } else {
        return None;
    };
    Some(format!("error parsing regexp: {what}: `{part}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        let check = |pattern: &str, expected: Option<&str>| {
            let expected = expected.map(|text| format!("error parsing regexp: {text}"));
            assert_eq!(problem(pattern), expected, "{pattern}");
        };
        check("^a+$", None);
        check("(", Some("missing closing ): `(`"));
        check("a)", Some("unexpected ): `a)`"));
        check("x[a", Some("missing closing ]: `[a`"));
        check("^(?!x)", Some("invalid or unsupported Perl syntax: `(?!`"));
        check("*a", Some("missing argument to repetition operator: `*`"));
        check(r"(a)\1", Some(r"invalid escape sequence: `\1`"));
    }
}
