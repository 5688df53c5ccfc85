//! [`Record`]: what a store knows about a key, and what follows from it for a claim.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Begun, Claim, Lease};

/// The record of a key.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) fingerprint: String,
    /// The token of the lease that wrote it.
    pub(crate) token: String,
    /// In milliseconds since 1970; 0 for an attempt that was abandoned.
    pub(crate) lease_until_ms: u64,
    /// Set once the work is done.
    pub(crate) result: Option<String>,
    /// In seconds since 1970.
    pub(crate) expires_at_s: u64,
}

impl Record {
    /// Returns whether the claim may replace this record.
    pub(crate) fn is_free_for(&self, claim: &Claim<'_>) -> bool {
        let is_over = self.result.is_none() && self.lease_until_ms <= unix_ms(claim.now);
        self.is_expired(claim) || (is_over && self.fingerprint == claim.fingerprint)
    }

    /// Returns whether this record counts as absent.
    fn is_expired(&self, claim: &Claim<'_>) -> bool {
        self.expires_at_s <= unix_s(claim.now)
    }

    /// Returns whether a claim that replaced this record is a retry of its work.
    pub(crate) fn is_retried_by(&self, claim: &Claim<'_>) -> bool {
        !self.is_expired(claim)
    }

    /// Returns what a claim finds that could not replace this record. A record with the token of `lease` was written by
    /// an attempt of the same call, whose answer was lost, and with it what that attempt replaced.
    pub(crate) fn found_by(self, claim: &Claim<'_>, mut lease: Lease) -> Begun {
        if self.token == lease.token {
            lease.is_retry = true;
            return Begun::New(lease);
        }
        if self.fingerprint != claim.fingerprint {
            return Begun::Conflict;
        }
        match self.result {
            Some(result) => Begun::Completed { result },
            None => {
                let left_ms = self.lease_until_ms.saturating_sub(unix_ms(claim.now));
                Begun::InProgress { lease_left: Duration::from_millis(left_ms) }
            }
        }
    }
}

pub(crate) fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}
