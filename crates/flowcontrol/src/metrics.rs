//! `apiserver_flowcontrol_*`, under upstream's names.

use base::metrics::{Histogram, Text};

use crate::fairness::{Fairness, Schema};
use crate::flows::{FlowStats, REASONS};
use crate::level::State;

type Read = fn(&FlowStats) -> String;
type ReadLevel = fn(&State) -> f64;

/// Families with a sample a schema: name, kind, help.
const FLOWS: [(&str, &str, &str, Read); 4] = [
    (
        "dispatched_requests_total",
        "counter",
        "Number of requests executed by API Priority and Fairness subsystem",
        |stats| stats.dispatched.get().to_string(),
    ),
    (
        "current_inqueue_requests",
        "gauge",
        "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
        |stats| stats.in_queue.get().to_string(),
    ),
    (
        "current_executing_requests",
        "gauge",
        "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
        |stats| stats.executing.get().to_string(),
    ),
    (
        "current_executing_seats",
        "gauge",
        "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem",
        |stats| stats.seats.get().to_string(),
    ),
];

/// Families with a sample a level.
const LEVELS: [(&str, &str, ReadLevel); 9] = [
    (
        "nominal_limit_seats",
        "Nominal number of execution seats configured for each priority level",
        |state| f64::from(state.limits.nominal),
    ),
    (
        "lower_limit_seats",
        "Configured lower bound on number of execution seats available to each priority level",
        |state| f64::from(state.limits.lower),
    ),
    (
        "upper_limit_seats",
        "Configured upper bound on number of execution seats available to each priority level",
        |state| f64::from(state.limits.upper),
    ),
    (
        "current_limit_seats",
        "current derived number of execution seats available to each priority level",
        |state| f64::from(state.queues.limit()),
    ),
    (
        "demand_seats_high_watermark",
        "High watermark, over last adjustment period, of demand_seats",
        |state| f64::from(state.demand.last.peak),
    ),
    (
        "demand_seats_average",
        "Time-weighted average, over last adjustment period, of demand_seats",
        |state| state.demand.last.average,
    ),
    (
        "demand_seats_stdev",
        "Time-weighted standard deviation, over last adjustment period, of demand_seats",
        |state| state.demand.last.deviation,
    ),
    ("demand_seats_smoothed", "Smoothed seat demands", |state| state.demand.smoothed),
    ("target_seats", "Seat allocation targets", |state| state.target),
];

fn full(name: &str) -> String {
    format!("apiserver_flowcontrol_{name}")
}

pub(crate) fn render(fairness: &Fairness) -> String {
    let snapshot = fairness.snapshot.load();
    let mut text = Text::default();
    let labels = |schema: &Schema| {
        let stats = &schema.stats;
        [("flow_schema", stats.schema.clone()), ("priority_level", stats.level.clone())]
    };
    for (name, kind, help, read) in FLOWS {
        let name = full(name);
        text.family(&name, kind, help);
        for schema in &snapshot.schemas {
            let own = labels(schema);
            let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
            text.sample(&name, &own, read(&schema.stats));
        }
    }
    refused(&mut text, &snapshot.schemas);
    for (name, help, read) in LEVELS {
        let name = full(name);
        text.family(&name, "gauge", help);
        for (level, own) in &snapshot.levels {
            text.sample(&name, &[("priority_level", level)], read(&own.state.lock()));
        }
    }
    let name = full("seat_fair_frac");
    text.family(
        &name,
        "gauge",
        "Fair fraction of server's concurrency to allocate to each priority level that can use it",
    );
    text.sample(&name, &[], *fairness.fair_fraction.lock());
    histograms(&mut text, &snapshot.schemas);
    text.finish()
}

fn refused(text: &mut Text, schemas: &[Schema]) {
    let name = full("rejected_requests_total");
    text.family(
        &name,
        "counter",
        "Number of requests rejected by API Priority and Fairness subsystem",
    );
    for schema in schemas {
        let stats = &schema.stats;
        for (reason, count) in REASONS.iter().zip(&stats.refused) {
            if count.get() > 0 {
                let labels = [
                    ("flow_schema", stats.schema.as_str()),
                    ("priority_level", stats.level.as_str()),
                    ("reason", reason),
                ];
                text.sample(&name, &labels, count.get());
            }
        }
    }
}

fn histograms(text: &mut Text, schemas: &[Schema]) {
    let mut family = |name: &str,
                      help: &str,
                      extra: Option<(&str, &str)>,
                      begin: bool,
                      read: fn(&FlowStats) -> &Histogram| {
        let name = full(name);
        if begin {
            text.family(&name, "histogram", help);
        }
        for schema in schemas {
            let stats = &schema.stats;
            let histogram = read(stats);
            if histogram.count() == 0 {
                continue;
            }
            let own =
                [("flow_schema", stats.schema.as_str()), ("priority_level", stats.level.as_str())];
            let labels: Vec<(&str, &str)> = extra.into_iter().chain(own).collect();
            text.histogram(&name, &labels, histogram);
        }
    };
    const WAIT: &str = "Length of time a request spent waiting in its queue";
    let wait = "request_wait_duration_seconds";
    family(wait, WAIT, Some(("execute", "true")), true, |stats| &stats.waited[0]);
    family(wait, WAIT, Some(("execute", "false")), false, |stats| &stats.waited[1]);
    family(
        "request_execution_seconds",
        "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem",
        None,
        true,
        |stats| &stats.execution,
    );
    family(
        "work_estimated_seats",
        "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness",
        None,
        true,
        |stats| &stats.work_seats,
    );
}
