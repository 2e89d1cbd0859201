//! LimitRanges give containers what they leave out, and refuse what is too small or too large.
//!
//! Rules and texts are upstream's `plugin/pkg/admission/limitranger`.

use std::collections::BTreeMap;

use api::Value;
use api::names::GroupResource;
use api::object::{at, is_deleting, list_at, name, set, set_default, str_at};
use api::pod_resources;
use api::quantity::Quantity;
use api::status::{ApiError, ApiResult};
use api::typed::Kind;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// `LimitRanger`.
pub(crate) struct LimitRanger;

/// Where it notes what it filled in.
const NOTE: &str = "kubernetes.io/limit-ranger";

/// The largest amount whose thousandths are exact; `resource.MaxMilliValue`.
const MILLI_MAX: i64 = i64::MAX / 1000;

type Amounts = BTreeMap<String, Quantity>;

fn is_pods(request: &AdmissionRequest<'_>) -> bool {
    request.is("", "pods")
}

#[async_trait]
impl AdmissionPlugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    /// A pod's containers cannot change but by `resize`, so that other updates are not looked at.
    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        let claims = request.is("", "persistentvolumeclaims");
        match request.subresource {
            None if is_pods(request) => request.operation == Operation::Create,
            None => writes && claims,
            Some("resize") => is_pods(request) && request.operation == Operation::Update,
            Some(_) => false,
        }
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        if !is_pods(request) {
            return Ok(());
        }
        let limits = limits_of(api, request.namespace).await?;
        let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
        for limit in limits.iter().filter(|limit| str_at(limit, &["type"]) == "Container") {
            let notes = fill_in(pod, limit);
            if !notes.is_empty() {
                let text = format!("LimitRanger plugin set: {}", notes.join("; "));
                set(pod, &["metadata", "annotations", NOTE], text);
            }
        }
        Ok(())
    }

    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        if request.old.is_some_and(is_deleting) {
            return Ok(());
        }
        let limits = limits_of(api, request.namespace).await?;
        let Some(object) = request.object.as_deref() else { return Ok(()) };
        let mut errors = Vec::new();
        if is_pods(request) {
            check_pod(object, &limits, &mut errors)?;
        } else {
            check_claim(object, &limits, &mut errors);
        }
        let text = match errors.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        Err(ApiError::forbidden(&request.resource, request.name, &text))
    }
}

/// The items of all LimitRanges of a namespace.
async fn limits_of(api: &dyn ObjectApi, namespace: &str) -> ApiResult<Vec<Value>> {
    let ranges = api.list(&GroupResource::new("", "limitranges"), namespace).await?;
    Ok(ranges.iter().flat_map(|range| list_at(range, &["spec", "limits"]).to_vec()).collect())
}

/// Gives every container the defaults that it lacks; says what it gave.
fn fill_in(pod: &mut Value, limit: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            for (from, to, what) in
                [("defaultRequest", "requests", "request"), ("default", "limits", "limit")]
            {
                let given = fill_in_one(container, at(limit, &[from]), to);
                if !given.is_empty() {
                    let name = str_at(container, &["name"]);
                    notes.push(format!("{} {what} for {word} {name}", given.join(", ")));
                }
            }
        }
    }
    notes
}

fn fill_in_one(container: &mut Value, defaults: Option<&Value>, to: &str) -> Vec<String> {
    let mut given = Vec::new();
    for (resource, amount) in defaults.and_then(Value::as_object).into_iter().flatten() {
        if at(container, &["resources", to, resource]).is_none() {
            set_default(container, &["resources", to], json!({}));
            set(container, &["resources", to, resource], amount.clone());
            given.push(resource.clone());
        }
    }
    given.sort();
    given
}

fn amounts(of: Option<&Value>) -> Amounts {
    let listed = of.and_then(Value::as_object).into_iter().flatten();
    listed.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.parse().ok()?))).collect()
}

/// What something asks for and is limited to.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

