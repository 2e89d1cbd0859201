//! What a mutating plugin remembers of those that it asked, webhooks or policies, so that the right
//! ones are asked once more. (apiserver `plugin/webhook/mutating/reinvocationcontext.go`)

use std::collections::BTreeSet;

use api::Value;
use apiserver::admission::AdmissionRequest;

/// One plugin's memory of one request.
#[derive(Default)]
pub(crate) struct Memory {
    /// The object as the plugin left it in the first round.
    last: Option<Value>,
    /// Those that were asked and want to be asked again after a change.
    asked: BTreeSet<String>,
    /// Those that a change came after.
    due: BTreeSet<String>,
}

impl Memory {
    fn changed(&mut self) {
        self.due.append(&mut self.asked);
    }
}

/// Begins a round: a change by other plugins since the first is a change like any other.
pub(crate) fn begin(request: &mut AdmissionRequest<'_>, plugin: &'static str) {
    if !request.reinvocation.is_second() {
        return;
    }
    let now = request.object.as_deref();
    let memory = request.reinvocation.memory::<Memory>(plugin);
    if memory.last.as_ref() != now {
        memory.changed();
    }
}

/// Whether somebody is to be asked in this round. Nobody is asked for the first time in the second,
/// whatever changed.
pub(crate) fn is_due(request: &mut AdmissionRequest<'_>, plugin: &'static str, key: &str) -> bool {
    !request.reinvocation.is_second()
        || request.reinvocation.memory::<Memory>(plugin).due.contains(key)
}

/// Notes that somebody was asked, whether the object changed by it, and whether it wants to be
/// asked again when others change the object after it.
pub(crate) fn asked(
    request: &mut AdmissionRequest<'_>,
    plugin: &'static str,
    key: &str,
    changed: bool,
    is_reinvoked: bool,
) {
    let memory = request.reinvocation.memory::<Memory>(plugin);
    if changed {
        memory.changed();
    }
    if is_reinvoked {
        memory.asked.insert(key.to_owned());
    }
    if changed {
        request.reinvocation.ask_again();
    }
}

/// Ends a round.
pub(crate) fn end(request: &mut AdmissionRequest<'_>, plugin: &'static str) {
    let last = request.object.as_deref().cloned();
    request.reinvocation.memory::<Memory>(plugin).last = last;
}
