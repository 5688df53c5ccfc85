//! [`Deploy`]: a function that is replaced by another version between two of its invocations.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// A version of the consumer that replaces the first one for a time. Batches that have begun end with the version they
/// began with.
#[derive(Clone, Debug)]
pub(crate) struct Deploy {
    /// From its deployment until it is rolled back, if it is.
    pub(crate) when: Range<Duration>,
    pub(crate) change: Change,
}

/// How the second version differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Events of the other programs have a handler.
    HandlesOthers,
    /// The handler of messages that are not events is added, or removed.
    TogglesRaw,
    /// The payload has another version, so the handler rejects half of the messages.
    Rejects,
}

/// The handlers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handlers {
    pub(crate) handles_others: bool,
    pub(crate) accepts_raw: bool,
    pub(crate) rejects: bool,
}

impl Deploy {
    /// Returns a deploy within `during`.
    pub(crate) fn new(rng: &mut Rng, during: Duration) -> Self {
        let from = during.mul_f64(rng.f64());
        let until = if rng.bool() { Duration::MAX } else { from + during.mul_f64(rng.f64()) };
        let change = match rng.u32(0..3) {
            0 => Change::HandlesOthers,
            1 => Change::TogglesRaw,
            _ => Change::Rejects,
        };
        Self { when: from..until, change }
    }
}

impl Handlers {
    /// Returns those of the second version, of which these are the first.
    pub(crate) fn changed(mut self, change: Change) -> Self {
        match change {
            Change::HandlesOthers => self.handles_others = true,
            Change::TogglesRaw => self.accepts_raw = !self.accepts_raw,
            Change::Rejects => self.rejects = true,
        }
        self
    }
}
