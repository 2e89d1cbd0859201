//! Node: a machine that runs pods. Its kubelet creates it, status and all.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::names::GroupResource;
use api::object::{at, int_at, list_at, str_at};
use api::status::{ApiError, ApiResult};
use api::validate;
use apiserver::resource::{ObjectApi, Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{self, required};
use crate::core::pod::proxy::{Parent, Proxy};
use crate::core::pod::validation::scheduling::taint_effect;
use crate::cursor::{Field, same};
use crate::deps::{Deps, Target};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE, UNKNOWN};

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    Kind::of("", "nodes")
        .keeps_status_on_create()
        .selectable(&["spec.unschedulable"])
        .handled("proxy", Proxy::new(deps, Parent::Node))
        .rules(Node)
}

struct Node;

impl Rules for Node {
    fn default(&self, object: &mut Value) {
        let capacity = at(object, &["status", "capacity"]).cloned();
        if let (Some(capacity), None) = (capacity, at(object, &["status", "allocatable"])) {
            object["status"]["allocatable"] = capacity;
        }
    }

    fn validate(&self, node: Field<'_>, errors: &mut ErrorList) {
        let spec = node.get("spec");
        taints(spec.get("taints"), errors);
        let cidrs = spec.get("podCIDRs");
        for cidr in cidrs.items() {
            errors.extend(
                validate::net::cidr_legacy(cidr.str()).into_iter().map(|text| cidr.invalid(text)),
            );
        }
        let is_v6 = |cidr: Field<'_>| cidr.str().contains(':');
        let shown = || cidrs.value().cloned().unwrap_or_default();
        let one_family = cidrs.len() == 2 && is_v6(cidrs.index(0)) == is_v6(cidrs.index(1));
        if cidrs.len() > 2 || one_family {
            errors.push(
                cidrs.invalid_as(shown(), "may specify no more than one CIDR for each IP family"),
            );
        }
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, node: Field<'_>, errors: &mut ErrorList) {
        status(node, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        once_set(new, old, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        status(new, errors);
    }

    fn field<'a>(&self, node: &'a Value, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        let unschedulable = || at(node, &["spec", "unschedulable"]).and_then(Value::as_bool);
        (name == "spec.unschedulable")
            .then(|| if unschedulable().unwrap_or_default() { "true" } else { "false" }.into())
    }

    fn cells(&self, node: &Value, now: Timestamp) -> Vec<Value> {
        let info = |field: &str| table::text_or(node, &["status", "nodeInfo", field], UNKNOWN);
        let kernel =
            match (info("kernelVersion"), str_at(node, &["status", "nodeInfo", "architecture"])) {
                (kernel, "") => kernel,
                (kernel, arch) => {
                    format!("{} ({arch})", kernel.as_str().unwrap_or_default()).into()
                }
            };
        vec![
            table::name(node),
            state(node).into(),
            roles(node).into(),
            table::age(node, now),
            str_at(node, &["status", "nodeInfo", "kubeletVersion"]).into(),
            address(node, &["InternalIP"]).unwrap_or(NONE).into(),
            address(node, &["ExternalIP"]).unwrap_or(NONE).into(),
            info("osImage"),
            kernel,
            info("containerRuntimeVersion"),
        ]
    }
}

fn taints(list: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in list.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        check::label_key(key, errors);
        let texts = validate::label_value(value.str());
        if !texts.is_empty() {
            errors.push(value.invalid(texts.join(";")));
        }
        taint_effect(effect, true, errors);
        if seen.contains(&(key.str(), effect.str())) {
            let mut error = taint.duplicate();
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
        seen.push((key.str(), effect.str()));
    }
}

fn status(node: Field<'_>, errors: &mut ErrorList) {
    let status = node.get("status");
    for kind in ["capacity", "allocatable"] {
        for (name, quantity) in Field::get(status, kind).entries() {
            errors.extend(
                validate::qualified_name(name)
                    .into_iter()
                    .map(|text| quantity.invalid_as(name, text)),
            );
            check::resource_quantity(name, quantity, errors);
        }
    }
    let addresses = status.get("addresses");
    for (index, address) in addresses.items().enumerate() {
        let before = &addresses.list()[..index];
        if before.iter().any(|other| same(Some(other), address.value())) {
            errors.push(address.duplicate());
        }
        required(address.get("type"), errors);
    }
}

/// Fields that may be set once and not changed.
fn once_set(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let cidrs = spec.get("podCIDRs");
    if !before.get("podCIDRs").is_empty() && !same(cidrs.value(), before.get("podCIDRs").value()) {
        let text = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(cidrs.forbidden(text));
    }
    let id = spec.get("providerID");
    if !before.get("providerID").is_empty() && id.str() != before.get("providerID").str() {
        let text = "node updates may not change providerID except from \"\" to valid";
        errors.push(id.forbidden(text));
    }
}

fn state(node: &Value) -> String {
    let ready = table::condition(node, "Ready").map(|ready| str_at(ready, &["status"]));
    let mut state = match ready {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    }
    .to_owned();
    if at(node, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        state.push_str(",SchedulingDisabled");
    }
    state
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = api::object::labels(node)
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then_some(value),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }
}

fn address<'a>(node: &'a Value, kinds: &[&str]) -> Option<&'a str> {
    kinds.iter().find_map(|kind| {
        list_at(node, &["status", "addresses"])
            .iter()
            .find(|address| str_at(address, &["type"]) == *kind)
            .map(|address| str_at(address, &["address"]))
    })
}

/// Where a node's kubelet is.
///
/// # Errors
/// 404 when there is no such node, 500 when it has no address.
pub async fn kubelet_of(api: &dyn ObjectApi, name: &str) -> ApiResult<Target> {
    let node = api.get(&GroupResource::new("", "nodes"), "", name).await?;
    let order = ["InternalIP", "ExternalIP", "Hostname"];
    let Some(host) = address(&node, &order) else {
        return Err(ApiError::internal(format!(
            "no preferred addresses found; known addresses: [] of node {name}"
        )));
    };
    let port = int_at(&node, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"])
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
        .unwrap_or(10_250);
    Ok(Target::Kubelet { node: name.to_owned(), host: host.to_owned(), port })
}
