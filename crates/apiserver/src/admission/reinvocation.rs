//! Asking mutating plugins a second time, because a later one changed what an earlier one saw.
//! (apiserver `plugin/webhook/mutating/reinvocationcontext.go` and KEP-1872)

use std::any::Any;
use std::collections::BTreeMap;

/// One request's rounds, and what plugins remember from the first to the second.
#[derive(Default)]
pub struct Reinvocation {
    is_second: bool,
    wanted: bool,
    memory: BTreeMap<&'static str, Box<dyn Any + Send + Sync>>,
}

impl Reinvocation {
    /// Whether this is the second round.
    #[must_use]
    pub fn is_second(&self) -> bool {
        self.is_second
    }

    /// Asks for a second round. There is never a third.
    pub fn ask_again(&mut self) {
        self.wanted = true;
    }

    /// What a plugin remembers, made new at its first call.
    ///
    /// # Panics
    /// When a plugin remembers under another's name.
    pub fn memory<T: Any + Send + Sync + Default>(&mut self, plugin: &'static str) -> &mut T {
        let kept = self.memory.entry(plugin).or_insert_with(|| Box::new(T::default()));
        kept.downcast_mut().expect("a plugin remembers one type under its own name")
    }

    /// Begins the second round, if one was asked for.
    pub(crate) fn begin_second(&mut self) -> bool {
        self.is_second = self.wanted && !self.is_second;
        self.is_second
    }
}
