//! `pods/eviction`: deletes a pod as far as its disruption budgets allow.

use api::Value;
use api::names::GroupResource;
use api::object::{at, generation, int_at, is_deleting, set, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::resource::{ObjectApi, SubresourceAnswer, SubresourceHandler, SubresourceRequest};
use async_trait::async_trait;
use base::clock::{SharedClock, rfc3339_seconds};
use serde_json::json;

use crate::check::{selector_matches, selects_all};
use crate::cursor::Field;
use crate::table::condition;

/// How many pods a budget may have in flight between eviction and deletion.
const DISRUPTED_MAX: usize = 2000;

/// Evicts.
pub(crate) struct Evictor(pub(crate) SharedClock);

#[async_trait]
impl SubresourceHandler for Evictor {
    fn older_versions(&self) -> &'static [&'static str] {
        // What `kubectl drain` sent until 1.22.
        &["v1beta1"]
    }

    async fn handle(
        &self,
        api: &dyn ObjectApi,
        request: SubresourceRequest,
    ) -> ApiResult<SubresourceAnswer> {
        let eviction = request.body.unwrap_or_default();
        let name = str_at(&eviction, &["metadata", "name"]);
        if !name.is_empty() && name != request.name {
            let text = "name in URL does not match name in Eviction object";
            return Err(ApiError::bad_request(text));
        }
        let mut options = at(&eviction, &["deleteOptions"]).cloned().unwrap_or_else(|| json!({}));
        let dry_run =
            request.dry_run || options["dryRun"].as_array().is_some_and(|v| !v.is_empty());
        let pods = GroupResource::new("", "pods");
        let pod = api.get(&pods, &request.namespace, &request.name).await?;
        if needs_budget(&pod) {
            let budget = the_budget(api, &request.namespace, &pod).await?;
            if let Some(budget) = budget.filter(|budget| counts(budget, &pod)) {
                let now = rfc3339_seconds(self.0.now());
                take(api, &request.namespace, &budget, &request.name, &now, dry_run).await?;
            }
            // The pod that was judged is the pod that goes.
            if at(&options, &["preconditions", "uid"]).is_none() {
                set(&mut options, &["preconditions", "uid"], api::object::uid(&pod));
            }
            mark(api, &request.namespace, &request.name, &rfc3339_seconds(self.0.now()), dry_run)
                .await?;
        }
        api.delete(&pods, &request.namespace, &request.name, &options, dry_run).await?;
        let answer = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Success", "code": 201});
        Ok(SubresourceAnswer::Object(201, answer))
    }
}

/// Pods that have ended, have not started or are going already are nobody's loss.
fn needs_budget(pod: &Value) -> bool {
    !is_deleting(pod)
        && !matches!(str_at(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending")
}

fn budgets() -> GroupResource {
    GroupResource::new("policy", "poddisruptionbudgets")
}

async fn the_budget(api: &dyn ObjectApi, namespace: &str, pod: &Value) -> ApiResult<Option<Value>> {
    let labels = Field::root(pod).at(&["metadata", "labels"]);
    let mut found: Vec<Value> = Vec::new();
    for budget in api.list(&budgets(), namespace).await? {
        let selector = Field::root(&budget).at(&["spec", "selector"]);
        if selector.is_set() && (selects_all(selector) || selector_matches(selector, labels)) {
            found.push(budget.as_ref().clone());
        }
    }
    if found.len() > 1 {
        return Err(ApiError::new(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    Ok(found.pop())
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| str_at(ready, &["status"]) == "True")
}

/// Whether the budget has a say: an unready pod may go when its budget is kept without it.
fn counts(budget: &Value, pod: &Value) -> bool {
    if is_ready(pod) {
        return true;
    }
    let number = |name| int_at(budget, &["status", name]).unwrap_or_default();
    let always = str_at(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
    let kept = number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0;
    !(always || kept)
}

/// Takes one disruption off the budget, or says why not.
async fn take(
    api: &dyn ObjectApi,
    namespace: &str,
    budget: &Value,
    pod: &str,
    now: &str,
    dry_run: bool,
) -> ApiResult<()> {
    let change = |budget: &mut Value| {
        let name = api::object::name(budget).to_owned();
        let observed = int_at(budget, &["status", "observedGeneration"]).unwrap_or_default();
        if observed < generation(budget) {
            let text = "The disruption budget is still being processed by the server.";
            return Err(blocked(text, 10));
        }
        let allowed = int_at(budget, &["status", "disruptionsAllowed"]).unwrap_or_default();
        if allowed < 0 {
            let text = "pdb disruptions allowed is negative";
            return Err(ApiError::forbidden(&budgets(), &name, text));
        }
        let in_flight = at(budget, &["status", "disruptedPods"]).and_then(Value::as_object);
        if in_flight.is_some_and(|map| map.len() > DISRUPTED_MAX) {
            let text =
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
            return Err(ApiError::forbidden(&budgets(), &name, text));
        }
        if allowed == 0 {
            let number = |field| int_at(budget, &["status", field]).unwrap_or_default();
            let text = format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number("desiredHealthy"),
                number("currentHealthy")
            );
            return Err(blocked(&text, 0));
        }
        set(budget, &["status", "disruptionsAllowed"], allowed - 1);
        set(budget, &["status", "disruptedPods", pod], now);
        Ok(())
    };
    let name = api::object::name(budget);
    api.modify(&budgets(), Some("status"), namespace, name, dry_run, &change).await?;
    Ok(())
}

fn blocked(cause: &str, after_seconds: i32) -> ApiError {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let error = ApiError::new(429, "TooManyRequests", text).cause("DisruptionBudget", cause, "");
    if after_seconds > 0 { error.retry_after_seconds(after_seconds) } else { error }
}

/// Says in the pod's status why it goes.
async fn mark(
    api: &dyn ObjectApi,
    namespace: &str,
    name: &str,
    now: &str,
    dry_run: bool,
) -> ApiResult<()> {
    let change = |pod: &mut Value| {
        let condition = json!({"type": "DisruptionTarget", "status": "True",
            "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
            "lastProbeTime": null, "lastTransitionTime": now});
        let list = api::object::entry(pod, &["status", "conditions"]);
        match list.as_array_mut() {
            Some(list) => {
                list.retain(|one| str_at(one, &["type"]) != "DisruptionTarget");
                list.push(condition);
            }
            None => *list = json!([condition]),
        }
        Ok(())
    };
    let pods = GroupResource::new("", "pods");
    api.modify(&pods, Some("status"), namespace, name, dry_run, &change).await?;
    Ok(())
}
