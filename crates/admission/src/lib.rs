//! The admission plugins, one file each, and their list.
//!
//! To add one: its file, its line in [`all`] at the place where its order belongs, a test beside it.

mod again;
mod always_pull_images;
mod certificate_approval;
mod certificate_signing;
mod certificate_subject_restriction;
mod cluster_trust_bundle_attest;
mod compiled;
mod default_class;
mod default_toleration_seconds;
mod extended_resource_toleration;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod pod_resize_validator;
pub mod pod_security;
mod pod_topology_labels;
mod policy;
mod priority;
mod rbac_escalation;
mod resource_quota;
mod runtime_class;
mod service_account;
mod signer_access;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
#[cfg(test)]
mod testing;
mod webhook;

use std::sync::Arc;

use apiserver::admission::AdmissionPlugin;
use apiserver::authz::{AlwaysAllow, Authorizer, PolicySource};
use base::clock::SharedClock;
use base::rng::SharedRng;
// `::`, since the plugins that call webhooks have that name here too.
use ::webhook::Caller;

/// What plugins need beside the request.
pub struct Deps {
    /// Randomness, for generated names.
    pub rng: SharedRng,
    /// Wall time, for what ends by itself.
    pub clock: SharedClock,
    /// What the Pod Security Standards ask for by default, and of whom they ask nothing.
    pub pod_security: pod_security::Configuration,
    /// Asks webhooks.
    pub webhooks: Arc<Caller>,
    /// Who may do what, for plugins that ask about more than the request itself.
    pub authorizer: Arc<dyn Authorizer>,
    /// The RBAC rules in force.
    pub policy: Arc<dyn PolicySource>,
}

impl Deps {
    /// What plugins need, with nobody exempt from anything, on a server without authorization.
    #[must_use]
    pub fn new(rng: SharedRng, clock: SharedClock, webhooks: Arc<Caller>) -> Self {
        let pod_security = pod_security::Configuration::default();
        let allow = Arc::new(AlwaysAllow);
        Self { rng, clock, pod_security, webhooks, authorizer: allow.clone(), policy: allow }
    }

    /// The same, on a server with these authorizers.
    #[must_use]
    pub fn authorized_by(
        self,
        authorizer: Arc<dyn Authorizer>,
        policy: Arc<dyn PolicySource>,
    ) -> Self {
        Self { authorizer, policy, ..self }
    }
}

/// Plugins that run only when they are asked for, as upstream's.
const OFF: &[&str] = &["AlwaysPullImages", "ExtendedResourceToleration"];

/// What is no plugin upstream, and cannot be switched off.
const ALWAYS: &[&str] = &["RBACEscalation"];

/// A name that is no plugin's.
#[derive(Debug, thiserror::Error)]
#[error("there is no admission plugin {name}; there are {known}")]
pub struct UnknownPlugin {
    /// What was asked for.
    pub name: String,
    /// The names of all plugins.
    pub known: String,
}

/// The plugins that run: those that are on by themselves or asked for, without those that are
/// switched off.
///
/// # Errors
/// When a name is no plugin's.
pub fn enabled(
    deps: &Deps,
    enable: &[String],
    disable: &[String],
) -> Result<Vec<Arc<dyn AdmissionPlugin>>, UnknownPlugin> {
    let all = all(deps);
    for name in enable.iter().chain(disable) {
        if !all.iter().any(|plugin| plugin.name() == name) {
            let known: Vec<_> = all.iter().map(|plugin| plugin.name()).collect();
            return Err(UnknownPlugin { name: name.clone(), known: known.join(", ") });
        }
    }
    let lists = |list: &[String], name: &str| list.iter().any(|one| one == name);
    let runs = |name: &str| {
        let wanted = lists(enable, name) || !OFF.contains(&name);
        wanted && (!lists(disable, name) || ALWAYS.contains(&name))
    };
    Ok(all.into_iter().filter(|plugin| runs(plugin.name())).collect())
}

