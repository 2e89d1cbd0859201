//! The built-in kinds, one file each, on the API server's
//! [`Resource`](apiserver::resource::Resource) trait.
//!
//! A kind's identity and columns come from the tables in `facts/`; what is common to kinds is in
//! [`kind`]; a kind's own defaults, validation, strategy and cells are its [`rules::Rules`].
//! Objects are JSON values that have been decoded by their schema, so that types are right.
//!
//! To add a kind: a file `<group>/<kind>.rs` with `kind()`, its line in [`all`]; the tests below
//! it see that every row of the table is served with the right names and columns.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apiserverinternal;
pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod check;
pub mod coordination;
pub mod core;
pub mod cursor;
pub mod deps;
pub mod discovery;
mod facts;
pub mod flowcontrol;
mod habits;
pub mod kind;
pub mod networking;
pub mod node;
pub mod old;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod rules;
pub mod scheduling;
pub mod storage;
pub mod storagemigration;
pub mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use apiserver::resource::Resource;

pub use crate::core::service::alloc::repair as repair_allocations;
pub use apiserver::authz::PolicySource;
pub use deps::{Deps, NodeTransport, Target};

/// Every built-in kind.
#[must_use]
pub fn all(deps: &Deps) -> Vec<Arc<dyn Resource>> {
    vec![
        core::namespace::kind(),
        core::node::kind(deps),
        core::pod::kind(deps),
        core::service::kind(deps),
        core::endpoints::kind(),
        core::config_map::kind(),
        core::secret::kind(),
        core::service_account::kind(deps),
        core::event::kind(),
        core::event::kind_of_events_group(),
        core::persistent_volume_claim::kind(),
        core::persistent_volume::kind(),
        core::pod_template::kind(),
        core::replication_controller::kind(),
        core::resource_quota::kind(),
        core::limit_range::kind(),
        core::binding::kind(deps),
        core::component_status::kind(),
        core::range_allocation::kind(),
        coordination::lease::kind(),
        coordination::lease_candidate::kind(),
        apps::deployment::kind(),
        apps::replica_set::kind(),
        apps::stateful_set::kind(),
        apps::daemon_set::kind(),
        apps::controller_revision::kind(),
        autoscaling::horizontal_pod_autoscaler::kind(),
        batch::job::kind(),
        batch::cron_job::kind(),
        policy::pod_disruption_budget::kind(),
        old::pod_security_policy(),
        discovery::endpoint_slice::kind(),
        networking::ingress::kind(),
        networking::ingress_class::kind(),
        networking::network_policy::kind(),
        networking::ip_address::kind(),
        networking::service_cidr::kind(),
        node::runtime_class::kind(),
        rbac::role::kind(),
        rbac::role::cluster_kind(),
        rbac::binding::kind(),
        rbac::binding::cluster_kind(),
        scheduling::priority_class::kind(),
        scheduling::workload::kind(),
        scheduling::pod_group::kind(),
        storage::storage_class::kind(),
        storage::volume_attributes_class::kind(),
        storage::csi_driver::kind(),
        storage::csi_node::kind(),
        storage::csi_storage_capacity::kind(),
        storage::volume_attachment::kind(),
        admissionregistration::webhook_configuration::mutating_kind(),
        admissionregistration::webhook_configuration::validating_kind(),
        admissionregistration::admission_policy::mutating_kind(),
        admissionregistration::admission_policy::validating_kind(),
        admissionregistration::policy_binding::mutating_kind(),
        admissionregistration::policy_binding::validating_kind(),
        apiextensions::custom_resource_definition::kind(),
        apiregistration::api_service::kind(),
        apiserverinternal::storage_version::kind(),
        authentication::token_review::kind(deps),
        authentication::self_subject_review::kind(deps),
        authorization::access_review::kind(deps),
        authorization::access_review::local_kind(deps),
        authorization::access_review::self_kind(deps),
        authorization::self_subject_rules_review::kind(deps),
        certificates::certificate_signing_request::kind(),
        certificates::cluster_trust_bundle::kind(),
        certificates::pod_certificate_request::kind(),
        flowcontrol::flow_schema::kind(),
        flowcontrol::priority_level_configuration::kind(),
        resource::device_class::kind(),
        resource::device_taint_rule::kind(),
        resource::resource_claim::kind(),
        resource::resource_claim::template_kind(),
        resource::resource_pool_status_request::kind(),
        resource::resource_slice::kind(),
        storagemigration::storage_version_migration::kind(),
    ]
}
