//! What a caller may do: nodes by what has to do with them, everybody by RBAC.

mod node;
mod rbac;

use std::sync::Arc;

use apiserver::authz::{Authorizer, PolicySource};
use async_trait::async_trait;
use auth::{Attributes, Decision};
use reconcile::Caches;

pub use node::NodeAuthorizer;
pub use rbac::{LatePolicy, Rbac, RbacAuthorizer};

/// The authorizers of a server, in upstream's usual order (`--authorization-mode=Node,RBAC`). Made
/// before the server; they know what is stored once they [`follow`](Authorization::follow).
#[derive(Clone, Default)]
pub struct Authorization {
    policy: Arc<LatePolicy>,
    node: Arc<NodeAuthorizer>,
}

impl Authorization {
    /// The authorizers, in their order.
    #[must_use]
    pub fn authorizers(&self) -> Vec<Arc<dyn Authorizer>> {
        vec![self.node.clone(), Arc::new(RbacAuthorizer(self.policy.clone()))]
    }

    /// All of them as one.
    #[must_use]
    pub fn chain(&self) -> Arc<dyn Authorizer> {
        Arc::new(AuthorizerChain(self.authorizers()))
    }

    /// The RBAC policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<dyn PolicySource> {
        self.policy.clone()
    }

    /// Begins to follow what is stored. To be called once, before those who act begin to follow the
    /// same caches: what a node sees of its pods the authorizer has seen then.
    pub fn follow(&self, caches: &Caches) {
        self.node.follow(caches);
        // Set already when this is called twice, and then the first goes on.
        let _ = self.policy.0.set(Rbac::follow(caches));
    }
}

/// The first authorizer that allows or denies decides.
pub struct AuthorizerChain(pub Vec<Arc<dyn Authorizer>>);

#[async_trait]
impl Authorizer for AuthorizerChain {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(attributes).await {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }
}
