//! Filters of system calls: Ferry's default one, and profiles from files in Docker's form.
//!
//! A filter compiles to one or more BPF programs that are installed in order. The kernel runs all
//! of them and takes the strictest answer; of equally strict ones that of the program installed
//! last, which is how `ENOSYS` wins over `EPERM` for calls that did not exist when this was
//! written: C libraries then fall back instead of failing.

mod default;
mod file;

use std::collections::{BTreeMap, BTreeSet};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, sock_filter};

use crate::security::Filter;

/// Names and numbers of x86-64's system calls.
const TABLE: &str = include_str!("x86_64.tsv");

/// Rules by system call; no rule means "always".
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn table() -> impl Iterator<Item = (&'static str, i64)> {
    TABLE.lines().filter_map(|line| {
        let (name, number) = line.split_once('\t')?;
        Some((name, number.parse().ok()?))
    })
}

/// The programs of a filter, for a container with these capabilities.
pub(crate) fn compile(
    filter: &Filter,
    capabilities: &BTreeSet<String>,
) -> Result<Vec<BpfProgram>, String> {
    match filter {
        Filter::Unconfined => Ok(Vec::new()),
        Filter::RuntimeDefault => default::compile(capabilities),
        Filter::File(path) => file::compile(path),
    }
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> Result<BpfProgram, String> {
    SeccompFilter::new(rules, otherwise, on_match, TargetArch::x86_64)
        .and_then(TryInto::try_into)
        .map_err(|e| format!("compile the seccomp filter: {e}"))
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// Answers `ENOSYS` to every call that is newer than the table.
fn unknown_is_enosys() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_GREATER: u16 = 0x25;
    const RETURN: u16 = 0x06;
    const ANSWER_ERRNO: u32 = 0x0005_0000;
    const ANSWER_ALLOW: u32 = 0x7fff_0000;
    let newest = table().map(|(_, number)| number).max().unwrap_or_default();
    let newest = u32::try_from(newest).unwrap_or(u32::MAX);
    let op = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        op(LOAD_WORD, 0, 0, 0),
        op(JUMP_IF_GREATER, 0, 1, newest),
        op(RETURN, 0, 0, ANSWER_ERRNO | libc::ENOSYS.unsigned_abs()),
        op(RETURN, 0, 0, ANSWER_ALLOW),
    ]
}
