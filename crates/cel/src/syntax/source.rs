//! The text of an expression, and the problems found in it, printed as cel-go prints them:
//! `ERROR: <input>:1:7: …`, the line, and a caret below the place.

use std::fmt;

/// A line longer than this is not shown with a problem.
const SNIPPET_BYTES_MAX: usize = 16_384;

/// How many problems are told of one expression.
const ISSUES_MAX: usize = 100;

/// The place of a problem that has none in the text.
pub(crate) const NO_POSITION: u32 = u32::MAX;

/// An expression's text, in code points.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    chars: Vec<char>,
    /// Where each line starts.
    lines: Vec<u32>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut lines = vec![0];
        for (index, char) in chars.iter().enumerate() {
            if *char == '\n' {
                lines.push(u32::try_from(index + 1).unwrap_or(NO_POSITION));
            }
        }
        Self { chars, lines }
    }

    pub(crate) fn chars(&self) -> &[char] {
        &self.chars
    }

    /// Line, from 1, and column, from 0.
    fn locate(&self, position: u32) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= position);
        let start = self.lines[line.saturating_sub(1)];
        (line, (position - start) as usize)
    }

    fn line(&self, line: usize) -> String {
        let start = self.lines[line - 1] as usize;
        self.chars[start..].iter().take_while(|char| **char != '\n').collect()
    }
}

/// A problem in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) position: u32,
    pub(crate) message: String,
}

/// What is wrong with an expression: what a compiler found before anything was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CompileError {
    text: String,
    messages: Vec<String>,
}

impl CompileError {
    /// The problems as lines, in the order of their places.
    pub(crate) fn new(source: &Source, mut issues: Vec<Issue>) -> Self {
        let more = issues.len().saturating_sub(ISSUES_MAX);
        issues.truncate(ISSUES_MAX);
        // No place sorts first, as line -1 does.
        issues.sort_by_key(|issue| issue.position.wrapping_add(1));
        let mut lines: Vec<String> =
            issues.iter().map(|issue| Shown { source, issue }.to_string()).collect();
        if more > 0 {
            lines.push(format!("{more} more errors were truncated"));
        }
        let messages = issues.into_iter().map(|issue| issue.message).collect();
        Self { text: lines.join("\n"), messages }
    }

    /// A problem of the expression as a whole, without a place.
    #[must_use]
    pub fn whole(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { text: message.clone(), messages: vec![message] }
    }

    /// The problems, without their places.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

struct Shown<'a> {
    source: &'a Source,
    issue: &'a Issue,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Issue { position, message } = self.issue;
        if *position == NO_POSITION {
            return write!(f, "ERROR: <input>:-1:0: {message}");
        }
        let (line, column) = self.source.locate(*position);
        write!(f, "ERROR: <input>:{line}:{}: {message}", column + 1)?;
        let text = self.source.line(line).replace('\t', " ");
        if text.len() > SNIPPET_BYTES_MAX {
            return Ok(());
        }
        write!(f, "\n | {text}\n | ")?;
        let mut chars = text.chars();
        for char in chars.by_ref().take(column) {
            f.write_str(if char.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
        }
        let wide = chars.next().is_some_and(|char| char.len_utf8() > 1);
        f.write_str(if wide { "\u{ff3e}" } else { "^" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_show_their_line_and_a_caret() {
        let source = Source::new("1 +\n\tx");
        let issue = Issue { position: 5, message: "no".to_owned() };
        assert_eq!(
            CompileError::new(&source, vec![issue]).to_string(),
            "ERROR: <input>:2:2: no\n |  x\n | .^"
        );
        let source = Source::new("é😁");
        let issue = Issue { position: 1, message: "no".to_owned() };
        assert_eq!(
            CompileError::new(&source, vec![issue]).to_string(),
            "ERROR: <input>:1:2: no\n | é😁\n | ．＾"
        );
    }
}
