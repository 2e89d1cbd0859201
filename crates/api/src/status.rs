//! The one API error: a `Status` of `Failure`, made where the cause is known, turned into HTTP
//! once, at the edge of the API server.
//!
//! Codes, reasons and texts are those of apimachinery's `api/errors`; clients match on them.

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{StatusCause, StatusDetails};

use crate::field::{ErrorList, FieldError};
use crate::names::GroupResource;

/// A failed API request. `Display` is the message that the client reads.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message.as_deref().unwrap_or("unknown error"))]
pub struct ApiError(Box<Status>);

/// What API operations return.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// A failure with a code, a reason and a message, and nothing else.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            code: Some(code.into()),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            status: Some("Failure".to_owned()),
            message: Some(message.into()),
            ..Status::default()
        }))
    }

    /// A failure that a server answered, as a client got it.
    #[must_use]
    pub fn from_status(status: Status) -> Self {
        Self(Box::new(status))
    }

    /// The `Status` as it goes over the wire.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.0
    }

    /// The HTTP status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
    }

    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.0.reason.as_deref().unwrap_or_default()
    }

    fn details(&mut self) -> &mut StatusDetails {
        self.0.details.get_or_insert_default()
    }

    /// Names the object that the failure is about.
    #[must_use]
    pub fn about(mut self, resource: &GroupResource, name: &str) -> Self {
        let details = self.details();
        details.group = (!resource.group.is_empty()).then(|| resource.group.to_string());
        details.kind = (!resource.resource.is_empty()).then(|| resource.resource.to_string());
        details.name = (!name.is_empty()).then(|| name.to_owned());
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        let cause = StatusCause {
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            message: Some(message.into()),
            field: (!field.is_empty()).then(|| field.to_owned()),
        };
        self.details().causes.get_or_insert_default().push(cause);
        self
    }

    /// Tells the client to come back after this many seconds (also the `Retry-After` header).
    #[must_use]
    pub fn retry_after_seconds(mut self, seconds: i32) -> Self {
        self.details().retry_after_seconds = Some(seconds);
        self
    }

    /// Sets the token with which an expired list may go on.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.0.metadata.continue_ = Some(token);
        self
    }

    /// 404: the object does not exist.
    #[must_use]
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found")).about(resource, name)
    }

    /// 404: no such path or resource.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
            .about_nothing()
    }

    /// 405: the path takes other methods.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let text = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", text).about_nothing()
    }

    /// Details that say nothing, as upstream's routes and patches give them.
    #[must_use]
    pub fn about_nothing(mut self) -> Self {
        self.details();
        self
    }

    /// 409: an object of that name exists.
    #[must_use]
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists"))
            .about(resource, name)
    }

    /// 409: the object is not as the writer believed.
    #[must_use]
    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        let text = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", text).about(resource, name)
    }

    /// 409: the object was changed since the writer read it.
    #[must_use]
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403: the caller may not.
    #[must_use]
    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let text = if resource.resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {why}")
        };
        Self::new(403, "Forbidden", text).about(resource, name)
    }

    /// 401: the caller could not be identified.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    /// 405: the resource does not know the verb.
    #[must_use]
    pub fn method_not_supported(resource: &GroupResource, verb: &str) -> Self {
        let text = format!("{verb} is not supported on resources of kind \"{resource}\"");
        Self::new(405, "MethodNotAllowed", text).about(resource, "")
    }

    /// 406: none of the media types that the client accepts can be made.
    #[must_use]
    pub fn not_acceptable(supported: &[&str]) -> Self {
        let text = format!("only the following media types are accepted: {}", supported.join(", "));
        Self::new(406, "NotAcceptable", text)
    }

    /// 415: the body is of a media type that cannot be read here.
    #[must_use]
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        let text = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            supported.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", text)
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn request_too_large(limit: usize) -> Self {
        let text = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", text)
    }

    /// 410: the resource version is older than the history that is kept.
    #[must_use]
    pub fn expired(why: impl Into<String>) -> Self {
        Self::new(410, "Expired", why)
    }

    /// 422: validation failed; one cause a field.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut texts: Vec<String> = Vec::with_capacity(errors.len());
        for text in errors.iter().map(ToString::to_string) {
            // What was found twice is said once; the causes have both.
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let error = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {list}"))
            .about(&GroupResource::new(group, kind), name);
        errors.iter().fold(error, |error, found| {
            error.cause(found.kind.reason(), found.body(), &found.path.to_string())
        })
    }

    /// `Ok` when validation found nothing, 422 otherwise.
    ///
    /// # Errors
    /// [`ApiError::invalid`] when `errors` is not empty.
    pub fn check(group: &str, kind: &str, name: &str, errors: &ErrorList) -> ApiResult<()> {
        if errors.is_empty() { Ok(()) } else { Err(Self::invalid(group, kind, name, errors)) }
    }

    /// 429: come back later.
    #[must_use]
    pub fn too_many_requests(why: impl Into<String>, after_seconds: i32) -> Self {
        Self::new(429, "TooManyRequests", why).retry_after_seconds(after_seconds)
    }

    /// 500: the server failed.
    #[must_use]
    pub fn internal(why: impl std::fmt::Display) -> Self {
        let text = format!("Internal error occurred: {why}");
        Self::new(500, "InternalError", text).cause("", why.to_string(), "")
    }

    /// 503: a part that the request needs is not there now.
    #[must_use]
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", why)
    }

    /// 504: the request took too long.
    #[must_use]
    pub fn timeout(why: impl Into<String>) -> Self {
        Self::new(504, "Timeout", why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;

    #[test]
    fn invalid_names_the_kind_and_lists_the_causes() {
        let errors = [FieldError::required(Path::new("spec").child("selector"), "")];
        let error = ApiError::invalid("apps", "Deployment", "web", &errors);
        assert_eq!(error.code(), 422);
        assert_eq!(
            error.to_string(),
            "Deployment.apps \"web\" is invalid: spec.selector: Required value"
        );
        let details = error.status().details.clone().unwrap();
        assert_eq!(details.causes.unwrap()[0].field.as_deref(), Some("spec.selector"));
    }

    #[test]
    fn not_found_reads_as_upstreams() {
        let error = ApiError::not_found(&GroupResource::new("apps", "deployments"), "web");
        assert_eq!(error.to_string(), "deployments.apps \"web\" not found");
    }
}
