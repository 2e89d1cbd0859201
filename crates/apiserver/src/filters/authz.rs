//! Whether a caller may do what it asks.

use api::names::GroupResource;
use api::status::{ApiError, ApiResult};
use auth::{
    Attributes, Decision, NonResource, ResourceAttributes, SelectorRequirement, Target, UserInfo,
};

use crate::request::{Query, RequestInfo};
use crate::server::Core;

/// What a request wants, for authorizers.
pub(crate) fn attributes(info: &RequestInfo, query: &Query<'_>, user: UserInfo) -> Attributes {
    let selects = matches!(info.verb, "list" | "watch" | "deletecollection");
    let selector = |name: &str| if selects { query.text(name) } else { "" };
    let target = if info.is_resource {
        Target::Resource(ResourceAttributes {
            verb: info.verb.to_owned(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            field_selector: SelectorRequirement::of_fields(selector("fieldSelector")),
            label_selector: SelectorRequirement::of_labels(selector("labelSelector")),
        })
    } else {
        Target::NonResource(NonResource { verb: info.verb.to_owned(), path: info.path.clone() })
    };
    Attributes { user, target }
}

/// exec, attach and port-forward over a WebSocket begin with a GET, and take the permission to
/// create all the same. (AuthorizePodWebsocketUpgradeCreatePermission)
///
/// # Errors
/// 403 when the caller may only get.
pub(crate) async fn authorize_upgrade(
    core: &Core,
    attributes: &Attributes,
    headers: &http::HeaderMap,
) -> ApiResult<()> {
    let Target::Resource(target) = &attributes.target else { return Ok(()) };
    let opens = target.verb == "get"
        && target.group.is_empty()
        && target.resource == "pods"
        && matches!(target.subresource.as_str(), "exec" | "attach" | "portforward");
    let upgrades = |header: &http::HeaderValue| {
        header.to_str().is_ok_and(|text| text.eq_ignore_ascii_case("websocket"))
    };
    if !opens || !headers.get(http::header::UPGRADE).is_some_and(upgrades) {
        return Ok(());
    }
    let target = ResourceAttributes { verb: "create".to_owned(), ..target.clone() };
    let user = attributes.user.clone();
    authorize(core, &Attributes { user, target: Target::Resource(target) }).await
}

/// Asks the authorizers: the reason why it is allowed, or the reason why not.
pub(crate) async fn decide(core: &Core, attributes: &Attributes) -> Result<String, String> {
    if core.authorizers.is_empty() {
        return Ok(String::new());
    }
    let mut reasons: Vec<String> = Vec::new();
    for authorizer in &core.authorizers {
        match authorizer.authorize(attributes).await {
            Decision::Allow(reason) => return Ok(reason),
            Decision::Deny(reason) => {
                reasons.push(reason);
                break;
            }
            Decision::NoOpinion(reason) => reasons.push(reason),
        }
    }
    reasons.retain(|reason| !reason.is_empty());
    Err(reasons.join(", "))
}

/// Asks the authorizers.
///
/// # Errors
/// 403 when none allows it, or one denies it.
pub(crate) async fn authorize(core: &Core, attributes: &Attributes) -> ApiResult<()> {
    let decision = decide(core, attributes).await;
    decision.map(drop).map_err(|reason| refusal(attributes, &reason))
}

/// 403 in upstream's words.
pub(crate) fn refusal(attributes: &Attributes, reason: &str) -> ApiError {
    let user = &attributes.user.username;
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match &attributes.target {
        Target::NonResource(target) => ApiError::forbidden(
            &GroupResource::new("", ""),
            "",
            &format!("User {user:?} cannot {} path {:?}{because}", target.verb, target.path),
        ),
        Target::Resource(target) => {
            let mut what = target.resource.clone();
            if !target.subresource.is_empty() {
                what = format!("{what}/{}", target.subresource);
            }
            let place = if target.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", target.namespace)
            };
            let why = format!(
                "User {user:?} cannot {} resource {what:?} in API group {:?} {place}{because}",
                target.verb, target.group
            );
            let resource = GroupResource::new(&target.group, &target.resource);
            ApiError::forbidden(&resource, &target.name, &why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let info = RequestInfo::of(&http::Method::GET, path, &Query::default());
        let error = refusal(&attributes(&info, &Query::default(), UserInfo::named("x", &[])), "");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn refusals_read_as_upstreams() {
        check(
            "/api/v1/namespaces/default/pods",
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#,
        );
        check(
            "/apis/apps/v1/namespaces/a/deployments/web/scale",
            r#"deployments.apps "web" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" in the namespace "a""#,
        );
        check(
            "/api/v1/nodes",
            r#"nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope"#,
        );
        check("/metrics", r#"forbidden: User "x" cannot get path "/metrics""#);
    }
}
