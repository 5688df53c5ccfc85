//! What the ledger reports, and what it does not: a property and the steps that violate it.

mod dead_letters;
mod invocation;
mod requests;
mod statuses;

use super::*;
use crate::dice::Dice;
use crate::message::{Behaviour, Sender};

const NOW: Duration = Duration::from_secs(1);

fn scenario() -> Scenario {
    let mut scenario = Scenario::new(&Dice::new(1), 4, false);
    scenario.fifo = false;
    scenario.has_store = false;
    scenario.has_table = false;
    scenario.without_deploy();
    scenario.receive_count_max = 3;
    for message in &mut scenario.messages {
        message.sender = Sender::Client;
        message.behaviour = Behaviour::Succeeds { after_ms: 0 };
        message.group = 0;
    }
    scenario.messages[1].behaviour = Behaviour::Poison;
    scenario.messages[2].behaviour = Behaviour::Rejects;
    scenario
}

fn check(expected: &[Property], steps: impl Fn(&mut Ledger, &mut Scenario)) {
    let (mut ledger, mut scenario) = (Ledger::new(4), scenario());
    steps(&mut ledger, &mut scenario);
    let found: Vec<_> = ledger.violations.iter().filter_map(|text| text.split(' ').next()).collect();
    let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{:?}", ledger.violations);
}

fn accepted(id: &str) -> Conclusion {
    Conclusion::Accepted { id: id.to_owned(), is_replayed: false }
}

fn answer(returned: &[&str]) -> Ended {
    let failures: Vec<_> = returned.iter().map(|id| serde_json::json!({ "itemIdentifier": id })).collect();
    Ended::Answered(serde_json::json!({ "batchItemFailures": failures }).to_string().into())
}

/// Puts messages on the queue, each once.
fn store(ledger: &mut Ledger, messages: &[u32]) {
    for message in messages {
        ledger.sent_by_another(*message);
        ledger.queued(NOW, Some(*message), Some(0), "");
    }
}

/// Invokes the consumer with a message that its handler decides on.
fn invoke(
    ledger: &mut Ledger,
    scenario: &Scenario,
    message: u32,
    decision: Decision,
    returned: &[&str],
    outcome: &str,
) {
    ledger.received(NOW, message);
    let number = ledger.invoked(NOW, vec![(message, "a".to_owned())]);
    ledger.called(NOW, scenario.has_store, true, message);
    ledger.decided(NOW, number, message, Some(0), decision);
    report(ledger, number, outcome, 1);
    ledger.ended(NOW, scenario, number, &answer(returned));
}

/// Logs and counts the outcome of the message with the id `a`, whose handler was called so often.
fn report(ledger: &mut Ledger, invocation: u64, outcome: &str, calls: usize) {
    ledger.logged(invocation, "a", outcome);
    let metric = match outcome {
        "retry" | "reject_failed" => "retried",
        outcome => outcome,
    };
    let line = serde_json::json!({ "received": 1, metric: 1, "handler_ms": vec![1.5; calls], "oldest_ms": 2.5 });
    ledger.counted(NOW, invocation, line.to_string().as_bytes());
}

#[test]
fn a_simulation_without_faults_violates_nothing() {
    check(&[], |ledger, scenario| {
        let request = ledger.requested(&[0]);
        ledger.queued(NOW, Some(0), Some(0), "");
        ledger.request_stored(NOW, request, 0, Queue::Work);
        ledger.answered(NOW, scenario, request, &accepted("a"));
        let repeat = ledger.requested(&[0]);
        ledger.request_stored(NOW, repeat, 0, Queue::Work);
        ledger.answered(NOW, scenario, repeat, &accepted("a"));
        invoke(ledger, scenario, 0, Decision::Done, &[], "done");
        ledger.deleted(NOW, 0);
        ledger.finished(NOW, scenario, &Table::default(), 0);
    });
}

#[test]
fn what_leaves_the_queue_and_what_is_on_it_is_checked() {
    check(&[Property::NothingIsInvented], |ledger, _| ledger.queued(NOW, Some(0), None, "body"));
    check(&[Property::NothingIsInvented], |ledger, _| ledger.queued(NOW, None, None, "body"));
    check(&[Property::NothingIsLost], |ledger, _| {
        store(ledger, &[0]);
        ledger.deleted(NOW, 0);
    });
    check(&[Property::NothingIsLost], |ledger, scenario| {
        store(ledger, &[2]);
        ledger.called(NOW, false, true, 2);
        ledger.dead_lettered(NOW, scenario, 2, REJECTION, "");
        // Before the original is deleted.
        ledger.moved(NOW, 2);
        ledger.deleted(NOW, 2);
        assert_eq!(ledger.violations, Vec::<String>::new());
        ledger.deleted(NOW, 2);
    });
    check(&[Property::NothingIsLost], |ledger, _| ledger.expired(NOW, 0));
    check(&[Property::NothingIsLost], |ledger, scenario| {
        store(ledger, &[0]);
        ledger.finished(NOW, scenario, &Table::default(), 0);
    });
    check(&[Property::EverythingDrains], |ledger, scenario| ledger.finished(NOW, scenario, &Table::default(), 1));
    check(&[Property::PayloadsAreIntact], |ledger, _| ledger.payload_differs(NOW, 0));
}

#[test]
fn a_redrive_that_deletes_before_it_stores_loses_a_message() {
    check(&[], |ledger, scenario| {
        store(ledger, &[2]);
        ledger.called(NOW, false, true, 2);
        ledger.dead_lettered(NOW, scenario, 2, REJECTION, "");
        ledger.deleted(NOW, 2);
        ledger.copied_back(2);
        ledger.dead_letter_deleted(NOW, 2);
    });
    check(&[Property::NothingIsLost], |ledger, scenario| {
        store(ledger, &[2]);
        ledger.called(NOW, false, true, 2);
        ledger.dead_lettered(NOW, scenario, 2, REJECTION, "");
        ledger.deleted(NOW, 2);
        ledger.dead_letter_deleted(NOW, 2);
    });
}
