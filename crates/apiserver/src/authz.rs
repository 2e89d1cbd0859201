//! Authorization: whether a caller may do what it asks.

use async_trait::async_trait;
use auth::{Attributes, Decision};

/// One authorizer. The chain stops at the first that allows or denies; nobody's opinion is a no.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// What it thinks of this.
    async fn authorize(&self, attributes: &Attributes) -> Decision;
}
