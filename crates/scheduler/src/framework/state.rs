//! What plugins keep between the extension points of one cycle, by type.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One scheduling cycle's notes. A copy shares them; what is written to it, only it has.
#[derive(Clone, Default)]
pub struct CycleState {
    notes: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    skipped: HashSet<&'static str>,
}

impl CycleState {
    /// Keeps a note; one a type.
    pub fn write<T: Any + Send + Sync>(&mut self, note: T) {
        self.notes.insert(TypeId::of::<T>(), Arc::new(note));
    }

    /// The note of a type.
    #[must_use]
    pub fn read<T: Any>(&self) -> Option<&T> {
        self.notes.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// Leaves a plugin's Filter out of this cycle.
    pub fn skip(&mut self, plugin: &'static str) {
        self.skipped.insert(plugin);
    }

    /// Whether a plugin's Filter is left out.
    #[must_use]
    pub fn is_skipped(&self, plugin: &str) -> bool {
        self.skipped.contains(plugin)
    }
}
