//! What the machine is: read once from /proc and /sys at start.

use std::fs;
use std::path::Path;

/// The machine's facts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// Cores.
    pub(crate) cpus: i64,
    /// Bytes of memory.
    pub(crate) memory: i64,
    /// Bytes of swap.
    pub(crate) swap: i64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The distribution.
    pub(crate) os_image: String,
    /// `amd64`, `arm64`.
    pub(crate) architecture: &'static str,
    /// /etc/machine-id.
    pub(crate) machine_id: String,
    /// The firmware's id of the machine.
    pub(crate) system_uuid: String,
    /// A new one with every start of the kernel.
    pub(crate) boot_id: String,
    /// The kernel's own name of the machine.
    pub(crate) hostname: String,
    /// The node's resolv.conf.
    pub(crate) resolv_conf: String,
}

impl Machine {
    /// Reads it. What cannot be read stays empty.
    pub(crate) fn read() -> Self {
        let meminfo = text("/proc/meminfo");
        Self {
            cpus: std::thread::available_parallelism()
                .map_or(1, |n| i64::try_from(n.get()).unwrap_or(1)),
            memory: memory_line(&meminfo, "MemTotal:"),
            swap: memory_line(&meminfo, "SwapTotal:"),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            os_image: os_image(&text("/etc/os-release")),
            architecture: architecture(),
            machine_id: text("/etc/machine-id").trim().to_owned(),
            system_uuid: text("/sys/class/dmi/id/product_uuid").trim().to_owned(),
            boot_id: text("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            hostname: text("/proc/sys/kernel/hostname").trim().to_owned(),
            resolv_conf: text("/etc/resolv.conf"),
        }
    }
}

/// Bytes of memory that programs can still get.
pub(crate) fn memory_available() -> i64 {
    memory_line(&text("/proc/meminfo"), "MemAvailable:")
}

/// How many more processes the kernel takes, of how many.
pub(crate) fn processes() -> (i64, i64) {
    let max = text("/proc/sys/kernel/pid_max").trim().parse().unwrap_or(32_768);
    let running = text("/proc/loadavg");
    let running = running.split_whitespace().nth(3).and_then(|part| part.split_once('/'));
    let running: i64 = running.and_then(|(_, all)| all.parse().ok()).unwrap_or_default();
    (max - running, max)
}

/// Free and all bytes, free and all inodes of a path's file system. What is reserved for others is
/// neither free nor there: a large reserve is no pressure.
pub(crate) fn disk(path: &Path) -> Option<[u64; 4]> {
    let mut path = path;
    loop {
        if let Ok(stat) = nix::sys::statvfs::statvfs(path) {
            let unit = stat.fragment_size();
            let used = stat.blocks().saturating_sub(stat.blocks_free());
            return Some([
                stat.blocks_available() * unit,
                (used + stat.blocks_available()) * unit,
                stat.files_available(),
                stat.files(),
            ]);
        }
        path = path.parent()?;
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn memory_line(meminfo: &str, name: &str) -> i64 {
    let line = meminfo.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let kib: i64 =
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
    kib * 1024
}

fn os_image(release: &str) -> String {
    let line = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// Go's name of this architecture, as labels and images carry it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
