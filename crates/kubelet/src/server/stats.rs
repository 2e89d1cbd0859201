//! `/stats/summary` and `/metrics/resource`: what node, pods and containers use.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base::clock::{Timestamp, rfc3339_seconds};
use container_runtime::{CpuUsage, MemoryUsage, PodSandboxFilter, PodSandboxStats};
use serde_json::{Value, json};

use super::Served;
use crate::config::labels;
use crate::node::machine;

fn stamp(nanoseconds: i64) -> String {
    let at = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH);
    rfc3339_seconds(at)
}

fn cpu(usage: Option<&CpuUsage>) -> Value {
    let Some(usage) = usage else { return Value::Null };
    json!({
        "time": stamp(usage.timestamp),
        "usageNanoCores": usage.usage_nano_cores,
        "usageCoreNanoSeconds": usage.usage_core_nano_seconds,
    })
}

fn memory(usage: Option<&MemoryUsage>) -> Value {
    let Some(usage) = usage else { return Value::Null };
    json!({
        "time": stamp(usage.timestamp),
        "availableBytes": usage.available_bytes,
        "usageBytes": usage.usage_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    })
}

/// `/stats/summary`.
pub(crate) async fn summary(State(served): State<Served>) -> Response {
    let all = sandboxes(&served).await;
    let pods: Vec<Value> = all.iter().map(|stats| pod(&served, stats)).collect();
    let node = &served.node;
    let now = rfc3339_seconds(node.clock.now());
    let disk = machine::disk(&node.options.data_dir).unwrap_or_default();
    let used = node.machine.memory - machine::memory_available();
    let body = json!({
        "node": {
            "nodeName": node.options.node_name,
            "cpu": {"time": now, "usageCoreNanoSeconds": node_cpu_nanoseconds()},
            "memory": {
                "time": now,
                "availableBytes": machine::memory_available(),
                "usageBytes": used,
                "workingSetBytes": used,
            },
            "fs": {
                "time": now,
                "availableBytes": disk[0],
                "capacityBytes": disk[1],
                "usedBytes": disk[1].saturating_sub(disk[0]),
                "inodesFree": disk[2],
                "inodes": disk[3],
                "inodesUsed": disk[3].saturating_sub(disk[2]),
            },
        },
        "pods": pods,
    });
    axum::Json(body).into_response()
}

fn pod(served: &Served, stats: &PodSandboxStats) -> Value {
    let metadata = &stats.attributes.metadata;
    let started = served.dispatch.pod(&metadata.namespace, &metadata.name);
    let started =
        started.and_then(|pod| pod.status?.start_time).map(|time| rfc3339_seconds(time.0));
    let containers: Vec<Value> = stats
        .containers
        .iter()
        .map(|one| {
            json!({
                "name": one.attributes.metadata.name,
                "startTime": started,
                "cpu": cpu(one.cpu.as_ref()),
                "memory": memory(one.memory.as_ref()),
                "rootfs": one.writable_layer.as_ref().map(|layer| json!({
                    "time": stamp(layer.timestamp),
                    "usedBytes": layer.used_bytes,
                    "inodesUsed": layer.inodes_used,
                })),
            })
        })
        .collect();
    let network = stats.network.as_ref().map(|network| {
        let interface = network.default_interface.clone().unwrap_or_default();
        json!({
            "time": stamp(network.timestamp),
            "name": interface.name,
            "rxBytes": interface.rx_bytes,
            "rxErrors": interface.rx_errors,
            "txBytes": interface.tx_bytes,
            "txErrors": interface.tx_errors,
        })
    });
    json!({
        "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "startTime": started,
        "containers": containers,
        "cpu": cpu(stats.cpu.as_ref()),
        "memory": memory(stats.memory.as_ref()),
        "network": network,
        "process_stats": {"process_count": stats.process_count},
    })
}

async fn sandboxes(served: &Served) -> Vec<PodSandboxStats> {
    let all = served.node.runtime.list_pod_sandbox_stats(&PodSandboxFilter::default()).await;
    let mut all = all.unwrap_or_default();
    all.retain(|stats| {
        stats.attributes.labels.contains_key(labels::POD_UID)
            || !stats.attributes.metadata.uid.is_empty()
    });
    all
}

