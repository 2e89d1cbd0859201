//! `process_*`: what the process uses, as Prometheus' client libraries tell it.

use base::clock::Timestamp;
use base::metrics::Text;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// The process's use of the machine, read when it is asked for.
pub(crate) fn metrics(started: Timestamp) -> String {
    let mut text = Text::default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(used) = Used::read(&stat) {
        let mut sample = |name: &str, kind: &str, help: &str, value: f64| {
            text.family(name, kind, help);
            text.sample(name, &[], value);
        };
        let ticks = system(SysconfVar::CLK_TCK, 100);
        let page = system(SysconfVar::PAGE_SIZE, 4096);
        sample(
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            used.ticks as f64 / ticks as f64,
        );
        sample(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            (used.resident_pages * page) as f64,
        );
        sample(
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes.",
            used.virtual_bytes as f64,
        );
    }
    let open = std::fs::read_dir("/proc/self/fd").map(|all| all.count().saturating_sub(1));
    if let Ok(open) = open {
        text.family("process_open_fds", "gauge", "Number of open file descriptors.");
        text.sample("process_open_fds", &[], open);
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        text.family("process_max_fds", "gauge", "Maximum number of open file descriptors.");
        text.sample("process_max_fds", &[], limit);
    }
    let started = started.as_millisecond() as f64 / 1000.0;
    text.family(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
    );
    text.sample("process_start_time_seconds", &[], started);
    text.finish()
}

fn system(what: SysconfVar, otherwise: u64) -> u64 {
    sysconf(what).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(otherwise)
}

#[derive(Debug, PartialEq)]
struct Used {
    ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Used {
    /// Reads `/proc/PID/stat`, whose second field is a name that may hold anything. (proc(5))
    fn read(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // The first field after the name is the third of all.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            ticks: number(14)? + number(15)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 120 30 0 0 20 0 9 0 88 5000000 321 184";
        let expected = Used { ticks: 150, virtual_bytes: 5_000_000, resident_pages: 321 };
        assert_eq!(Used::read(line), Some(expected));
        assert_eq!(Used::read(""), None);
        let own = metrics(Timestamp::UNIX_EPOCH);
        for name in ["process_cpu_seconds_total ", "process_open_fds ", "process_max_fds "] {
            assert!(own.contains(&format!("\n{name}")), "{own}");
        }
    }
}
