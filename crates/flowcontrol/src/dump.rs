//! `/debug/api_priority_and_fairness/dump_*`: what the levels and queues hold now, as upstream's
//! tables.

use std::fmt::Write;

use crate::fairness::Fairness;

/// One of the tables; `None` for another name.
pub(crate) fn dump(fairness: &Fairness, what: &str) -> Option<String> {
    match what {
        "dump_priority_levels" => Some(levels(fairness)),
        "dump_queues" => Some(queues(fairness)),
        "dump_requests" => Some(requests(fairness)),
        _ => None,
    }
}

/// Rows as aligned columns.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let comma = if column + 1 < columns { "," } else { "" };
            // Writing into a string cannot fail.
            let _ = write!(out, "{:<1$} ", format!("{cell}{comma}"), width(column) + 1);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn levels(fairness: &Fairness) -> String {
    let snapshot = fairness.snapshot.load();
    let mut rows = vec![head(&[
        "PriorityLevelName",
        "ActiveQueues",
        "IsIdle",
        "IsQuiescing",
        "WaitingRequests",
        "ExecutingRequests",
        "DispatchedRequests",
        "RejectedRequests",
        "TimedoutRequests",
        "CancelledRequests",
    ])];
    for (name, level) in &snapshot.levels {
        let state = level.state.lock();
        let waiting: usize = state.queues.each().map(|(_, waiting, ..)| waiting).sum();
        let active = state.queues.each().count();
        let own = || snapshot.schemas.iter().filter(|schema| schema.stats.level == *name);
        let sum = |reasons: &[usize]| -> u64 {
            own().flat_map(|schema| reasons.iter().map(|at| schema.stats.refused[*at].get())).sum()
        };
        let dispatched: u64 = own().map(|schema| schema.stats.dispatched.get()).sum();
        let running = state.queues.running();
        rows.push(vec![
            name.clone(),
            active.to_string(),
            (waiting + running == 0).to_string(),
            false.to_string(),
            waiting.to_string(),
            running.to_string(),
            dispatched.to_string(),
            sum(&[0, 1]).to_string(),
            sum(&[2]).to_string(),
            sum(&[3]).to_string(),
        ]);
    }
    table(&rows)
}

fn queues(fairness: &Fairness) -> String {
    let mut rows = vec![head(&[
        "PriorityLevelName",
        "Index",
        "PendingRequests",
        "ExecutingRequests",
        "NextDispatchR",
    ])];
    for (name, level) in &fairness.snapshot.load().levels {
        for (index, waiting, running, next) in level.state.lock().queues.each() {
            rows.push(vec![
                name.clone(),
                index.to_string(),
                waiting.to_string(),
                running.to_string(),
                format!("{next:.8}ss"),
            ]);
        }
    }
    table(&rows)
}

fn requests(fairness: &Fairness) -> String {
    let mut rows = vec![head(&[
        "PriorityLevelName",
        "FlowSchemaName",
        "WaitingRequests",
        "ExecutingRequests",
        "Seats",
    ])];
    for schema in &fairness.snapshot.load().schemas {
        let stats = &schema.stats;
        if stats.in_queue.get() + stats.executing.get() == 0 {
            continue;
        }
        rows.push(vec![
            stats.level.clone(),
            schema.name.clone(),
            stats.in_queue.get().to_string(),
            stats.executing.get().to_string(),
            stats.seats.get().to_string(),
        ]);
    }
    table(&rows)
}
