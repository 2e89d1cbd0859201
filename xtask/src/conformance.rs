//! `docs/conformance.md` says no more than there is: every test that a row names exists, and the
//! sums are those of the rows.
//!
//! That a row's name is the suite's, the replays' runner looks after: it knows the names of its
//! tests. What a test demands, its reader judges. What a suite reported, its runner's report says;
//! `tests/conformance/suite.py` takes it from there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const DOCUMENT: &str = "docs/conformance.md";

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let path = root.join(DOCUMENT);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut found = sums(&text);
    let mut sources = Sources::default();
    for row in rows(&text) {
        if !is_result(row.result) {
            found.push(format!("{DOCUMENT}: {:?} is no result, for {}", row.result, row.test));
        }
        for named in answers(row.result) {
            if !sources.has(root, named)? {
                found.push(format!("{DOCUMENT} names `{named}` for {}: no such test", row.test));
            }
        }
    }
    Ok(found)
}

/// One row of the table of tests.
struct Row<'a> {
    area: &'a str,
    test: &'a str,
    result: &'a str,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let (area, test, result, date) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
    let is_test = test.starts_with("\\[") && date.starts_with("20") && cells.next().is_none();
    is_test.then_some(Row { area, test, result })
}

const OWN: &str = "own equivalent: ";

/// The tests of this repository that a result names.
fn answers(result: &str) -> Vec<&str> {
    let named = result.split("; ").find_map(|part| part.strip_prefix(OWN)).unwrap_or_default();
    named.split('`').skip(1).step_by(2).collect()
}

/// Nothing but `not run`, or what is known, in parts.
fn is_result(result: &str) -> bool {
    let known = |part: &str| matches!(part, "passed" | "failed") || part.starts_with(OWN);
    result == "not run" || result.split("; ").all(known)
}

/// What the rows of an area, or all, come to.
#[derive(Default, Clone, Copy)]
struct Sum {
    passed: usize,
    failed: usize,
    own: usize,
    not_run: usize,
    all: usize,
}

impl Sum {
    fn add(&mut self, result: &str) {
        self.passed += usize::from(result.split("; ").any(|part| part == "passed"));
        self.failed += usize::from(result.split("; ").any(|part| part == "failed"));
        self.own += usize::from(!answers(result).is_empty());
        self.not_run += usize::from(result == "not run");
        self.all += 1;
    }
}

/// The sentence and the table of sums against the rows.
fn sums(text: &str) -> Vec<String> {
    let mut areas: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut whole = Sum::default();
    for row in rows(text) {
        areas.entry(row.area).or_default().add(row.result);
        whole.add(row.result);
    }
    let Sum { passed, failed, own, not_run, all } = whole;
    let mut wanted = vec![format!(
        "{all} tests: {passed} passed, {failed} failed, {own} with an equivalent of our own, \
         {not_run} not run."
    )];
    let (some, none): (Vec<_>, Vec<_>) = areas.iter().partition(|(_, sum)| sum.not_run < sum.all);
    for (area, Sum { passed, failed, own, all, .. }) in some {
        wanted.push(format!("| {area} | {passed} | {failed} | {own} | {all} |"));
    }
    if !none.is_empty() {
        let all: usize = none.iter().map(|(_, sum)| sum.all).sum();
        wanted.push(format!("| the other {} areas | 0 | 0 | 0 | {all} |", none.len()));
    }
    wanted
        .into_iter()
        .filter(|line| !text.lines().any(|own| own == line))
        .map(|line| format!("{DOCUMENT}: by its rows it must say {line:?}"))
        .collect()
}

/// Source text, read once a folder.
#[derive(Default)]
struct Sources {
    read: BTreeMap<String, String>,
}

impl Sources {
    /// Whether `FILE.py::function` or `CRATE::test` exists.
    fn has(&mut self, root: &Path, named: &str) -> Result<bool> {
        let Some((place, test)) = named.split_once("::") else { return Ok(false) };
        let test = test.rsplit("::").next().unwrap_or(test);
        if place.ends_with(".py") {
            let text = fs::read_to_string(root.join(place)).unwrap_or_default();
            return Ok(text.contains(&format!("\ndef {test}(")));
        }
        let folder = if place == "it" { "tests/it".to_owned() } else { format!("crates/{place}") };
        if !self.read.contains_key(&folder) {
            let mut all = String::new();
            gather(&root.join(&folder), &mut all)?;
            self.read.insert(folder.clone(), all);
        }
        Ok(self.read[&folder].contains(&format!("fn {test}(")))
    }
}

fn gather(folder: &Path, all: &mut String) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, all)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(
                &fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?,
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "\
3 tests: 1 passed, 0 failed, 1 with an equivalent of our own, 1 not run.
| watch | 1 | 0 | 1 | 3 |
| watch | \\[sig] one | own equivalent: `a::b`, `c.py::d` | 2026-11-28 |
| watch | \\[sig] two | not run | 2026-11-28 |
| watch | \\[sig] three | passed | 2026-11-28 |
";

    #[test]
    fn sums_are_those_of_the_rows() {
        assert!(sums(ROWS).is_empty(), "{:?}", sums(ROWS));
        let more = ROWS.replace("not run | 2026", "own equivalent: `e::f` | 2026");
        assert_eq!(sums(&more).len(), 2, "{:?}", sums(&more));
        let more = ROWS.replace("not run | 2026", "failed | 2026");
        assert_eq!(sums(&more).len(), 2, "{:?}", sums(&more));
    }

    #[test]
    fn a_result_names_its_tests() {
        assert_eq!(answers(rows(ROWS)[0].result), ["a::b", "c.py::d"]);
        assert_eq!(answers("passed; own equivalent: `a::b`"), ["a::b"]);
        assert!(answers("not run").is_empty());
    }

    #[test]
    fn a_result_is_one_of_few() {
        for good in ["not run", "passed", "failed", "failed; own equivalent: `a::b`"] {
            assert!(is_result(good), "{good}");
        }
        for bad in ["ran", "passed, nearly", "not run; passed"] {
            assert!(!is_result(bad), "{bad}");
        }
    }
}
