//! [`Lease`]: the right to do the work of a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The right to do the work of a key, until the end of its claim. Clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease {
    pub(crate) key: String,
    pub(crate) token: String,
    /// Set by the claim.
    pub(crate) is_retry: bool,
    is_completed: Arc<AtomicBool>,
}

impl Lease {
    /// Returns a lease that no other caller has.
    pub(crate) fn new(key: &str) -> Self {
        Self { key: key.to_owned(), token: token(), is_retry: false, is_completed: Arc::default() }
    }

    /// Returns the key that was claimed.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns whether an earlier attempt at the work ended with [`Effect::Unknown`](crate::Effect::Unknown) or without
    /// a word, so that it may have had its effect. Also true if the store did not say so, because the answer to the
    /// claim was lost and the claim was repeated.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        self.is_retry
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

/// Returns a text that no other caller has.
pub(crate) fn token() -> String {
    format!("{:032x}", fastrand::u128(..))
}

impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.token == other.token
    }
}

impl Eq for Lease {}
