//! Nobody gives rights that they do not have: roles and bindings are checked against those of the
//! writer, unless it may `escalate` the role or `bind` it.
//!
//! Upstream does this in the storage of these kinds, where it cannot be switched off; it stands
//! after all plugins that change objects, for what counts is what will be stored.
//! (Kubernetes `pkg/registry/rbac/*/policybased`)

use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::object::{at, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::authz::{Authorizer, PolicySource};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use auth::escalation::{check, full_authority};
use auth::rbac::{Rule, rules_of};
use auth::{Attributes, Decision, ResourceAttributes, Target, groups};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The check.
pub(crate) struct RbacEscalation {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) policy: Arc<dyn PolicySource>,
}

#[async_trait]
impl AdmissionPlugin for RbacEscalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        matches!(request.operation, Operation::Create | Operation::Update)
            && request.subresource.is_none()
            && &*request.resource.group == GROUP
            && !request.user.is_in(groups::MASTERS)
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let Some(new) = request.object.as_deref() else { return Ok(()) };
        if request.old.is_some_and(|old| only_for_garbage_collection(new, old)) {
            return Ok(());
        }
        match &*request.resource.resource {
            "roles" | "clusterroles" => self.role(request, new).await,
            "rolebindings" | "clusterrolebindings" => self.binding(api, request, new).await,
            _ => Ok(()),
        }
    }
}

impl RbacEscalation {
    async fn may(
        &self,
        request: &AdmissionRequest<'_>,
        verb: &str,
        what: &str,
        name: &str,
    ) -> bool {
        let target = Target::Resource(ResourceAttributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: what.to_owned(),
            namespace: request.namespace.to_owned(),
            name: name.to_owned(),
            ..ResourceAttributes::default()
        });
        let attributes = Attributes { user: request.user.clone(), target };
        matches!(self.authorizer.authorize(&attributes).await, Decision::Allow(_))
    }

    /// Whether the writer has these rules itself.
    fn check(&self, request: &AdmissionRequest<'_>, rules: &[Rule]) -> Result<(), String> {
        check(&self.policy.policy(), request.user, request.namespace, rules)
    }

    async fn role(&self, request: &AdmissionRequest<'_>, new: &Value) -> ApiResult<()> {
        // The name of a new object is no part of its request, as upstream has it.
        let name = if request.operation == Operation::Create { "" } else { request.name };
        if self.may(request, "escalate", &request.resource.resource, name).await {
            return Ok(());
        }
        let refuse = |why: &str| ApiError::forbidden(&request.resource, request.name, why);
        self.check(request, &rules_of(new)).map_err(|why| refuse(&why))?;
        let gathers = |role: &Value| at(role, &["aggregationRule"]).is_some();
        if gathers(new) || request.old.is_some_and(gathers) {
            self.check(request, &full_authority()).map_err(|_| {
                refuse("must have cluster-admin privileges to use the aggregationRule")
            })?;
        }
        Ok(())
    }

    async fn binding(
        &self,
        api: &dyn ObjectApi,
        request: &AdmissionRequest<'_>,
        new: &Value,
    ) -> ApiResult<()> {
        let (kind, name) = (str_at(new, &["roleRef", "kind"]), str_at(new, &["roleRef", "name"]));
        let (plural, namespace) = match kind {
            "Role" => ("roles", request.namespace),
            "ClusterRole" => ("clusterroles", ""),
            // Said by validation, which comes after.
            _ => return Ok(()),
        };
        if self.may(request, "bind", plural, name).await {
            return Ok(());
        }
        let role = api.get(&GroupResource::new(GROUP, plural), namespace, name).await?;
        self.check(request, &rules_of(&role))
            .map_err(|why| ApiError::forbidden(&request.resource, request.name, &why))
    }
}

