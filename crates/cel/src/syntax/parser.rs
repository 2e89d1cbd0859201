//! Tokens into a tree.
//!
//! Texts of problems are those of cel-go, whose parser is made by ANTLR: a token that is one too
//! many is `extraneous`, one that fits nowhere `mismatched`, and after a problem nothing more is
//! said until a token fits again. Nesting and chains are limited, so that the passes after this
//! one may recurse.

use super::ast::{Call, Expr, Id, Kind, Literal, Select, ops};
use super::lexer::{self, Spanned, Token};
use super::macros;
use super::source::{CompileError, Issue, NO_POSITION, Source};

/// How deep expressions nest, and how long a chain of operators or selections may be.
const DEPTH_MAX: usize = 250;

/// How many code points an expression has at most.
const CODE_POINTS_MAX: usize = 100_000;

/// How many nodes an expression has at most once its macros are expanded. A macro that copies its
/// target doubles what is nested in it; upstream has no such limit and needs none at its sizes.
const NODES_MAX: usize = 200_000;

/// How strongly comparisons bind; sums and products bind more strongly, one by one.
const RELATION: u8 = 1;

/// A parsed expression.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) source: Source,
    pub(crate) root: Expr,
    /// Where each id stands in the text.
    pub(crate) positions: Vec<u32>,
}

/// Parsing ends here: a limit was passed.
pub(super) struct Stop;

pub(super) type Step<T> = Result<T, Stop>;

/// Parses an expression; `bind` is whether `cel.bind` is a macro.
///
/// # Errors
/// All syntax errors found.
pub(crate) fn parse(text: &str, bind: bool) -> Result<Parsed, CompileError> {
    let source = Source::new(text);
    let size = source.chars().len();
    if size > CODE_POINTS_MAX {
        let message = format!(
            "expression code point size exceeds limit: size: {size}, limit {CODE_POINTS_MAX}"
        );
        return Err(CompileError::new(&source, vec![Issue { position: NO_POSITION, message }]));
    }
    let (tokens, issues) = lexer::tokens(&source);
    let mut parser = Parser {
        source: &source,
        tokens,
        at: 0,
        issues,
        positions: vec![0],
        nesting: 0,
        chain: 0,
        recovering: false,
        also: &[],
        bind,
    };
    let root = parser.start();
    let (issues, positions) = (parser.issues, parser.positions);
    match root {
        Ok(root) if issues.is_empty() => Ok(Parsed { source, root, positions }),
        _ => Err(CompileError::new(&source, issues)),
    }
}

pub(super) struct Parser<'a> {
    source: &'a Source,
    tokens: Vec<Spanned>,
    pub(super) at: usize,
    issues: Vec<Issue>,
    positions: Vec<u32>,
    /// How many expressions are open.
    nesting: usize,
    /// How many operators, selections and calls are open.
    chain: usize,
    pub(super) recovering: bool,
    /// What may stand here beside an expression.
    pub(super) also: &'static [&'static str],
    /// Whether `cel.bind` is a macro.
    pub(super) bind: bool,
}

