//! `MutatingAdmissionPolicy`: policies that change the object, one after the other.
//!
//! As with webhooks, those that were asked before a change and say `IfNeeded` are asked once more,
//! in the second round that all plugins get.

use api::Value;
use api::object::{name, namespace};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, ServedKind};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

use super::mutation::{Change, Policy};
use super::{Asked, Bound, Definition, Policies, is_asked_about, meet};
use crate::again;
use crate::matching::{object_name, own_kind};

const NAME: &str = "MutatingAdmissionPolicy";

/// `MutatingAdmissionPolicy`.
pub(crate) struct MutatingAdmissionPolicy(Policies<Policy>);

impl MutatingAdmissionPolicy {
    pub(crate) fn new() -> Self {
        Self(Policies::new(
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            |object| Definition::of(object, Policy::of),
        ))
    }
}

/// A policy's failure, as its caller reads it, and the `Status`' reason where it has one.
struct Failure {
    text: String,
    reason: &'static str,
}

#[async_trait]
impl AdmissionPlugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        is_asked_about(request) && request.object.is_some()
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let bound = self.0.bound(api).await?;
        if bound.is_empty() {
            return Ok(());
        }
        again::begin(request, NAME);
        let mut failures = Vec::new();
        for one in &bound {
            ask(api, request, one, &mut failures).await?;
        }
        again::end(request, NAME);
        if failures.is_empty() { Ok(()) } else { Err(refused(request, &failures)) }
    }
}

async fn ask(
    api: &dyn ObjectApi,
    request: &mut AdmissionRequest<'_>,
    bound: &Bound<Policy>,
    failures: &mut Vec<Failure>,
) -> ApiResult<()> {
    let Some(meeting) = meet(api, request, bound).await? else { return Ok(()) };
    let (name, policy) = (&bound.definition.name, &bound.definition.policy);
    let mut fail = |binding: Option<&str>, why: &str, reason| {
        if policy.ignores_failures {
            return;
        }
        let text = match binding {
            Some(binding) => {
                format!("policy '{name}' with binding '{binding}' denied request: {why}")
            }
            None => format!("policy {name:?} denied request: {why}"),
        };
        failures.push(Failure { text, reason });
    };
    for misfit in &meeting.misfits {
        fail(misfit.binding.as_deref(), &misfit.why, "");
    }
    for met in &meeting.met {
        for params in &met.params {
            let binding = &met.binding.name;
            for why in invoke(api, request, policy, binding, params, &meeting.kind).await? {
                fail(Some(binding), &why, "Invalid");
            }
        }
    }
    Ok(())
}

/// One policy by one binding with one set of parameters: its mutations in their order. What
/// failed is answered.
async fn invoke(
    api: &dyn ObjectApi,
    request: &mut AdmissionRequest<'_>,
    policy: &Policy,
    binding: &str,
    params: &Value,
    kind: &ServedKind,
) -> ApiResult<Vec<String>> {
    let asked = Asked::of(api, request, kind).await?;
    match policy.holds(&asked, params) {
        Ok(true) => {}
        Ok(false) => return Ok(Vec::new()),
        Err(why) => return Ok(vec![why]),
    }
    let key = format!("{}/{binding}/{}/{}", policy.name, namespace(params), name(params));
    if !again::is_due(request, NAME, &key) {
        return Ok(Vec::new());
    }
    let before = request.object.as_deref().cloned();
    let mut failures = Vec::new();
    for mutation in &policy.mutations {
        let asked = Asked::of(api, request, kind).await?;
        let changed = policy
            .change(mutation, &asked, params)
            .and_then(|change| apply_change(&asked.objects.object, change, request, kind));
        match changed {
            Ok(changed) => take(request, changed, kind).await?,
            Err(why) => failures.push(why),
        }
    }
    let changed = request.object.as_deref() != before.as_ref();
    again::asked(request, NAME, &key, changed, policy.is_reinvoked);
    Ok(failures)
}

/// The object, in the version in which it is meant, after a change.
fn apply_change(
    object: &Value,
    change: Change,
    request: &AdmissionRequest<'_>,
    kind: &ServedKind,
) -> Result<Value, String> {
    match change {
        Change::Patch(operations) => {
            let patch = Value::from(operations).to_string();
            apply::json_patch(object, patch.as_bytes())
                .map_err(|error| format!("JSON Patch: {error}"))
        }
        Change::Apply(mut configuration) => {
            for field in ["apiVersion", "kind"] {
                configuration[field] = object[field].clone();
            }
            let schema =
                if request.is_whole { request.kinds.schema(kind) } else { body_schema(kind) };
            apply::ssa::merge_configuration(object, &configuration, &schema)
                .map_err(|why| format!("error applying patch: {why}"))
        }
    }
}

fn body_schema(kind: &ServedKind) -> api::schema::Schema {
    let gvk = &kind.kind;
    api::schema::by_kind(&gvk.group, &gvk.version, &gvk.kind).unwrap_or(api::schema::Schema::Any)
}

/// Puts a changed object in the request's place.
async fn take(
    request: &mut AdmissionRequest<'_>,
    changed: Value,
    kind: &ServedKind,
) -> ApiResult<()> {
    let own = own_kind(request);
    let taken = if request.is_whole {
        request.kinds.take(changed, kind, &own).await?
    } else {
        api::decode::value(changed, &body_schema(kind)).map_err(ApiError::internal)?.object
    };
    if let Some(object) = request.object.as_deref_mut() {
        *object = taken;
    }
    Ok(())
}

/// 403 with the first failure as its message, and all of them as causes.
fn refused(request: &AdmissionRequest<'_>, failures: &[Failure]) -> ApiError {
    let error = ApiError::forbidden(&request.resource, object_name(request), "");
    let error = failures.iter().fold(error, |error, failure| error.cause("", &failure.text, ""));
    let mut status = error.status().clone();
    if let Some(first) = failures.first() {
        status.message = Some(first.text.clone());
        if !first.reason.is_empty() {
            status.reason = Some(first.reason.to_owned());
        }
    }
    ApiError::from_status(status)
}
