//! Flow control in force: the schemas and levels that every cluster has are made and kept as they
//! should be, the cluster's own are handed to the server, and schemas without a level say so.
//!
//! Everything here follows the two shared caches; nothing is looked at twice without a change.

use std::sync::Arc;
use std::time::Duration;

use api::Value;
use api::k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use api::names::GroupResource;
use api::object::{list_at, name, set, str_at};
use api::status::{ApiError, ApiResult};
use api::typed::Kind;
use apiserver::resource::ObjectApi;
use base::clock::{SharedClock, rfc3339_seconds};
use base::drain::Drain;
use flowcontrol::Fairness;
use flowcontrol::bootstrap::{self, Mend};
use futures::future::join_all;
use reconcile::{Cache, Caches};
use serde_json::json;
use tokio::sync::Notify;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// How long to wait after a write that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Keeps flow control and its objects in step.
pub(crate) struct FlowKeeper {
    api: Arc<dyn ObjectApi>,
    fairness: Arc<Fairness>,
    clock: SharedClock,
    schemas: Cache<FlowSchema>,
    levels: Cache<PriorityLevelConfiguration>,
    changed: Arc<Notify>,
}

impl FlowKeeper {
    /// Begins to follow the objects.
    pub(crate) fn new(
        api: Arc<dyn ObjectApi>,
        fairness: Arc<Fairness>,
        caches: &Caches,
        clock: SharedClock,
    ) -> Self {
        let (schemas, levels) = (caches.of::<FlowSchema>(), caches.of());
        let changed = Arc::new(Notify::new());
        let (one, other) = (changed.clone(), changed.clone());
        schemas.subscribe(move |_| one.notify_one());
        levels.subscribe(move |_| other.notify_one());
        Self { api, fairness, clock, schemas, levels, changed }
    }

    /// Follows the objects until the drain fires.
    pub(crate) async fn run(self, drain: Drain) {
        self.schemas.synced().await;
        self.levels.synced().await;
        loop {
            let done = self.keep().await;
            let retry = async {
                match &done {
                    Ok(()) => std::future::pending().await,
                    Err(error) => {
                        tracing::warn!(%error, "cannot keep the objects of flow control");
                        tokio::time::sleep(RETRY_AFTER).await;
                    }
                }
            };
            tokio::select! {
                () = drain.cancelled() => return,
                () = self.changed.notified() => {}
                () = retry => {}
            }
        }
    }

    async fn keep(&self) -> ApiResult<()> {
        let (schemas, levels) = (self.schemas.list(), self.levels.list());
        self.fairness.configure(&schemas, &levels);
        let (schemas, levels) = (values(&schemas), values(&levels));
        let mends = bootstrap::mend(&bootstrap::priority_levels(), &levels);
        self.mend("prioritylevelconfigurations", mends).await?;
        let mends = bootstrap::mend(&bootstrap::flow_schemas(), &schemas);
        self.mend("flowschemas", mends).await?;
        let marks = schemas.iter().filter_map(|schema| {
            let level = str_at(schema, &["spec", "priorityLevelConfiguration", "name"]);
            let is_there = levels.iter().any(|one| name(one) == level);
            let wanted = dangling(level, is_there);
            (!has_condition(schema, &wanted)).then(|| self.mark(name(schema).to_owned(), wanted))
        });
        all_of(join_all(marks).await)
    }

    /// Does what is to be done, all at once: the writes then share their fsyncs.
    async fn mend(&self, plural: &str, mends: Vec<Mend>) -> ApiResult<()> {
        let resource = GroupResource::new(GROUP, plural);
        let deeds = mends.into_iter().map(|mend| {
            let (api, resource) = (self.api.clone(), resource.clone());
            async move { absent_is_fine(mend_one(&*api, &resource, mend).await) }
        });
        all_of(join_all(deeds).await)
    }

    /// Puts a condition on a schema.
    async fn mark(&self, name: String, condition: Value) -> ApiResult<()> {
        let now = rfc3339_seconds(self.clock.now());
        let change = |schema: &mut Value| {
            let mut condition = condition.clone();
            let known = list_at(schema, &["status", "conditions"]);
            let before = known.iter().find(|one| one["type"] == "Dangling");
            let kept = before.filter(|one| one["status"] == condition["status"]);
            condition["lastTransitionTime"] = match kept {
                Some(kept) => kept["lastTransitionTime"].clone(),
                None => now.as_str().into(),
            };
            let others = known.iter().filter(|one| one["type"] != "Dangling").cloned();
            let all: Vec<Value> = others.chain([condition]).collect();
            set(schema, &["status", "conditions"], all);
            Ok(())
        };
        let resource = GroupResource::new(GROUP, "flowschemas");
        let marked = self.api.modify(&resource, Some("status"), "", &name, false, &change).await;
        absent_is_fine(marked.map(drop))
    }
}

