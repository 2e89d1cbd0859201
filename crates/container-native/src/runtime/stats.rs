//! Usage of containers and sandboxes, from cgroups, the disk and the network namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use container_runtime::{
    ContainerAttributes, ContainerStats, CpuUsage, FilesystemUsage, MemoryUsage,
    NetworkInterfaceUsage, NetworkUsage, PodSandboxAttributes, PodSandboxStats,
};

use super::NativeRuntime;
use super::records::{ContainerRecord, SandboxRecord};
use crate::cgroup::Usage;

impl NativeRuntime {
    /// A container's usage. Reads files; blocks for a moment.
    pub(super) fn stats_of(&self, record: &ContainerRecord) -> ContainerStats {
        let timestamp = self.now();
        let usage = self.cgroups.usage(&record.cgroup);
        let dir = self.container_dir(&record.sandbox, &record.id);
        let (used_bytes, inodes_used) = disk_usage(&dir.join("upper"));
        ContainerStats {
            attributes: ContainerAttributes {
                id: record.id.clone(),
                metadata: record.config.metadata.clone(),
                labels: record.config.labels.clone(),
                annotations: record.config.annotations.clone(),
            },
            cpu: Some(self.cpu(&record.id, timestamp, &usage)),
            memory: Some(memory(timestamp, &usage)),
            writable_layer: Some(FilesystemUsage {
                timestamp,
                mountpoint: self.dir.display().to_string(),
                used_bytes: Some(used_bytes),
                inodes_used: Some(inodes_used),
            }),
        }
    }

    /// A sandbox's usage with that of its containers.
    pub(super) fn sandbox_stats_of(
        &self,
        record: &SandboxRecord,
        containers: &[ContainerRecord],
    ) -> PodSandboxStats {
        let timestamp = self.now();
        let containers: Vec<ContainerStats> =
            containers.iter().map(|container| self.stats_of(container)).collect();
        let sum = |of: &dyn Fn(&ContainerStats) -> Option<u64>| {
            containers.iter().filter_map(of).reduce(|a, b| a + b)
        };
        let cpu = CpuUsage {
            timestamp,
            usage_core_nano_seconds: sum(&|c| c.cpu.as_ref()?.usage_core_nano_seconds),
            usage_nano_cores: sum(&|c| c.cpu.as_ref()?.usage_nano_cores),
        };
        let memory = MemoryUsage {
            timestamp,
            working_set_bytes: sum(&|c| c.memory.as_ref()?.working_set_bytes),
            available_bytes: None,
            usage_bytes: sum(&|c| c.memory.as_ref()?.usage_bytes),
            rss_bytes: sum(&|c| c.memory.as_ref()?.rss_bytes),
            page_faults: sum(&|c| c.memory.as_ref()?.page_faults),
            major_page_faults: sum(&|c| c.memory.as_ref()?.major_page_faults),
        };
        let has_network = !record.ips.is_empty();
        let shim = record.shim.filter(|_| has_network);
        let table =
            shim.and_then(|shim| fs::read_to_string(format!("/proc/{}/net/dev", shim.pid)).ok());
        PodSandboxStats {
            attributes: PodSandboxAttributes {
                id: record.id.clone(),
                metadata: record.config.metadata.clone(),
                labels: record.config.labels.clone(),
                annotations: record.config.annotations.clone(),
            },
            cpu: Some(cpu),
            memory: Some(memory),
            network: table.map(|table| network(timestamp, &table)),
            process_count: self.cgroups.usage(&record.cgroup).processes,
            containers,
        }
    }

    fn cpu(&self, id: &str, timestamp: i64, usage: &Usage) -> CpuUsage {
        let mut nano_cores = None;
        if let Some(used) = usage.cpu_nanos {
            let before = self.state.lock().cpu.insert(id.to_owned(), (timestamp, used));
            nano_cores = before.and_then(|before| rate(before, (timestamp, used)));
        }
        CpuUsage {
            timestamp,
            usage_core_nano_seconds: usage.cpu_nanos,
            usage_nano_cores: nano_cores,
        }
    }
}

/// Billionths of a core between two readings.
fn rate((t0, used0): (i64, u64), (t1, used1): (i64, u64)) -> Option<u64> {
    let passed = u128::try_from(t1 - t0).ok().filter(|passed| *passed > 0)?;
    let used = u128::from(used1.checked_sub(used0)?);
    u64::try_from(used * 1_000_000_000 / passed).ok()
}

fn memory(timestamp: i64, usage: &Usage) -> MemoryUsage {
    let available = usage.memory_limit.zip(usage.working_set);
    MemoryUsage {
        timestamp,
        working_set_bytes: usage.working_set,
        available_bytes: available.map(|(limit, used)| limit.saturating_sub(used)),
        usage_bytes: usage.memory,
        rss_bytes: usage.rss,
        page_faults: usage.page_faults,
        major_page_faults: usage.major_page_faults,
    }
}

/// `/proc/PID/net/dev` as usage; loopback is nobody's.
fn network(timestamp: i64, table: &str) -> NetworkUsage {
    let mut interfaces = table.lines().filter_map(|line| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> =
            counters.split_whitespace().map_while(|word| word.parse().ok()).collect();
        (name.trim() != "lo" && counters.len() > 10).then(|| NetworkInterfaceUsage {
            name: name.trim().to_owned(),
            rx_bytes: Some(counters[0]),
            rx_errors: Some(counters[2]),
            tx_bytes: Some(counters[8]),
            tx_errors: Some(counters[10]),
        })
    });
    let default_interface = interfaces.next();
    NetworkUsage { timestamp, default_interface, interfaces: interfaces.collect() }
}

/// Bytes on disk and files below a folder.
pub(super) fn disk_usage(folder: &Path) -> (u64, u64) {
    let (mut bytes, mut inodes) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        bytes += meta.blocks() * 512;
        inodes += 1;
        if meta.is_dir() {
            let below = disk_usage(&entry.path());
            bytes += below.0;
            inodes += below.1;
        }
    }
    (bytes, inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_counters() {
        assert_eq!(rate((0, 0), (1_000_000_000, 500_000_000)), Some(500_000_000));
        assert_eq!(rate((5, 9), (5, 9)), None);
        assert_eq!(rate((0, 9), (5, 1)), None);
        let table = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 1 2 0 0 0 0 0 20 1 3 0 0 0 0 0\n";
        let usage = network(0, table);
        let eth0 = usage.default_interface.unwrap();
        assert_eq!(
            (eth0.rx_bytes, eth0.rx_errors, eth0.tx_bytes, eth0.tx_errors),
            (Some(10), Some(2), Some(20), Some(3))
        );
    }
}
