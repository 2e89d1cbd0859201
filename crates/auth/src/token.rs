//! Service-account tokens: JSON Web Tokens signed with ES256 (P-256), and the documents by which
//! others verify them.
//!
//! Claims are upstream's (KEP-1205, bound service-account tokens). A token that verifies here may
//! still be void: the caller checks that the service account and the bound object exist with the
//! UIDs in the claims.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Quoted, UserInfo, users};

/// What is wrong with a key or a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The key file does not hold a P-256 key in PKCS#8.
    #[error("the signing key is not a P-256 private key in PKCS#8 form")]
    Key,
    /// The text is no token of ours.
    #[error("the token is malformed")]
    Malformed,
    /// Another issuer made it.
    #[error("the token was issued by another issuer")]
    Issuer,
    /// No key of ours signed it.
    #[error("the token's signature does not verify")]
    Signature,
    /// It is valid no more.
    #[error("service account token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("service account token is not valid yet")]
    NotYet,
    /// It is for somebody else.
    #[error(
        "token audiences {} is invalid for the target audiences {}",
        Quoted(token),
        Quoted(accepted)
    )]
    Audience {
        /// Whom it is for.
        token: Vec<String>,
        /// Whom it would have to be for.
        accepted: Vec<String>,
    },
}

/// An object's name and UID in a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// The UID.
    #[serde(default)]
    pub uid: String,
}

/// The private claims, under `kubernetes.io`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateClaims {
    /// The service account's namespace.
    pub namespace: String,
    /// The service account.
    pub serviceaccount: Reference,
    /// The pod that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The node that the pod runs on, or that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// When the holder should have fetched a new one, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// A token's claims. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom the token is for.
    pub aud: Vec<String>,
    /// When it ends.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// Who made it.
    pub iss: String,
    /// A unique number (UUID).
    pub jti: String,
    /// The private claims.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: PrivateClaims,
    /// From when it is valid.
    pub nbf: i64,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
}

impl Claims {
    /// The caller that a token with these claims stands for.
    #[must_use]
    pub fn user(&self) -> UserInfo {
        let own = &self.kubernetes;
        let mut user = UserInfo::of_service_account(&own.namespace, &own.serviceaccount.name);
        user.uid.clone_from(&own.serviceaccount.uid);
        let mut extra = |key: &str, value: &str| {
            if !value.is_empty() {
                user.extra
                    .insert(format!("authentication.kubernetes.io/{key}"), vec![value.into()]);
            }
        };
        if !self.jti.is_empty() {
            extra("credential-id", &format!("JTI={}", self.jti));
        }
        for (kind, reference) in [("pod", &own.pod), ("node", &own.node)] {
            if let Some(reference) = reference {
                extra(&format!("{kind}-name"), &reference.name);
                extra(&format!("{kind}-uid"), &reference.uid);
            }
        }
        user
    }
}

/// `system:serviceaccount:NAMESPACE:NAME`.
#[must_use]
pub fn service_account_username(namespace: &str, name: &str) -> String {
    format!("{}{namespace}:{name}", users::SERVICE_ACCOUNT_PREFIX)
}

struct Key {
    id: String,
    public: Vec<u8>,
}

/// Makes and verifies tokens of one issuer: signs with the newest key, verifies with all.
pub struct TokenAuthority {
    issuer: String,
    audiences: Vec<String>,
    keys: RwLock<Arc<Keys>>,
    rng: SystemRandom,
}

/// The keys of one moment.
struct Keys {
    signer: EcdsaKeyPair,
    /// All that verify, the signer's first.
    all: Vec<Key>,
}

impl std::fmt::Debug for TokenAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The private key stays out of logs.
        f.debug_struct("TokenAuthority").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A new P-256 private key, PKCS#8 in DER.
///
/// # Errors
/// [`TokenError::Key`] when the system gives no randomness.
pub fn generate_key() -> Result<Vec<u8>, TokenError> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map(|document| document.as_ref().to_vec())
        .map_err(|_| TokenError::Key)
}

