//! `ValidatingAdmissionPolicy`: policies that may refuse.

use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use serde_json::json;

use super::binding::Binding;
use super::verdict::{Denial, Policy, Verdict};
use super::{Asked, Bound, Definition, Policies, is_asked_about, meet};
use crate::matching::object_name;

/// `ValidatingAdmissionPolicy`.
pub(crate) struct ValidatingAdmissionPolicy(Policies<Policy>);

impl ValidatingAdmissionPolicy {
    pub(crate) fn new() -> Self {
        Self(Policies::new(
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            |object| Definition::of(object, Policy::of),
        ))
    }
}

/// The first denial of a request, which its caller reads.
#[derive(Default)]
struct Refusal(Option<(String, String)>);

impl Refusal {
    fn add(&mut self, policy: &str, binding: Option<&str>, message: &str, reason: &str) {
        let of_binding = binding.map(|name| format!(" with binding '{name}'")).unwrap_or_default();
        let text =
            format!("ValidatingAdmissionPolicy '{policy}'{of_binding} denied request: {message}");
        self.0.get_or_insert((text, reason.to_owned()));
    }
}

#[async_trait]
impl AdmissionPlugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        is_asked_about(request)
    }

    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let mut refusal = Refusal::default();
        for bound in &self.0.bound(api).await? {
            ask(api, request, bound, &mut refusal).await?;
        }
        refusal.0.map_or(Ok(()), |(text, reason)| Err(refused(request, &text, &reason)))
    }
}

async fn ask(
    api: &dyn ObjectApi,
    request: &mut AdmissionRequest<'_>,
    bound: &Bound<Policy>,
    refusal: &mut Refusal,
) -> ApiResult<()> {
    let Some(meeting) = meet(api, request, bound).await? else { return Ok(()) };
    let definition = &*bound.definition;
    let name = &definition.name;
    if !definition.policy.ignores_failures {
        for misfit in &meeting.misfits {
            refusal.add(name, misfit.binding.as_deref(), &misfit.why, "");
        }
    }
    if meeting.met.is_empty() {
        return Ok(());
    }
    let asked = Asked::of(api, request, &meeting.kind).await?;
    let mut annotations: Vec<(String, String)> = Vec::new();
    for met in &meeting.met {
        for params in &met.params {
            let verdict = definition.policy.judge(&asked, params);
            for denial in &verdict.denials {
                act(request, name, met.binding, denial, refusal);
            }
            for failure in &verdict.failures {
                refusal.add(name, Some(&met.binding.name), failure, "");
            }
            gather(&mut annotations, verdict);
        }
    }
    let named = annotations.into_iter().map(|(key, value)| (format!("{name}/{key}"), value));
    request.audit.extend(named);
    Ok(())
}

/// Does what the binding says is to be done about a denial.
fn act(
    request: &mut AdmissionRequest<'_>,
    policy: &str,
    binding: &Binding,
    denial: &Denial,
    refusal: &mut Refusal,
) {
    if binding.has_action("Deny") {
        refusal.add(policy, Some(&binding.name), &denial.message, &denial.reason);
    }
    if binding.has_action("Warn") {
        request.warnings.push(format!(
            "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{}': {}",
            binding.name, denial.message
        ));
    }
    if binding.has_action("Audit") {
        let failure = json!([{
            "message": denial.message,
            "policy": policy,
            "binding": binding.name,
            "expressionIndex": denial.validation,
            "validationActions": binding.actions,
        }]);
        let key = "validation.policy.admission.k8s.io/validation_failure".to_owned();
        request.audit.push((key, failure.to_string()));
    }
}

/// Values of one key from several bindings and parameters are joined, each said once.
fn gather(annotations: &mut Vec<(String, String)>, verdict: Verdict) {
    for (key, value) in verdict.annotations {
        match annotations.iter_mut().find(|(known, _)| *known == key) {
            Some((_, said)) if said.split(", ").any(|one| one == value) => {}
            Some((_, said)) => *said = format!("{said}, {value}"),
            None => annotations.push((key, value)),
        }
    }
}

/// 403's text with the code of the validation's own reason.
fn refused(request: &AdmissionRequest<'_>, text: &str, reason: &str) -> ApiError {
    let reason = if reason.is_empty() { "Invalid" } else { reason };
    let error = ApiError::forbidden(&request.resource, object_name(request), text);
    let mut status = error.cause("", text, "").status().clone();
    status.reason = Some(reason.to_owned());
    status.code = Some(match reason {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    });
    ApiError::from_status(status)
}
