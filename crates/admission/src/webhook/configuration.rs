//! A webhook as its configuration says it.

use std::time::Duration;

use api::Value;
use api::object::{int_at, list_at, name, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionRequest, ServedKind};
use apiserver::resource::ObjectApi;
use cel::admission::{Conditions, Variables, Verdict};
use webhook::ClientConfig;

use crate::matching::{Rule, Selectors, matched_kind, object_name};
use crate::policy::Asked;

/// The time limit of webhooks that say none.
const DEFAULT_TIMEOUT_SECONDS: i64 = 10;

/// One webhook of a configuration.
pub(crate) struct Hook {
    /// The configuration's name.
    pub(crate) configuration: String,
    /// The webhook's own.
    pub(crate) name: String,
    /// Tells webhooks apart, even those of the same name.
    pub(crate) uid: String,
    /// Whom to ask, or why nobody can be asked.
    pub(crate) client: Result<ClientConfig, String>,
    pub(crate) timeout: Duration,
    /// `failurePolicy: Ignore`.
    pub(crate) ignores_failures: bool,
    /// What `sideEffects` says.
    pub(crate) side_effects: String,
    /// `v1` or `v1beta1`: the first of the webhook's that is known here.
    pub(crate) review_version: Option<&'static str>,
    /// `reinvocationPolicy: IfNeeded`.
    pub(crate) is_reinvoked: bool,
    rules: Vec<Rule>,
    equivalent: bool,
    selectors: ApiResult<Selectors>,
    conditions: Conditions,
}

/// The webhooks of a configuration object, in order.
pub(crate) fn hooks(configuration: &Value) -> Vec<Hook> {
    let webhooks = list_at(configuration, &["webhooks"]).iter().enumerate();
    webhooks.map(|(index, webhook)| Hook::of(name(configuration), index, webhook)).collect()
}

impl Hook {
    fn of(configuration: &str, index: usize, webhook: &Value) -> Self {
        let text = |field: &str| str_at(webhook, &[field]);
        let seconds = int_at(webhook, &["timeoutSeconds"]).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let versions = list_at(webhook, &["admissionReviewVersions"]);
        let review_version = versions.iter().find_map(|version| match version.as_str()? {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        Self {
            configuration: configuration.to_owned(),
            name: text("name").to_owned(),
            uid: format!("{configuration}/{}/{index}", text("name")),
            client: ClientConfig::of(&webhook["clientConfig"]).map_err(|error| error.to_string()),
            timeout: Duration::from_secs(seconds.max(1).unsigned_abs()),
            ignores_failures: text("failurePolicy") == "Ignore",
            side_effects: text("sideEffects").to_owned(),
            review_version,
            is_reinvoked: text("reinvocationPolicy") == "IfNeeded",
            rules: list_at(webhook, &["rules"]).iter().map(Rule::of).collect(),
            equivalent: text("matchPolicy") != "Exact",
            selectors: Selectors::of(webhook),
            conditions: Conditions::compile(
                &Variables { authorizer: true, ..Variables::default() }.env(),
                list_at(webhook, &["matchConditions"]),
            ),
        }
    }

    /// By which kind the webhook is asked about a request; `None` when it is not.
    pub(crate) async fn matched(
        &self,
        api: &dyn ObjectApi,
        request: &AdmissionRequest<'_>,
    ) -> ApiResult<Option<ServedKind>> {
        let Some(kind) = matched_kind(&self.rules, self.equivalent, request) else {
            return Ok(None);
        };
        let selectors = self.selectors.as_ref().map_err(Clone::clone)?;
        if !selectors.match_object(request) || !selectors.match_namespace(api, request).await? {
            return Ok(None);
        }
        if self.conditions.is_empty() {
            return Ok(Some(kind));
        }
        let asked = Asked::of(api, request, &kind).await?;
        match self.conditions.check(&asked.scope(&Value::Null, &[])) {
            Verdict::Matches => Ok(Some(kind)),
            Verdict::Fails(_) => Ok(None),
            Verdict::Error(_) if self.ignores_failures => Ok(None),
            Verdict::Error(why) => {
                Err(ApiError::forbidden(&request.resource, object_name(request), &why))
            }
        }
    }
}
