//! A binding: where a policy holds, with which parameters, and what comes of a denial.

use api::Value;
use api::object::{at, list_at, name, str_at};
use api::selector::LabelSelector;
use apiserver::admission::{AdmissionRequest, ServedKind};
use apiserver::resource::{ObjectApi, Scope};

use crate::matching::{MatchResources, namespace};

/// A binding as its object says it.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    /// What `validationActions` lists.
    pub(super) actions: Vec<String>,
    matches: Option<Result<MatchResources, String>>,
    param_ref: Option<ParamRef>,
}

/// Which parameters are meant.
struct ParamRef {
    name: String,
    namespace: String,
    selector: Option<LabelSelector>,
    /// `parameterNotFoundAction: Deny`.
    must_exist: bool,
}

impl Binding {
    pub(super) fn of(object: &Value) -> Self {
        let text = |path: &[&str]| str_at(object, path).to_owned();
        let matches = at(object, &["spec", "matchResources"]).filter(|found| found.is_object());
        let param_ref = at(object, &["spec", "paramRef"]).filter(|found| found.is_object());
        let actions = list_at(object, &["spec", "validationActions"]);
        Self {
            name: name(object).to_owned(),
            policy: text(&["spec", "policyName"]),
            actions: actions.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect(),
            matches: matches
                .map(|found| MatchResources::of(found).map_err(|error| error.to_string())),
            param_ref: param_ref.map(|found| ParamRef {
                name: str_at(found, &["name"]).to_owned(),
                namespace: str_at(found, &["namespace"]).to_owned(),
                selector: at(found, &["selector"])
                    .filter(|selector| selector.is_object())
                    .and_then(|selector| LabelSelector::from_object(selector).ok()),
                must_exist: str_at(found, &["parameterNotFoundAction"]) == "Deny",
            }),
        }
    }

    /// Whether the binding lists an action.
    pub(super) fn has_action(&self, action: &str) -> bool {
        self.actions.iter().any(|one| one == action)
    }

    /// The parameters with which the policy is asked, each in turn; null for none. `None` when the
    /// binding does not mean the request.
    pub(super) async fn met(
        &self,
        api: &dyn ObjectApi,
        request: &AdmissionRequest<'_>,
        param_kind: Option<&(ServedKind, Scope)>,
    ) -> Result<Option<Vec<Value>>, String> {
        if let Some(matches) = &self.matches {
            let matches = matches.as_ref().map_err(Clone::clone)?;
            let matched = matches.matched(api, request).await;
            if matched.map_err(|error| error.to_string())?.is_none() {
                return Ok(None);
            }
        }
        let (Some((kind, scope)), Some(param_ref)) = (param_kind, &self.param_ref) else {
            return Ok(Some(vec![Value::Null]));
        };
        let namespace = param_ref.namespace(*scope, namespace(request))?;
        let found = param_ref.find(api, kind, namespace).await?;
        if found.is_empty() && param_ref.must_exist {
            let text = "no params found for policy binding with `Deny` parameterNotFoundAction";
            return Err(text.to_owned());
        }
        let mut params = Vec::new();
        for object in found {
            let shown = request.kinds.show(&object, kind).await;
            params.push(shown.map_err(|error| error.to_string())?);
        }
        Ok(Some(params))
    }
}

impl ParamRef {
    fn namespace<'n>(&'n self, scope: Scope, requests: &'n str) -> Result<&'n str, String> {
        let text = match (scope, self.namespace.as_str(), requests) {
            (Scope::Cluster, "", _) => return Ok(""),
            (Scope::Namespaced, "", "") => {
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            }
            (Scope::Namespaced, "", requests) => return Ok(requests),
            (Scope::Namespaced, own, _) => return Ok(own),
            (Scope::Cluster, ..) => {
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            }
        };
        Err(text.to_owned())
    }

    async fn find(
        &self,
        api: &dyn ObjectApi,
        kind: &ServedKind,
        namespace: &str,
    ) -> Result<Vec<std::sync::Arc<Value>>, String> {
        if let Some(selector) = &self.selector {
            let all = api.list(&kind.resource, namespace).await;
            let all = all.map_err(|error| error.to_string())?;
            return Ok(all.into_iter().filter(|one| selector.matches_object(one)).collect());
        }
        match api.get(&kind.resource, namespace, &self.name).await {
            Ok(found) => Ok(vec![found]),
            Err(error) if error.code() == 404 => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}
