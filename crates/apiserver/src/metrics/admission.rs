//! How long admission plugins take, and how often they refuse.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::metrics::{Histogram, Text};
use parking_lot::RwLock;

use crate::admission::Operation;

const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

type Labels = (&'static str, &'static str, bool, bool);

/// The times: by plugin (an empty name is the whole step), operation, whether it may change the
/// object, whether it refused.
#[derive(Debug, Default)]
pub(crate) struct AdmissionMetrics(RwLock<HashMap<Labels, Arc<Histogram>>>);

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

impl AdmissionMetrics {
    /// A plugin, or the whole step, has been asked.
    pub(crate) fn asked(
        &self,
        plugin: &'static str,
        operation: Operation,
        mutating: bool,
        refused: bool,
        took: Duration,
    ) {
        let labels = (plugin, word(operation), mutating, refused);
        let found = self.0.read().get(&labels).cloned();
        let new = || Arc::new(Histogram::new(SECONDS));
        let histogram =
            found.unwrap_or_else(|| self.0.write().entry(labels).or_insert_with(new).clone());
        histogram.observe_duration(took);
    }

    pub(super) fn render(&self, text: &mut Text) {
        let all = self.0.read();
        let mut all: Vec<_> = all.iter().collect();
        all.sort_by_key(|(labels, _)| **labels);
        let mut family = |name: &str, help: &str, whole: bool| {
            text.family(name, "histogram", help);
            for ((plugin, operation, mutating, refused), times) in &all {
                if plugin.is_empty() != whole {
                    continue;
                }
                let kind = if *mutating { "admit" } else { "validate" };
                let refused = if *refused { "true" } else { "false" };
                let labels = [
                    ("name", *plugin),
                    ("operation", *operation),
                    ("rejected", refused),
                    ("type", kind),
                ];
                text.histogram(name, &labels[usize::from(whole)..], times);
            }
        };
        family(
            "apiserver_admission_controller_admission_duration_seconds",
            "Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
            false,
        );
        family(
            "apiserver_admission_step_admission_duration_seconds",
            "Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).",
            true,
        );
    }
}
