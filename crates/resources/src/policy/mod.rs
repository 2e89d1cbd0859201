//! `policy`: what disruptions a workload can bear.

pub mod pod_disruption_budget;
