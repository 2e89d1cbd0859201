//! The profile `RuntimeDefault`: everything except what can harm the node.
//!
//! Written as what is withheld, and which capability gives it back; the effect is that of the
//! profile that Docker and containerd ship.

use std::collections::BTreeSet;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule,
};

use super::{Rules, errno, program, table, unknown_is_enosys};

/// Withheld from everyone.
const NEVER: &[&str] = &[
    "_sysctl",
    "add_key",
    "afs_syscall",
    "create_module",
    "get_kernel_syms",
    "getpmsg",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lsm_set_self_attr",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "pivot_root",
    "putpmsg",
    "query_module",
    "request_key",
    "security",
    "swapoff",
    "swapon",
    "sysfs",
    "tuxcall",
    "uselib",
    "userfaultfd",
    "ustat",
    "vserver",
];

/// Withheld from those without the capability. A call in several rows is given by any of them.
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &["clock_settime", "settimeofday"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
];

/// `clone` with any of the flags that make namespaces (CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC,
/// NEWUSER, NEWPID, NEWNET).
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// The personalities that programs may ask for: Linux, UNAME26, both with PER_LINUX32, and "tell".
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const AF_VSOCK: u64 = 40;

fn allowed(name: &str, capabilities: &BTreeSet<String>) -> bool {
    if NEVER.contains(&name) {
        return false;
    }
    let mut rows = BY_CAPABILITY.iter().filter(|(_, calls)| calls.contains(&name)).peekable();
    rows.peek().is_none() || rows.any(|(capability, _)| capabilities.contains(*capability))
}

fn rule(op: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|e| format!("compile the seccomp filter: {e}"))
}

/// The default profile for a container with these capabilities.
pub(super) fn compile(capabilities: &BTreeSet<String>) -> Result<Vec<BpfProgram>, String> {
    let admin = capabilities.contains("CAP_SYS_ADMIN");
    let mut rules = Rules::new();
    let mut missing = Rules::new();
    for (name, number) in table() {
        let conditions = match name {
            "clone" if !admin => vec![rule(SeccompCmpOp::MaskedEq(NAMESPACE_FLAGS), 0)?],
            "personality" => PERSONALITIES
                .into_iter()
                .map(|value| rule(SeccompCmpOp::Eq, value))
                .collect::<Result<_, _>>()?,
            "socket" => vec![rule(SeccompCmpOp::Ne, AF_VSOCK)?],
            // Its flags are in memory where a filter cannot look: C libraries go on with clone.
            "clone3" if !admin => {
                missing.insert(number, Vec::new());
                continue;
            }
            _ if allowed(name, capabilities) => Vec::new(),
            _ => continue,
        };
        rules.insert(number, conditions);
    }
    let mut programs = vec![program(rules, errno(libc::EPERM), SeccompAction::Allow)?];
    if !missing.is_empty() {
        programs.push(program(missing, SeccompAction::Allow, errno(libc::ENOSYS))?);
    }
    programs.push(unknown_is_enosys());
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, capabilities: &[&str], expected: bool) {
        let capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(allowed(name, &capabilities), expected, "{name} with {capabilities:?}");
    }

    #[test]
    fn capabilities_give_calls_back() {
        check("read", &[], true);
        check("mount", &[], false);
        check("mount", &["CAP_SYS_ADMIN"], true);
        check("bpf", &["CAP_BPF"], true);
        check("chroot", &["CAP_SYS_CHROOT"], true);
        check("keyctl", &["CAP_SYS_ADMIN"], false);
        check("ptrace", &[], true);
    }

    #[test]
    fn every_name_of_the_lists_is_a_system_call() {
        let known: Vec<&str> = table().map(|(name, _)| name).collect();
        let named = BY_CAPABILITY.iter().flat_map(|(_, calls)| calls.iter()).chain(NEVER);
        for name in named {
            assert!(known.contains(name), "{name}");
        }
    }

    #[test]
    fn it_compiles_within_the_kernels_limit() {
        let programs = compile(&BTreeSet::new()).unwrap();
        assert_eq!(programs.len(), 3);
        assert!(programs.iter().all(|program| program.len() <= 4096));
    }
}
