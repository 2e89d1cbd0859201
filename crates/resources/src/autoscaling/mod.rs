//! `autoscaling`: numbers of replicas that follow the load.

pub(crate) mod convert;
pub mod horizontal_pod_autoscaler;
mod metrics;
