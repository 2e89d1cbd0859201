//! `MutatingAdmissionWebhook`: webhooks that may change the object, asked one after the other, each
//! seeing what those before it did.
//!
//! When one changes the object, those that were asked before it and say `IfNeeded` are asked once
//! more, in the second round that all plugins get.

use api::Value;
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, ServedKind};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use serde_json::json;

use super::ask::{Asker, Failure, judge, note};
use super::configuration::{Hook, hooks};
use super::review::{Objects, Response, denial};
use crate::Deps;
use crate::again;
use crate::compiled::Compiled;
use crate::matching::{is_exempt, own_kind};

const NAME: &str = "MutatingAdmissionWebhook";

/// `MutatingAdmissionWebhook`.
pub(crate) struct MutatingAdmissionWebhook {
    configurations: Compiled<Vec<Hook>>,
    asker: Asker,
}

impl MutatingAdmissionWebhook {
    pub(crate) fn new(deps: &Deps) -> Self {
        let plural = "mutatingwebhookconfigurations";
        Self {
            configurations: Compiled::new("admissionregistration.k8s.io", plural, hooks),
            asker: Asker { caller: deps.webhooks.clone(), rng: deps.rng.clone() },
        }
    }

    async fn consider(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
        hook: &Hook,
        index: usize,
    ) -> ApiResult<()> {
        let Some(kind) = hook.matched(api, request).await? else { return Ok(()) };
        if !again::is_due(request, NAME, &hook.uid) {
            return Ok(());
        }
        let round = u8::from(request.reinvocation.is_second());
        let place = format!("round_{round}_index_{index}");
        let changed = self.ask(request, hook, &kind, &place).await;
        let is_changed = matches!(changed, Ok(true));
        again::asked(request, NAME, &hook.uid, is_changed, hook.is_reinvoked);
        match changed {
            Ok(_) => Ok(()),
            Err(failure) => {
                judge(hook, failure, request, &format!("mutating.webhook.admission.k8s.io/{place}"))
            }
        }
    }

    /// Asks one webhook and applies its patch. Whether it changed anything.
    async fn ask(
        &self,
        request: &mut AdmissionRequest<'_>,
        hook: &Hook,
        kind: &ServedKind,
        place: &str,
    ) -> Result<bool, Failure> {
        let objects = Objects::of(request, kind).await;
        let objects = objects.map_err(|error| Failure::Request(ApiError::internal(error)))?;
        let response = self.asker.ask(hook, request, kind, &objects, true).await?;
        note(hook, &response, request);
        if !response.allowed {
            return Err(Failure::Request(denial(&hook.name, &response.result)));
        }
        let changed = patch(request, hook, kind, &objects.object, &response).await?;
        let told = json!({
            "configuration": hook.configuration, "webhook": hook.name, "mutated": changed,
        });
        let key = format!("mutation.webhook.admission.k8s.io/{place}");
        request.audit.push((key, told.to_string()));
        Ok(changed)
    }
}

/// Applies a patch. Whether it changed anything.
async fn patch(
    request: &mut AdmissionRequest<'_>,
    hook: &Hook,
    kind: &ServedKind,
    shown: &Value,
    response: &Response,
) -> Result<bool, Failure> {
    let internal = |why: String| Failure::Request(ApiError::internal(why));
    if response.patch.is_empty() {
        return Ok(false);
    }
    let operations: Vec<Value> =
        serde_json::from_slice(&response.patch).map_err(|error| internal(error.to_string()))?;
    if operations.is_empty() {
        return Ok(false);
    }
    let (is_whole, kinds, own) = (request.is_whole, request.kinds, own_kind(request));
    let Some(object) = request.object.as_deref_mut() else {
        return Err(internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    };
    if response.patch_type != "JSONPatch" {
        let why = format!("unsupported patch type {:?}", response.patch_type);
        return Err(Failure::Call(format!("failed calling webhook {:?}: {why}", hook.name)));
    }
    let patched =
        apply::json_patch(shown, &response.patch).map_err(|error| internal(error.to_string()))?;
    let new = if is_whole {
        kinds.take(patched, kind, &own).await.map_err(Failure::Request)?
    } else {
        let kind = &kind.kind;
        let schema = api::schema::by_kind(&kind.group, &kind.version, &kind.kind)
            .unwrap_or(api::schema::Schema::Any);
        api::decode::value(patched, &schema).map_err(|error| internal(error.to_string()))?.object
    };
    let changed = new != *object;
    *object = new;
    Ok(changed)
}

#[async_trait]
impl AdmissionPlugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        !is_exempt(&request.resource)
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let configurations = self.configurations.all(api).await?;
        if configurations.is_empty() {
            return Ok(());
        }
        again::begin(request, NAME);
        for (index, hook) in configurations.iter().flat_map(|one| one.iter()).enumerate() {
            self.consider(api, request, hook, index).await?;
        }
        again::end(request, NAME);
        Ok(())
    }
}
