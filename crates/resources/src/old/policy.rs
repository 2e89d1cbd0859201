//! `policy/v1beta1`: an empty selector selects nothing there and everything now; and
//! PodSecurityPolicies, which are kept and do nothing.

use std::sync::Arc;

use api::Value;
use api::object::{at, set};
use apiserver::resource::{OldVersion, Resource, ResourceInfo, Scope};
use serde_json::{Map, json};

use crate::kind::Kind;

/// Upstream's own way to say "no pod" and "any pod" across the two versions.
const MARK: &str = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";

fn marked(operator: &str) -> Value {
    json!({ "matchExpressions": [{ "key": MARK, "operator": operator }] })
}

fn change_selector(budget: &mut Value, of_empty: &str, of_other: &str) {
    let Some(selector) = at(budget, &["spec", "selector"]) else { return };
    let empty = Value::Object(Map::new());
    if *selector == empty {
        set(budget, &["spec", "selector"], marked(of_empty));
    } else if *selector == marked(of_other) {
        set(budget, &["spec", "selector"], empty);
    }
}

pub(super) fn budget_to_current(budget: &mut Value) {
    change_selector(budget, "Exists", "DoesNotExist");
}

pub(super) fn budget_from_current(budget: &mut Value) {
    change_selector(budget, "DoesNotExist", "Exists");
}

/// PodSecurityPolicy: charts of old bring one along. Nothing enforces it, as its warning says, and
/// discovery does not list it.
#[must_use]
pub fn pod_security_policy() -> Arc<dyn Resource> {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let warning = |api_version: &str, deprecated: &str, removed: &str| OldVersion {
        api_version: api_version.to_owned(),
        warning: format!(
            "{api_version} PodSecurityPolicy is deprecated in v{deprecated}+, unavailable in \
             v{removed}+; it is kept and not enforced, label namespaces with \
             pod-security.kubernetes.io/enforce instead"
        ),
        listed: false,
    };
    Kind::unlisted(ResourceInfo {
        group: "policy".into(),
        // Served under its old names only, but for its storage.
        versions: Vec::new(),
        storage_version: "v1beta1".into(),
        plural: "podsecuritypolicies".into(),
        singular: "podsecuritypolicy".into(),
        kind: "PodSecurityPolicy".into(),
        list_kind: "PodSecurityPolicyList".into(),
        short_names: vec!["psp".into()],
        categories: Vec::new(),
        scope: Scope::Cluster,
        verbs: verbs.map(Into::into).to_vec(),
        key_prefix: "/registry/podsecuritypolicy".into(),
        storage_version_hash: "".into(),
    })
    .also_in(
        vec![
            warning("policy/v1beta1", "1.21", "1.25"),
            warning("extensions/v1beta1", "1.11", "1.16"),
        ],
        "io.k8s.api.extensions.v1beta1.PodSecurityPolicy",
    )
    .plain()
}
