//! Emptying a definition that is being deleted, then letting it go.
//!
//! Invariant: the definition stays until its last object is gone, whatever holds that; waiting is
//! for changes, not for time. (apiextensions-apiserver `pkg/controller/finalizer`)

use std::collections::HashSet;
use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::object;
use api::status::ApiResult;
use apiserver::Server;
use apiserver::resource::ObjectApi;
use base::clock::SharedClock;
use futures::StreamExt as _;
use serde_json::json;

use super::definitions_resource;
use super::names::Verdict;
use super::status::set_condition;

/// What the definition's deletion waits for. The kind CustomResourceDefinition puts it there.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Deletions at work at the same time.
const WORKERS: usize = 16;

/// One definition's end.
pub(super) struct Cleanup {
    pub(super) server: Server,
    pub(super) api: Arc<dyn ObjectApi>,
    pub(super) clock: SharedClock,
    /// The definition's name.
    pub(super) name: String,
    /// What it defines; `None` when that was never served.
    pub(super) resource: Option<GroupResource>,
}

/// Whether a definition waits for this.
pub(super) fn is_due(definition: &Value) -> bool {
    object::is_deleting(definition) && object::finalizers(definition).any(|one| one == FINALIZER)
}

fn verdict(status: bool, reason: &'static str, message: &str) -> Verdict {
    Verdict { status, reason, message: message.to_owned() }
}

impl Cleanup {
    /// Deletes all objects, waits until they are gone, and takes the finalizer away.
    pub(super) async fn run(self) -> ApiResult<()> {
        let begun =
            verdict(true, "InstanceDeletionInProgress", "CustomResource deletion is in progress");
        self.say(&begun, false).await?;
        let Some(resource) = &self.resource else {
            let never = verdict(false, "NeverEstablished", "resource was never established");
            return self.say(&never, true).await;
        };
        if let Err(error) = self.empty(resource).await {
            let why = format!("could not issue all deletes: {error}");
            self.say(&verdict(true, "InstanceDeletionFailed", &why), false).await?;
            return Err(error);
        }
        // Nobody must find the kind once its definition is gone: who hears of that looks at once.
        self.server.remove_resource(resource).await;
        self.say(&verdict(false, "InstanceDeletionCompleted", "removed all instances"), true).await
    }

    async fn empty(&self, resource: &GroupResource) -> ApiResult<()> {
        let Some(mut changes) = self.server.changes(resource) else { return Ok(()) };
        let mut asked = HashSet::new();
        loop {
            changes.borrow_and_update();
            let names = self.server.object_names(resource).await;
            if names.is_empty() {
                return Ok(());
            }
            let new: Vec<_> = names.into_iter().filter(|one| asked.insert(one.clone())).collect();
            let deletions = new.into_iter().map(|(namespace, name)| async move {
                let none = json!({});
                let deleted = self.api.delete(resource, &namespace, &name, &none, false).await;
                deleted.map(drop).or_else(|error| match error.code() {
                    404 => Ok(()),
                    _ => Err(error),
                })
            });
            let results: Vec<ApiResult<()>> =
                futures::stream::iter(deletions).buffer_unordered(WORKERS).collect().await;
            results.into_iter().collect::<ApiResult<Vec<()>>>()?;
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn say(&self, verdict: &Verdict, is_last: bool) -> ApiResult<()> {
        let now = self.clock.now();
        let change = |definition: &mut Value| {
            set_condition(definition, "Terminating", verdict, now);
            if is_last {
                let kept: Vec<Value> = object::finalizers(definition)
                    .filter(|one| *one != FINALIZER)
                    .map(Value::from)
                    .collect();
                object::set(definition, &["metadata", "finalizers"], kept);
            }
            Ok(())
        };
        let resource = definitions_resource();
        let said = self.api.modify(&resource, Some("status"), "", &self.name, false, &change).await;
        match said {
            Err(error) if error.code() != 404 => Err(error),
            _ => Ok(()),
        }
    }
}
