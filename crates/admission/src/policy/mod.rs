//! MutatingAdmissionPolicy and ValidatingAdmissionPolicy: expressions instead of webhooks.
//!
//! Which policies a request meets is in `binding.rs`, what their expressions are given in
//! `inputs.rs`; what they say is in `verdict.rs` and `mutation.rs`, what comes of it in the plugins.

mod binding;
mod inputs;
mod mutating;
mod mutation;
mod validating;
mod verdict;

use std::sync::Arc;

use api::Value;
use api::names::Gvk;
use api::object::{at, name, str_at};
use api::status::ApiResult;
use apiserver::admission::{AdmissionRequest, ServedKind};
use apiserver::resource::ObjectApi;

use crate::compiled::Compiled;
use crate::matching::MatchResources;
use binding::Binding;

pub(crate) use inputs::Asked;
pub(crate) use mutating::MutatingAdmissionPolicy;
pub(crate) use validating::ValidatingAdmissionPolicy;

const GROUP: &str = "admissionregistration.k8s.io";

/// A policy as its object says it: which requests it means, and its compiled expressions.
struct Definition<P> {
    name: String,
    matches: Result<MatchResources, String>,
    param_kind: Option<Gvk>,
    policy: P,
}

impl<P> Definition<P> {
    fn of(object: &Value, compile: fn(&Value) -> P) -> Self {
        let matches = match at(object, &["spec", "matchConstraints"]) {
            Some(constraints @ Value::Object(_)) => {
                MatchResources::of(constraints).map_err(|error| error.to_string())
            }
            _ => Err("policy contained no match constraints, a required field".to_owned()),
        };
        let param_kind = at(object, &["spec", "paramKind"]).filter(|kind| kind.is_object());
        let param_kind = param_kind.map(|kind| {
            Gvk::from_api_version(str_at(kind, &["apiVersion"]), str_at(kind, &["kind"]))
        });
        Self { name: name(object).to_owned(), matches, param_kind, policy: compile(object) }
    }
}

/// The policies of a kind, and their bindings.
struct Policies<P> {
    policies: Compiled<Definition<P>>,
    bindings: Compiled<Binding>,
}

impl<P> Policies<P> {
    /// Of two resources: the policies' and their bindings'.
    fn new(policies: &str, bindings: &str, compile: fn(&Value) -> Definition<P>) -> Self {
        Self {
            policies: Compiled::new(GROUP, policies, compile),
            bindings: Compiled::new(GROUP, bindings, Binding::of),
        }
    }

    /// The policies that are bound, by name, with their bindings: one without says nothing.
    async fn bound(&self, api: &dyn ObjectApi) -> ApiResult<Vec<Bound<P>>> {
        let bindings = self.bindings.all(api).await?;
        if bindings.is_empty() {
            return Ok(Vec::new());
        }
        let with_own = |definition: Arc<Definition<P>>| {
            let own = bindings.iter().filter(|binding| binding.policy == definition.name);
            let own: Vec<_> = own.cloned().collect();
            (!own.is_empty()).then_some(Bound { definition, bindings: own })
        };
        Ok(self.policies.all(api).await?.into_iter().filter_map(with_own).collect())
    }
}

/// A policy and its bindings.
struct Bound<P> {
    definition: Arc<Definition<P>>,
    bindings: Vec<Arc<Binding>>,
}

/// What a policy that should have been asked could not be asked for.
struct Misfit {
    /// The binding that it is about; `None` when it is the policy itself.
    binding: Option<String>,
    why: String,
}

/// A binding of a policy that a request meets, with its parameters.
struct Met<'b> {
    binding: &'b Binding,
    params: Vec<Value>,
}

/// What a policy has to do with a request.
struct Meeting<'b> {
    /// By which kind the request is meant.
    kind: ServedKind,
    met: Vec<Met<'b>>,
    misfits: Vec<Misfit>,
}

/// Finds whether a policy means a request, by which of its bindings, and with which parameters.
/// `None` when it has nothing to do with it.
async fn meet<'b, P: Sync>(
    api: &dyn ObjectApi,
    request: &AdmissionRequest<'_>,
    Bound { definition, bindings }: &'b Bound<P>,
) -> ApiResult<Option<Meeting<'b>>> {
    let own = crate::matching::own_kind(request);
    let mut meeting = Meeting { kind: own, met: Vec::new(), misfits: Vec::new() };
    let failed =
        |why: String| Misfit { binding: None, why: format!("failed to configure policy: {why}") };
    let matched = match &definition.matches {
        Ok(matches) => matches.matched(api, request).await.map_err(|error| error.to_string()),
        Err(why) => Err(why.clone()),
    };
    match matched {
        Ok(None) => return Ok(None),
        Ok(Some(kind)) => meeting.kind = kind,
        Err(why) => {
            meeting.misfits.push(failed(why));
            return Ok(Some(meeting));
        }
    }
    let param_kind = match &definition.param_kind {
        None => None,
        Some(kind) => match request.kinds.of_kind(kind) {
            Some(served) => Some(served),
            None => {
                meeting.misfits.push(failed(format!(
                    "failed to find resource referenced by paramKind: '{}, Kind={}'",
                    kind.api_version(),
                    kind.kind
                )));
                return Ok(Some(meeting));
            }
        },
    };
    for binding in bindings {
        let found = binding.met(api, request, param_kind.as_ref()).await;
        match found {
            Ok(None) => {}
            Ok(Some(params)) => meeting.met.push(Met { binding, params }),
            Err(why) => meeting.misfits.push(Misfit {
                binding: Some(binding.name.clone()),
                why: format!("failed to configure binding: {why}"),
            }),
        }
    }
    Ok(Some(meeting))
}

/// Whether policies are asked about a request at all: not about those that only ask (reviews), nor
/// about the configuration of admission.
fn is_asked_about(request: &AdmissionRequest<'_>) -> bool {
    let is_review =
        matches!(&*request.resource.group, "authentication.k8s.io" | "authorization.k8s.io");
    !is_review && !crate::matching::is_exempt(&request.resource)
}
