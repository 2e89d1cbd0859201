//! What keeps pods running: ReplicaSets, Deployments and their like.

pub(crate) mod cronjob;
pub(crate) mod daemonset;
pub(crate) mod deployment;
pub(crate) mod job;
pub(crate) mod replicaset;
pub(crate) mod replicationcontroller;
pub(crate) mod statefulset;
pub(crate) mod ttl;
