//! What a string or bytes literal says.

/// The text of a string literal.
///
/// # Errors
/// When an escape is no code point.
pub(super) fn string(literal: &str) -> Result<String, &'static str> {
    let bytes = unescape(literal, false)?;
    Ok(String::from_utf8(bytes).expect("a text with code points put in is UTF-8"))
}

/// The bytes of a bytes literal, `b` included.
///
/// # Errors
/// When an escape is not allowed in bytes.
pub(super) fn bytes(literal: &str) -> Result<Vec<u8>, &'static str> {
    unescape(&literal[1..], true)
}

fn unescape(literal: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    // Line ends are `\n` in every literal.
    let literal = literal.replace("\r\n", "\n").replace('\r', "\n");
    let (raw, quoted) = match literal.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, literal.as_str()),
    };
    let triple = quoted.len() >= 6 && (quoted.starts_with("'''") || quoted.starts_with("\"\"\""));
    let quotes = if triple { 3 } else { 1 };
    let inner = &quoted[quotes..quoted.len() - quotes];
    if raw || !inner.contains('\\') {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let length = escape(&rest[at..], bytes, &mut out)?;
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Writes what the escape at the start of `text` means; how long it is.
fn escape(text: &str, bytes: bool, out: &mut Vec<u8>) -> Result<usize, &'static str> {
    const BAD: &str = "unable to unescape string";
    let sign = *text.as_bytes().get(1).ok_or(BAD)?;
    let (digits, radix) = match sign {
        b'x' | b'X' => (2, 16),
        b'u' if !bytes => (4, 16),
        b'U' if !bytes => (8, 16),
        b'0'..=b'3' => (3, 8),
        _ => {
            out.push(match sign {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                b'\\' | b'\'' | b'"' | b'`' | b'?' => sign,
                _ => return Err(BAD),
            });
            return Ok(2);
        }
    };
    let start = if radix == 8 { 1 } else { 2 };
    let code = text.get(start..start + digits).ok_or(BAD)?;
    let code = u32::from_str_radix(code, radix).map_err(|_| BAD)?;
    if bytes {
        out.push(u8::try_from(code).map_err(|_| BAD)?);
    } else {
        let char = char::from_u32(code).ok_or("invalid unicode code point")?;
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(start + digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_mean_what_the_grammar_says() {
        for (literal, text) in [
            (r#""a\n\x41\u00e9\U0001F601\101\?\`""#, "a\nAé😁A?`"),
            (r"r'\n'", r"\n"),
            ("'''it's\r\n'''", "it's\n"),
            (r#""""a"b""""#, "a\"b"),
            ("''", ""),
        ] {
            assert_eq!(string(literal).unwrap(), text, "{literal}");
        }
        assert_eq!(bytes(r#"b"\xffA\377é""#).unwrap(), [0xff, b'A', 0xff, 0xc3, 0xa9]);
        assert_eq!(string(r"'\udead'").unwrap_err(), "invalid unicode code point");
        assert_eq!(bytes(r"b'\u00e9'").unwrap_err(), "unable to unescape string");
    }
}
