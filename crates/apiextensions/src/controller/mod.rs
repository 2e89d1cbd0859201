//! Follows the definitions: serves what they define, says so in their status, ends what they end.
//!
//! Invariants: level-triggered; each pass looks at all definitions as they are and does what is
//! missing, so nothing depends on the order of events or on seeing each. A kind is served, its
//! objects loaded, before its definition says Established.

mod cleanup;
mod names;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::webhook::Caller;
use api::Value;
use api::names::GroupResource;
use api::object::{generation, is_deleting, name, str_at, uid};
use api::status::ApiResult;
use apiserver::Server;
use apiserver::resource::ObjectApi;
use base::clock::SharedClock;
use base::drain::Drain;
use base::rng::SharedRng;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use cleanup::Cleanup;
use names::Taken;
use status::{Plan, plan};

use crate::conversion::{self, Means};
use crate::definition::{Definition, Names};
use crate::kind::CustomKind;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What custom resources need of the process around them.
pub struct Options {
    /// Wall time.
    pub clock: SharedClock,
    /// For the uids of conversion reviews.
    pub rng: SharedRng,
    /// Asks conversion webhooks.
    pub caller: Arc<Caller>,
}

/// What is served of a definition.
struct Served {
    resource: GroupResource,
    /// Changes when what is served must.
    mark: Mark,
}

/// What a served kind was made of.
#[derive(PartialEq, Eq)]
struct Mark {
    uid: String,
    generation: i64,
    names: Names,
    terminating: bool,
}

/// The definitions of a server, followed.
pub struct Definitions {
    server: Server,
    api: Arc<dyn ObjectApi>,
    options: Options,
    served: HashMap<String, Served>,
    /// The uids of definitions that are being emptied.
    ending: HashMap<String, String>,
}

type Ending = futures::future::BoxFuture<'static, (String, ApiResult<()>)>;

fn definitions_resource() -> GroupResource {
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

impl Definitions {
    /// Serves what is defined already; returns when that is loaded.
    pub async fn start(server: Server, options: Options) -> Self {
        let api = server.object_api();
        let (served, ending) = (HashMap::new(), HashMap::new());
        let mut definitions = Self { server, api, options, served, ending };
        if let Ok(all) = definitions.api.list(&definitions_resource(), "").await {
            for definition in &all {
                let plan = plan(definition, &Taken::default());
                let is_accepted = status::is_true(definition, "Established");
                if is_accepted && plan.serves {
                    definitions.serve(definition, plan.names).await;
                }
            }
        }
        definitions
    }

    /// Follows the definitions until the drain fires.
    pub async fn run(mut self, drain: Drain) {
        let Some(mut changes) = self.server.changes(&definitions_resource()) else {
            tracing::error!("custom resources are not served: the server has no definitions");
            return;
        };
        let mut endings: FuturesUnordered<Ending> = FuturesUnordered::new();
        let mut retry: Option<Instant> = None;
        let mut is_due = true;
        loop {
            if is_due {
                changes.borrow_and_update();
                retry = None;
                if let Err(error) = self.pass(&mut endings).await {
                    tracing::warn!(%error, "a definition's status was not written; trying again");
                    retry = Some(Instant::now() + RETRY);
                }
            }
            let again = retry.unwrap_or_else(|| Instant::now() + RETRY);
            is_due = tokio::select! {
                () = drain.cancelled() => return,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    true
                }
                Some((name, result)) = endings.next() => {
                    self.ending.remove(&name);
                    if let Err(error) = result {
                        tracing::warn!(%name, %error, "a definition's objects were not all deleted");
                        retry = Some(Instant::now() + RETRY);
                    }
                    false
                }
                () = tokio::time::sleep_until(again), if retry.is_some() => true,
            };
        }
    }

    /// Looks at all definitions once.
    async fn pass(&mut self, endings: &mut FuturesUnordered<Ending>) -> ApiResult<()> {
        let all = self.api.list(&definitions_resource(), "").await?;
        self.unserve(&all).await;
        let mut taken: HashMap<&str, Taken> = HashMap::new();
        for definition in &all {
            let names = Names::of(&definition["status"]["acceptedNames"]);
            taken.entry(str_at(definition, &["spec", "group"])).or_default().add(&names);
        }
        for definition in &all {
            let group = str_at(definition, &["spec", "group"]);
            let others = taken.entry(group).or_default();
            let plan = plan(definition, others);
            others.add(&plan.names);
            self.follow(definition, plan, endings).await?;
        }
        Ok(())
    }

    /// Serves no longer what is defined no longer.
    async fn unserve(&mut self, all: &[Arc<Value>]) {
        let gone: Vec<String> = self
            .served
            .keys()
            .filter(|known| !all.iter().any(|definition| name(definition) == known.as_str()))
            .cloned()
            .collect();
        for name in gone {
            if let Some(served) = self.served.remove(&name) {
                self.server.remove_resource(&served.resource).await;
            }
        }
    }

    async fn follow(
        &mut self,
        definition: &Arc<Value>,
        plan: Plan,
        endings: &mut FuturesUnordered<Ending>,
    ) -> ApiResult<()> {
        if plan.serves {
            self.serve(definition, plan.names.clone()).await;
        } else if let Some(served) = self.served.remove(name(definition)) {
            self.server.remove_resource(&served.resource).await;
        }
        if is_deleting(definition) {
            self.end(definition, endings);
            return Ok(());
        }
        if !plan.changes(definition) {
            return Ok(());
        }
        let (now, resource) = (self.options.clock.now(), definitions_resource());
        let change = |current: &mut Value| {
            plan.write(current, now);
            Ok(())
        };
        let name = name(definition);
        match self.api.modify(&resource, Some("status"), "", name, false, &change).await {
            Err(error) if error.code() != 404 => Err(error),
            _ => Ok(()),
        }
    }

    /// Serves a definition as it is now, unless it is served so already.
    async fn serve(&mut self, definition: &Value, names: Names) {
        let mark = Mark {
            uid: uid(definition).to_owned(),
            generation: generation(definition),
            names: names.clone(),
            terminating: is_deleting(definition),
        };
        if self.served.get(name(definition)).is_some_and(|served| served.mark == mark) {
            return;
        }
        let resource = GroupResource::new(str_at(definition, &["spec", "group"]), &names.plural);
        // A kind that is built in comes first, as upstream's handlers are chained.
        if self.server.resource(&resource).is_some_and(|own| !own.is_custom()) {
            return;
        }
        let made = Arc::new(Definition::of(definition, names));
        let means = Means { caller: self.options.caller.clone(), rng: self.options.rng.clone() };
        let converter = conversion::converter(made.clone(), means);
        self.server.add_resource(Arc::new(CustomKind::new(made, converter))).await;
        self.served.insert(name(definition).to_owned(), Served { resource, mark });
    }

    fn end(&mut self, definition: &Value, endings: &mut FuturesUnordered<Ending>) {
        let (name, uid) = (name(definition).to_owned(), uid(definition).to_owned());
        if !cleanup::is_due(definition) || self.ending.get(&name) == Some(&uid) {
            return;
        }
        self.ending.insert(name.clone(), uid);
        let cleanup = Cleanup {
            server: self.server.clone(),
            api: self.api.clone(),
            clock: self.options.clock.clone(),
            resource: self.served.get(&name).map(|served| served.resource.clone()),
            name: name.clone(),
        };
        endings.push(Box::pin(async move { (name, cleanup.run().await) }));
    }
}
