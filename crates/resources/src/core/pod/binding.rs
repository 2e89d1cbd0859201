//! `pods/binding`: gives a pod its node, once.

use api::Value;
use api::names::GroupResource;
use api::object::{at, is_deleting, list_at, set, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::resource::{ObjectApi, SubresourceAnswer, SubresourceHandler, SubresourceRequest};
use async_trait::async_trait;
use base::clock::{SharedClock, rfc3339_seconds};
use serde_json::json;

/// Binds, at the moment that the server's clock shows.
pub(crate) struct Binder(pub(crate) SharedClock);

#[async_trait]
impl SubresourceHandler for Binder {
    async fn handle(
        &self,
        api: &dyn ObjectApi,
        request: SubresourceRequest,
    ) -> ApiResult<SubresourceAnswer> {
        let binding = request.body.unwrap_or_default();
        let answer =
            bind(api, &self.0, (&request.namespace, &request.name), &binding, request.dry_run)
                .await?;
        Ok(SubresourceAnswer::Object(201, answer))
    }
}

/// What is wrong with a binding.
fn check(name: &str, binding: &Value) -> ApiResult<()> {
    use api::field::{ErrorList, FieldError, Path};
    let mut errors = ErrorList::new();
    let target = Path::new("target");
    let kind = str_at(binding, &["target", "kind"]);
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported(target.child("kind"), kind, &["Node", "<empty>"]));
    }
    if str_at(binding, &["target", "name"]).is_empty() {
        errors.push(FieldError::required(target.child("name"), ""));
    }
    ApiError::check("", "Binding", name, &errors)
}

/// Binds a pod; also what `POST …/bindings` does.
pub(crate) async fn bind(
    api: &dyn ObjectApi,
    clock: &SharedClock,
    (namespace, name): (&str, &str),
    binding: &Value,
    dry_run: bool,
) -> ApiResult<Value> {
    check(name, binding)?;
    let pods = GroupResource::new("", "pods");
    let own = str_at(binding, &["metadata", "name"]);
    if !own.is_empty() && own != name {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    let uid = str_at(binding, &["metadata", "uid"]);
    let now = rfc3339_seconds(clock.now());
    let change = |pod: &mut Value| assign(&pods, pod, binding, uid, &now);
    api.modify(&pods, Some("binding"), namespace, name, dry_run, &change).await?;
    Ok(
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    )
}

fn assign(
    pods: &GroupResource,
    pod: &mut Value,
    binding: &Value,
    uid: &str,
    now: &str,
) -> ApiResult<()> {
    let name = api::object::name(pod).to_owned();
    let node = str_at(binding, &["target", "name"]);
    let conflict = |why: &str| Err(ApiError::conflict(pods, &name, why));
    if !uid.is_empty() && uid != api::object::uid(pod) {
        let own = api::object::uid(pod);
        return conflict(&format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
        ));
    }
    if is_deleting(pod) {
        return conflict(&format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let host = str_at(pod, &["spec", "nodeName"]);
    if !host.is_empty() {
        return conflict(&format!("pod {name} is already assigned to node {host:?}"));
    }
    if !list_at(pod, &["spec", "schedulingGates"]).is_empty() {
        return conflict(&format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    set(pod, &["spec", "nodeName"], node);
    // A promise of a node means nothing to a pod that has one. (KEP-5278)
    api::object::remove(pod, &["status", "nominatedNodeName"]);
    for map in ["annotations", "labels"] {
        let added = at(binding, &["metadata", map]).and_then(Value::as_object);
        for (key, value) in added.into_iter().flatten() {
            set(pod, &["metadata", map, key], value.clone());
        }
    }
    scheduled(pod, now);
    Ok(())
}

/// The condition that says so.
fn scheduled(pod: &mut Value, now: &str) {
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": now,
    });
    let list = api::object::entry(pod, &["status", "conditions"]);
    match list.as_array_mut() {
        Some(list) => {
            list.retain(|one| str_at(one, &["type"]) != "PodScheduled");
            list.push(condition);
        }
        None => *list = json!([condition]),
    }
}
