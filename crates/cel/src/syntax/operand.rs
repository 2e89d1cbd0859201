//! What operators work on: constants, names, calls, lists, maps, objects, and brackets around an
//! expression.

use std::sync::Arc;

use super::ast::{Expr, FieldInit, Item, Kind, Literal, MapEntry};
use super::lexer::{Spanned, Token};
use super::parser::{Parser, Step};
use super::words::is_reserved;
use super::{literal, macros};

/// What may stand where an expression begins, in the order that messages list it; what does not
/// begin one is listed only where it may stand instead.
const EXPECTED: [&str; 21] = [
    "'['",
    "']'",
    "'{'",
    "'}'",
    "'('",
    "')'",
    "'.'",
    "','",
    "'-'",
    "'!'",
    "'?'",
    "'true'",
    "'false'",
    "'null'",
    "NUM_FLOAT",
    "NUM_INT",
    "NUM_UINT",
    "STRING",
    "BYTES",
    "IDENTIFIER",
    "ESC_IDENTIFIER",
];
const PRIMARY: [&str; 15] = [
    "'['",
    "'{'",
    "'('",
    "'.'",
    "'-'",
    "'!'",
    "'true'",
    "'false'",
    "'null'",
    "NUM_FLOAT",
    "NUM_INT",
    "NUM_UINT",
    "STRING",
    "BYTES",
    "IDENTIFIER",
];

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Step<Expr> {
        let token = self.peek();
        match token.token {
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expr()?;
                self.expect(")", "')'");
                Ok(inner)
            }
            Token::Symbol("[") => self.list(),
            Token::Symbol("{") => self.map(),
            Token::Symbol(".") if self.peek_at(1).token == Token::Ident => self.ident(),
            Token::Ident => self.ident(),
            Token::Symbol("-") if matches!(self.peek_at(1).token, Token::Int | Token::Float) => {
                self.advance();
                Ok(self.constant(token))
            }
            Token::Symbol("true" | "false" | "null")
            | Token::Int
            | Token::Uint
            | Token::Float
            | Token::String
            | Token::Bytes => {
                self.advance();
                Ok(self.constant(token))
            }
            _ => self.no_primary(),
        }
    }

    fn no_primary(&mut self) -> Step<Expr> {
        let expected: Vec<&str> = EXPECTED
            .into_iter()
            .filter(|name| PRIMARY.contains(name) || self.also.contains(name))
            .collect();
        let expected = format!("{{{}}}", expected.join(", "));
        let token = self.peek();
        let next = self.peek_at(1).token;
        let starts = matches!(
            next,
            Token::Symbol("[" | "{" | "(" | "-" | "!" | "true" | "false" | "null" | ".")
                | Token::Int
                | Token::Uint
                | Token::Float
                | Token::String
                | Token::Bytes
                | Token::Ident
        );
        if starts && token.token != Token::End && !self.recovering {
            self.unexpected("extraneous", &expected);
            self.at += 1;
            return self.unary();
        }
        self.unexpected("mismatched", &expected);
        Ok(self.node(token.start, Kind::Invalid))
    }

    /// A name, a call, or an object literal.
    fn ident(&mut self) -> Step<Expr> {
        if let Some(length) = self.struct_name() {
            return self.object(length);
        }
        let dotted = self.accept(".").is_some();
        let token = self.advance();
        let name = self.text(token);
        if is_reserved(name.as_str()) {
            if self.accept("(").is_some() {
                self.args()?;
            }
            return Ok(self.report(token.start, format!("reserved identifier: {name}")));
        }
        let name = if dotted { format!(".{name}") } else { name };
        let Some(open) = self.accept("(") else {
            return Ok(self.node(token.start, Kind::Ident(name.into())));
        };
        let args = self.args()?;
        match macros::global(self, open.start, &name, args) {
            Ok(expanded) => Ok(expanded),
            Err(args) => Ok(self.call(open.start, &name, args)),
        }
    }

    /// How many tokens the type name of an object literal has, if one begins here.
    fn struct_name(&self) -> Option<usize> {
        let mut length = usize::from(self.is("."));
        loop {
            if self.peek_at(length).token != Token::Ident {
                return None;
            }
            length += 1;
            match self.peek_at(length).token {
                Token::Symbol("{") => return Some(length),
                Token::Symbol(".") => length += 1,
                _ => return None,
            }
        }
    }

    fn object(&mut self, length: usize) -> Step<Expr> {
        let mut name = String::new();
        for _ in 0..length {
            let token = self.advance();
            name.push_str(&self.text(token));
        }
        let open = self.advance();
        let mut fields = Vec::new();
        const EXPECTED: &str = "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}";
        while !self.at_end("}", fields.is_empty()) {
            let optional = self.accept("?").is_some();
            let token = self.peek();
            if !matches!(token.token, Token::Ident | Token::EscapedIdent) {
                let next = self.peek_at(1).token;
                if !matches!(next, Token::Ident | Token::EscapedIdent) || self.recovering {
                    self.unexpected("mismatched", EXPECTED);
                    break;
                }
                self.unexpected("extraneous", EXPECTED);
                self.at += 1;
            }
            let token = self.advance();
            let field = self.name(token);
            let colon = self.peek();
            self.expect(":", "':'");
            let value = self.expr()?;
            let id = self.id(colon.start);
            fields.push(FieldInit { id, name: field.into(), value, optional });
            if self.accept(",").is_none() {
                break;
            }
        }
        self.close("}", fields.is_empty());
        Ok(self.node(open.start, Kind::Struct(Arc::from(name), fields)))
    }

    fn at_end(&self, symbol: &str, empty: bool) -> bool {
        self.is(symbol) || empty && self.is(",")
    }

    /// The end of a list, map or object, with a comma in front that may be left out.
    fn close(&mut self, symbol: &'static str, empty: bool) {
        if empty {
            self.accept(",");
        }
        let expected = format!("{{'{symbol}', ','}}");
        self.expect(symbol, &expected);
    }

    fn list(&mut self) -> Step<Expr> {
        let open = self.advance();
        let mut items = Vec::new();
        while !self.at_end("]", items.is_empty()) {
            if items.is_empty() {
                self.also = &["']'", "','", "'?'"];
            }
            let optional = self.accept("?").is_some();
            items.push(Item { value: self.expr()?, optional });
            if self.accept(",").is_none() {
                break;
            }
        }
        self.close("]", items.is_empty());
        Ok(self.node(open.start, Kind::List(items)))
    }

    fn map(&mut self) -> Step<Expr> {
        let open = self.advance();
        let mut entries = Vec::new();
        while !self.at_end("}", entries.is_empty()) {
            if entries.is_empty() {
                self.also = &["'}'", "','", "'?'"];
            }
            let optional = self.accept("?").is_some();
            let key = self.expr()?;
            self.expect(":", "':'");
            let value = self.expr()?;
            entries.push(MapEntry { key, value, optional });
            if self.accept(",").is_none() {
                break;
            }
        }
        self.close("}", entries.is_empty());
        Ok(self.node(open.start, Kind::Map(entries)))
    }

    /// A constant whose first token was taken.
    fn constant(&mut self, first: Spanned) -> Expr {
        let negative = first.token == Token::Symbol("-");
        let token = if negative { self.advance() } else { first };
        let text = self.text(token);
        let value = match token.token {
            Token::Symbol("true") => Ok(Literal::Bool(true)),
            Token::Symbol("false") => Ok(Literal::Bool(false)),
            Token::Symbol("null") => Ok(Literal::Null),
            Token::Int => int(&text, negative).map(Literal::Int).ok_or("invalid int literal"),
            Token::Uint => uint(&text).map(Literal::Uint).ok_or("invalid uint literal"),
            Token::Float => {
                double(&text, negative).map(Literal::Double).ok_or("invalid double literal")
            }
            Token::Bytes => literal::bytes(&text).map(|bytes| Literal::Bytes(bytes.into())),
            _ => literal::string(&text).map(|text| Literal::String(text.into())),
        };
        match value {
            Ok(value) => self.node(first.start, Kind::Literal(value)),
            Err(message) => self.report(first.start, message),
        }
    }
}

fn int(text: &str, negative: bool) -> Option<i64> {
    let (digits, radix) = radix(text);
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

fn uint(text: &str) -> Option<u64> {
    let (digits, radix) = radix(text.trim_end_matches(['u', 'U']));
    u64::from_str_radix(digits, radix).ok()
}

fn radix(text: &str) -> (&str, u32) {
    text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16))
}

fn double(text: &str, negative: bool) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(if negative { -value } else { value })
}