/// The plugins that run when nothing is asked for.
///
/// # Panics
/// Never: no names are given that could be unknown.
#[must_use]
pub fn standard(deps: &Deps) -> Vec<Arc<dyn AdmissionPlugin>> {
    enabled(deps, &[], &[]).expect("no name is given that could be unknown")
}

/// Every plugin, in upstream's order: the namespace first, since
/// nothing else matters in one that is going; what fills in fields before what checks them.
#[must_use]
pub fn all(deps: &Deps) -> Vec<Arc<dyn AdmissionPlugin>> {
    vec![
        Arc::new(namespace_lifecycle::NamespaceLifecycle),
        Arc::new(limit_ranger::LimitRanger),
        Arc::new(service_account::ServiceAccount::new(deps.rng.clone())),
        Arc::new(node_restriction::NodeRestriction(deps.authorizer.clone())),
        Arc::new(taint_nodes_by_condition::TaintNodesByCondition),
        Arc::new(always_pull_images::AlwaysPullImages),
        Arc::new(pod_security::PodSecurity::new(deps.pod_security.clone())),
        Arc::new(priority::Priority),
        Arc::new(default_toleration_seconds::DefaultTolerationSeconds),
        Arc::new(extended_resource_toleration::ExtendedResourceToleration),
        Arc::new(default_class::DefaultStorageClass),
        Arc::new(storage_object_in_use_protection::StorageObjectInUseProtection),
        Arc::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
        Arc::new(runtime_class::RuntimeClass),
        Arc::new(certificate_approval::CertificateApproval(deps.authorizer.clone())),
        Arc::new(certificate_signing::CertificateSigning(deps.authorizer.clone())),
        Arc::new(cluster_trust_bundle_attest::ClusterTrustBundleAttest(deps.authorizer.clone())),
        Arc::new(certificate_subject_restriction::CertificateSubjectRestriction),
        Arc::new(default_class::DefaultIngressClass),
        Arc::new(pod_topology_labels::PodTopologyLabels),
        Arc::new(pod_resize_validator::PodResizeValidator),
        // What others say comes after all that the server itself does to an object.
        Arc::new(policy::MutatingAdmissionPolicy::new()),
        Arc::new(webhook::MutatingAdmissionWebhook::new(deps)),
        Arc::new(policy::ValidatingAdmissionPolicy::new()),
        Arc::new(webhook::ValidatingAdmissionWebhook::new(deps)),
        // Upstream's storage does it, after everything that changes objects, webhooks too.
        Arc::new(rbac_escalation::RbacEscalation {
            authorizer: deps.authorizer.clone(),
            policy: deps.policy.clone(),
        }),
        // Last: what is refused for another reason is not charged.
        Arc::new(resource_quota::ResourceQuota::new(deps.clock.clone())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn deps() -> Deps {
        let webhooks = Arc::new(Caller::new(Arc::new(::webhook::Services::default())));
        Deps::new(SharedRng::seeded(1), base::clock::system(), webhooks)
    }

    #[test]
    fn plugins_are_switched_by_name() {
        let names = |enable: &[&str], disable: &[&str]| -> Vec<&str> {
            let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
            let plugins = enabled(&deps(), &owned(enable), &owned(disable)).unwrap();
            plugins.iter().map(|plugin| plugin.name()).collect()
        };
        assert!(!names(&[], &[]).contains(&"AlwaysPullImages"));
        assert!(names(&["AlwaysPullImages"], &[]).contains(&"AlwaysPullImages"));
        assert!(!names(&[], &["Priority"]).contains(&"Priority"));
        assert!(names(&[], &["RBACEscalation"]).contains(&"RBACEscalation"));
        assert_eq!(names(&[], &[]).last(), Some(&"ResourceQuota"));
        assert!(enabled(&deps(), &["Nothing".to_owned()], &[]).is_err());
    }

    #[test]
    fn every_plugin_has_a_name_of_its_own() {
        let plugins = all(&deps());
        let names: BTreeSet<_> = plugins.iter().map(|plugin| plugin.name()).collect();
        assert_eq!(names.len(), plugins.len());
    }
}