impl TokenAuthority {
    /// An authority that signs with `key` (PKCS#8, DER) and also accepts tokens of `former` keys.
    /// `audiences` are those of the API server itself; the first is given to tokens that ask for
    /// none.
    ///
    /// # Errors
    /// [`TokenError::Key`] when a key cannot be read.
    pub fn new(
        issuer: &str,
        audiences: &[&str],
        key: &[u8],
        former: &[Vec<u8>],
    ) -> Result<Self, TokenError> {
        let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let keys = RwLock::new(Arc::new(Keys::read(key, former)?));
        Ok(Self { issuer: issuer.to_owned(), audiences, keys, rng: SystemRandom::new() })
    }

    /// Signs with another key from now on, and accepts tokens of these.
    ///
    /// # Errors
    /// [`TokenError::Key`] when a key cannot be read; then nothing changes.
    pub fn replace_keys(&self, key: &[u8], former: &[Vec<u8>]) -> Result<(), TokenError> {
        let keys = Arc::new(Keys::read(key, former)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The issuer's URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The API server's own audiences.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// A signed token. `iss` is filled in, and `aud` when it is empty.
    ///
    /// # Errors
    /// [`TokenError::Key`] when signing fails, which it does only without randomness.
    pub fn sign(&self, mut claims: Claims) -> Result<String, TokenError> {
        claims.iss.clone_from(&self.issuer);
        if claims.aud.is_empty() {
            claims.aud.clone_from(&self.audiences);
        }
        self.sign_json(&claims)
    }

    pub(crate) fn sign_json(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let keys = self.keys();
        let header = json!({"alg": "ES256", "kid": keys.all[0].id});
        let body = serde_json::to_vec(claims).map_err(|_| TokenError::Malformed)?;
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(body));
        let signature =
            keys.signer.sign(&self.rng, signed.as_bytes()).map_err(|_| TokenError::Key)?;
        Ok(format!("{signed}.{}", B64.encode(signature)))
    }

    /// Whether a bearer token looks like one of this issuer's, so that another authenticator need
    /// not be asked.
    #[must_use]
    pub fn is_mine(&self, token: &str) -> bool {
        decode_claims(token).is_ok_and(|claims| claims.iss == self.issuer)
    }

    /// Whether it looks like one of the older kind, which name another issuer.
    #[must_use]
    pub fn is_legacy(&self, token: &str) -> bool {
        decode_claims(token).is_ok_and(|claims| claims.iss == crate::legacy_token::ISSUER)
    }

    /// The claims of a valid token. `audiences` are those that the caller accepts; empty for the
    /// API server's own. `now` is seconds since 1970.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        &self,
        token: &str,
        audiences: &[String],
        now: i64,
    ) -> Result<Claims, TokenError> {
        if decode_claims(token)?.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        let claims: Claims = self.verified(token)?;
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        if now < claims.nbf {
            return Err(TokenError::NotYet);
        }
        let accepted = if audiences.is_empty() { &self.audiences } else { audiences };
        if !claims.aud.iter().any(|audience| accepted.contains(audience)) {
            return Err(TokenError::Audience { token: claims.aud, accepted: accepted.to_vec() });
        }
        Ok(claims)
    }

    /// The claims of a token that one of the keys has signed.
    pub(crate) fn verified<T: serde::de::DeserializeOwned>(
        &self,
        token: &str,
    ) -> Result<T, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let claims = decode_body(token)?;
        let signature = B64.decode(signature).map_err(|_| TokenError::Malformed)?;
        let verifies = self.keys().all.iter().any(|key| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.public)
                .verify(signed.as_bytes(), &signature)
                .is_ok()
        });
        if verifies { Ok(claims) } else { Err(TokenError::Signature) }
    }

    /// The document at `/.well-known/openid-configuration`.
    #[must_use]
    pub fn discovery(&self, jwks_uri: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The document at `/openid/v1/jwks`.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let keys: Vec<_> = self
            .keys()
            .all
            .iter()
            .map(|key| {
                // An uncompressed point: 0x04, then x and y of 32 bytes each (SEC 1, 2.3.3).
                let (x, y) = key.public[1..].split_at(32);
                json!({
                    "use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256",
                    "x": B64.encode(x), "y": B64.encode(y),
                })
            })
            .collect();
        json!({ "keys": keys })
    }
}

impl Keys {
    fn read(key: &[u8], former: &[Vec<u8>]) -> Result<Self, TokenError> {
        let read = |der: &[u8]| {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
                .map_err(|_| TokenError::Key)
        };
        let signer = read(key)?;
        let mut all = vec![Key::of(&signer)];
        for der in former {
            all.push(Key::of(&read(der)?));
        }
        Ok(Self { signer, all })
    }
}

