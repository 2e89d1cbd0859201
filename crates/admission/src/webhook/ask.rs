//! Asking one webhook.

use std::sync::Arc;

use api::status::ApiError;
use apiserver::admission::{AdmissionRequest, ServedKind};
use base::rng::SharedRng;
use webhook::Caller;

use super::configuration::Hook;
use super::review::{Objects, Response, response, review};

/// Asks webhooks.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) caller: Arc<Caller>,
    pub(super) rng: SharedRng,
}

/// Why there is no answer to go by.
pub(super) enum Failure {
    /// The call failed; what comes of it is the failure policy's to say.
    Call(String),
    /// The request fails, whatever the policy.
    Request(ApiError),
}

impl Asker {
    /// Asks one webhook about objects in the version that it wants.
    pub(super) async fn ask(
        &self,
        hook: &Hook,
        request: &AdmissionRequest<'_>,
        as_: &ServedKind,
        objects: &Objects,
        mutating: bool,
    ) -> Result<Response, Failure> {
        check_dry_run(hook, request)?;
        let failed = |why: String| Failure::Call(called(&hook.name, &why));
        let Some(version) = hook.review_version else {
            let why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(failed(format!("could not create admission objects: {why}")));
        };
        let client = hook
            .client
            .as_ref()
            .map_err(|why| failed(format!("could not get REST client: {why}")))?;
        let uid = uuid::Builder::from_random_bytes(self.rng.bytes16()).into_uuid().to_string();
        let told = review(request, as_, objects, &uid, version);
        let answer = self.caller.call(client, &told, hook.timeout).await;
        let answer = answer.map_err(|error| failed(format!("failed to call webhook: {error}")))?;
        response(&answer, &uid, version, mutating)
            .map_err(|why| failed(format!("received invalid webhook response: {why}")))
    }
}

fn called(name: &str, why: &str) -> String {
    format!("failed calling webhook {name:?}: {why}")
}

/// A webhook that may do something must not hear of what will not be done.
fn check_dry_run(hook: &Hook, request: &AdmissionRequest<'_>) -> Result<(), Failure> {
    if !request.dry_run || matches!(hook.side_effects.as_str(), "None" | "NoneOnDryRun") {
        return Ok(());
    }
    let text = format!("admission webhook {:?} does not support dry run", hook.name);
    Err(Failure::Request(ApiError::bad_request(text)))
}

/// Hands an answer's warnings and annotations on.
pub(super) fn note(hook: &Hook, response: &Response, request: &mut AdmissionRequest<'_>) {
    request.warnings.extend(response.warnings.iter().cloned());
    let annotations = response.audit.iter();
    let named = annotations.map(|(key, value)| (format!("{}/{key}", hook.name), value.clone()));
    request.audit.extend(named);
}

/// What comes of a failure: nothing when the webhook's failures are ignored.
pub(super) fn judge(
    hook: &Hook,
    failure: Failure,
    request: &mut AdmissionRequest<'_>,
    place: &str,
) -> Result<(), ApiError> {
    match failure {
        Failure::Request(error) => Err(error),
        Failure::Call(why) if hook.ignores_failures => {
            tracing::warn!(why, "a webhook failed, and its failures are ignored");
            request.audit.push((format!("failed-open.{place}"), hook.name.clone()));
            Ok(())
        }
        Failure::Call(why) => Err(ApiError::internal(why)),
    }
}
