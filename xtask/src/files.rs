//! Habits that a program can check in every source file: it opens with `//!`, is not too long,
//! belongs to a crate that inherits the lints, and has none of the words that mean unfinished work.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Longest source file, in lines. Tables of cases may be longer: files named `tests.rs`, `cases.rs`
/// and those below a `tests` folder.
const LINES_MAX: usize = 800;

/// What may not stand in the code, with what to do about it.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "finish it, or do not offer it"),
    (concat!("unimple", "mented!("), "finish it, or do not offer it"),
    (concat!("#[ig", "nore"), "a test that does not run is no test"),
    (concat!("thread::sl", "eep"), "wait for the event"),
    (concat!("FIX", "ME"), "mend it, or open an issue"),
];

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "xtask"] {
        let mut files = Vec::new();
        walk(&root.join(folder), &mut files)?;
        for file in files {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            if file.ends_with("Cargo.toml") {
                if text.contains("[package]") && !text.contains("[lints]\nworkspace = true") {
                    found.push(format!("{shown} does not inherit the workspace's lints"));
                }
            } else {
                source(&shown, &text, &mut found);
            }
        }
    }
    Ok(found)
}

fn source(shown: &str, text: &str, found: &mut Vec<String>) {
    let first = text.lines().find(|line| !line.starts_with("#!"));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        found.push(format!("{shown} does not open with //! and what it is"));
    }
    let lines = text.lines().count();
    let cases =
        shown.contains("/tests/") || shown.ends_with("tests.rs") || shown.ends_with("cases.rs");
    if lines > LINES_MAX && !cases {
        found.push(format!("{shown} has {lines} lines; which two things is it?"));
    }
    for (word, advice) in FORBIDDEN {
        if text.contains(word) {
            found.push(format!("{shown} has {word:?}: {advice}"));
        }
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        match name.as_deref() {
            Some("target" | "node_modules" | ".venv") | None => {}
            Some(_) if path.is_dir() => walk(&path, files)?,
            Some(name) if name == "Cargo.toml" || name.ends_with(".rs") => files.push(path),
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: usize) {
        let mut found = Vec::new();
        source("crates/x/src/y.rs", text, &mut found);
        assert_eq!(found.len(), expected, "{found:?}");
    }

    #[test]
    fn each_habit_is_checked() {
        check("//! What it is.\nfn a() {}\n", 0);
        check("fn a() {}\n", 1);
        check(concat!("//! It.\nfn a() { to", "do!() }\n"), 1);
        check(&format!("//! It.\n{}", "x\n".repeat(900)), 1);
    }
}