impl Key {
    fn of(pair: &EcdsaKeyPair) -> Self {
        let public = pair.public_key().as_ref().to_vec();
        let id = B64.encode(ring::digest::digest(&ring::digest::SHA256, &public));
        Self { id, public }
    }
}

/// The one claim by which the right authenticator is found.
#[derive(Deserialize)]
struct Issued {
    iss: String,
}

/// The issuer that a token names, unverified.
#[must_use]
pub fn issuer_of(token: &str) -> Option<String> {
    decode_claims(token).ok().map(|claims| claims.iss)
}

fn decode_claims(token: &str) -> Result<Issued, TokenError> {
    let body = token.split('.').nth(1).ok_or(TokenError::Malformed)?;
    let body = B64.decode(body).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&body).map_err(|_| TokenError::Malformed)
}

fn decode_body<T: serde::de::DeserializeOwned>(token: &str) -> Result<T, TokenError> {
    let mut parts = token.split('.');
    let (Some(header), Some(body), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let json = |part: &str| B64.decode(part).map_err(|_| TokenError::Malformed);
    let header: Value =
        serde_json::from_slice(&json(header)?).map_err(|_| TokenError::Malformed)?;
    // The algorithm is ours to say, never the token's: "none" and HMAC confusion end here.
    if header["alg"] != "ES256" {
        return Err(TokenError::Malformed);
    }
    serde_json::from_slice(&json(body)?).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn authority() -> TokenAuthority {
        let key = generate_key().unwrap();
        TokenAuthority::new(
            "https://kubernetes.default.svc",
            &["https://kubernetes.default.svc"],
            &key,
            &[],
        )
        .unwrap()
    }

    fn claims() -> Claims {
        Claims {
            sub: service_account_username("default", "web"),
            exp: NOW + 600,
            iat: NOW,
            nbf: NOW,
            jti: "1-2-3".into(),
            kubernetes: PrivateClaims {
                namespace: "default".into(),
                serviceaccount: Reference { name: "web".into(), uid: "u1".into() },
                pod: Some(Reference { name: "web-1".into(), uid: "u2".into() }),
                ..PrivateClaims::default()
            },
            ..Claims::default()
        }
    }

    #[test]
    fn a_token_verifies_and_names_its_user() {
        let authority = authority();
        let token = authority.sign(claims()).unwrap();
        let user = authority.verify(&token, &[], NOW + 1).unwrap().user();
        assert_eq!(user.username, "system:serviceaccount:default:web");
        assert!(user.is_in("system:serviceaccounts:default"));
        assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=1-2-3"]);
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["web-1"]);
    }

    #[test]
    fn time_audience_signature_and_form_are_checked() {
        let authority = authority();
        let token = authority.sign(claims()).unwrap();
        assert_eq!(authority.verify(&token, &[], NOW + 600), Err(TokenError::Expired));
        assert_eq!(authority.verify(&token, &[], NOW - 1), Err(TokenError::NotYet));
        let vault = ["vault".to_owned()];
        assert!(matches!(authority.verify(&token, &vault, NOW), Err(TokenError::Audience { .. })));
        assert_eq!(super::tests::authority().verify(&token, &[], NOW), Err(TokenError::Signature));
        let none =
            format!("{}.{}.", B64.encode(r#"{"alg":"none"}"#), token.split('.').nth(1).unwrap());
        assert_eq!(authority.verify(&none, &[], NOW), Err(TokenError::Malformed));
        assert_eq!(authority.verify("abc", &[], NOW), Err(TokenError::Malformed));
    }

    #[test]
    fn a_former_key_still_verifies() {
        let (old, new) = (generate_key().unwrap(), generate_key().unwrap());
        let before = TokenAuthority::new("i", &["i"], &old, &[]).unwrap();
        let after = TokenAuthority::new("i", &["i"], &new, &[old]).unwrap();
        let token = before.sign(claims()).unwrap();
        assert!(after.verify(&token, &[], NOW).is_ok());
        assert_eq!(after.jwks()["keys"].as_array().unwrap().len(), 2);
    }
}
