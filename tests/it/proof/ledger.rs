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

#[test]
fn the_balance_counts_repeats() {
    let mut ledger = Ledger::default();
    for (id, conclusion, copies) in [
        ("once", Conclusion::Stored, 1),
        ("thrice", Conclusion::Stored, 3),
        ("there after all", Conclusion::Unknown, 1),
        ("not there", Conclusion::Unknown, 0),
        ("not sent", Conclusion::NotSent, 0),
    ] {
        ledger.conclude(id, conclusion);
        (0..copies).for_each(|_| ledger.found(id));
    }
    let Balance { stored, unknown, unknown_there, not_sent, failures, repeats } = ledger.balance();
    assert_eq!((stored, unknown, unknown_there, not_sent, failures, repeats), (2, 2, 1, 1, 3, 2));
}

#[test]
#[should_panic(expected = "1 of 2 stored messages were lost: [\"gone\"]")]
fn a_lost_message_is_noticed() {
    let mut ledger = Ledger::default();
    ledger.conclude("gone", Conclusion::Unknown);
    ledger.conclude("gone", Conclusion::Stored);
    ledger.conclude("there", Conclusion::Stored);
    ledger.found("there");
    ledger.balance();
}

#[test]
#[should_panic(expected = "surely are not: [\"denied\"]")]
fn a_message_said_to_be_absent_is_noticed() {
    let mut ledger = Ledger::default();
    ledger.conclude("denied", Conclusion::NotSent);
    ledger.found("denied");
    ledger.balance();
}

#[test]
#[should_panic(expected = "1 ids nobody sent: [\"new id\"]")]
fn a_repeat_under_another_id_is_noticed() {
    let mut ledger = Ledger::default();
    ledger.found("new id");
    ledger.balance();
}
