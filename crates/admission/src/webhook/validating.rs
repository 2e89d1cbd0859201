//! `ValidatingAdmissionWebhook`: webhooks that may refuse, asked all at once.

use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use futures::future::join_all;

use super::ask::{Asker, judge, note};
use super::configuration::{Hook, hooks};
use super::review::{Objects, denial};
use crate::Deps;
use crate::compiled::Compiled;
use crate::matching::is_exempt;

/// `ValidatingAdmissionWebhook`.
pub(crate) struct ValidatingAdmissionWebhook {
    configurations: Compiled<Vec<Hook>>,
    asker: Asker,
}

impl ValidatingAdmissionWebhook {
    pub(crate) fn new(deps: &Deps) -> Self {
        let plural = "validatingwebhookconfigurations";
        Self {
            configurations: Compiled::new("admissionregistration.k8s.io", plural, hooks),
            asker: Asker { caller: deps.webhooks.clone(), rng: deps.rng.clone() },
        }
    }
}

#[async_trait]
impl AdmissionPlugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        !is_exempt(&request.resource)
    }

    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let configurations = self.configurations.all(api).await?;
        let mut meant = Vec::new();
        for (index, hook) in configurations.iter().flat_map(|one| one.iter()).enumerate() {
            if let Some(kind) = hook.matched(api, request).await? {
                let objects = Objects::of(request, &kind).await?;
                meant.push((index, hook, kind, objects));
            }
        }
        let shared = &*request;
        let asked = meant
            .iter()
            .map(|(_, hook, kind, objects)| self.asker.ask(hook, shared, kind, objects, false));
        let answers = join_all(asked).await;
        let mut refusal = None;
        for ((index, hook, ..), answer) in meant.iter().zip(answers) {
            let place = format!("validating.webhook.admission.k8s.io/round_0_index_{index}");
            let outcome = match answer {
                Ok(response) => {
                    note(hook, &response, request);
                    let refused = || denial(&hook.name, &response.result);
                    if response.allowed { Ok(()) } else { Err(refused()) }
                }
                Err(failure) => judge(hook, failure, request, &place),
            };
            refusal = refusal.or(outcome.err());
        }
        refusal.map_or(Ok(()), Err)
    }
}
