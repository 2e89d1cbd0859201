//! Text into tokens, by the longest match, as the grammar of cel-go says.

use super::source::{Issue, Source};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// An operator or a bracket, and the words `in`, `true`, `false` and `null`.
    Symbol(&'static str),
    Int,
    Uint,
    Float,
    String,
    Bytes,
    Ident,
    /// A name between backticks.
    EscapedIdent,
    End,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// Two-sign symbols come first, so that the longest matches.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

const WORDS: [&str; 4] = ["in", "true", "false", "null"];

/// All tokens, the last of which is `End`, and what is no token.
pub(crate) fn tokens(source: &Source) -> (Vec<Spanned>, Vec<Issue>) {
    let mut lexer = Lexer { chars: source.chars(), at: 0 };
    let (mut tokens, mut issues) = (Vec::new(), Vec::new());
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        if start >= lexer.chars.len() {
            let end = position(start);
            tokens.push(Spanned { token: Token::End, start: end, end });
            return (tokens, issues);
        }
        match lexer.next() {
            Ok(token) => {
                tokens.push(Spanned { token, start: position(start), end: position(lexer.at) });
            }
            Err(end) => {
                lexer.at = end;
                let text: String = lexer.chars[start..end].iter().collect();
                let message =
                    format!("Syntax error: token recognition error at: '{}'", shown(&text));
                issues.push(Issue { position: position(start), message });
            }
        }
    }
}

fn position(index: usize) -> u32 {
    u32::try_from(index).expect("an expression has at most 100,000 code points")
}

/// How a parser's message writes a part of the text.
pub(crate) fn shown(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip_blank(&mut self) {
        while let Some(char) = self.peek(0) {
            if matches!(char, '\t' | ' ' | '\r' | '\n' | '\u{c}') {
                self.at += 1;
            } else if char == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|char| char != '\n') {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    /// The token here, or the end of what is none.
    fn next(&mut self) -> Result<Token, usize> {
        let char = self.chars[self.at];
        if let Some(quote) = self.literal_quote() {
            return self.string(quote);
        }
        if char.is_ascii_alphabetic() || char == '_' {
            return Ok(self.word());
        }
        if char.is_ascii_digit()
            || char == '.' && self.peek(1).is_some_and(|char| char.is_ascii_digit())
        {
            return Ok(self.number());
        }
        if char == '`' {
            return self.escaped();
        }
        for symbol in SYMBOLS {
            if symbol.chars().enumerate().all(|(index, char)| self.peek(index) == Some(char)) {
                self.at += symbol.len();
                return Ok(Token::Symbol(symbol));
            }
        }
        // A sign that could have begun a longer token takes the one behind it along.
        let length = if matches!(char, '&' | '|' | '=') { 2 } else { 1 };
        Err((self.at + length).min(self.chars.len()))
    }

    fn word(&mut self) -> Token {
        let start = self.at;
        while self.peek(0).is_some_and(|char| char.is_ascii_alphanumeric() || char == '_') {
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        match WORDS.into_iter().find(|word| *word == text) {
            Some(word) => Token::Symbol(word),
            None => Token::Ident,
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek(0).is_some_and(|char| char.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Token {
        if self.peek(0) == Some('0')
            && self.peek(1) == Some('x')
            && self.peek(2).is_some_and(|char| char.is_ascii_hexdigit())
        {
            self.at += 2;
            while self.peek(0).is_some_and(|char| char.is_ascii_hexdigit()) {
                self.at += 1;
            }
            return self.maybe_unsigned();
        }
        let whole = self.digits();
        let mut float = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|char| char.is_ascii_digit()) {
            self.at += 1;
            self.digits();
            float = true;
        }
        let signed = usize::from(matches!(self.peek(1), Some('+' | '-')));
        if matches!(self.peek(0), Some('e' | 'E'))
            && self.peek(1 + signed).is_some_and(|char| char.is_ascii_digit())
        {
            self.at += 1 + signed;
            self.digits();
            float = true;
        }
        if float || whole == 0 { Token::Float } else { self.maybe_unsigned() }
    }

    fn maybe_unsigned(&mut self) -> Token {
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            Token::Uint
        } else {
            Token::Int
        }
    }

    fn escaped(&mut self) -> Result<Token, usize> {
        let mut ahead = 1;
        while self.peek(ahead).is_some_and(|char| {
            char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-' | '/' | ' ')
        }) {
            ahead += 1;
        }
        if ahead > 1 && self.peek(ahead) == Some('`') {
            self.at += ahead + 1;
            return Ok(Token::EscapedIdent);
        }
        Err((self.at + ahead + 1).min(self.chars.len()))
    }

    /// How many signs stand before the quote of a string or bytes literal that starts here, and
    /// whether it is raw and bytes.
    fn literal_quote(&self) -> Option<Opening> {
        let mut opening = Opening { prefix: 0, raw: false, bytes: false };
        if matches!(self.peek(0), Some('b' | 'B')) {
            opening.bytes = true;
            opening.prefix += 1;
        }
        if matches!(self.peek(opening.prefix), Some('r' | 'R')) {
            opening.raw = true;
            opening.prefix += 1;
        }
        matches!(self.peek(opening.prefix), Some('"' | '\'')).then_some(opening)
    }

    fn string(&mut self, opening: Opening) -> Result<Token, usize> {
        let quote = self.chars[self.at + opening.prefix];
        let start = self.at + opening.prefix;
        let quoted =
            |at: usize| self.chars.get(at..at + 3).is_some_and(|three| three == [quote; 3]);
        let triple = quoted(start);
        let mut at = start + if triple { 3 } else { 1 };
        let end = loop {
            match self.chars.get(at) {
                None => break None,
                Some(char) if *char == quote && !triple => break Some(at + 1),
                Some(_) if triple && quoted(at) => break Some(at + 3),
                Some('\n' | '\r') if !triple => break None,
                Some('\\') if !opening.raw => match self.escape_length(at) {
                    Ok(length) => at += length,
                    Err(bad) => {
                        at = bad;
                        break None;
                    }
                },
                Some(_) => at += 1,
            }
        };
        match end {
            Some(end) => {
                self.at = end;
                Ok(if opening.bytes { Token::Bytes } else { Token::String })
            }
            // Two quotes without a third pair are an empty string.
            None if triple => {
                self.at = start + 2;
                Ok(if opening.bytes { Token::Bytes } else { Token::String })
            }
            None if opening.prefix > 0 => Ok(self.word()),
            None => Err((at + 1).min(self.chars.len())),
        }
    }

    /// How long the escape at `at` is; where it goes wrong, if it is none.
    fn escape_length(&self, at: usize) -> Result<usize, usize> {
        let digits = |count: usize, good: fn(char) -> bool| {
            for index in 0..count {
                if !self.chars.get(at + 2 + index).copied().is_some_and(good) {
                    return Err(at + 2 + index);
                }
            }
            Ok(2 + count)
        };
        let hex = |char: char| char.is_ascii_hexdigit();
        match self.chars.get(at + 1) {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => Ok(2),
            Some('x' | 'X') => digits(2, hex),
            Some('u') => digits(4, hex),
            Some('U') => digits(8, hex),
            Some('0'..='3') => digits(2, |char| ('0'..='7').contains(&char)),
            _ => Err(at + 1),
        }
    }
}

#[derive(Clone, Copy)]
struct Opening {
    prefix: usize,
    raw: bool,
    bytes: bool,
}
