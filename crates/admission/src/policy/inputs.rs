//! What a request's expressions are given.

use std::fmt;
use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::status::ApiResult;
use apiserver::admission::{AdmissionRequest, ServedKind};
use apiserver::authz::Authorizer;
use apiserver::resource::ObjectApi;
use auth::{Attributes, NonResource, ResourceAttributes, Target, UserInfo, groups, users};
use cel::admission::{Composed, Scope};
use cel::{Check, Decision, ResourceAsked};
use futures::FutureExt as _;

use crate::matching::{namespace, object_name};
use crate::webhook::review::{Objects, told};

/// A request in the version in which it is meant, for expressions.
pub(crate) struct Asked {
    pub(crate) objects: Objects,
    request: Value,
    namespace: Value,
    host: Arc<Host>,
    resource: ResourceAsked,
}

impl Asked {
    /// Gathers what expressions may speak of.
    ///
    /// # Errors
    /// The namespace does not exist, or the object cannot be converted.
    pub(crate) async fn of(
        api: &dyn ObjectApi,
        request: &AdmissionRequest<'_>,
        kind: &ServedKind,
    ) -> ApiResult<Self> {
        let own = request.namespace;
        let namespace_object = if own.is_empty() {
            Value::Null
        } else {
            let namespaces = GroupResource::new("", "namespaces");
            let mut found = (*api.get(&namespaces, "", own).await?).clone();
            api::object::remove(&mut found, &["metadata", "managedFields"]);
            found
        };
        let host = Host { user: request.user.clone(), authorizers: request.authorizers.to_vec() };
        Ok(Self {
            objects: Objects::of(request, kind).await?,
            request: told(request, kind).into(),
            namespace: namespace_object,
            host: Arc::new(host),
            resource: ResourceAsked {
                group: request.resource.group.to_string(),
                resource: request.resource.resource.to_string(),
                subresource: request.subresource.unwrap_or_default().to_owned(),
                namespace: namespace(request).to_owned(),
                name: object_name(request).to_owned(),
                ..ResourceAsked::default()
            },
        })
    }

    /// The request with these parameters and variables.
    pub(crate) fn scope<'a>(&'a self, params: &'a Value, variables: &'a [Composed]) -> Scope<'a> {
        Scope {
            object: Some(&self.objects.object),
            old_object: Some(&self.objects.old),
            request: Some(&self.request),
            params: Some(params),
            namespace: Some(&self.namespace),
            authorizer: Some((self.host.clone(), self.resource.clone())),
            variables,
            ..Scope::default()
        }
    }
}

/// Asks the server's authorizers on an expression's behalf.
struct Host {
    user: UserInfo,
    authorizers: Vec<Arc<dyn Authorizer>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("user", &self.user).finish_non_exhaustive()
    }
}

impl cel::Authorizer for Host {
    fn authorize(&self, check: &Check) -> Decision {
        let attributes = Attributes { user: self.user_of(check), target: target(check) };
        for authorizer in &self.authorizers {
            // Expressions do not wait: those that ask over the network cannot be asked here.
            let Some(decision) = authorizer.authorize(&attributes).now_or_never() else {
                let error = "this authorizer cannot be asked by an expression".to_owned();
                return Decision { error: Some(error), ..Decision::default() };
            };
            match decision {
                auth::Decision::Allow(reason) => {
                    return Decision { allowed: true, reason, error: None };
                }
                auth::Decision::Deny(reason) => {
                    return Decision { allowed: false, reason, error: None };
                }
                auth::Decision::NoOpinion(_) => {}
            }
        }
        // A server without authorizers allows everything.
        Decision { allowed: self.authorizers.is_empty(), ..Decision::default() }
    }
}

impl Host {
    fn user_of(&self, check: &Check) -> UserInfo {
        let Some((namespace, name)) = &check.service_account else { return self.user.clone() };
        let user = format!("{}{namespace}:{name}", users::SERVICE_ACCOUNT_PREFIX);
        let own = format!("{}{namespace}", groups::SERVICE_ACCOUNTS_PREFIX);
        UserInfo::named(&user, &[groups::SERVICE_ACCOUNTS, &own])
    }
}

fn target(check: &Check) -> Target {
    if let Some(path) = &check.path {
        return Target::NonResource(NonResource { verb: check.verb.clone(), path: path.clone() });
    }
    let asked = &check.resource;
    Target::Resource(ResourceAttributes {
        verb: check.verb.clone(),
        group: asked.group.clone(),
        version: "*".to_owned(),
        resource: asked.resource.clone(),
        subresource: asked.subresource.clone(),
        namespace: asked.namespace.clone(),
        name: asked.name.clone(),
        ..ResourceAttributes::default()
    })
}
