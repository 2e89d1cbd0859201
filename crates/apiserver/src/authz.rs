//! Authorization: whether a caller may do what it asks.

use std::sync::Arc;

use async_trait::async_trait;
use auth::rbac::Policy;
use auth::{Attributes, Decision};

/// One authorizer. The chain stops at the first that allows or denies; nobody's opinion is a no.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// What it thinks of this.
    async fn authorize(&self, attributes: &Attributes) -> Decision;
}

/// The RBAC policy of the present moment.
pub trait PolicySource: Send + Sync {
    /// The policy, compiled from what is stored now.
    fn policy(&self) -> Arc<Policy>;
}

/// Everybody may do everything, and nobody has rules: for servers without authorization.
#[derive(Debug, Default, Clone, Copy)]
pub struct AlwaysAllow;

#[async_trait]
impl Authorizer for AlwaysAllow {
    async fn authorize(&self, _attributes: &Attributes) -> Decision {
        Decision::Allow(String::new())
    }
}

impl PolicySource for AlwaysAllow {
    fn policy(&self) -> Arc<Policy> {
        Arc::default()
    }
}
