//! Service-account tokens of the older kind: without expiry, kept in a Secret of type
//! `kubernetes.io/service-account-token`, void when the Secret goes.
//! (Kubernetes `pkg/serviceaccount/legacy.go`)

use serde::{Deserialize, Serialize};

use crate::UserInfo;
use crate::token::{TokenAuthority, TokenError, service_account_username};

/// The issuer that all such tokens name.
pub const ISSUER: &str = "kubernetes/serviceaccount";
/// The day on which a Secret's token was last used.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// The day since which a Secret's token is void, although it is still there.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// What such a token says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// The account's namespace.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// The Secret that holds the token.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    /// The account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    /// The account's UID.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub uid: String,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
}

impl LegacyClaims {
    /// Claims for an account and the Secret that will hold the token.
    #[must_use]
    pub fn new(namespace: &str, account: &str, uid: &str, secret: &str) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.to_owned(),
            uid: uid.to_owned(),
            sub: service_account_username(namespace, account),
        }
    }

    /// The caller that a token with these claims stands for.
    #[must_use]
    pub fn user(&self) -> UserInfo {
        let mut user = UserInfo::of_service_account(&self.namespace, &self.account);
        user.uid.clone_from(&self.uid);
        user
    }
}

impl TokenAuthority {
    /// A signed token without expiry.
    ///
    /// # Errors
    /// [`TokenError::Key`] when signing fails, which it does only without randomness.
    pub fn sign_legacy(&self, claims: &LegacyClaims) -> Result<String, TokenError> {
        self.sign_json(claims)
    }

    /// The claims of a token without expiry whose signature and form are right. Whether its Secret
    /// and account still stand is the caller's to see.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify_legacy(&self, token: &str) -> Result<LegacyClaims, TokenError> {
        let claims: LegacyClaims = self.verified(token)?;
        if claims.iss != ISSUER {
            return Err(TokenError::Issuer);
        }
        let whole = !claims.secret.is_empty()
            && claims.sub == service_account_username(&claims.namespace, &claims.account);
        if whole { Ok(claims) } else { Err(TokenError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::generate_key;

    #[test]
    fn a_legacy_token_names_its_account_and_is_no_bound_one() {
        let key = generate_key().unwrap();
        let authority = TokenAuthority::new("i", &["i"], &key, &[]).unwrap();
        let claims = LegacyClaims::new("a", "bot", "u", "bot-token");
        let token = authority.sign_legacy(&claims).unwrap();
        assert_eq!(authority.verify_legacy(&token).unwrap(), claims);
        assert!(authority.verify(&token, &[], 0).is_err());
        assert_eq!(claims.user().username, "system:serviceaccount:a:bot");
        let mut forged = claims.clone();
        forged.sub = "system:serviceaccount:kube-system:admin".into();
        let token = authority.sign_legacy(&forged).unwrap();
        assert_eq!(authority.verify_legacy(&token), Err(TokenError::Malformed));
        let other = TokenAuthority::new("i", &["i"], &generate_key().unwrap(), &[]).unwrap();
        let token = other.sign_legacy(&claims).unwrap();
        assert_eq!(authority.verify_legacy(&token), Err(TokenError::Signature));
    }
}
