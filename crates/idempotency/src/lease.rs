//! [`Lease`]: the right to do the work of a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The right to do the work of a key, until the end of its claim. Clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease {
    pub(crate) key: String,
    pub(crate) token: String,
    is_completed: Arc<AtomicBool>,
}

impl Lease {
    /// Returns a lease that no other caller has.
    pub(crate) fn new(key: &str) -> Self {
        Self { key: key.to_owned(), token: format!("{:032x}", fastrand::u128(..)), is_completed: Arc::default() }
    }

    /// Returns the key that was claimed.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns whether a store has the result of the work: it need not be stored again.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.is_completed.load(Ordering::Acquire)
    }

    /// Records that the store has the result. Each implementation of [`Store`](crate::Store) calls it.
    pub(crate) fn mark_completed(&self) {
        self.is_completed.store(true, Ordering::Release);
    }
}

impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.token == other.token
    }
}

impl Eq for Lease {}
