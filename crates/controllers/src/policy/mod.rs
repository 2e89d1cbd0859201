//! What keeps limits and rules: quotas, disruption budgets, aggregated roles.

pub(crate) mod aggregation;
pub(crate) mod disruption;
pub(crate) mod quota;
pub(crate) mod typecheck;
