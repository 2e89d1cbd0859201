//! Tokens of service accounts, bound to their pod, kept until four fifths of their life are over.

use std::collections::HashMap;

use base::clock::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use parking_lot::Mutex;
use reconcile::Writer;
use serde_json::{Value, json};

use crate::pod;

/// A token is got anew at least this often.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
const LIFE_DEFAULT_SECONDS: i64 = 3600;

/// A token and when to get the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The token.
    pub(crate) value: String,
    /// From when on it should be replaced.
    pub(crate) refresh_at: Timestamp,
}

/// The tokens of the node's pods.
pub(crate) struct Tokens {
    writer: Writer,
    known: Mutex<HashMap<TokenKey, Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    pod_uid: String,
    account: String,
    audience: String,
    seconds: i64,
}

impl Tokens {
    /// No tokens yet.
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer, known: Mutex::default() }
    }

    /// The token that a projection asks for.
    pub(crate) async fn get(
        &self,
        pod: &Pod,
        source: &ServiceAccountTokenProjection,
        now: Timestamp,
    ) -> Result<Token, String> {
        let spec = pod::spec(pod);
        let account = spec.service_account_name.clone().filter(|name| !name.is_empty());
        let key = TokenKey {
            pod_uid: pod::uid(pod).to_owned(),
            account: account.unwrap_or_else(|| "default".to_owned()),
            audience: source.audience.clone().unwrap_or_default(),
            seconds: source.expiration_seconds.unwrap_or(LIFE_DEFAULT_SECONDS),
        };
        if let Some(token) = self.known.lock().get(&key).filter(|token| now < token.refresh_at) {
            return Ok(token.clone());
        }
        let audiences: Vec<&str> =
            [key.audience.as_str()].into_iter().filter(|one| !one.is_empty()).collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": key.seconds,
                "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Pod", "name": pod::name(pod), "uid": pod::uid(pod),
                },
            },
        });
        let namespace = pod::namespace(pod);
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{}/token", key.account);
        let answer = self.writer.raw("POST", &path, request.to_string().into_bytes()).await;
        let answer: Value = serde_json::from_slice(&answer.map_err(|failure| failure.to_string())?)
            .map_err(|error| error.to_string())?;
        let value = api::object::str_at(&answer, &["status", "token"]).to_owned();
        let expires = api::object::str_at(&answer, &["status", "expirationTimestamp"]).parse();
        let expires: Timestamp =
            expires.map_err(|error| format!("expirationTimestamp of a token: {error}"))?;
        let token = Token { value, refresh_at: refresh_at(now, expires) };
        self.known.lock().insert(key, token.clone());
        Ok(token)
    }

    /// Forgets the tokens of a pod.
    pub(crate) fn forget(&self, pod_uid: &str) {
        self.known.lock().retain(|key, _| key.pod_uid != pod_uid);
    }
}

/// When a token got now should be replaced.
fn refresh_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now);
    let part = (life * 4 / 5).min(AGE_MAX).max(SignedDuration::from_secs(1));
    now.checked_add(part).unwrap_or(expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced_at_four_fifths_of_their_life() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let check = |life: i64, wait: i64| {
            let expires = now.checked_add(SignedDuration::from_secs(life)).unwrap();
            assert_eq!(refresh_at(now, expires).duration_since(now).as_secs(), wait);
        };
        check(3607, 2885);
        check(600, 480);
        check(86_400 * 365, 86_400);
        check(-5, 1);
    }
}
