//! A container's log, in the CRI log format.
//!
//! A line is `TIME STREAM TAG TEXT`: RFC 3339 with nanoseconds, `stdout` or `stderr`, `F` for the
//! end of a line and `P` for what no newline follows: a piece of a line that was longer than 16 KiB,
//! and the last words of a stream that ends without one, as containerd has it. Invariant: what is in the
//! file is whole lines, also across rotation; a full disk loses lines, never blocks the container.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest text of one log line.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Which of a container's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// The log of one container.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    /// None when it could not be opened; the container runs on without a log.
    file: Option<File>,
    /// The unfinished lines of both streams.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Reused for formatting.
    out: Vec<u8>,
}

impl Log {
    /// Opens a log for appending, with its folders.
    pub(crate) fn open(path: &Path) -> Self {
        let mut log = Self {
            path: path.to_owned(),
            file: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            out: Vec::new(),
        };
        if let Some(folder) = path.parent() {
            // A folder that cannot be made shows as a file that cannot be opened.
            drop(std::fs::create_dir_all(folder));
        }
        drop(log.reopen());
        log
    }

    /// Opens the path anew, after the file was moved away.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        let opened = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?;
        self.file = Some(opened);
        Ok(())
    }

    /// Takes bytes of a stream and writes the lines that they complete.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: &str) {
        let line = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        split(line, bytes, |tag, text| format_line(&mut self.out, now, stream, tag, text));
        self.flush();
    }

    /// Writes what is left of a stream that has ended.
    pub(crate) fn finish(&mut self, stream: Stream, now: &str) {
        let line = match stream {
            Stream::Stdout => std::mem::take(&mut self.stdout),
            Stream::Stderr => std::mem::take(&mut self.stderr),
        };
        if !line.is_empty() {
            format_line(&mut self.out, now, stream, 'P', &line);
        }
        self.flush();
    }

    fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            // A full disk must not stop the container; the lines are lost.
            drop(file.write_all(&self.out));
        }
        self.out.clear();
        // A burst must not stay in the shim's memory for ever.
        self.out.shrink_to(TEXT_BYTES_MAX);
    }
}

/// Appends bytes to an unfinished line and hands out each line or piece that is complete.
fn split(line: &mut Vec<u8>, bytes: &[u8], mut each: impl FnMut(char, &[u8])) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let room = TEXT_BYTES_MAX - line.len();
        let end = rest.iter().take(room + 1).position(|&byte| byte == b'\n');
        if let Some(end) = end {
            if line.is_empty() {
                each('F', &rest[..end]);
            } else {
                line.extend_from_slice(&rest[..end]);
                each('F', line);
                line.clear();
            }
            rest = &rest[end + 1..];
        } else if rest.len() > room {
            line.extend_from_slice(&rest[..room]);
            each('P', line);
            line.clear();
            rest = &rest[room..];
        } else {
            line.extend_from_slice(rest);
            rest = &[];
        }
    }
}

fn format_line(out: &mut Vec<u8>, now: &str, stream: Stream, tag: char, text: &[u8]) {
    out.extend_from_slice(now.as_bytes());
    out.push(b' ');
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(&[b' ', tag as u8, b' ']);
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], expected: &[(char, usize)]) {
        let (mut line, mut got) = (Vec::new(), Vec::new());
        for chunk in chunks {
            split(&mut line, chunk, |tag, text| got.push((tag, text.len())));
        }
        got.push(('-', line.len()));
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_are_cut_at_newlines_and_at_16_kib() {
        check(&[b"one\ntw", b"o\n\nrest"], &[('F', 3), ('F', 3), ('F', 0), ('-', 4)]);
        let long = vec![b'x'; TEXT_BYTES_MAX * 2 + 5];
        check(&[&long, b"\n"], &[('P', TEXT_BYTES_MAX), ('P', TEXT_BYTES_MAX), ('F', 5), ('-', 0)]);
        let exact = vec![b'x'; TEXT_BYTES_MAX];
        check(&[&exact, b"\n"], &[('F', TEXT_BYTES_MAX), ('-', 0)]);
    }

    #[test]
    fn the_file_holds_the_cri_form_and_survives_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod/c/0.log");
        let mut log = Log::open(&path);
        log.write(Stream::Stdout, b"hello\nwor", "T1");
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        log.reopen().unwrap();
        log.write(Stream::Stderr, b"oops\n", "T2");
        log.finish(Stream::Stdout, "T3");
        let old = std::fs::read_to_string(folder.path().join("old")).unwrap();
        assert_eq!(old, "T1 stdout F hello\n");
        let new = std::fs::read_to_string(&path).unwrap();
        assert_eq!(new, "T2 stderr F oops\nT3 stdout P wor\n");
    }
}
