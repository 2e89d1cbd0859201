//! Versions that upstream has removed, read and written by conversion: the web is full of manifests
//! in them.
//!
//! Invariants: an old version is a form of the current kind, never a kind of its own, so all share
//! one storage and one set of rules; what an old form has no field for comes back unchanged when it
//! went through the old form; what the old form left to its own defaults is filled in here.
//!
//! To add one: its row in `facts/old_versions.tsv`, the difference of its schema in `api`'s
//! `facts/old.json` if there is any, and its line in [`FORMS`] if its objects look different.

mod admissionregistration;
mod apiextensions;
mod apps;
mod autoscaling;
mod certificates;
mod discovery;
mod networking;
mod policy;
mod rbac;
#[cfg(test)]
mod tests;

use api::Value;
use api::object::{at, remove, set};
use apiserver::resource::{OldVersion, ResourceInfo};

pub use policy::pod_security_policy;

const ROWS: &str = include_str!("../../facts/old_versions.tsv");

/// How the objects of an old version differ.
struct Form {
    api_version: &'static str,
    resource: &'static str,
    /// From the old form into the current one.
    up: fn(&mut Value),
    /// From the current form into the old one.
    down: fn(&mut Value),
}

const fn form(
    api_version: &'static str,
    resource: &'static str,
    up: fn(&mut Value),
    down: fn(&mut Value),
) -> Form {
    Form { api_version, resource, up, down }
}

fn same(_object: &mut Value) {}

const FORMS: &[Form] = &[
    form("extensions/v1beta1", "deployments", apps::extensions_deployment, apps::to_rollback),
    form("apps/v1beta1", "deployments", apps::v1beta1_deployment, apps::to_rollback),
    form("extensions/v1beta1", "daemonsets", apps::extensions_daemon_set, apps::to_generation),
    form("extensions/v1beta1", "replicasets", apps::select_template, same),
    form("apps/v1beta1", "statefulsets", apps::v1beta1_stateful_set, same),
    form("extensions/v1beta1", "ingresses", networking::to_current, networking::from_current),
    form(
        "networking.k8s.io/v1beta1",
        "ingresses",
        networking::to_current,
        networking::from_current,
    ),
    form(
        "policy/v1beta1",
        "poddisruptionbudgets",
        policy::budget_to_current,
        policy::budget_from_current,
    ),
    form(
        "autoscaling/v2beta1",
        "horizontalpodautoscalers",
        autoscaling::to_current,
        autoscaling::from_current,
    ),
    form("rbac.authorization.k8s.io/v1beta1", "rolebindings", rbac::refer, same),
    form("rbac.authorization.k8s.io/v1beta1", "clusterrolebindings", rbac::refer, same),
    form(
        "rbac.authorization.k8s.io/v1alpha1",
        "rolebindings",
        rbac::to_current,
        rbac::from_current,
    ),
    form(
        "rbac.authorization.k8s.io/v1alpha1",
        "clusterrolebindings",
        rbac::to_current,
        rbac::from_current,
    ),
    form(
        "apiextensions.k8s.io/v1beta1",
        "customresourcedefinitions",
        apiextensions::to_current,
        apiextensions::from_current,
    ),
    form(
        "admissionregistration.k8s.io/v1beta1",
        "mutatingwebhookconfigurations",
        admissionregistration::to_current,
        same,
    ),
    form(
        "admissionregistration.k8s.io/v1beta1",
        "validatingwebhookconfigurations",
        admissionregistration::to_current,
        same,
    ),
    form(
        "discovery.k8s.io/v1beta1",
        "endpointslices",
        discovery::to_current,
        discovery::from_current,
    ),
    form(
        "certificates.k8s.io/v1beta1",
        "certificatesigningrequests",
        certificates::to_current,
        same,
    ),
    form(
        "authorization.k8s.io/v1beta1",
        "subjectaccessreviews",
        |review| rename(review, "group", "groups"),
        |review| rename(review, "groups", "group"),
    ),
    form(
        "authorization.k8s.io/v1beta1",
        "localsubjectaccessreviews",
        |review| rename(review, "group", "groups"),
        |review| rename(review, "groups", "group"),
    ),
];

/// An old version of a kind, and the definition of its schema where it is not the current one's.
pub(crate) struct Row {
    pub(crate) version: OldVersion,
    pub(crate) definition: Option<&'static str>,
}

/// The old versions of a kind.
pub(crate) fn versions(info: &ResourceInfo) -> Vec<Row> {
    let cells = |line: &'static str| -> Option<[&'static str; 6]> {
        line.split('\t').collect::<Vec<_>>().try_into().ok()
    };
    let rows = ROWS.lines().skip(1).filter_map(cells);
    rows.filter(|[_, group, resource, ..]| info.group == *group && info.plural == *resource)
        .map(|[api_version, _, _, deprecated, removed, definition]| {
            let kind = &info.kind;
            let current = info.api_version(current_version(info));
            let warning = format!(
                "{api_version} {kind} is deprecated in v{deprecated}+, unavailable in v{removed}+; \
                 use {current} {kind}"
            );
            // Charts take a listed `policy/v1beta1` for PodSecurityPolicies.
            let listed = api_version != "policy/v1beta1";
            let version = OldVersion { api_version: api_version.to_owned(), warning, listed };
            Row { version, definition: (!definition.is_empty()).then_some(definition) }
        })
        .collect()
}

/// The version that old ones are turned into: the preferred one, or that of the storage when there
/// are no others.
pub(crate) fn current_version(info: &ResourceInfo) -> &str {
    info.versions.first().map_or(&info.storage_version, |version| &version.name)
}

fn find(info: &ResourceInfo, api_version: &str) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.api_version == api_version && info.plural == form.resource)
}

/// An object of an old version in the kind's current one.
pub(crate) fn to_current(info: &ResourceInfo, from: &str, mut object: Value) -> Value {
    if let Some(form) = find(info, from) {
        (form.up)(&mut object);
    }
    object["apiVersion"] = info.api_version(current_version(info)).into();
    object
}

/// An object of the kind's current version in an old one.
pub(crate) fn from_current(info: &ResourceInfo, to: &str, mut object: Value) -> Value {
    if let Some(form) = find(info, to) {
        (form.down)(&mut object);
    }
    object["apiVersion"] = to.into();
    object
}

/// Gives a field of the spec another name.
fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = remove(object, &["spec", from]) {
        set(object, &["spec", to], value);
    }
}

/// Takes an annotation away, and the map when nothing is left in it.
fn take_annotation(object: &mut Value, key: &str) -> Option<String> {
    let text = remove(object, &["metadata", "annotations", key])?;
    let map = at(object, &["metadata", "annotations"]).and_then(Value::as_object);
    if map.is_some_and(serde_json::Map::is_empty) {
        remove(object, &["metadata", "annotations"]);
    }
    text.as_str().map(str::to_owned)
}

/// The elements of a list at a path, for writing.
fn items<'a>(object: &'a mut Value, path: &[&str]) -> impl Iterator<Item = &'a mut Value> {
    let list = path.iter().try_fold(object, |value, key| value.get_mut(key));
    list.and_then(Value::as_array_mut).into_iter().flatten()
}
