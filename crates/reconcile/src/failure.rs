//! What can go wrong with a request, by class: controllers decide by class, people read the text.

use std::time::Duration;

/// What a failed request means to its maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 404: the object, or its resource, does not exist.
    NotFound,
    /// 409: an object of that name exists.
    AlreadyExists,
    /// 409: the object was changed since it was read.
    Conflict,
    /// 422: the object is not valid; trying the same again is useless.
    Invalid,
    /// 403 because the namespace is being deleted: nothing will ever be created there again.
    NamespaceTerminating,
    /// 403: not allowed, or refused by admission (quota, policy).
    Forbidden,
    /// 401: the credentials are not accepted.
    Unauthorized,
    /// 410: the resource version is too old; list again.
    Expired,
    /// 429: come back later.
    TooManyRequests,
    /// 504 or a time-out on the way: whether it was done is not known.
    Timeout,
    /// 400, 405, 406, 413, 415: the server does not do this.
    Unsupported,
    /// 5xx.
    Server,
    /// The server could not be reached, or the connection broke.
    Transport,
    /// The answer could not be read.
    Decode,
}

/// A failed request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {attempt}: {message}")]
pub struct Failure {
    /// What it means.
    pub class: Class,
    /// What was attempted, on what: `create pods a/b`.
    pub attempt: String,
    /// The server's own words.
    pub message: String,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Classifies an error of the client.
    #[must_use]
    pub fn from_kube(attempt: String, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let class = classify(status);
                let seconds =
                    status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
                Self { class, attempt, message: status.message.clone(), retry_after }
            }
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::decode(attempt, error),
            other => Self {
                class: Class::Transport,
                attempt,
                message: base::error::Chain(other).to_string(),
                retry_after: None,
            },
        }
    }

    /// An answer that could not be read.
    #[must_use]
    pub fn decode(attempt: String, error: &(dyn std::error::Error + 'static)) -> Self {
        let message = base::error::Chain(error).to_string();
        Self { class: Class::Decode, attempt, message, retry_after: None }
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.class == Class::NotFound
    }

    /// Whether the object was changed since it was read.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.class == Class::Conflict
    }

    /// Whether an object of that name exists.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.class == Class::AlreadyExists
    }
}

/// Turns "it does not exist" into `None`.
///
/// # Errors
/// Every other failure.
pub fn or_gone<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn classify(status: &kube::core::Status) -> Class {
    match (status.code, status.reason.as_str()) {
        (_, "AlreadyExists") => Class::AlreadyExists,
        (404, _) => Class::NotFound,
        (409, _) => Class::Conflict,
        (422, _) => Class::Invalid,
        (403, _) if has_cause(status, "NamespaceTerminating") => Class::NamespaceTerminating,
        (403, _) => Class::Forbidden,
        (401, _) => Class::Unauthorized,
        (410, _) => Class::Expired,
        (429, _) => Class::TooManyRequests,
        (504 | 408, _) => Class::Timeout,
        (400 | 405 | 406 | 413 | 415, _) => Class::Unsupported,
        _ => Class::Server,
    }
}

fn has_cause(status: &kube::core::Status, reason: &str) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_code_reason_and_cause() {
        let check = |json: &str, expected| {
            let status: kube::core::Status = serde_json::from_str(json).unwrap();
            assert_eq!(classify(&status), expected, "{json}");
        };
        check(r#"{"code":409,"reason":"AlreadyExists"}"#, Class::AlreadyExists);
        check(r#"{"code":409,"reason":"Conflict"}"#, Class::Conflict);
        check(r#"{"code":410,"reason":"Expired"}"#, Class::Expired);
        check(r#"{"code":503,"reason":"ServiceUnavailable"}"#, Class::Server);
        check(
            r#"{"code":403,"details":{"causes":[{"reason":"NamespaceTerminating"}]}}"#,
            Class::NamespaceTerminating,
        );
        check(r#"{"code":403,"reason":"Forbidden"}"#, Class::Forbidden);
    }
}
