//! What was promised and what came of it: which messages were answered, and how often each is where it belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a producer may conclude about one message after its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Conclusion {
    /// The broker took responsibility: it must be there.
    Stored,
    /// Perhaps it is there.
    Unknown,
    /// Surely not: it must not be there.
    NotSent,
}

/// Every message by its id.
#[derive(Default)]
pub(super) struct Ledger {
    conclusions: BTreeMap<String, Conclusion>,
    copies: BTreeMap<String, usize>,
    /// Attempts that ended without a receipt.
    pub(super) failures: usize,
}

/// The balance. `Display` is one line of figures.
#[derive(Debug)]
pub(super) struct Balance {
    stored: usize,
    unknown: usize,
    unknown_there: usize,
    not_sent: usize,
    failures: usize,
    repeats: usize,
}

impl Ledger {
    /// Notes what is concluded about a message. Of several attempts the one that leaves least hope of its absence counts: a
    /// message once stored stays stored, and one perhaps sent cannot become surely absent.
    pub(super) fn conclude(&mut self, id: &str, conclusion: Conclusion) {
        self.failures += usize::from(conclusion != Conclusion::Stored);
        let known = self.conclusions.entry(id.to_owned()).or_insert(conclusion);
        *known = conclusion.min(*known);
    }

    /// Notes one copy that was found.
    pub(super) fn found(&mut self, id: &str) {
        *self.copies.entry(id.to_owned()).or_default() += 1;
    }

    /// Holds what was found against what was promised.
    pub(super) fn balance(&self) -> Balance {
        let ids = |wanted: Conclusion| -> BTreeSet<&str> {
            self.conclusions.iter().filter(|(_, each)| **each == wanted).map(|(id, _)| id.as_str()).collect()
        };
        let there: BTreeSet<&str> = self.copies.keys().map(String::as_str).collect();
        let (stored, unknown, not_sent) = (ids(Conclusion::Stored), ids(Conclusion::Unknown), ids(Conclusion::NotSent));
        let lost: Vec<_> = stored.difference(&there).collect();
        assert!(lost.is_empty(), "{} of {} stored messages were lost: {lost:?}", lost.len(), stored.len());
        let denied: Vec<_> = not_sent.intersection(&there).collect();
        assert!(
            denied.is_empty(),
            "{} messages are there of which it was said they surely are not: {denied:?}",
            denied.len()
        );
        let strange: Vec<_> = there.iter().filter(|id| !self.conclusions.contains_key(**id)).collect();
        assert!(strange.is_empty(), "{} ids nobody sent: {strange:?}", strange.len());
        Balance {
            stored: stored.len(),
            unknown: unknown.len(),
            unknown_there: unknown.intersection(&there).count(),
            not_sent: not_sent.len(),
            failures: self.failures,
            repeats: self.copies.values().map(|copies| copies - 1).sum(),
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, unknown, unknown_there, not_sent, failures, repeats } = self;
        write!(
            out,
            "{stored} confirmed, 0 of them lost; {repeats} repeats, each under the first's id; {failures} attempts without a \
             receipt; given up: {not_sent} as surely not sent, none of them there, and {unknown} as unknown, {unknown_there} of \
             them there"
        )
    }
}
