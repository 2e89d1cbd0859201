//! What verbs say on standard output.
//!
//! A reader may have had enough (`ferry get pods -w | head -1`): then the program ends quietly, as
//! every other does that the signal SIGPIPE ends. A program in Rust ignores that signal, and the
//! standard library's `println!` panics instead.

use std::fmt::Arguments;
use std::io::{self, Write};

/// What a shell shows of a program that SIGPIPE ended.
const ENDED_BY_SIGPIPE: i32 = 141;

/// Standard output. Its writes succeed, or the program ends.
#[derive(Debug, Clone, Copy)]
pub struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(io::stdout().write(bytes).unwrap_or_else(|error| end(&error)))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().unwrap_or_else(|error| end(&error));
        Ok(())
    }
}

/// Writes to standard output; ends the program when nobody reads it, or when it takes nothing.
pub fn write(text: Arguments<'_>) {
    io::stdout().write_fmt(text).unwrap_or_else(|error| end(&error));
}

fn end(error: &io::Error) -> ! {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(ENDED_BY_SIGPIPE);
    }
    eprintln!("error: cannot write to standard output: {error}");
    std::process::exit(1);
}

/// As `print!`, by [`write`].
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::out::write(format_args!($($text)*)) };
}

/// As `println!`, by [`write`].
#[macro_export]
macro_rules! outln {
    () => { $crate::out::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($text)*))) };
}