/// Whether a change touches only what the garbage collector needs in order to delete the object.
pub(crate) fn only_for_garbage_collection(new: &Value, old: &Value) -> bool {
    let bare = |object: &Value| {
        let mut bare = object.clone();
        for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
            api::object::remove(&mut bare, &["metadata", field]);
        }
        bare
    };
    bare(new) == bare(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use auth::rbac::{self, Policy};
    use serde_json::json;

    /// Lets `ann` read pods everywhere, `binder` bind `strong`, and `lifter` escalate.
    struct Rbac;

    impl PolicySource for Rbac {
        fn policy(&self) -> Arc<Policy> {
            let roles = [
                json!({"metadata": {"name": "read"}, "rules": [
                    {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]}),
                json!({"metadata": {"name": "bind"}, "rules": [{"verbs": ["bind"],
                    "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["strong"]}]}),
                json!({"metadata": {"name": "lift"}, "rules": [{"verbs": ["escalate"],
                    "apiGroups": [GROUP], "resources": ["clusterroles", "roles"]}]}),
            ];
            let bindings: Vec<Value> = [("ann", "read"), ("binder", "bind"), ("lifter", "lift")]
                .iter()
                .map(|(user, role)| {
                    json!({"metadata": {"name": user},
                    "roleRef": {"kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "User", "name": user}]})
                })
                .collect();
            Arc::new(Policy::new(&rbac::Objects {
                cluster_roles: roles.iter().collect(),
                cluster_role_bindings: bindings.iter().collect(),
                ..rbac::Objects::default()
            }))
        }
    }

    #[async_trait]
    impl Authorizer for Rbac {
        async fn authorize(&self, attributes: &Attributes) -> Decision {
            self.policy().authorize(attributes)
        }
    }

    async fn ask(user: &str, plural: &str, kind: &str, object: Value) -> Result<(), String> {
        let plugin = RbacEscalation { authorizer: Arc::new(Rbac), policy: Arc::new(Rbac) };
        let strong = json!({"apiVersion": "v1", "kind": "ClusterRole", "metadata": {"name": "strong"},
            "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
        let weak = json!({"apiVersion": "v1", "kind": "ClusterRole", "metadata": {"name": "weak"},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        let api = Objects::of([strong, weak]);
        let mut request = Request::new(Operation::Create, GROUP, plural, kind, object);
        request.user = auth::UserInfo::named(user, &[]);
        request.name = "x".to_owned();
        if plural.starts_with("cluster") {
            request.namespace.clear();
        }
        request.admit(&plugin, &api).await.map(drop).map_err(|error| error.to_string())
    }

    fn role(verb: &str, resource: &str) -> Value {
        json!({"metadata": {"name": "x"}, "rules": [
            {"verbs": [verb], "apiGroups": [""], "resources": [resource]}]})
    }

    fn binding(name: &str) -> Value {
        json!({"metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "name": "ann"}]})
    }

    #[tokio::test]
    async fn a_role_holds_what_its_writer_holds_or_may_lift() {
        assert_eq!(ask("ann", "roles", "Role", role("get", "pods")).await, Ok(()));
        assert_eq!(ask("lifter", "clusterroles", "ClusterRole", role("*", "*")).await, Ok(()));
        assert_eq!(
            ask("ann", "clusterroles", "ClusterRole", role("delete", "pods")).await.unwrap_err(),
            "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
        );
        let mut gathering = role("get", "pods");
        gathering["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        let refused = ask("ann", "clusterroles", "ClusterRole", gathering).await.unwrap_err();
        assert!(refused.ends_with("must have cluster-admin privileges to use the aggregationRule"));
    }

    #[tokio::test]
    async fn a_binding_gives_what_its_writer_holds_or_may_bind() {
        let kind = "ClusterRoleBinding";
        assert_eq!(ask("ann", "clusterrolebindings", kind, binding("weak")).await, Ok(()));
        assert_eq!(ask("binder", "clusterrolebindings", kind, binding("strong")).await, Ok(()));
        let refused = ask("ann", "clusterrolebindings", kind, binding("strong")).await.unwrap_err();
        assert!(
            refused.contains("{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"),
            "{refused}"
        );
        let missing =
            ask("ann", "rolebindings", "RoleBinding", binding("ghost")).await.unwrap_err();
        assert_eq!(missing, "clusterroles.rbac.authorization.k8s.io \"ghost\" not found");
    }

    #[test]
    fn the_garbage_collectors_changes_pass() {
        let old = json!({"metadata": {"name": "x", "finalizers": ["a"]}, "rules": []});
        let new = json!({"metadata": {"name": "x"}, "rules": []});
        assert!(only_for_garbage_collection(&new, &old));
        let relabelled = json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "rules": []});
        assert!(!only_for_garbage_collection(&relabelled, &old));
    }
}