fn check_pod(pod: &Value, limits: &[Value], errors: &mut Vec<String>) -> ApiResult<()> {
    for limit in limits {
        match str_at(limit, &["type"]) {
            "Container" => {
                let containers = list_at(pod, &["spec", "containers"]).iter();
                for one in containers.chain(list_at(pod, &["spec", "initContainers"])) {
                    let asked = Asked {
                        requests: amounts(at(one, &["resources", "requests"])),
                        limits: amounts(at(one, &["resources", "limits"])),
                    };
                    check(limit, &asked, errors);
                }
            }
            "Pod" => {
                let text = serde_json::to_vec(pod).map_err(ApiError::internal)?;
                let typed = Pod::decode(&text).map_err(|error| {
                    ApiError::bad_request(format!("the pod {} is unreadable: {error}", name(pod)))
                })?;
                let spec = typed.spec.unwrap_or_default();
                let asked = Asked {
                    requests: pod_resources::requests(&spec),
                    limits: pod_resources::limits(&spec),
                };
                check(limit, &asked, errors);
            }
            _ => {}
        }
    }
    Ok(())
}

fn check(limit: &Value, asked: &Asked, errors: &mut Vec<String>) {
    let kind = str_at(limit, &["type"]);
    for (resource, least) in amounts(at(limit, &["min"])) {
        errors.extend(minimum(kind, &resource, least, asked));
    }
    for (resource, most) in amounts(at(limit, &["max"])) {
        errors.extend(maximum(kind, &resource, most, asked));
    }
    for (resource, ratio) in amounts(at(limit, &["maxLimitRequestRatio"])) {
        errors.extend(limit_request_ratio(kind, &resource, ratio, asked));
    }
}

fn check_claim(claim: &Value, limits: &[Value], errors: &mut Vec<String>) {
    let requests = amounts(at(claim, &["spec", "resources", "requests"]));
    let asked = Asked { requests, limits: Amounts::new() };
    for limit in limits.iter().filter(|one| str_at(one, &["type"]) == "PersistentVolumeClaim") {
        for (resource, least) in amounts(at(limit, &["min"])) {
            errors.extend(minimum("PersistentVolumeClaim", &resource, least, &asked));
        }
        for (resource, most) in amounts(at(limit, &["max"])) {
            let rule = format!("maximum {resource} usage per PersistentVolumeClaim is {most}");
            match asked.requests.get(&resource) {
                None => errors.push(format!("{rule}.  No request is specified")),
                Some(own) if *own > most => errors.push(format!("{rule}, but request is {own}")),
                Some(_) => {}
            }
        }
    }
}

fn minimum(kind: &str, resource: &str, least: Quantity, asked: &Asked) -> Option<String> {
    let rule = format!("minimum {resource} usage per {kind} is {least}");
    match (asked.requests.get(resource), asked.limits.get(resource)) {
        (None, _) => Some(format!("{rule}.  No request is specified")),
        (Some(own), _) if *own < least => Some(format!("{rule}, but request is {own}")),
        (_, Some(own)) if *own < least => Some(format!("{rule}, but limit is {own}")),
        _ => None,
    }
}

fn maximum(kind: &str, resource: &str, most: Quantity, asked: &Asked) -> Option<String> {
    let rule = format!("maximum {resource} usage per {kind} is {most}");
    match (asked.limits.get(resource), asked.requests.get(resource)) {
        (None, _) => Some(format!("{rule}.  No limit is specified")),
        (Some(own), _) if *own > most => Some(format!("{rule}, but limit is {own}")),
        (_, Some(own)) if *own > most => Some(format!("{rule}, but request is {own}")),
        _ => None,
    }
}

/// Amounts in thousandths, unless one of them is too large for that.
fn comparable(request: Quantity, limit: Quantity, ratio: Quantity) -> (f64, f64) {
    let exact = [request, limit, ratio].iter().all(|amount| amount.value() <= MILLI_MAX);
    let number = |amount: Quantity| {
        let value = if exact { amount.milli_value() } else { amount.value() };
        #[expect(clippy::cast_precision_loss, reason = "upstream compares the ratio as float64")]
        let value = value as f64;
        value
    };
    (number(request), number(limit))
}

