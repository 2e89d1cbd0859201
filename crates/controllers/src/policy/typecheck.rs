//! Types of ValidatingAdmissionPolicies: says in the status which expressions do not fit the kinds
//! that a policy means.
//!
//! (Kubernetes `pkg/controller/validatingadmissionpolicystatus`)

use std::sync::Arc;

use api::names::Gvk;
use api::object::{list_at, str_at};
use async_trait::async_trait;
use cel::DeclType;
use cel::admission::{KindToCheck, type_check};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use reconcile::{Action, Cache, Ctx, Error, Key, Patch, Reconciler, Watches, or_gone};
use serde_json::{Value, json};

use crate::cluster::discovery::{self, Discovery};
use crate::deps::Deps;

/// How many kinds a policy is checked for.
const KINDS_MAX: usize = 10;

/// The controller.
pub(crate) struct Controller {
    policies: Cache<ValidatingAdmissionPolicy>,
    crds: Cache<CustomResourceDefinition>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { policies: deps.caches.of(), crds: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "validatingadmissionpolicy-status-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.policies);
        let policies = self.policies.clone();
        watches.on(&self.crds, move |_, queue| {
            policies.list().into_iter().for_each(|policy| queue.add(Key::of(&policy.metadata)));
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(policy) = self.policies.get_key(key) else { return Ok(Action::Await) };
        let object = serde_json::to_value(&*policy).unwrap_or_default();
        let found = discovery::discover(&ctx.writer).await?;
        let wanted = plan(&object, &found, &self.crds.list());
        if is_said(&object, &wanted) {
            return Ok(Action::Await);
        }
        let patch = json!({ "status": wanted });
        or_gone(
            ctx.writer.patch::<ValidatingAdmissionPolicy>(key, "status", Patch::Merge(patch)).await,
        )?;
        Ok(Action::Await)
    }
}

/// What the status ought to say.
fn plan(policy: &Value, found: &Discovery, crds: &[Arc<CustomResourceDefinition>]) -> Value {
    let mut kinds: Vec<Gvk> = resources(policy)
        .into_iter()
        .filter_map(|(group, version, plural)| {
            let kind = kind_of(&group, &plural, found, crds)?;
            Some(Gvk::new(&group, &version, kind))
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds.truncate(KINDS_MAX);
    let kinds: Vec<KindToCheck> = kinds
        .iter()
        .filter_map(|kind| {
            let (group, version) = (kind.group.to_string(), kind.version.to_string());
            let decl = declared(kind, crds)?;
            Some(KindToCheck { group, version, kind: kind.kind.to_string(), decl })
        })
        .collect();
    let text = |field: &str| str_at(policy, &["spec", "paramKind", field]);
    let params = declared(&Gvk::from_api_version(text("apiVersion"), text("kind")), crds);
    let warnings: Vec<Value> = type_check(policy, &kinds, params.as_ref())
        .into_iter()
        .map(|found| json!({ "fieldRef": found.field_ref, "warning": found.warning }))
        .collect();
    let warnings = if warnings.is_empty() { Value::Null } else { warnings.into() };
    json!({
        "observedGeneration": api::object::generation(policy),
        "typeChecking": { "expressionWarnings": warnings },
    })
}

/// The kind of a resource's objects. A custom one's is known from its definition, which may be
/// there before the resource is served.
fn kind_of<'k>(
    group: &str,
    plural: &str,
    found: &'k Discovery,
    crds: &'k [Arc<CustomResourceDefinition>],
) -> Option<&'k str> {
    let served = found
        .resources
        .iter()
        .find(|one| *one.resource.group == *group && *one.resource.plural == *plural);
    let custom = || {
        let own = |crd: &&Arc<CustomResourceDefinition>| {
            crd.spec.group == group && crd.spec.names.plural == plural
        };
        crds.iter().find(own).map(|crd| crd.spec.names.kind.as_str())
    };
    served.map(|one| &*one.resource.kind).or_else(custom)
}

/// The resources that `matchConstraints` names with all their parts, as group, version and plural;
/// those with stars or subresources mean too much to be checked.
fn resources(policy: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for rule in list_at(policy, &["spec", "matchConstraints", "resourceRules"]) {
        let texts = |field: &str| -> Vec<String> {
            let list = list_at(rule, &[field]).iter().filter_map(Value::as_str);
            list.map(str::to_owned).collect()
        };
        let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
        if groups.iter().chain(&versions).any(|one| one == "*") {
            continue;
        }
        for group in &groups {
            for version in &versions {
                for plural in texts("resources") {
                    if !plural.contains(['*', '/']) {
                        found.push((group.clone(), version.clone(), plural));
                    }
                }
            }
        }
    }
    found
}

/// The type of a kind, built in or custom.
fn declared(kind: &Gvk, crds: &[Arc<CustomResourceDefinition>]) -> Option<Arc<DeclType>> {
    let name = format!("{}.{}.{}", kind.group, kind.version, kind.kind);
    if let Some(schema) = api::schema::by_kind(&kind.group, &kind.version, &kind.kind) {
        return DeclType::from_kind(&schema, &name);
    }
    let crd = crds
        .iter()
        .find(|crd| crd.spec.group == *kind.group && crd.spec.names.kind == *kind.kind)?;
    let version = crd.spec.versions.iter().find(|version| version.name == *kind.version)?;
    let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    DeclType::from_schema(&serde_json::to_value(schema).ok()?, &name, true)
}

/// Whether the status says it already.
fn is_said(policy: &Value, wanted: &Value) -> bool {
    let said = &policy["status"];
    said["observedGeneration"] == wanted["observedGeneration"]
        && said["typeChecking"].is_object()
        && said["typeChecking"]["expressionWarnings"]
            == wanted["typeChecking"]["expressionWarnings"]
}
