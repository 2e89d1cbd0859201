//! Whether a token that verifies still stands: its account, and whatever it is bound to, must be
//! there, under the UID in the claims. Every use of a token asks here, TokenReview too.
//! (Kubernetes `pkg/serviceaccount/claims.go`, `legacy.go`)

use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::object::{label, set, str_at, uid};
use api::status::ApiError;
use apiserver::resource::ObjectApi;
use auth::legacy_token::{INVALID_SINCE, LAST_USED, LegacyClaims};
use auth::token::{Claims, Reference};
use base::clock::{Timestamp, rfc3339_seconds};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How long after its deletion time an object's tokens are still good: clocks differ.
const LEEWAY_SECONDS: i64 = 60;

/// Whether a bound token still stands.
///
/// # Errors
/// Why it does not, in upstream's words.
pub async fn still_stands(
    api: &dyn ObjectApi,
    claims: &Claims,
    now: Timestamp,
) -> Result<(), String> {
    let own = &claims.kubernetes;
    let account = account(api, &own.namespace, &own.serviceaccount.name, now).await?;
    if uid(&account) != own.serviceaccount.uid {
        return Err(format!(
            "service account UID ({}) does not match claim ({})",
            uid(&account),
            own.serviceaccount.uid
        ));
    }
    let bound = [
        ("secret", "secrets", own.namespace.as_str(), own.secret.as_ref()),
        ("pod", "pods", own.namespace.as_str(), own.pod.as_ref()),
        // A pod's node is information; a token bound to the node itself dies with it.
        ("node", "nodes", "", own.node.as_ref().filter(|_| own.pod.is_none())),
    ];
    for (what, plural, namespace, reference) in bound {
        let Some(Reference { name, uid: claimed }) = reference else { continue };
        let found = api.get(&GroupResource::new("", plural), namespace, name).await;
        let object = found.map_err(invalidated)?;
        if is_deleted(&object, now) {
            return Err("service account token has been invalidated".to_owned());
        }
        if uid(&object) != claimed {
            return Err(format!(
                "{what} UID ({}) does not match service account {what} ref claim ({claimed})",
                uid(&object)
            ));
        }
    }
    Ok(())
}

/// Whether a token without expiry still stands; notes on its Secret that it was used today.
///
/// # Errors
/// Why it does not, in upstream's words.
pub async fn legacy_still_stands(
    api: &dyn ObjectApi,
    claims: &LegacyClaims,
    token: &str,
    now: Timestamp,
) -> Result<(), String> {
    let secrets = GroupResource::new("", "secrets");
    let namespace = claims.namespace.as_str();
    let secret = api.get(&secrets, namespace, &claims.secret).await;
    let secret = secret.map_err(|_| "Token has been invalidated".to_owned())?;
    if api::object::is_deleting(&secret) {
        return Err("Token has been invalidated".to_owned());
    }
    let kept = STANDARD.decode(str_at(&secret, &["data", "token"])).unwrap_or_default();
    if kept != token.as_bytes() {
        return Err("token does not match server's copy".to_owned());
    }
    let account = account(api, namespace, &claims.account, now).await?;
    if uid(&account) != claims.uid {
        return Err(format!(
            "ServiceAccount UID ({}) does not match claim ({})",
            uid(&account),
            claims.uid
        ));
    }
    if label(&secret, INVALID_SINCE).is_some() {
        return Err(format!(
            "the token in secret {namespace}/{} for service account {namespace}/{} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
            claims.secret, claims.account
        ));
    }
    note_use(api, &secret, namespace, &claims.secret, now).await;
    Ok(())
}

/// A write a day: the cleaner of legacy tokens reads it.
async fn note_use(
    api: &dyn ObjectApi,
    secret: &Arc<Value>,
    namespace: &str,
    name: &str,
    now: Timestamp,
) {
    let today = rfc3339_seconds(now)[..10].to_owned();
    if label(secret, LAST_USED) == Some(today.as_str()) {
        return;
    }
    let change = |object: &mut Value| -> Result<(), ApiError> {
        set(object, &["metadata", "labels", LAST_USED], today.as_str());
        Ok(())
    };
    let secrets = GroupResource::new("", "secrets");
    if let Err(error) = api.modify(&secrets, None, namespace, name, false, &change).await {
        tracing::warn!(namespace, secret = name, %error, "cannot note that a legacy token was used");
    }
}

async fn account(
    api: &dyn ObjectApi,
    namespace: &str,
    name: &str,
    now: Timestamp,
) -> Result<Arc<Value>, String> {
    let accounts = GroupResource::new("", "serviceaccounts");
    let account = api.get(&accounts, namespace, name).await.map_err(|error| error.to_string())?;
    if is_deleted(&account, now) {
        return Err(format!("service account {namespace}/{name} has been deleted"));
    }
    Ok(account)
}

fn invalidated(_: ApiError) -> String {
    "service account token has been invalidated".to_owned()
}

fn is_deleted(object: &Value, now: Timestamp) -> bool {
    let at = str_at(object, &["metadata", "deletionTimestamp"]).parse::<Timestamp>();
    at.is_ok_and(|at| at.as_second() < now.as_second() - LEEWAY_SECONDS)
}