async fn mend_one(api: &dyn ObjectApi, resource: &GroupResource, mend: Mend) -> ApiResult<()> {
    match mend {
        Mend::Create(object) => match api.create(resource, object, false).await {
            Err(error) if error.code() == 409 => Ok(()),
            created => created.map(drop),
        },
        Mend::Delete(name) => api.delete(resource, "", &name, &json!({}), false).await.map(drop),
        Mend::Change { name, autoupdate, spec } => {
            let change = |object: &mut Value| {
                set(object, &["metadata", "annotations", AUTOUPDATE], autoupdate);
                if let Some(spec) = &spec {
                    object["spec"] = spec.clone();
                }
                Ok(())
            };
            api.modify(resource, None, "", &name, false, &change).await.map(drop)
        }
    }
}

/// Somebody was quicker; the next change is looked at anyway.
fn absent_is_fine(done: ApiResult<()>) -> ApiResult<()> {
    match done {
        Err(error) if error.code() == 404 => Ok(()),
        other => other,
    }
}

fn all_of(done: Vec<Result<(), ApiError>>) -> ApiResult<()> {
    done.into_iter().collect()
}

fn values<K: Kind>(objects: &[Arc<K>]) -> Vec<Value> {
    let value = |object: &Arc<K>| serde_json::from_slice(&object.encode()).unwrap_or_default();
    objects.iter().map(value).collect()
}

/// The condition of a schema, without its time.
fn dangling(level: &str, is_there: bool) -> Value {
    let refers =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    if is_there {
        let message = format!("{refers} and it exists");
        json!({ "type": "Dangling", "status": "False", "reason": "Found", "message": message })
    } else {
        let message = format!("{refers} but there is no such object");
        json!({ "type": "Dangling", "status": "True", "reason": "NotFound", "message": message })
    }
}

fn has_condition(schema: &Value, wanted: &Value) -> bool {
    list_at(schema, &["status", "conditions"]).iter().any(|one| {
        ["type", "status", "reason", "message"].iter().all(|key| one[*key] == wanted[*key])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::UserInfo;
    use base::rng::SharedRng;

    #[tokio::test]
    async fn the_objects_are_made_kept_and_marked() {
        let fairness = Arc::new(Fairness::new(600));
        let cluster = testkit::full_api_server();
        let api = cluster.server.object_api();
        let drain = Drain::new();
        let client = cluster.client_as(UserInfo::named("t", &["system:masters"]));
        let caches = Caches::new(client, SharedRng::seeded(1), drain.clone());
        let keeper = FlowKeeper::new(api.clone(), fairness, &caches, base::clock::system());
        let (schemas, levels) = (keeper.schemas.clone(), keeper.levels.clone());
        let (changed, again) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (one, other) = (changed.clone(), again.clone());
        schemas.subscribe(move |_| one.notify_one());
        levels.subscribe(move |_| other.notify_one());
        let task = tokio::spawn(keeper.run(drain.clone()));
        let settled = |expected: &'static str, name: &'static str| {
            let (schemas, changed) = (schemas.clone(), changed.clone());
            async move {
                loop {
                    let found = schemas.get("", name).map(|one| values(&[one]).remove(0));
                    if found.is_some_and(|one| has_condition(&one, &dangling(expected, true))) {
                        return;
                    }
                    changed.notified().await;
                }
            }
        };
        settled("catch-all", "catch-all").await;
        settled("global-default", "global-default").await;
        assert_eq!((schemas.list().len(), levels.list().len()), (13, 8));
        // Nothing was written twice, though every write is looked at again.
        for level in values(&levels.list()) {
            assert_eq!(level["metadata"]["generation"], 1, "{level}");
        }
        let plural = GroupResource::new(GROUP, "prioritylevelconfigurations");
        let spoil = |level: &mut Value| {
            level["spec"]["limited"]["nominalConcurrencyShares"] = 1.into();
            Ok(())
        };
        api.modify(&plural, None, "", "system", false, &spoil).await.unwrap();
        loop {
            let level = api.get(&plural, "", "system").await.unwrap();
            if level["spec"]["limited"]["nominalConcurrencyShares"] == 30 {
                break;
            }
            again.notified().await;
        }
        let own = json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "metadata": {"name": "own"},
            "spec": {"priorityLevelConfiguration": {"name": "nowhere"}, "matchingPrecedence": 5},
        });
        api.create(&GroupResource::new(GROUP, "flowschemas"), own, false).await.unwrap();
        loop {
            let found = schemas.get("", "own").map(|one| values(&[one]).remove(0));
            if found.is_some_and(|one| has_condition(&one, &dangling("nowhere", false))) {
                break;
            }
            changed.notified().await;
        }
        drain.cancel();
        task.await.unwrap();
    }
}
