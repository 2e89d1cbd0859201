//! One write on its way: who asks for what, and what was found on the way.

use std::sync::Arc;

use api::Value;
use api::names::Gvk;
use api::status::ApiResult;
use auth::UserInfo;
use tokio::time::Instant;

use super::Entry;
use crate::admission::{AdmissionRequest, Operation, Reinvocation};
use crate::handlers::scale::{scale_of, with_scale};
use crate::journal::Journal;
use crate::resource::{ScalePaths, SubresourceBehaviour, WriteContext};
use crate::server::Core;
use crate::storage::Stored;

/// A write, whatever it does.
pub(crate) struct Op<'a> {
    pub(crate) core: &'a Core,
    pub(crate) entry: &'a Entry,
    /// The version that the caller speaks.
    pub(crate) version: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) user: &'a UserInfo,
    pub(crate) dry_run: bool,
    /// Who the changed fields belong to.
    pub(crate) manager: &'a str,
    /// `CreateOptions` and the like.
    pub(crate) options: Value,
    /// Whether admission is asked; not for the server's own writes.
    pub(crate) admit: bool,
    /// Whether changed fields are noted here; an apply has noted them already.
    pub(crate) tracks: bool,
    /// Whether a uid is a precondition; in a patch it is a field like others, and immutable.
    pub(crate) demands_uid: bool,
    pub(crate) warnings: Vec<String>,
    pub(crate) audit: Vec<(String, String)>,
    /// What was stored last: the answer can be copied from it.
    pub(crate) written: Option<Arc<Stored>>,
    /// What the request has converted for other managers of the object's fields.
    pub(crate) conversions: Arc<super::Conversions>,
    /// Of the request; the server's own writes have none.
    pub(crate) journal: Option<&'a Journal>,
}

/// What no answer took goes with the refusal: callers are warned whether they succeed or not.
impl Drop for Op<'_> {
    fn drop(&mut self) {
        if let Some(journal) = self.journal {
            journal.warn(self.warnings.drain(..));
        }
    }
}

/// What a write did.
#[derive(Debug)]
pub(crate) enum Deed {
    /// The object was stored, or would have been.
    Stored(Value),
    /// The object is gone; this is its last state.
    Gone(Value),
}

/// Makes the new object out of the present one (`None` when it does not exist), in the storage
/// version. May be called again when another writer came between.
pub(crate) type Transform<'a> = dyn Fn(Option<&Value>) -> ApiResult<Value> + Send + Sync + 'a;

impl Op<'_> {
    /// What strategies may know.
    pub(crate) fn context(&self) -> WriteContext<'_> {
        WriteContext {
            user: self.user,
            now: self.core.clock.now(),
            namespace: self.namespace,
            // A scale is written by the rules of the object itself.
            subresource: self.subresource.filter(|name| *name != "scale"),
            dry_run: self.dry_run,
        }
    }

    /// The kind as the caller speaks of it.
    pub(crate) fn gvk(&self) -> Gvk {
        self.entry.kind_in(self.version, self.subresource)
    }

    /// Asks the mutating plugins.
    pub(crate) async fn admit(
        &mut self,
        operation: Operation,
        name: &str,
        object: Option<&mut Value>,
        old: Option<&Value>,
    ) -> ApiResult<()> {
        self.ask(operation, name, object, old, true).await
    }

    /// Asks the validating plugins.
    pub(crate) async fn validate(
        &mut self,
        operation: Operation,
        name: &str,
        object: Option<&mut Value>,
        old: Option<&Value>,
    ) -> ApiResult<()> {
        self.ask(operation, name, object, old, false).await
    }

    async fn ask(
        &mut self,
        operation: Operation,
        name: &str,
        object: Option<&mut Value>,
        old: Option<&Value>,
        mutating: bool,
    ) -> ApiResult<()> {
        if !self.admit {
            return Ok(());
        }
        let Some(paths) = self.scale_paths() else {
            return self.rounds(operation, name, object, old, mutating).await;
        };
        // Whoever scales is judged by the scale, not by the object that it belongs to.
        let old_scale = old.map(|old| scale_of(old, &paths));
        let Some(object) = object else {
            return self.rounds(operation, name, None, old_scale.as_ref(), mutating).await;
        };
        let mut scale = scale_of(object, &paths);
        self.rounds(operation, name, Some(&mut scale), old_scale.as_ref(), mutating).await?;
        if mutating {
            *object = with_scale(object, &scale, &paths)?;
        }
        Ok(())
    }

    fn scale_paths(&self) -> Option<ScalePaths> {
        let subresource = self.subresource.and_then(|name| self.entry.subresource(name))?;
        match &subresource.behaviour {
            SubresourceBehaviour::Scale(paths) => Some(paths.clone()),
            _ => None,
        }
    }

    /// Whether what is asked about are whole objects of the kind.
    fn is_whole(&self, operation: Operation) -> bool {
        let subresource = self.subresource.and_then(|name| self.entry.subresource(name));
        operation != Operation::Connect
            && subresource.is_none_or(|found| matches!(found.behaviour, SubresourceBehaviour::View))
    }

    /// Asks all plugins, and once more when one of them wants it.
    async fn rounds(
        &mut self,
        operation: Operation,
        name: &str,
        object: Option<&mut Value>,
        old: Option<&Value>,
        mutating: bool,
    ) -> ApiResult<()> {
        let mut reinvocation = Reinvocation::default();
        let is_whole = self.is_whole(operation);
        let mut request = AdmissionRequest {
            operation,
            resource: self.entry.gr.clone(),
            version: self.version,
            kind: self.gvk(),
            subresource: self.subresource,
            namespace: self.namespace,
            name,
            is_whole,
            object,
            old,
            options: &self.options,
            user: self.user,
            dry_run: self.dry_run,
            warnings: &mut self.warnings,
            audit: &mut self.audit,
            kinds: self.core,
            authorizers: &self.core.authorizers,
            reinvocation: &mut reinvocation,
        };
        let began = Instant::now();
        let mut answer = Ok(());
        'rounds: loop {
            for plugin in &self.core.admission {
                if !plugin.handles(&request) {
                    continue;
                }
                let asked = Instant::now();
                answer = if mutating {
                    plugin.admit(self.core, &mut request).await
                } else {
                    plugin.validate(self.core, &mut request).await
                };
                let metrics = &self.core.metrics.admission;
                metrics.asked(plugin.name(), operation, mutating, answer.is_err(), asked.elapsed());
                if answer.is_err() {
                    break 'rounds;
                }
            }
            if !mutating || !request.reinvocation.begin_second() {
                break;
            }
        }
        let metrics = &self.core.metrics.admission;
        metrics.asked("", operation, mutating, answer.is_err(), began.elapsed());
        if let Some(journal) = self.journal {
            journal.step(if mutating { "admitted" } else { "validated" });
            for (key, value) in self.audit.drain(..) {
                journal.note(&key, &value);
            }
        }
        answer
    }
}