fn limit_request_ratio(
    kind: &str,
    resource: &str,
    ratio: Quantity,
    asked: &Asked,
) -> Option<String> {
    let rule = format!("{resource} max limit to request ratio per {kind} is {ratio}");
    let some = |amounts: &Amounts| amounts.get(resource).copied().filter(|own| !own.is_zero());
    let Some(request) = some(&asked.requests) else {
        return Some(format!("{rule}, but no request is specified or request is 0"));
    };
    let Some(limit) = some(&asked.limits) else {
        return Some(format!("{rule}, but no limit is specified or limit is 0"));
    };
    let (request, limit) = comparable(request, limit, ratio);
    let observed = limit / request;
    #[expect(clippy::cast_precision_loss, reason = "upstream compares the ratio as float64")]
    let most = if ratio.value() <= MILLI_MAX {
        ratio.milli_value() as f64 / 1000.0
    } else {
        ratio.value() as f64
    };
    (observed > most).then(|| format!("{rule}, but provided ratio is {observed:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};

    fn range(limits: Value) -> Objects {
        Objects::of([json!({"apiVersion": "v1", "kind": "LimitRange",
            "metadata": {"name": "r", "namespace": "default"}, "spec": {"limits": limits}})])
    }

    fn pod(resources: Value) -> Request {
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
        Request::new(Operation::Create, "", "pods", "Pod", pod)
    }

    #[tokio::test]
    async fn containers_get_what_they_leave_out_and_a_note_says_so() {
        let api = range(json!([{"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"},
            "defaultRequest": {"cpu": "100m"}}]));
        let request = pod(json!({"limits": {"memory": "2Gi"}}));
        let got = request.admit(&LimitRanger, &api).await.unwrap();
        let resources = &got["spec"]["containers"][0]["resources"];
        assert_eq!(resources["limits"], json!({"cpu": "500m", "memory": "2Gi"}));
        assert_eq!(resources["requests"], json!({"cpu": "100m"}));
        assert_eq!(
            got["metadata"]["annotations"][NOTE],
            "LimitRanger plugin set: cpu request for container a; cpu limit for container a"
        );
    }

    async fn refused(limit: Value, resources: Value, expected: &str) {
        let got = pod(resources).validate(&LimitRanger, &range(json!([limit]))).await;
        match (got, expected) {
            (Ok(()), "") => {}
            (Ok(()), text) => panic!("not refused: {text}"),
            (Err(error), text) => {
                assert_eq!(error.code(), 403);
                assert_eq!(error.to_string(), format!("pods is forbidden: {text}"));
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_small_or_too_large_is_refused_in_upstreams_words() {
        let container = |rule: &str, cpu: &str| {
            let mut limit = json!({"type": "Container"});
            limit[rule] = json!({ "cpu": cpu });
            limit
        };
        let both = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
        for (rule, bound, resources, expected) in [
            ("min", "100m", both("100m", "1"), ""),
            (
                "min",
                "100m",
                json!({}),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (
                "min",
                "100m",
                both("50m", "1"),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            ("max", "1", both("50m", "2"), "maximum cpu usage per Container is 1, but limit is 2"),
            ("max", "1", json!({}), "maximum cpu usage per Container is 1.  No limit is specified"),
            ("maxLimitRequestRatio", "2", both("100m", "200m"), ""),
            (
                "maxLimitRequestRatio",
                "2",
                both("100m", "250m"),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
            ),
            (
                "maxLimitRequestRatio",
                "2",
                json!({}),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
        ] {
            refused(container(rule, bound), resources, expected).await;
        }
        refused(
            json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "3"}}),
            both("2", "2"),
            "[minimum cpu usage per Pod is 3, but request is 2, maximum cpu usage per Pod is 1, but limit is 2]",
        )
        .await;
    }

    #[tokio::test]
    async fn claims_have_a_size() {
        let api = range(json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"},
            "max": {"storage": "5Gi"}}]));
        for (size, expected) in [
            ("2Gi", None),
            (
                "500Mi",
                Some(
                    "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi",
                ),
            ),
            (
                "6Gi",
                Some("maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi"),
            ),
        ] {
            let claim = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            let plural = "persistentvolumeclaims";
            let request =
                Request::new(Operation::Create, "", plural, "PersistentVolumeClaim", claim);
            let got =
                request.validate(&LimitRanger, &api).await.err().map(|error| error.to_string());
            let expected =
                expected.map(|text| format!("persistentvolumeclaims is forbidden: {text}"));
            assert_eq!(got, expected);
        }
    }
}
