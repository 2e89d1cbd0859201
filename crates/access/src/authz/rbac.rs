//! RBAC in force: a policy made anew after a role or binding has changed, and the authorizer that
//! asks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::Value;
use api::k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use apiserver::authz::{Authorizer, PolicySource};
use async_trait::async_trait;
use auth::rbac::{Objects, Policy};
use auth::{Attributes, Decision, groups};
use parking_lot::Mutex;
use reconcile::{Cache, Caches};

/// The policy of the present moment, by the shared caches of roles and bindings.
pub struct Rbac {
    roles: Cache<Role>,
    cluster_roles: Cache<ClusterRole>,
    role_bindings: Cache<RoleBinding>,
    cluster_role_bindings: Cache<ClusterRoleBinding>,
    stale: Arc<AtomicBool>,
    made: Mutex<Arc<Policy>>,
}

impl Rbac {
    /// Begins to follow roles and bindings.
    #[must_use]
    pub fn follow(caches: &Caches) -> Arc<Self> {
        let stale = Arc::new(AtomicBool::new(true));
        let rbac = Self {
            roles: caches.of(),
            cluster_roles: caches.of(),
            role_bindings: caches.of(),
            cluster_role_bindings: caches.of(),
            stale,
            made: Mutex::default(),
        };
        let mark = || {
            let stale = rbac.stale.clone();
            move || stale.store(true, Ordering::Release)
        };
        let (a, b, c, d) = (mark(), mark(), mark(), mark());
        rbac.roles.subscribe(move |_| a());
        rbac.cluster_roles.subscribe(move |_| b());
        rbac.role_bindings.subscribe(move |_| c());
        rbac.cluster_role_bindings.subscribe(move |_| d());
        Arc::new(rbac)
    }

    /// Waits until all roles and bindings are known.
    async fn synced(&self) {
        self.roles.synced().await;
        self.cluster_roles.synced().await;
        self.role_bindings.synced().await;
        self.cluster_role_bindings.synced().await;
    }

    fn make(&self) -> Policy {
        let (roles, cluster_roles) = (values(&self.roles), values(&self.cluster_roles));
        let (bindings, cluster_bindings) =
            (values(&self.role_bindings), values(&self.cluster_role_bindings));
        Policy::new(&Objects {
            roles: roles.iter().collect(),
            cluster_roles: cluster_roles.iter().collect(),
            role_bindings: bindings.iter().collect(),
            cluster_role_bindings: cluster_bindings.iter().collect(),
        })
    }
}

fn values<K: api::typed::Kind>(cache: &Cache<K>) -> Vec<Value> {
    let decoded = |object: Arc<K>| serde_json::from_slice(&object.encode()).unwrap_or_default();
    cache.list().into_iter().map(decoded).collect()
}

impl PolicySource for Rbac {
    fn policy(&self) -> Arc<Policy> {
        let mut made = self.made.lock();
        if self.stale.swap(false, Ordering::AcqRel) {
            *made = Arc::new(self.make());
        }
        made.clone()
    }
}

/// A policy source for those that are made before the caches.
#[derive(Default)]
pub struct LatePolicy(pub std::sync::OnceLock<Arc<Rbac>>);

impl PolicySource for LatePolicy {
    fn policy(&self) -> Arc<Policy> {
        self.0.get().map(|rbac| rbac.policy()).unwrap_or_default()
    }
}

/// The authorizer of RBAC. `system:masters` are let through before any role is read, so that a
/// cluster whose roles are broken can be mended.
pub struct RbacAuthorizer(pub Arc<LatePolicy>);

#[async_trait]
impl Authorizer for RbacAuthorizer {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.is_in(groups::MASTERS) {
            return Decision::Allow(String::new());
        }
        let Some(rbac) = self.0.0.get() else { return Decision::NoOpinion(String::new()) };
        rbac.synced().await;
        rbac.policy().authorize(attributes)
    }
}
