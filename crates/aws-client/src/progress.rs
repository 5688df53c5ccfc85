//! [`Progress`]: whether any attempt of a call can have been carried out.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a call can have reached the service, considering every attempt. The caller keeps it, because a call may be
/// cut off.
#[derive(Debug, Default)]
pub struct Progress {
    /// An attempt may be on its way.
    pub(crate) is_sending: AtomicBool,
    one_may_have_arrived: AtomicBool,
}

impl Progress {
    /// Returns whether an attempt may have been carried out. One that is cut off in progress counts.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        self.is_sending.load(Ordering::Relaxed) || self.one_may_have_arrived.load(Ordering::Relaxed)
    }

    /// Records that an attempt is sent.
    pub fn started(&self) {
        self.is_sending.store(true, Ordering::Relaxed);
    }

    /// Records that the attempt has ended. `is_harmless`: it cannot have been carried out.
    pub fn ended(&self, is_harmless: impl FnOnce() -> bool) {
        if self.is_sending.swap(false, Ordering::Relaxed) && !is_harmless() {
            self.one_may_have_arrived.store(true, Ordering::Relaxed);
        }
    }
}
