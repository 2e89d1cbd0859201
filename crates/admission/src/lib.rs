//! The admission plugins, one file each, and their list.
//!
//! To add one: its file, its line in [`all`] at the place where its order belongs, a test beside it.

mod default_class;
mod default_toleration_seconds;
mod namespace_lifecycle;
mod priority;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use apiserver::admission::AdmissionPlugin;
use base::rng::SharedRng;

/// What plugins need beside the request.
pub struct Deps {
    /// Randomness, for generated names.
    pub rng: SharedRng,
}

/// The plugins, in upstream's order: the namespace first, since
/// nothing else matters in one that is going; what fills in fields before what checks them.
#[must_use]
pub fn all(deps: &Deps) -> Vec<Arc<dyn AdmissionPlugin>> {
    vec![
        Arc::new(namespace_lifecycle::NamespaceLifecycle),
        Arc::new(service_account::ServiceAccount::new(deps.rng.clone())),
        Arc::new(taint_nodes_by_condition::TaintNodesByCondition),
        Arc::new(priority::Priority),
        Arc::new(default_toleration_seconds::DefaultTolerationSeconds),
        Arc::new(default_class::DefaultStorageClass),
        Arc::new(storage_object_in_use_protection::StorageObjectInUseProtection),
        Arc::new(runtime_class::RuntimeClass),
        Arc::new(default_class::DefaultIngressClass),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_plugin_has_a_name_of_its_own() {
        let plugins = all(&Deps { rng: SharedRng::seeded(1) });
        let names: BTreeSet<_> = plugins.iter().map(|plugin| plugin.name()).collect();
        assert_eq!(names.len(), plugins.len());
    }
}
