//! A ledger of messages: the producer's conclusion about each, and the number of copies found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The conclusion of a producer about one message after its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Conclusion {
    /// The broker confirmed it: the message must be found.
    Stored,
    /// The message may be found.
    Unknown,
    /// The message must not be found.
    NotSent,
}

/// Conclusions and copies by message id.
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
    /// Records a conclusion about a message. The strongest conclusion of several attempts counts: a
    /// stored message stays stored, and an unknown one cannot become not sent.
    pub(super) fn conclude(&mut self, id: &str, conclusion: Conclusion) {
        self.failures += usize::from(conclusion != Conclusion::Stored);
        let known = self.conclusions.entry(id.to_owned()).or_insert(conclusion);
        *known = conclusion.min(*known);
    }

    /// Records one copy that was found.
    pub(super) fn found(&mut self, id: &str) {
        *self.copies.entry(id.to_owned()).or_default() += 1;
    }

    /// Checks the copies found against the conclusions.
    pub(super) fn balance(&self) -> Balance {
        let ids = |wanted: Conclusion| -> BTreeSet<&str> {
            self.conclusions.iter().filter(|(_, each)| **each == wanted).map(|(id, _)| id.as_str()).collect()
        };
        let there: BTreeSet<&str> = self.copies.keys().map(String::as_str).collect();
        let (stored, unknown, not_sent) = (ids(Conclusion::Stored), ids(Conclusion::Unknown), ids(Conclusion::NotSent));
        let lost: Vec<_> = stored.difference(&there).collect();
        assert!(lost.is_empty(), "{} of {} stored messages were lost: {lost:?}", lost.len(), stored.len());
        let denied: Vec<_> = not_sent.intersection(&there).collect();
        assert!(denied.is_empty(), "{} messages reported as not sent were found: {denied:?}", denied.len());
        let strange: Vec<_> = there.iter().filter(|id| !self.conclusions.contains_key(**id)).collect();
        assert!(strange.is_empty(), "{} unknown ids were found: {strange:?}", strange.len());
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
fn a_lost_message_is_detected() {
    let mut ledger = Ledger::default();
    ledger.conclude("gone", Conclusion::Unknown);
    ledger.conclude("gone", Conclusion::Stored);
    ledger.conclude("there", Conclusion::Stored);
    ledger.found("there");
    ledger.balance();
}

#[test]
#[should_panic(expected = "reported as not sent were found: [\"denied\"]")]
fn a_message_reported_as_not_sent_is_detected() {
    let mut ledger = Ledger::default();
    ledger.conclude("denied", Conclusion::NotSent);
    ledger.found("denied");
    ledger.balance();
}

#[test]
#[should_panic(expected = "1 unknown ids were found: [\"new id\"]")]
fn a_repeat_under_another_id_is_detected() {
    let mut ledger = Ledger::default();
    ledger.found("new id");
    ledger.balance();
}
