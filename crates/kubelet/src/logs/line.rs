//! One line of a log in CRI's format, and which lines are asked for. Pure.

use base::clock::Timestamp;

/// A parsed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// When it was written, as it stands there.
    pub(crate) time: &'a str,
    /// `stdout` or `stderr`.
    pub(crate) stream: &'a str,
    /// Whether the text goes on in the next line.
    pub(crate) partial: bool,
    /// The text, with its line end unless it goes on.
    pub(crate) text: &'a [u8],
}

/// Parses one line, with its line end; `None` when it is not in the format.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tags = parts.next()?;
    let text = parts.next()?;
    let partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    let text = if partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
    Some(Line { time, stream, partial, text })
}

/// What of a log is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Go on with what is written later.
    pub(crate) follow: bool,
    /// The last lines only.
    pub(crate) tail: Option<usize>,
    /// Lines from this moment on.
    pub(crate) since: Option<Timestamp>,
    /// Begin each line with its time.
    pub(crate) timestamps: bool,
    /// At most this many bytes.
    pub(crate) limit: Option<usize>,
    /// `stdout` or `stderr` only.
    pub(crate) stream: Option<String>,
}

/// Turns raw lines into what is asked for, and counts bytes.
#[derive(Debug)]
pub(crate) struct Filter {
    wanted: Wanted,
    left: Option<usize>,
    mid_line: bool,
}

impl Filter {
    /// A filter at the beginning of a log.
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { left: wanted.limit, wanted, mid_line: false }
    }

    /// Whether no more bytes are wanted.
    pub(crate) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Adds a raw line's contribution.
    pub(crate) fn push(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let Some(line) = parse(raw) else { return };
        if self.wanted.stream.as_deref().is_some_and(|stream| stream != line.stream) {
            return;
        }
        if let Some(since) = self.wanted.since
            && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return;
        }
        let starts = !std::mem::replace(&mut self.mid_line, line.partial);
        if self.wanted.timestamps && starts {
            self.take(line.time.as_bytes(), out);
            self.take(b" ", out);
        }
        self.take(line.text, out);
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let take = self.left.map_or(bytes.len(), |left| left.min(bytes.len()));
        out.extend_from_slice(&bytes[..take]);
        if let Some(left) = &mut self.left {
            *left -= take;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[&str] = &[
        "2026-01-01T00:00:00.5Z stdout F one\n",
        "2026-01-01T00:00:01Z stderr P tw\n",
        "2026-01-01T00:00:01Z stderr F o\n",
        "2026-01-01T00:00:02Z stdout F three\n",
        "rubbish\n",
    ];

    fn check(wanted: Wanted, expected: &str) {
        let mut filter = Filter::new(wanted);
        let mut out = Vec::new();
        LOG.iter().for_each(|line| filter.push(line.as_bytes(), &mut out));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn lines_come_as_asked_for() {
        check(Wanted::default(), "one\ntwo\nthree\n");
        check(Wanted { limit: Some(5), ..Wanted::default() }, "one\nt");
        check(Wanted { stream: Some("stdout".into()), ..Wanted::default() }, "one\nthree\n");
        check(
            Wanted { since: "2026-01-01T00:00:01Z".parse().ok(), ..Wanted::default() },
            "two\nthree\n",
        );
        check(
            Wanted { timestamps: true, tail: None, ..Wanted::default() },
            "2026-01-01T00:00:00.5Z one\n2026-01-01T00:00:01Z two\n2026-01-01T00:00:02Z three\n",
        );
    }
}
