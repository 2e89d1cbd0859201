//! What is wrong with a text that is no JSON, in the words of Go's scanner.

/// The text of a failed read: Go's words where its scanner would have stopped, the reader's own
/// where only it objects (depth).
pub(super) fn describe(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_data() {
        return error.to_string();
    }
    json_syntax_error(bytes).unwrap_or_else(|| error.to_string())
}

/// Go's text for the first syntax error of a JSON text; `None` when there is none.
#[must_use]
pub fn json_syntax_error(bytes: &[u8]) -> Option<String> {
    let mut scanner = Scanner { bytes, at: 0 };
    match scanner.document() {
        Ok(()) => None,
        Err(Stop::End) => Some("unexpected end of JSON input".to_owned()),
        Err(Stop::Depth) => Some("exceeded max depth".to_owned()),
        Err(Stop::At(where_)) => {
            Some(format!("invalid character {} {where_}", quoted(bytes.get(scanner.at).copied())))
        }
    }
}

fn quoted(byte: Option<u8>) -> String {
    match byte {
        Some(b'\'') => r"'\''".to_owned(),
        Some(b'"') => "'\"'".to_owned(),
        Some(byte) if byte.is_ascii_graphic() || byte == b' ' => format!("'{}'", byte as char),
        Some(b'\n') => r"'\n'".to_owned(),
        Some(b'\r') => r"'\r'".to_owned(),
        Some(b'\t') => r"'\t'".to_owned(),
        Some(byte) if byte < 0x80 => format!("'\\x{byte:02x}'"),
        Some(byte) => format!("'{}'", char::from(byte)),
        None => "''".to_owned(),
    }
}

enum Stop {
    End,
    Depth,
    At(&'static str),
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::End)
    }

    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }

    fn document(&mut self) -> Result<(), Stop> {
        // What is open: `{` or `[`. A loop, not recursion: the text decides how deep it goes.
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.space();
            match self.peek()? {
                byte @ (b'{' | b'[') => {
                    self.at += 1;
                    open.push(byte);
                    if open.len() > 10_000 {
                        return Err(Stop::Depth);
                    }
                    self.space();
                    let close = if byte == b'{' { b'}' } else { b']' };
                    if self.peek()? != close {
                        if byte == b'{' {
                            self.key("looking for beginning of object key string")?;
                        }
                        continue;
                    }
                    self.at += 1;
                    open.pop();
                }
                _ => self.scalar()?,
            }
            loop {
                self.space();
                let Some(container) = open.last() else {
                    return if self.at == self.bytes.len() {
                        Ok(())
                    } else {
                        Err(Stop::At("after top-level value"))
                    };
                };
                match (self.peek()?, container) {
                    (b',', b'{') => {
                        self.at += 1;
                        self.space();
                        self.key("looking for beginning of object key string")?;
                        break;
                    }
                    (b',', _) => {
                        self.at += 1;
                        break;
                    }
                    (b'}', b'{') | (b']', b'[') => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, b'{') => return Err(Stop::At("after object key:value pair")),
                    _ => return Err(Stop::At("after array element")),
                }
            }
        }
    }

    fn key(&mut self, otherwise: &'static str) -> Result<(), Stop> {
        if self.peek()? != b'"' {
            return Err(Stop::At(otherwise));
        }
        self.string()?;
        self.space();
        if self.peek()? != b':' {
            return Err(Stop::At("after object key"));
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Stop> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Stop::At("looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Stop> {
        for (index, expected) in word.bytes().enumerate() {
            if self.peek()? != expected {
                return Err(Stop::At(match (word, index) {
                    ("true", 1) => "in literal true (expecting 'r')",
                    ("true", 2) => "in literal true (expecting 'u')",
                    ("true", _) => "in literal true (expecting 'e')",
                    ("false", 1) => "in literal false (expecting 'a')",
                    ("false", 2) => "in literal false (expecting 'l')",
                    ("false", 3) => "in literal false (expecting 's')",
                    ("false", _) => "in literal false (expecting 'e')",
                    (_, 1) => "in literal null (expecting 'u')",
                    _ => "in literal null (expecting 'l')",
                }));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Stop> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.at += 1,
                        b'u' => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek()?.is_ascii_hexdigit() {
                                    return Err(Stop::At("in \\u hexadecimal character escape"));
                                }
                                self.at += 1;
                            }
                        }
                        _ => return Err(Stop::At("in string escape code")),
                    }
                }
                0..0x20 => return Err(Stop::At("in string literal")),
                _ => self.at += 1,
            }
        }
    }

    fn digits(&mut self, otherwise: &'static str) -> Result<(), Stop> {
        if !self.peek()?.is_ascii_digit() {
            return Err(Stop::At(otherwise));
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if self.bytes.get(self.at).is_some_and(|byte| b"eE".contains(byte)) {
            self.at += 1;
            if self.bytes.get(self.at).is_some_and(|byte| b"+-".contains(byte)) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_gos() {
        for (text, expected) in [
            ("hello", "invalid character 'h' looking for beginning of value"),
            ("tru3", "invalid character '3' in literal true (expecting 'e')"),
            ("{\"a\":1", "unexpected end of JSON input"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("", "unexpected end of JSON input"),
        ] {
            assert_eq!(json_syntax_error(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(json_syntax_error(b"{\"a\":[1,-2.5e3,{}],\"b\":\"\\u00e9\"}"), None);
    }
}
