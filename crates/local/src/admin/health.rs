//! [`Health`]: the parts of the stack that are not running.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The parts that are not running, with the reasons. Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct Health {
    waiting: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Health {
    /// Marks a part as not running, for this reason.
    pub(crate) fn down(&self, part: &str, reason: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), reason.to_owned());
    }

    /// Marks a part as running.
    pub(crate) fn up(&self, part: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// Returns the parts that are not running, with the reasons.
    pub(crate) fn reasons(&self) -> BTreeMap<String, String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
