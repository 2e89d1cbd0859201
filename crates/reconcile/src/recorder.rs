//! Tells what happened to an object, as Events, without ever holding up who tells it.
//!
//! Occurrences go through a bounded queue to one task that correlates and writes them; when the
//! queue is full they are dropped. Events are news, not state: losing one harms nothing.

use api::typed::Kind;
use base::clock::{SharedClock, Timestamp};
use base::drain::Drain;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tokio::sync::mpsc;

use crate::correlate::{Correlator, Decision, Occurrence};
use crate::key::Key;
use crate::writer::{Patch, Writer};

const QUEUE: usize = 1000;

/// The type of ordinary news.
pub const NORMAL: &str = "Normal";
/// The type of news that someone should look at.
pub const WARNING: &str = "Warning";

/// Tells what happens. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: Option<mpsc::Sender<Occurrence>>,
}

impl Recorder {
    /// A recorder under a component's name, and the node it runs on when that matters, writing
    /// until the drain fires. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(
        writer: Writer,
        component: &str,
        host: &str,
        clock: SharedClock,
        drain: Drain,
    ) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Occurrence>(QUEUE);
        let source = Source { writer, component: component.to_owned(), host: host.to_owned() };
        tokio::spawn(async move {
            let mut correlator = Correlator::default();
            loop {
                let occurrence = tokio::select! {
                    () = drain.cancelled() => return,
                    received = receiver.recv() => match received {
                        Some(occurrence) => occurrence,
                        None => return,
                    },
                };
                let now = clock.now();
                let decision = correlator.decide(&occurrence, now);
                source.write(&occurrence, decision, now).await;
            }
        });
        Self { sender: Some(sender) }
    }

    /// A recorder that tells nobody, for tests.
    #[must_use]
    pub fn silent() -> Self {
        Self { sender: None }
    }

    /// Ordinary news about an object.
    pub fn normal<K: Kind>(&self, on: &K, reason: &str, message: impl Into<String>) {
        self.tell(reference(on), NORMAL, reason, message);
    }

    /// News about an object that someone should look at.
    pub fn warning<K: Kind>(&self, on: &K, reason: &str, message: impl Into<String>) {
        self.tell(reference(on), WARNING, reason, message);
    }

    /// News about an object that is known by reference.
    pub fn tell(
        &self,
        regarding: ObjectReference,
        kind: &'static str,
        reason: &str,
        message: impl Into<String>,
    ) {
        let Some(sender) = &self.sender else { return };
        let message = message.into();
        let occurrence = Occurrence { regarding, kind, reason: reason.to_owned(), message };
        if sender.try_send(occurrence).is_err() {
            tracing::debug!(reason, "an event was dropped: the queue is full or closed");
        }
    }
}

/// A reference to an object, as Events carry it.
#[must_use]
pub fn reference<K: Kind>(object: &K) -> ObjectReference {
    let (meta, resource) = (object.meta(), K::resource());
    ObjectReference {
        api_version: Some(resource.api_version()),
        kind: Some(resource.kind.to_string()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

struct Source {
    writer: Writer,
    component: String,
    host: String,
}

impl Source {
    async fn write(&self, occurrence: &Occurrence, decision: Decision, now: Timestamp) {
        let written = match decision {
            Decision::Drop => return,
            Decision::Create { name, message } => {
                self.create(occurrence, name, message, 1, now, now).await
            }
            Decision::Count { name, message, count, first } => {
                let key = Key::new(namespace(occurrence), &name);
                let patch = Patch::Merge(json!({
                    "count": count,
                    "lastTimestamp": Time(now),
                    "message": message,
                }));
                match self.writer.patch::<Event>(&key, "", patch).await {
                    Err(failure) if failure.is_not_found() => {
                        self.create(occurrence, name, message, count, first, now).await
                    }
                    other => other.map(|_| ()),
                }
            }
        };
        if let Err(failure) = written {
            tracing::debug!(%failure, reason = occurrence.reason, "an event was not written");
        }
    }

    async fn create(
        &self,
        occurrence: &Occurrence,
        name: String,
        message: String,
        count: i32,
        first: Timestamp,
        last: Timestamp,
    ) -> Result<(), crate::failure::Failure> {
        let mut event = Event {
            involved_object: occurrence.regarding.clone(),
            reason: Some(occurrence.reason.clone()),
            message: Some(message),
            type_: Some(occurrence.kind.to_owned()),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: (!self.host.is_empty()).then(|| self.host.clone()),
            }),
            first_timestamp: Some(Time(first)),
            last_timestamp: Some(Time(last)),
            count: Some(count),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.host.clone()),
            ..Event::default()
        };
        event.metadata.name = Some(name);
        event.metadata.namespace = Some(namespace(occurrence).to_owned());
        self.writer.create(&event).await.map(|_| ())
    }
}

/// Events about cluster-scoped objects live in `default`.
fn namespace(occurrence: &Occurrence) -> &str {
    match occurrence.regarding.namespace.as_deref() {
        None | Some("") => "default",
        Some(namespace) => namespace,
    }
}