impl Parser<'_> {
    fn start(&mut self) -> Step<Expr> {
        let root = self.expr()?;
        if self.peek().token != Token::End {
            let next_is_end = self.peek_at(1).token == Token::End;
            let word = if next_is_end { "extraneous" } else { "mismatched" };
            self.unexpected(word, "<EOF>");
        }
        Ok(root)
    }

    pub(super) fn peek(&self) -> Spanned {
        self.tokens[self.at]
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Spanned {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    pub(super) fn text(&self, token: Spanned) -> String {
        self.source.chars()[token.start as usize..token.end as usize].iter().collect()
    }

    fn shown(&self, token: Spanned) -> String {
        if token.token == Token::End {
            return "<EOF>".to_owned();
        }
        lexer::shown(&self.text(token))
    }

    pub(super) fn advance(&mut self) -> Spanned {
        let token = self.peek();
        if token.token != Token::End {
            self.at += 1;
        }
        self.recovering = false;
        self.also = &[];
        token
    }

    pub(super) fn is(&self, symbol: &str) -> bool {
        matches!(self.peek().token, Token::Symbol(found) if found == symbol)
    }

    pub(super) fn accept(&mut self, symbol: &str) -> Option<Spanned> {
        self.is(symbol).then(|| self.advance())
    }

    fn syntax(&mut self, position: u32, message: String) {
        if !self.recovering {
            self.recovering = true;
            self.issues.push(Issue { position, message: format!("Syntax error: {message}") });
        }
    }

    pub(super) fn unexpected(&mut self, word: &str, expected: &str) {
        let token = self.peek();
        let message = format!("{word} input '{}' expecting {expected}", self.shown(token));
        self.syntax(token.start, message);
    }

    pub(super) fn report(&mut self, position: u32, message: impl Into<String>) -> Expr {
        self.issues.push(Issue { position, message: message.into() });
        self.node(position, Kind::Invalid)
    }

    /// A closing symbol, or a problem.
    pub(super) fn expect(&mut self, symbol: &'static str, expected: &str) {
        if self.accept(symbol).is_some() {
            return;
        }
        if matches!(self.peek_at(1).token, Token::Symbol(found) if found == symbol) {
            self.unexpected("extraneous", expected);
            self.at += 1;
            self.advance();
        } else if matches!(symbol, ")") || symbol == "]" && expected == "']'" {
            let token = self.peek();
            let message = format!("missing '{symbol}' at '{}'", self.shown(token));
            self.syntax(token.start, message);
        } else {
            self.unexpected("mismatched", expected);
        }
    }

    pub(super) fn id(&mut self, position: u32) -> Id {
        let id = Id::try_from(self.positions.len()).expect("nodes are counted before they pass");
        self.positions.push(position);
        id
    }

    pub(super) fn position(&self, id: Id) -> u32 {
        self.positions[id as usize]
    }

    pub(super) fn node(&mut self, position: u32, kind: Kind) -> Expr {
        Expr { id: self.id(position), kind }
    }

    /// Room for `more` nodes, or the end.
    pub(super) fn grow(&mut self, more: usize) -> Step<()> {
        if self.positions.len() + more > NODES_MAX {
            return self.limit(format!("expression node limit exceeded: {NODES_MAX}"));
        }
        Ok(())
    }

    fn limit<T>(&mut self, message: String) -> Step<T> {
        self.issues.push(Issue { position: NO_POSITION, message });
        Err(Stop)
    }

    fn link(&mut self) -> Step<()> {
        self.chain += 1;
        if self.chain > DEPTH_MAX {
            return self.limit(format!("expression recursion limit exceeded: {DEPTH_MAX}"));
        }
        Ok(())
    }

    pub(super) fn expr(&mut self) -> Step<Expr> {
        self.nesting += 1;
        if self.nesting > DEPTH_MAX {
            return self.limit(format!("expression recursion limit exceeded: {DEPTH_MAX}"));
        }
        self.grow(0)?;
        let mut result = self.logical(ops::OR)?;
        if let Some(op) = self.accept("?") {
            let yes = self.logical(ops::OR)?;
            self.expect(":", "':'");
            let no = self.expr()?;
            result = self.call(op.start, ops::CONDITIONAL, vec![result, yes, no]);
        }
        self.nesting -= 1;
        Ok(result)
    }

    pub(super) fn call(&mut self, position: u32, function: &str, args: Vec<Expr>) -> Expr {
        let call = Call { function: function.into(), target: None, args };
        self.node(position, Kind::Call(Box::new(call)))
    }

    /// `a || b || c` or `a && b && c`, as a balanced tree.
    fn logical(&mut self, function: &'static str) -> Step<Expr> {
        let symbol = if function == ops::OR { "||" } else { "&&" };
        let first = self.term(function)?;
        if !self.is(symbol) {
            return Ok(first);
        }
        let mut terms = vec![Some(first)];
        let mut positions = Vec::new();
        while let Some(op) = self.accept(symbol) {
            positions.push(op.start);
            let term = self.term(function)?;
            terms.push(Some(term));
        }
        Ok(self.balance(function, &mut terms, &positions))
    }

    fn term(&mut self, function: &'static str) -> Step<Expr> {
        if function == ops::OR { self.logical(ops::AND) } else { self.climb(RELATION) }
    }

    fn balance(
        &mut self,
        function: &'static str,
        terms: &mut [Option<Expr>],
        operators: &[u32],
    ) -> Expr {
        if operators.is_empty() {
            return terms[0].take().expect("each term is taken once");
        }
        let middle = operators.len() / 2;
        let (left, right) = terms.split_at_mut(middle + 1);
        let left = self.balance(function, left, &operators[..middle]);
        let right = self.balance(function, right, &operators[middle + 1..]);
        self.call(operators[middle], function, vec![left, right])
    }

    /// Operators that bind at least as strongly as `least`, from left to right.
    fn climb(&mut self, least: u8) -> Step<Expr> {
        let before = self.chain;
        let mut left = self.unary()?;
        while let Some((function, strength)) = self.operator(least) {
            self.link()?;
            let op = self.advance();
            let right = self.climb(strength + 1)?;
            left = self.call(op.start, function, vec![left, right]);
        }
        self.chain = before;
        Ok(left)
    }

    fn operator(&self, least: u8) -> Option<(&'static str, u8)> {
        let Token::Symbol(symbol) = self.peek().token else {
            return None;
        };
        let found = match symbol {
            "<" => (ops::LESS, RELATION),
            "<=" => (ops::LESS_EQUALS, RELATION),
            ">=" => (ops::GREATER_EQUALS, RELATION),
            ">" => (ops::GREATER, RELATION),
            "==" => (ops::EQUALS, RELATION),
            "!=" => (ops::NOT_EQUALS, RELATION),
            "in" => (ops::IN, RELATION),
            "+" => (ops::ADD, RELATION + 1),
            "-" => (ops::SUBTRACT, RELATION + 1),
            "*" => (ops::MULTIPLY, RELATION + 2),
            "/" => (ops::DIVIDE, RELATION + 2),
            "%" => (ops::MODULO, RELATION + 2),
            _ => return None,
        };
        (found.1 >= least).then_some(found)
    }

    pub(super) fn unary(&mut self) -> Step<Expr> {
        let symbol = if self.is("!") {
            "!"
        } else if self.is("-") && !matches!(self.peek_at(1).token, Token::Int | Token::Float) {
            "-"
        } else {
            return self.member();
        };
        let first = self.peek();
        let mut count = 0;
        while self.accept(symbol).is_some() {
            count += 1;
        }
        let operand = self.member()?;
        if count % 2 == 0 {
            return Ok(operand);
        }
        let function = if symbol == "!" { ops::NOT } else { ops::NEGATE };
        Ok(self.call(first.start, function, vec![operand]))
    }

    fn member(&mut self) -> Step<Expr> {
        let before = self.chain;
        let mut operand = self.primary()?;
        loop {
            if self.is(".") {
                self.link()?;
                let Some(next) = self.select(operand)? else {
                    self.chain = before;
                    return Ok(self.node(self.peek().start, Kind::Invalid));
                };
                operand = next;
            } else if self.is("[") {
                self.link()?;
                let open = self.advance();
                let optional = self.accept("?").is_some();
                let index = self.expr()?;
                self.expect("]", "']'");
                let function = if optional { ops::OPT_INDEX } else { ops::INDEX };
                operand = self.call(open.start, function, vec![operand, index]);
            } else {
                self.chain = before;
                return Ok(operand);
            }
        }
    }

    /// `.field`, `.?field` or `.method(…)` after an operand; nothing when no name follows.
    fn select(&mut self, operand: Expr) -> Step<Option<Expr>> {
        let dot = self.advance();
        let optional = self.accept("?").is_some();
        let name = self.peek();
        match name.token {
            Token::Ident | Token::EscapedIdent => self.advance(),
            Token::Symbol(word @ ("true" | "false" | "null")) => {
                let message = format!("mismatched input '{word}' expecting IDENTIFIER");
                self.syntax(name.start, message);
                return Ok(None);
            }
            _ => {
                let ahead = if name.token == Token::End { String::new() } else { self.text(name) };
                let dot = if optional { ".?" } else { "." };
                let message =
                    format!("no viable alternative at input '{dot}{}'", lexer::shown(&ahead));
                self.syntax(name.start, message);
                return Ok(None);
            }
        };
        let field = self.name(name);
        if optional {
            let field = Literal::String(field.as_str().into());
            let field = self.node(name.start, Kind::Literal(field));
            return Ok(Some(self.call(dot.start, ops::OPT_SELECT, vec![operand, field])));
        }
        if name.token == Token::Ident && self.is("(") {
            let open = self.advance();
            let args = self.args()?;
            return self.receiver_call(open.start, &field, operand, args).map(Some);
        }
        let select = Select { operand, field: field.into(), test_only: false };
        Ok(Some(self.node(dot.start, Kind::Select(Box::new(select)))))
    }

    pub(super) fn name(&self, token: Spanned) -> String {
        let text = self.text(token);
        if token.token == Token::EscapedIdent { text.trim_matches('`').to_owned() } else { text }
    }

    pub(super) fn args(&mut self) -> Step<Vec<Expr>> {
        let mut args = Vec::new();
        if self.accept(")").is_some() {
            return Ok(args);
        }
        self.also = &["')'"];
        loop {
            args.push(self.expr()?);
            if self.accept(",").is_none() {
                break;
            }
        }
        self.expect(")", "')'");
        Ok(args)
    }

    fn receiver_call(
        &mut self,
        position: u32,
        function: &str,
        target: Expr,
        args: Vec<Expr>,
    ) -> Step<Expr> {
        match macros::receiver(self, position, function, target, args)? {
            Ok(expanded) => Ok(expanded),
            Err((target, args)) => {
                let call = Call { function: function.into(), target: Some(target), args };
                Ok(self.node(position, Kind::Call(Box::new(call))))
            }
        }
    }
}
