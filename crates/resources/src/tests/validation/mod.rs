//! The rows of the validation rules, by area: for each the field, the kind of error, the text, and
//! that it becomes a `Status` of 422 with that cause. Pods, services and schemas have tests beside
//! their rules too.

mod access;
mod cluster;
mod configuration;
mod definitions;
mod expressions;
mod jobs;
mod network;
mod pods;
mod services;
mod storage;
mod workloads;

use std::sync::{Arc, OnceLock};

use api::Value;
use api::field::ErrorList;
use api::status::ApiError;
use apiserver::resource::{Resource, WriteContext};
use auth::UserInfo;
use serde_json::json;

use super::{all, deps, find};

fn kind_of(group: &str, plural: &str) -> Arc<dyn Resource> {
    static KINDS: OnceLock<Vec<Arc<dyn Resource>>> = OnceLock::new();
    find(KINDS.get_or_init(|| all(&deps())), group, plural)
}

fn with(
    kind: &Arc<dyn Resource>,
    subresource: Option<&str>,
    run: impl Fn(&Arc<dyn Resource>, &WriteContext<'_>) -> ErrorList,
) -> ErrorList {
    let user = UserInfo::named("u", &[]);
    let ctx = WriteContext {
        user: &user,
        now: "2026-01-02T00:00:00Z".parse().unwrap(),
        namespace: "n",
        subresource,
        dry_run: false,
    };
    run(kind, &ctx)
}

fn named(mut object: Value) -> Value {
    if object["metadata"]["name"].is_null() {
        object["metadata"]["name"] = "x".into();
    }
    object["metadata"]["namespace"] = "n".into();
    object
}

/// What is wrong with a new object.
fn create(group: &str, plural: &str, object: Value, expected: &str) {
    let wrong = created(group, plural, object, expected);
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

fn created(group: &str, plural: &str, object: Value, expected: &str) -> Option<String> {
    let kind = kind_of(group, plural);
    let found = with(&kind, None, |kind, ctx| {
        let mut object = named(object.clone());
        kind.default(&mut object);
        kind.validate_create(ctx, &object)
    });
    compare(&kind, &found, expected)
}

/// What is wrong with a change through an endpoint.
fn update(group: &str, plural: &str, sub: Option<&str>, old: Value, new: Value, expected: &str) {
    let wrong = updated(group, plural, sub, old, new, expected);
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

fn updated(
    group: &str,
    plural: &str,
    sub: Option<&str>,
    old: Value,
    new: Value,
    expected: &str,
) -> Option<String> {
    let kind = kind_of(group, plural);
    let found = with(&kind, sub, |kind, ctx| {
        let (mut old, mut new) = (named(old.clone()), named(new.clone()));
        kind.default(&mut old);
        kind.default(&mut new);
        kind.validate_update(ctx, &new, &old)
    });
    compare(&kind, &found, expected)
}

/// A good object, and what is wrong with it after each change (a merge patch).
fn rows(group: &str, plural: &str, good: &Value, rows: &[(Value, &str)]) {
    create(group, plural, good.clone(), "");
    let wrong = rows
        .iter()
        .filter_map(|(change, expected)| created(group, plural, merged(good, change), expected));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An object that is there, and what is wrong with each change of it.
fn changes(group: &str, plural: &str, sub: Option<&str>, old: &Value, rows: &[(Value, &str)]) {
    update(group, plural, sub, old.clone(), old.clone(), "");
    let wrong = rows.iter().filter_map(|(change, expected)| {
        updated(group, plural, sub, old.clone(), merged(old, change), expected)
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn merged(base: &Value, change: &Value) -> Value {
    let Value::Object(fields) = change else { return change.clone() };
    let mut base = base.as_object().cloned().unwrap_or_default();
    for (key, value) in fields {
        if value.is_null() {
            base.remove(key);
        } else {
            let own = base.get(key).cloned().unwrap_or_default();
            base.insert(key.clone(), merged(&own, value));
        }
    }
    base.into()
}

/// That an error is there, and that the client gets it: 422, `Invalid`, with its cause. What is
/// amiss, if it is not so.
fn compare(kind: &Arc<dyn Resource>, found: &ErrorList, expected: &str) -> Option<String> {
    let info = kind.info();
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    if expected.is_empty() {
        return (!texts.is_empty()).then(|| format!("{}: {texts:#?}", info.plural));
    }
    let Some(place) = texts.iter().position(|text| text.starts_with(expected)) else {
        return Some(format!("{}: {texts:#?} has no {expected:?}", info.plural));
    };
    let error = ApiError::check(&info.group, &info.kind, "x", found).unwrap_err();
    assert_eq!((error.code(), error.reason()), (422, "Invalid"));
    let details = error.status().details.as_ref().unwrap();
    assert_eq!(details.kind.as_deref(), Some(&*info.kind));
    let field = found[place].path.to_string();
    let reason = found[place].kind.reason();
    let causes = details.causes.as_deref().unwrap_or_default();
    let is_it = causes.iter().any(|cause| {
        cause.field.as_deref() == Some(&field) && cause.reason.as_deref() == Some(reason)
    });
    (!is_it).then(|| format!("{causes:#?} has no {reason} of {field}"))
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn job_template() -> Value {
    let mut template = template();
    template["spec"]["restartPolicy"] = "Never".into();
    template
}
