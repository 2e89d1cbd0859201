//! From the claims of an OpenID Connect ID token to a caller, by the rules of the `--oidc-*` flags.
//! (apiserver `plugin/pkg/authenticator/token/oidc`)

use std::collections::BTreeMap;

use serde_json::Value;

use crate::UserInfo;

/// How much an issuer's clock may be ahead.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 300;

/// What the flags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `--oidc-issuer-url`.
    pub issuer: String,
    /// `--oidc-client-id`: whom tokens must be for.
    pub client_id: String,
    /// `--oidc-username-claim`.
    pub username_claim: String,
    /// `--oidc-username-prefix`; `None` when it is not given.
    pub username_prefix: Option<String>,
    /// `--oidc-groups-claim`; empty for none.
    pub groups_claim: String,
    /// `--oidc-groups-prefix`.
    pub groups_prefix: String,
    /// `--oidc-required-claim`.
    pub required_claims: BTreeMap<String, String>,
    /// `--oidc-signing-algs`.
    pub algorithms: Vec<String>,
}

impl Config {
    /// An issuer and a client, and upstream's defaults.
    #[must_use]
    pub fn new(issuer: &str, client_id: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            username_claim: "sub".to_owned(),
            username_prefix: None,
            groups_claim: String::new(),
            groups_prefix: String::new(),
            required_claims: BTreeMap::new(),
            algorithms: vec!["RS256".to_owned()],
        }
    }

    /// The caller that verified claims stand for; `now` is seconds since 1970.
    ///
    /// # Errors
    /// Why they stand for nobody.
    pub fn user(&self, claims: &Value, now: i64) -> Result<UserInfo, String> {
        self.check(claims, now)?;
        let name = self.username(claims)?;
        let groups = self.groups(claims)?;
        for (claim, wanted) in &self.required_claims {
            let found = claims
                .get(claim)
                .ok_or_else(|| format!("oidc: required claim {claim} not present in ID token"))?;
            let found = found
                .as_str()
                .ok_or_else(|| format!("oidc: parse claim {claim}: it is no string"))?;
            if found != wanted {
                return Err(format!(
                    "oidc: required claim {claim} value does not match. Got = {found}, want = {wanted}"
                ));
            }
        }
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        let mut user = UserInfo::named(&name, &names);
        if let Some(id) = claims.get("jti").and_then(Value::as_str) {
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            user.extra.insert(key, vec![format!("JTI={id}")]);
        }
        Ok(user)
    }

    fn check(&self, claims: &Value, now: i64) -> Result<(), String> {
        let time = |claim: &str| claims.get(claim).and_then(Value::as_f64).map(|at| at as i64);
        let verify = |why: String| Err(format!("oidc: verify token: oidc: {why}"));
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if issuer != self.issuer {
            return verify(format!(
                "id token issued by a different provider, expected {:?} got {issuer:?}",
                self.issuer
            ));
        }
        let audiences: Vec<String> = texts(claims.get("aud")).unwrap_or_default();
        if !audiences.contains(&self.client_id) {
            return Err(format!(
                "oidc: verify token: oidc: expected audience in {} got {}",
                crate::Quoted(std::slice::from_ref(&self.client_id)),
                crate::Quoted(&audiences)
            ));
        }
        if time("exp").is_none_or(|end| end < now) {
            return verify("token is expired".to_owned());
        }
        if time("nbf").is_some_and(|begin| now + NOT_BEFORE_LEEWAY_SECONDS < begin) {
            return verify("current time is before the nbf (not before) time".to_owned());
        }
        Ok(())
    }

    fn username(&self, claims: &Value) -> Result<String, String> {
        let claim = &self.username_claim;
        let name = claims.get(claim).and_then(Value::as_str);
        let name = name
            .ok_or_else(|| format!("oidc: parse username claims {claim:?}: claim not present"))?;
        if claim == "email"
            && let Some(verified) = claims.get("email_verified")
        {
            let verified =
                verified.as_bool().ok_or("oidc: parse 'email_verified' claim: it is no boolean")?;
            if !verified {
                return Err("oidc: email not verified".to_owned());
            }
        }
        Ok(match self.username_prefix.as_deref() {
            Some("-") => name.to_owned(),
            Some(prefix) => format!("{prefix}{name}"),
            // An address says whose it is; other names get their issuer's.
            None if claim == "email" => name.to_owned(),
            None => format!("{}#{name}", self.issuer),
        })
    }

    fn groups(&self, claims: &Value) -> Result<Vec<String>, String> {
        let claim = &self.groups_claim;
        let Some(found) = claims.get(claim).filter(|_| !claim.is_empty()) else {
            return Ok(Vec::new());
        };
        let groups = texts(Some(found)).ok_or_else(|| {
            format!("oidc: parse groups claim {claim:?}: it is neither a string nor a list of them")
        })?;
        Ok(groups.into_iter().map(|group| format!("{}{group}", self.groups_prefix)).collect())
    }
}

/// A string, or a list of strings.
fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    match value? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(list) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn claims(change: Value) -> Value {
        let mut claims = json!({"iss": "https://id", "aud": ["ferry", "x"], "sub": "42",
            "exp": NOW + 60, "email": "ann@example.com", "groups": ["devs"]});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    }

    fn check(config: &Config, change: Value, expected: Result<(&str, &[&str]), &str>) {
        let found = config.user(&claims(change), NOW);
        match (found, expected) {
            (Ok(user), Ok((name, groups))) => {
                assert_eq!(user.username, name);
                assert_eq!(user.groups[..user.groups.len() - 1], *groups);
            }
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn names_and_groups_with_their_prefixes() {
        let mut config = Config::new("https://id", "ferry");
        check(&config, json!({}), Ok(("https://id#42", &[])));
        config.username_prefix = Some("-".into());
        config.groups_claim = "groups".into();
        config.groups_prefix = "oidc:".into();
        check(&config, json!({}), Ok(("42", &["oidc:devs"])));
        check(&config, json!({"groups": "one"}), Ok(("42", &["oidc:one"])));
        check(&config, json!({"groups": 7}), Err("parse groups claim"));
        config.username_claim = "email".into();
        config.username_prefix = None;
        check(&config, json!({}), Ok(("ann@example.com", &["oidc:devs"])));
        check(&config, json!({"email_verified": false}), Err("oidc: email not verified"));
        config.username_prefix = Some("id/".into());
        check(&config, json!({"email_verified": true}), Ok(("id/ann@example.com", &["oidc:devs"])));
        config.username_claim = "nick".into();
        check(&config, json!({}), Err("parse username claims \"nick\": claim not present"));
    }

    #[test]
    fn whom_when_and_what_else() {
        let mut config = Config::new("https://id", "ferry");
        check(&config, json!({"aud": "ferry"}), Ok(("https://id#42", &[])));
        check(
            &config,
            json!({"aud": "other"}),
            Err("expected audience in [\"ferry\"] got [\"other\"]"),
        );
        check(&config, json!({"iss": "https://evil"}), Err("issued by a different provider"));
        check(&config, json!({"exp": NOW - 1}), Err("token is expired"));
        check(&config, json!({"exp": null}), Err("token is expired"));
        check(&config, json!({"nbf": NOW + 301}), Err("before the nbf"));
        check(&config, json!({"nbf": NOW + 299}), Ok(("https://id#42", &[])));
        config.required_claims.insert("hd".into(), "example.com".into());
        check(&config, json!({}), Err("required claim hd not present in ID token"));
        check(&config, json!({"hd": "x"}), Err("Got = x, want = example.com"));
        check(&config, json!({"hd": "example.com"}), Ok(("https://id#42", &[])));
    }
}
