//! Token cleaner: bootstrap tokens go when they have expired.
//!
//! (Kubernetes `pkg/controller/bootstrap/tokencleaner.go`)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use reconcile::{Action, Cache, Ctx, Delete, Error, Key, Reconciler, Watches, or_gone};

use super::bootstrap_signer::{texts, tokens};
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    tokens: Cache<Secret>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { tokens: tokens(deps) })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "token-cleaner-controller"
    }

    fn workers(&self) -> usize {
        1
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.tokens);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(token) = self.tokens.get_key(key) else { return Ok(Action::Await) };
        let Some(end) = end(&token) else { return Ok(Action::Await) };
        let left = Duration::try_from(end.duration_since(ctx.clock.now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Action::After(left));
        }
        let how = Delete::uid(token.metadata.uid.as_deref());
        or_gone(ctx.writer.delete::<Secret>(key, how).await)?;
        Ok(Action::Await)
    }
}

/// When a token ends; what is no time has ended already, as its authenticator has it.
fn end(token: &Secret) -> Option<Timestamp> {
    let texts = texts(token);
    let text = texts.get("expiration").filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn when_tokens_end() {
        let end = |text: &str| {
            use base64::Engine;
            let encoded = base64::engine::general_purpose::STANDARD.encode(text);
            let secret = json!({"metadata": {}, "data": {"expiration": encoded}});
            end(&serde_json::from_value(secret).unwrap())
        };
        assert_eq!(end("2026-01-02T03:04:05Z"), Some("2026-01-02T03:04:05Z".parse().unwrap()));
        assert_eq!(end("tomorrow"), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(end(""), None);
    }
}