/// CPU time of the whole machine, without idling. (`/proc/stat` counts in hundredths of a second.)
fn node_cpu_nanoseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let busy: u64 = ticks
        .iter()
        .enumerate()
        .filter(|(at, _)| ![3, 4].contains(at))
        .map(|(_, ticks)| ticks)
        .take(6)
        .sum();
    busy * 10_000_000
}

/// `/metrics/resource`, in Prometheus' text form and under upstream's names.
pub(crate) async fn resource_metrics(State(served): State<Served>) -> Response {
    let all = sandboxes(&served).await;
    let mut text = String::new();
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(text, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
    };
    head(
        &mut text,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
    );
    for (labels, cpu, _) in containers(&all) {
        if let Some(value) = cpu {
            let _ = writeln!(text, "container_cpu_usage_seconds_total{{{labels}}} {value}");
        }
    }
    head(
        &mut text,
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
    );
    for (labels, _, memory) in containers(&all) {
        if let Some(value) = memory {
            let _ = writeln!(text, "container_memory_working_set_bytes{{{labels}}} {value}");
        }
    }
    head(
        &mut text,
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
    );
    head(
        &mut text,
        "pod_memory_working_set_bytes",
        "gauge",
        "Current working set of the pod in bytes",
    );
    for stats in &all {
        let metadata = &stats.attributes.metadata;
        let labels = format!("namespace=\"{}\",pod=\"{}\"", metadata.namespace, metadata.name);
        if let Some(value) = stats.cpu.as_ref().and_then(seconds) {
            let _ = writeln!(text, "pod_cpu_usage_seconds_total{{{labels}}} {value}");
        }
        if let Some(value) = stats.memory.as_ref().and_then(|memory| memory.working_set_bytes) {
            let _ = writeln!(text, "pod_memory_working_set_bytes{{{labels}}} {value}");
        }
    }
    head(
        &mut text,
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
    );
    let node = node_cpu_nanoseconds();
    let _ = writeln!(
        text,
        "node_cpu_usage_seconds_total {}.{:09}",
        node / 1_000_000_000,
        node % 1_000_000_000
    );
    head(
        &mut text,
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
    );
    let used = served.node.machine.memory - machine::memory_available();
    let _ = writeln!(text, "node_memory_working_set_bytes {used}");
    text.into_response()
}

/// Labels, CPU seconds and working set of each container.
fn containers(all: &[PodSandboxStats]) -> Vec<(String, Option<String>, Option<u64>)> {
    let pairs = all.iter().flat_map(|stats| stats.containers.iter().map(move |one| (stats, one)));
    pairs
        .map(|(stats, one)| {
            let metadata = &stats.attributes.metadata;
            let labels = format!(
                "container=\"{}\",namespace=\"{}\",pod=\"{}\"",
                one.attributes.metadata.name, metadata.namespace, metadata.name
            );
            let memory = one.memory.as_ref().and_then(|memory| memory.working_set_bytes);
            (labels, one.cpu.as_ref().and_then(seconds), memory)
        })
        .collect()
}

fn seconds(cpu: &CpuUsage) -> Option<String> {
    let nanos = cpu.usage_core_nano_seconds?;
    Some(format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000))
}

/// `/metrics`: the kubelet's own.
pub(crate) async fn own_metrics(State(served): State<Served>) -> Response {
    let pods = served.dispatch.pods();
    let running = |phase: &str| pods.iter().filter(|pod| crate::pod::phase(pod) == phase).count();
    let text = format!(
        "# HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox\n\
         # TYPE kubelet_running_pods gauge\nkubelet_running_pods {}\n\
         # HELP kubelet_desired_pods [ALPHA] The number of pods the kubelet is being instructed to run\n\
         # TYPE kubelet_desired_pods gauge\nkubelet_desired_pods {}\n",
        running("Running"),
        pods.len(),
    );
    text.into_response()
}
