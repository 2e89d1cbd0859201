//! Seccomp profiles from files (`Localhost`), in the form of Docker and the OCI.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule,
};
use serde::Deserialize;

use super::{Rules, program, table};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Syscalls>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscalls {
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    let errno = errno.unwrap_or(libc::EPERM.unsigned_abs());
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno),
        other => return Err(format!("seccomp action {other} is not supported")),
    })
}

fn condition(argument: &Argument) -> Result<SeccompCondition, String> {
    let (op, value) = match &*argument.op {
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
        // The mask is the first value, what must be left of it the second.
        "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
        other => return Err(format!("seccomp comparison {other} is not known")),
    };
    SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, op, value)
        .map_err(|e| e.to_string())
}

/// Reads and compiles a profile.
pub(super) fn compile(path: &str) -> Result<Vec<BpfProgram>, String> {
    let text = std::fs::read(path).map_err(|e| format!("read seccomp profile {path}: {e}"))?;
    parse(&text).map_err(|why| format!("seccomp profile {path}: {why}"))
}

/// One program for what is allowed, and one for every other action that calls are given.
fn parse(text: &[u8]) -> Result<Vec<BpfProgram>, String> {
    let profile: Profile = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let numbers: BTreeMap<&str, i64> = table().collect();
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut by_action: Vec<(SeccompAction, Rules)> = Vec::new();
    for group in &profile.syscalls {
        let action = action(&group.action, group.errno_ret)?;
        if action == default {
            continue;
        }
        let known = by_action.iter().position(|(of, _)| *of == action);
        let index = known.unwrap_or_else(|| {
            by_action.push((action, Rules::new()));
            by_action.len() - 1
        });
        for number in group.names.iter().filter_map(|name| numbers.get(&**name)) {
            let rules = by_action[index].1.entry(*number).or_default();
            if !group.args.is_empty() {
                let conditions = group.args.iter().map(condition).collect::<Result<_, _>>()?;
                rules.push(SeccompRule::new(conditions).map_err(|e| e.to_string())?);
            }
        }
    }
    if default == SeccompAction::Allow {
        return by_action
            .into_iter()
            .map(|(action, rules)| program(rules, SeccompAction::Allow, action))
            .collect();
    }
    // What has any rule passes the first program; the later ones then say what comes of it.
    let mut passes = Rules::new();
    for (action, rules) in &by_action {
        for (number, conditions) in rules {
            let kept = if *action == SeccompAction::Allow { conditions.clone() } else { vec![] };
            passes.insert(*number, kept);
        }
    }
    let mut programs = vec![program(passes, default, SeccompAction::Allow)?];
    for (action, rules) in by_action {
        if action != SeccompAction::Allow {
            programs.push(program(rules, SeccompAction::Allow, action)?);
        }
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_in_dockers_form() {
        let text = br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["read","write","not_a_call"],"action":"SCMP_ACT_ALLOW"},
            {"names":["personality"],"action":"SCMP_ACT_ALLOW",
             "args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
            {"names":["ptrace"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
        assert_eq!(parse(text).unwrap().len(), 2);
        let open = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
        assert_eq!(parse(open).unwrap().len(), 1);
        assert!(parse(br#"{"defaultAction":"SCMP_ACT_DANCE"}"#).is_err());
        assert!(parse(b"{").is_err());
    }
}
