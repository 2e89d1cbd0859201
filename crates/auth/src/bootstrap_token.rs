//! Bootstrap tokens: short secrets by which new nodes introduce themselves.
//!
//! `ID.SECRET`, kept in the Secret `kube-system/bootstrap-token-ID`. Pure; whoever has the Secret
//! asks [`user`]. (Kubernetes `plugin/pkg/auth/authenticator/token/bootstrap`)

use api::Value;
use api::object::{is_deleting, str_at};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::UserInfo;

/// Where the Secrets are.
pub const NAMESPACE: &str = "kube-system";
/// What their names begin with.
pub const NAME_PREFIX: &str = "bootstrap-token-";
/// Their type.
pub const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Id and secret of a bearer token that has a bootstrap token's form.
#[must_use]
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
    };
    (fits(id, 6) && fits(secret, 16)).then_some((id, secret))
}

/// The caller that a token stands for, by the Secret that belongs to its id; `now` is seconds since
/// 1970.
///
/// # Errors
/// Why it stands for nobody.
pub fn user(stored: &Value, id: &str, secret: &str, now: i64) -> Result<UserInfo, &'static str> {
    if is_deleting(stored) {
        return Err("the Secret is being deleted");
    }
    if str_at(stored, &["type"]) != TYPE {
        return Err("the Secret is of another type");
    }
    let kept = data(stored, "token-secret").unwrap_or_default();
    // Digests are compared, so that the time it takes says nothing of the secret.
    let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    if digest(&kept).as_ref() != digest(secret).as_ref() {
        return Err("the secret differs");
    }
    if data(stored, "token-id").as_deref() != Some(id) {
        return Err("the id differs");
    }
    if is_expired(stored, now) {
        return Err("it has expired");
    }
    if data(stored, "usage-bootstrap-authentication").as_deref() != Some("true") {
        return Err("it is not meant for authentication");
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in data(stored, "auth-extra-groups").unwrap_or_default().split(',') {
        if group.is_empty() {
            continue;
        }
        if !is_group(group) {
            return Err("one of its extra groups is none of system:bootstrappers");
        }
        groups.push(group.to_owned());
    }
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    Ok(UserInfo::named(&format!("system:bootstrap:{id}"), &names))
}

/// When a token ends, in seconds since 1970; `None` when it does not.
///
/// # Errors
/// The text that is no time; such a token counts as expired.
pub fn expiration(stored: &Value) -> Result<Option<i64>, String> {
    match data(stored, "expiration").filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<api::k8s_openapi::jiff::Timestamp>() {
            Ok(at) => Ok(Some(at.as_second())),
            Err(_) => Err(text),
        },
    }
}

fn is_expired(stored: &Value, now: i64) -> bool {
    match expiration(stored) {
        Ok(None) => false,
        Ok(Some(at)) => at <= now,
        Err(_) => true,
    }
}

fn data(stored: &Value, key: &str) -> Option<String> {
    let encoded = stored.get("data")?.get(key)?.as_str()?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// `system:bootstrappers:` and up to 256 of `a-z0-9:-`, the last no `:` or `-`.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let allowed = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase() || matches!(b, b':' | b'-');
    rest.len() <= 256
        && rest.bytes().all(allowed)
        && rest.bytes().last().is_some_and(|b| !matches!(b, b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(change: &[(&str, Option<&str>)]) -> Value {
        let mut data = vec![
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:workers,system:bootstrappers:a:b-c"),
            ("expiration", "2030-01-01T00:00:00Z"),
        ];
        for (key, value) in change {
            data.retain(|(known, _)| known != key);
            data.extend(value.map(|value| (*key, value)));
        }
        let data: serde_json::Map<String, Value> = data
            .into_iter()
            .map(|(key, value)| (key.to_owned(), STANDARD.encode(value).into()))
            .collect();
        json!({"type": TYPE, "metadata": {"name": "bootstrap-token-abcdef"}, "data": data})
    }

    fn check(change: &[(&str, Option<&str>)], expected: Result<&str, &str>) {
        let found = user(&secret(change), "abcdef", "0123456789abcdef", 1_800_000_000);
        assert_eq!(
            found.as_ref().map(|user| user.groups.join(" ")).map_err(|e| *e),
            expected.map(str::to_owned),
            "{change:?}"
        );
    }

    #[test]
    fn only_a_whole_and_valid_token_is_somebody() {
        check(
            &[],
            Ok(
                "system:bootstrappers system:bootstrappers:workers system:bootstrappers:a:b-c system:authenticated",
            ),
        );
        check(&[("auth-extra-groups", None)], Ok("system:bootstrappers system:authenticated"));
        check(
            &[("auth-extra-groups", Some("system:masters"))],
            Err("one of its extra groups is none of system:bootstrappers"),
        );
        check(
            &[("auth-extra-groups", Some("system:bootstrappers:"))],
            Err("one of its extra groups is none of system:bootstrappers"),
        );
        check(&[("expiration", Some("2020-01-01T00:00:00Z"))], Err("it has expired"));
        check(&[("expiration", Some("soon"))], Err("it has expired"));
        check(
            &[("expiration", None)],
            Ok(
                "system:bootstrappers system:bootstrappers:workers system:bootstrappers:a:b-c system:authenticated",
            ),
        );
        check(
            &[("usage-bootstrap-authentication", Some("yes"))],
            Err("it is not meant for authentication"),
        );
        check(&[("token-secret", Some("0123456789abcdeg"))], Err("the secret differs"));
        check(&[("token-id", Some("abcdeg"))], Err("the id differs"));
    }

    #[test]
    fn the_form_is_exact() {
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for wrong in ["abcdef", "abcdef.0123", "ABCDEF.0123456789abcdef", "abcde.0123456789abcdef"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
