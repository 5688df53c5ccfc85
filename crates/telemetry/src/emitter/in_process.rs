//! Metric lines for a function in the same process.

use std::fmt;
use std::sync::Arc;

use super::Emitter;

type Take = dyn Fn(&[u8]) + Send + Sync;

/// Takes lines. Clones share it.
#[derive(Clone)]
pub(super) struct Taker(Arc<Take>);

impl Taker {
    pub(super) fn take(&self, lines: &[u8]) {
        (self.0)(lines);
    }
}

impl fmt::Debug for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Taker")
    }
}

impl Emitter {
    /// Returns the emitter of the function `function` whose lines `take` gets, one or more at a time.
    pub fn in_process(function: &str, take: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self { function: function.to_owned(), taker: Some(Taker(Arc::new(take))) }
    }
}
