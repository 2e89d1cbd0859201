//! The authorizer library: `authorizer.group('').resource('pods').check('create').allowed()`.
//! Whether somebody may is asked of the host through [`Authorizer`].

use std::sync::Arc;

use super::opaque::Opaque;
use super::{Builtin, Context, Given, no_overload};
use crate::error::EvalError;
use crate::value::Value;

/// Who is asked whether somebody may.
pub trait Authorizer: Send + Sync + std::fmt::Debug {
    /// Whether the caller, or the service account `check.service_account`, may do this.
    fn authorize(&self, check: &Check) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Namespace and name of the service account that is asked about; the caller when `None`.
    pub service_account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
    /// The path, when it is not about a resource.
    pub path: Option<String>,
    /// The resource; its version is any.
    pub resource: ResourceAsked,
}

/// A resource that is asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceAsked {
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural name.
    pub resource: String,
    /// `status` …, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name, or empty.
    pub name: String,
    /// The field selector, or empty.
    pub field_selector: String,
    /// The label selector, or empty.
    pub label_selector: String,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong while deciding.
    pub error: Option<String>,
}

/// The variable `authorizer`.
#[derive(Debug, Clone)]
pub struct AuthorizerValue {
    host: Arc<dyn Authorizer>,
    service_account: Option<(String, String)>,
}

/// `authorizer.path(…)`.
#[derive(Debug, Clone)]
pub struct PathCheck {
    authorizer: AuthorizerValue,
    path: String,
}

/// `authorizer.group(…).resource(…)`.
#[derive(Debug, Clone)]
pub struct ResourceCheck {
    authorizer: AuthorizerValue,
    asked: ResourceAsked,
}

impl Value<'_> {
    /// The value of the variable `authorizer`.
    #[must_use]
    pub fn authorizer(host: Arc<dyn Authorizer>) -> Self {
        Self::opaque(Opaque::Authorizer(AuthorizerValue { host, service_account: None }))
    }

    /// The value of the variable `authorizer.requestResource`.
    #[must_use]
    pub fn request_resource(host: Arc<dyn Authorizer>, asked: ResourceAsked) -> Self {
        let authorizer = AuthorizerValue { host, service_account: None };
        Self::opaque(Opaque::ResourceCheck(ResourceCheck { authorizer, asked }))
    }
}

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "path" => path,
        "group" => group,
        "serviceAccount" => service_account,
        "resource" => resource,
        "subresource" => |_, args| with(args, |asked, text| asked.subresource = text),
        "namespace" => |_, args| with(args, |asked, text| asked.namespace = text),
        "name" => |_, args| with(args, |asked, text| asked.name = text),
        "fieldSelector" => |_, args| with(args, |asked, text| asked.field_selector = text),
        "labelSelector" => |_, args| with(args, |asked, text| asked.label_selector = text),
        "check" => check,
        "allowed" => |_, args| decision(args, |given| Value::Bool(given.allowed)),
        "errored" => |_, args| decision(args, |given| Value::Bool(given.error.is_some())),
        "error" => {
            |_, args| decision(args, |given| Value::text(given.error.clone().unwrap_or_default()))
        }
        "reason" => |_, args| decision(args, |given| Value::text(given.reason.as_str())),
        _ => return None,
    })
}

fn opaque<'v>(args: &'v [Value<'_>]) -> Option<&'v Opaque> {
    match args.first() {
        Some(Value::Opaque(opaque)) => Some(opaque),
        _ => None,
    }
}

fn path<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (Some(Opaque::Authorizer(authorizer)), Some(Value::String(path))) =
        (opaque(args), args.get(1))
    else {
        return no_overload();
    };
    if path.trim().is_empty() {
        return Err(EvalError::new("path must not be empty"));
    }
    let check = PathCheck { authorizer: authorizer.clone(), path: path.to_string() };
    Ok(Value::opaque(Opaque::PathCheck(check)))
}

fn group<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match (opaque(args), args.get(1)) {
        (Some(Opaque::Authorizer(authorizer)), Some(Value::String(group))) => {
            Ok(Value::opaque(Opaque::GroupCheck(authorizer.clone(), group.to_string())))
        }
        _ => no_overload(),
    }
}

fn service_account<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (Some(Opaque::Authorizer(authorizer)), [_, Value::String(namespace), Value::String(name)]) =
        (opaque(args), args)
    else {
        return no_overload();
    };
    if !api::validate::dns1123_subdomain(name).is_empty() {
        return Err(EvalError::new("Invalid service account name"));
    }
    if !api::validate::dns1123_label(namespace).is_empty() {
        return Err(EvalError::new("Invalid service account namespace"));
    }
    let service_account = Some((namespace.to_string(), name.to_string()));
    Ok(Value::opaque(Opaque::Authorizer(AuthorizerValue { service_account, ..authorizer.clone() })))
}

fn resource<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (Some(Opaque::GroupCheck(authorizer, group)), Some(Value::String(resource))) =
        (opaque(args), args.get(1))
    else {
        return no_overload();
    };
    if resource.trim().is_empty() {
        return Err(EvalError::new("resource must not be empty"));
    }
    let asked = ResourceAsked {
        group: group.clone(),
        resource: resource.to_string(),
        ..ResourceAsked::default()
    };
    let check = ResourceCheck { authorizer: authorizer.clone(), asked };
    Ok(Value::opaque(Opaque::ResourceCheck(check)))
}

fn with<'a>(args: &[Value<'a>], set: fn(&mut ResourceAsked, String)) -> Given<'a> {
    match (opaque(args), args.get(1)) {
        (Some(Opaque::ResourceCheck(check)), Some(Value::String(text))) => {
            let mut check = check.clone();
            set(&mut check.asked, text.to_string());
            Ok(Value::opaque(Opaque::ResourceCheck(check)))
        }
        _ => no_overload(),
    }
}

fn check<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let Some(Value::String(verb)) = args.get(1) else {
        return no_overload();
    };
    let verb = verb.to_string();
    let (authorizer, path, resource) = match opaque(args) {
        Some(Opaque::PathCheck(check)) => {
            (&check.authorizer, Some(check.path.clone()), ResourceAsked::default())
        }
        Some(Opaque::ResourceCheck(check)) => (&check.authorizer, None, check.asked.clone()),
        _ => return no_overload(),
    };
    let service_account = authorizer.service_account.clone();
    let decision = authorizer.host.authorize(&Check { service_account, verb, path, resource });
    Ok(Value::opaque(Opaque::Decision(decision)))
}

fn decision<'a>(args: &[Value<'a>], given: fn(&Decision) -> Value<'static>) -> Given<'a> {
    match opaque(args) {
        Some(Opaque::Decision(decision)) => Ok(given(decision)),
        _ => no_overload(),
    }
}
