//! The default roles and bindings, made when they are missing and mended at every start.
//!
//! As upstream's reconciliation does: what a default role or binding lacks is added, what somebody
//! added to it stays, and the annotation
//! `rbac.authorization.kubernetes.io/autoupdate: "false"` keeps it as it is.

use api::Value;
use api::names::GroupResource;
use api::object::{annotation, list_at, name, namespace, set};
use api::status::ApiResult;
use apiserver::resource::ObjectApi;
use auth::escalation::missing;
use auth::rbac::{Rule, rules_of};

const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Makes and mends all default roles and bindings.
///
/// # Errors
/// When one cannot be written.
pub async fn rbac(api: &dyn ObjectApi) -> ApiResult<()> {
    for role in auth::bootstrap::roles() {
        let plural = if namespace(&role).is_empty() { "clusterroles" } else { "roles" };
        reconcile(api, plural, role, mended_role).await?;
    }
    for binding in auth::bootstrap::bindings() {
        let plural =
            if namespace(&binding).is_empty() { "clusterrolebindings" } else { "rolebindings" };
        reconcile(api, plural, binding, mended_binding).await?;
    }
    Ok(())
}

/// Creates an object unless one of its name is there.
///
/// # Errors
/// When it cannot be written.
pub async fn ensure(api: &dyn ObjectApi, resource: &GroupResource, object: Value) -> ApiResult<()> {
    let found = api.get(resource, namespace(&object), name(&object)).await;
    match found {
        Ok(_) => Ok(()),
        Err(error) if error.code() == 404 => match api.create(resource, object, false).await {
            // Another server of the same cluster was quicker.
            Err(error) if error.code() == 409 => Ok(()),
            created => created.map(drop),
        },
        Err(error) => Err(error),
    }
}

async fn reconcile(
    api: &dyn ObjectApi,
    plural: &str,
    wanted: Value,
    mended: fn(&Value, &Value) -> Option<Value>,
) -> ApiResult<()> {
    let resource = GroupResource::new(GROUP, plural);
    let (ns, own) = (namespace(&wanted).to_owned(), name(&wanted).to_owned());
    let Ok(current) = api.get(&resource, &ns, &own).await else {
        return ensure(api, &resource, wanted).await;
    };
    if annotation(&current, AUTOUPDATE) == Some("false") {
        return Ok(());
    }
    // A binding of that name to another role cannot be changed, only made anew.
    if wanted.get("roleRef").is_some() && current.get("roleRef") != wanted.get("roleRef") {
        let options = serde_json::json!({});
        api.delete(&resource, &ns, &own, &options, false).await?;
        return ensure(api, &resource, wanted).await;
    }
    if mended(&current, &wanted).is_none() {
        return Ok(());
    }
    let change = |object: &mut Value| {
        if let Some(better) = mended(object, &wanted) {
            *object = better;
        }
        Ok(())
    };
    api.modify(&resource, None, &ns, &own, false, &change).await.map(drop)
}

/// A role with the rules, labels and annotations that it lacks; `None` when it lacks nothing.
fn mended_role(current: &Value, wanted: &Value) -> Option<Value> {
    let mut better = with_metadata(current, wanted);
    // The rules of a role that others add up to are the aggregation controller's.
    if let Some(aggregation) = wanted.get("aggregationRule") {
        if current.get("aggregationRule") != Some(aggregation) {
            better["aggregationRule"] = aggregation.clone();
        }
    } else {
        let lacking: Vec<Rule> = missing(&rules_of(current), &rules_of(wanted));
        if !lacking.is_empty() {
            let mut rules = list_at(current, &["rules"]).to_vec();
            // Whole rules of the default, for they read better than the pieces that are missing.
            let whole = list_at(wanted, &["rules"]).iter().filter(|rule| {
                let own = [Rule::from_value(rule)];
                !missing(&rules_of(current), &own).is_empty()
            });
            rules.extend(whole.cloned());
            better["rules"] = rules.into();
        }
    }
    (better != *current).then_some(better)
}

/// A binding with the subjects, labels and annotations that it lacks.
fn mended_binding(current: &Value, wanted: &Value) -> Option<Value> {
    let mut better = with_metadata(current, wanted);
    let mut subjects = list_at(current, &["subjects"]).to_vec();
    for subject in list_at(wanted, &["subjects"]) {
        if !subjects.contains(subject) {
            subjects.push(subject.clone());
        }
    }
    if subjects.len() != list_at(current, &["subjects"]).len() {
        better["subjects"] = subjects.into();
    }
    (better != *current).then_some(better)
}

fn with_metadata(current: &Value, wanted: &Value) -> Value {
    let mut better = current.clone();
    for field in ["labels", "annotations"] {
        let pairs = wanted["metadata"].get(field).and_then(Value::as_object);
        for (key, value) in pairs.into_iter().flatten() {
            if current["metadata"].get(field).and_then(|own| own.get(key)).is_none() {
                set(&mut better, &["metadata", field, key], value.clone());
            }
        }
    }
    better
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_is_added_and_what_was_added_stays() {
        let wanted = json!({"metadata": {"name": "r", "labels": {"a": "b"}}, "rules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]},
        ]});
        assert_eq!(mended_role(&wanted, &wanted), None);
        let current = json!({"metadata": {"name": "r"}, "rules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "nodes"]},
            {"verbs": ["watch"], "apiGroups": ["x"], "resources": ["own"]},
        ]});
        let mended = mended_role(&current, &wanted).unwrap();
        assert_eq!(mended["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(mended["rules"].as_array().unwrap().len(), 3);
        assert_eq!(mended["rules"][1]["resources"], json!(["own"]));
        assert_eq!(mended["rules"][2]["verbs"], json!(["get", "list"]));
        let binding =
            json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "a"}]});
        let more = json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "b"}]});
        let mended = mended_binding(&binding, &more).unwrap();
        assert_eq!(mended["subjects"].as_array().unwrap().len(), 2);
        assert_eq!(mended_binding(&mended, &more), None);
    }
}
