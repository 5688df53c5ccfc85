//! What the ledger reports, and what it does not: a property and the steps that violate it.

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
fn the_answers_to_requests_are_checked() {
    check(&[Property::AcceptedIsStored], |ledger, scenario| {
        let request = ledger.requested(&[0]);
        ledger.answered(NOW, scenario, request, &accepted("a"));
    });
    check(&[Property::NotStoredIsTrue], |ledger, scenario| {
        let request = ledger.requested(&[0]);
        ledger.request_stored(NOW, request, 0, Queue::Work);
        ledger.answered(NOW, scenario, request, &Conclusion::NotStored);
    });
    check(&[Property::NotStoredIsTrue], |ledger, scenario| {
        let request = ledger.requested(&[0]);
        ledger.request_stored(NOW, request, 0, Queue::Work);
        ledger.answered(NOW, scenario, request, &Conclusion::TooLarge);
    });
    check(&[Property::NotStoredIsTrue], |ledger, scenario| {
        let request = ledger.requested(&[0]);
        ledger.answered(NOW, scenario, request, &Conclusion::NotStored);
        ledger.request_stored(NOW, request, 0, Queue::Work);
    });
    check(&[], |ledger, scenario| {
        let request = ledger.requested(&[0]);
        ledger.answered(NOW, scenario, request, &Conclusion::unknown());
        ledger.request_stored(NOW, request, 0, Queue::Work);
    });
    check(&[Property::RepeatsHaveOneId], |ledger, scenario| {
        for id in ["a", "b"] {
            let request = ledger.requested(&[0]);
            ledger.request_stored(NOW, request, 0, Queue::Work);
            ledger.answered(NOW, scenario, request, &accepted(id));
        }
    });
    check(&[Property::AcceptedIsStored], |ledger, scenario| {
        let request = ledger.requested(&[0, 3]);
        ledger.request_stored(NOW, request, 3, Queue::Work);
        ledger.answered(NOW, scenario, request, &accepted("a"));
        ledger.answered(NOW, scenario, request + 1, &accepted("b"));
    });
    check(&[Property::IdsNameTheirMessage; 2], |ledger, scenario| {
        let request = ledger.requested(&[0, 3]);
        ledger.request_stored(NOW, request, 0, Queue::Work);
        ledger.request_stored(NOW, request, 3, Queue::Work);
        ledger.delivered(NOW, 0, "a");
        ledger.answered(NOW, scenario, request, &accepted("b"));
        ledger.answered(NOW, scenario, request + 1, &accepted("a"));
        ledger.delivered(NOW, 3, "b");
    });
    check(&[Property::RequestsAreAnswered], |ledger, _| ledger.answered_otherwise(NOW, 0, "500"));
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

const EXHAUSTED: &str = "receives_exhausted";

#[test]
fn dead_letters_are_checked() {
    let exhausted = "receives exhausted after 3: simulated failure";
    let fails = |ledger: &mut Ledger, scenario: &Scenario, message| {
        invoke(ledger, scenario, message, Decision::Failed, &["a"], "retry");
    };
    check(&[], |ledger, scenario| {
        fails(ledger, scenario, 1);
        ledger.dead_lettered(NOW, scenario, 1, EXHAUSTED, exhausted);
        fails(ledger, scenario, 2);
        ledger.dead_lettered(NOW, scenario, 2, REJECTION, "");
    });
    for (message, code, reason) in [
        (0, EXHAUSTED, exhausted),
        (0, REJECTION, ""),
        (1, REJECTION, ""),
        (1, "", exhausted),
        (1, EXHAUSTED, "receives exhausted after 2: simulated failure"),
        (2, "undecodable", "x"),
        (2, "no_handler", "x"),
    ] {
        check(&[Property::DeadLettersHaveTheirReason], |ledger, scenario| {
            if message != 0 {
                fails(ledger, scenario, message);
            }
            ledger.dead_lettered(NOW, scenario, message, code, reason);
        });
    }
    for (failures, expected) in [(2, &[Property::DeadLettersHaveTheirReason][..]), (3, &[])] {
        check(expected, |ledger, scenario| {
            (scenario.fifo, scenario.fifo_receive_count_max, scenario.receive_count_max) = (true, 3, 40);
            for _ in 0..failures {
                fails(ledger, scenario, 1);
            }
            ledger.dead_lettered(NOW, scenario, 1, EXHAUSTED, "receives exhausted after 9: simulated failure");
        });
    }
    check(&[Property::DeadLettersHaveTheirReason], |ledger, scenario| {
        ledger.dead_lettered_by_the_queue(NOW, scenario, 1)
    });
    check(&[], |ledger, scenario| {
        store(ledger, &[1]);
        scenario.make_faulty();
        ledger.touch(1);
        ledger.dead_lettered_by_the_queue(NOW, scenario, 1);
    });
    let waited = "receives exhausted after 3: another delivery of it is being handled";
    for (has_store, receive_count_max, expected) in [
        (true, 3, &[][..]),
        (true, 4, &[Property::DeadLettersHaveTheirReason][..]),
        (false, 3, &[Property::DeadLettersHaveTheirReason][..]),
    ] {
        check(expected, |ledger, scenario| {
            (scenario.has_store, scenario.receive_count_max) = (has_store, receive_count_max);
            ledger.dead_lettered(NOW, scenario, 1, "in_progress", waited);
        });
    }
}

#[test]
fn a_stored_key_names_one_message_that_is_stored_once() {
    for (fifo, stored, accepted, is_touched, expected) in [
        (false, &[0, 1][..], &[0, 1][..], true, &[Property::StoredKeysNameOneMessage][..]),
        (false, &[0, 0], &[0], false, &[Property::StoredKeysNameOneMessage]),
        (false, &[0, 1], &[0], false, &[Property::StoredKeysNameOneMessage]),
        (false, &[0, 0], &[0], true, &[]),
        (false, &[0], &[0], false, &[]),
        (true, &[0, 1], &[0, 1], true, &[]),
        (true, &[0, 1], &[0, 1], false, &[Property::StoredKeysNameOneMessage]),
    ] {
        check(expected, |ledger, scenario| {
            (scenario.fifo, scenario.has_keys, scenario.skew_max) = (fifo, true, Duration::ZERO);
            scenario.messages[1].key_of = 0;
            store(ledger, stored);
            for message in accepted {
                let request = ledger.requested(&[*message]);
                ledger.request_stored(NOW, request, *message, Queue::Work);
                ledger.answered(NOW, scenario, request, &self::accepted(&message.to_string()));
            }
            for message in stored {
                ledger.entry(*message).done = 1;
                if is_touched {
                    ledger.touch_key(u64::from(*message));
                }
            }
            ledger.finished(NOW, scenario, &Table::default(), 0);
        });
    }
}

#[test]
fn a_message_is_not_refused_for_its_key_once_it_is_stored() {
    for (stored, expected) in [(&[0][..], &[][..]), (&[0, 1], &[Property::StoredKeysNameOneMessage])] {
        check(expected, |ledger, scenario| {
            (scenario.has_keys, scenario.messages[1].key_of) = (true, 0);
            store(ledger, stored);
            for message in stored {
                ledger.entry(*message).done = 1;
                ledger.touch(*message);
            }
            let request = ledger.requested(&[1]);
            ledger.answered(NOW, scenario, request, &Conclusion::KeyReused);
            ledger.finished(NOW, scenario, &Table::default(), 0);
        });
    }
}

#[test]
fn a_replayed_answer_is_about_a_stored_message() {
    for (stored, expected) in [(&[0][..], &[][..]), (&[], &[Property::AcceptedIsStored])] {
        check(expected, |ledger, scenario| {
            store(ledger, stored);
            let request = ledger.requested(&[0]);
            ledger.answered(NOW, scenario, request, &Conclusion::Accepted { id: "a".to_owned(), is_replayed: true });
        });
    }
}

#[test]
fn a_dead_letter_of_a_payload_that_was_out_of_reach_is_checked() {
    let exhausted = (EXHAUSTED, "receives exhausted after 3: payload not fetched: no answer");
    let missing = ("payload_unavailable", "payload not available: NoSuchKey");
    for (is_in_s3, is_touched, (code, reason), expected) in [
        (true, true, exhausted, &[][..]),
        (true, false, exhausted, &[Property::DeadLettersHaveTheirReason][..]),
        (false, true, exhausted, &[Property::DeadLettersHaveTheirReason][..]),
        (true, true, missing, &[Property::DeadLettersHaveTheirReason][..]),
    ] {
        check(expected, |ledger, scenario| {
            scenario.messages[0].is_in_s3 = is_in_s3;
            if is_touched {
                ledger.touch(0);
            }
            ledger.dead_lettered(NOW, scenario, 0, code, reason);
        });
    }
}

#[test]
fn a_dead_letter_of_a_store_that_was_away_is_checked() {
    let reason = "receives exhausted after 3: not handled: the idempotency store failed: no answer";
    for (has_table, is_touched, expected) in [
        (true, true, &[][..]),
        (true, false, &[Property::DeadLettersHaveTheirReason][..]),
        (false, true, &[Property::DeadLettersHaveTheirReason][..]),
    ] {
        check(expected, |ledger, scenario| {
            scenario.has_table = has_table;
            if is_touched {
                ledger.touch(0);
            }
            ledger.dead_lettered(NOW, scenario, 0, EXHAUSTED, reason);
        });
    }
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

#[test]
fn an_effect_that_a_table_has_recorded_is_not_repeated() {
    check(&[Property::StoredEffectsHappenOnce], |ledger, scenario| {
        (scenario.has_store, scenario.has_table) = (true, true);
        invoke(ledger, scenario, 0, Decision::Done, &[], "done");
        // The store did not take the outcome of this one.
        invoke(ledger, scenario, 0, Decision::Done, &[], "done");
        ledger.claimed("key", 0);
        ledger.effect_recorded("key");
        ledger.called(NOW, true, true, 0);
    });
}

#[test]
fn settlements_are_checked() {
    use Property::{EachDeliveryIsSettledOnce, HealthyMessagesAreHandled, InvocationsEndInTime, LogsAddUp};
    check(&[EachDeliveryIsSettledOnce, LogsAddUp], |ledger, scenario| {
        invoke(ledger, scenario, 1, Decision::Failed, &[], "done");
    });
    check(&[EachDeliveryIsSettledOnce, LogsAddUp], |ledger, scenario| {
        invoke(ledger, scenario, 0, Decision::Done, &["a"], "retry");
    });
    check(&[EachDeliveryIsSettledOnce, LogsAddUp], |ledger, scenario| {
        invoke(ledger, scenario, 1, Decision::Failed, &["a", "a"], "retry");
    });
    check(&[EachDeliveryIsSettledOnce], |ledger, scenario| {
        invoke(ledger, scenario, 1, Decision::Failed, &["a", "b"], "retry");
    });
    // A return that is not logged, and a handled message that was not.
    check(&[LogsAddUp], |ledger, scenario| invoke(ledger, scenario, 1, Decision::Failed, &["a"], "done"));
    check(&[LogsAddUp], |ledger, scenario| invoke(ledger, scenario, 0, Decision::Done, &[], "duplicate"));
    check(&[LogsAddUp], |ledger, scenario| {
        let number = ledger.invoked(NOW, vec![(1, "a".to_owned())]);
        ledger.called(NOW, false, true, 1);
        ledger.decided(NOW, number, 1, None, Decision::Done);
        report(ledger, number, "done", 1);
        ledger.ended(NOW, scenario, number, &answer(&[]));
        ledger.dead_letters = (1, 2);
        ledger.finished(NOW, scenario, &Table::default(), 0);
    });
    check(&[HealthyMessagesAreHandled], |ledger, scenario| {
        for _ in 0..4 {
            let number = ledger.invoked(NOW, vec![(0, "a".to_owned())]);
            report(ledger, number, "returned", 0);
            ledger.ended(NOW, scenario, number, &answer(&["a"]));
        }
    });
    check(&[InvocationsEndInTime], |ledger, scenario| {
        let number = ledger.invoked(NOW, Vec::new());
        ledger.ended(NOW, scenario, number, &Ended::TimedOut);
    });
}

#[test]
fn order_delays_and_effects_are_checked() {
    check(&[Property::GroupsAreInOrder], |ledger, scenario| {
        store(ledger, &[0, 3]);
        invoke(ledger, scenario, 3, Decision::Done, &[], "done");
    });
    check(&[], |ledger, scenario| {
        store(ledger, &[0, 3]);
        ledger.copied_back(3);
        invoke(ledger, scenario, 3, Decision::Done, &[], "done");
    });
    let waits = Decision::Waits(Duration::from_secs(60));
    check(&[Property::RetriesWait], |ledger, scenario| {
        store(ledger, &[0]);
        invoke(ledger, scenario, 0, waits, &["a"], "retry");
        ledger.received(NOW + Duration::from_secs(59), 0);
    });
    check(&[], |ledger, scenario| {
        store(ledger, &[0]);
        invoke(ledger, scenario, 0, waits, &["a"], "retry");
        ledger.received(NOW + Duration::from_secs(60), 0);
    });
    check(&[Property::StoredEffectsHappenOnce], |ledger, scenario| {
        scenario.has_store = true;
        invoke(ledger, scenario, 0, Decision::Done, &[], "done");
        ledger.called(NOW, true, true, 0);
    });
    check(&[Property::StoredEffectsHappenOnce], |ledger, _| {
        ledger.called(NOW, true, true, 0);
        ledger.called(NOW, true, true, 0);
    });
}

#[test]
fn an_acknowledged_delivery_was_handled_or_has_a_copy() {
    let acknowledged = |copies: u32| {
        move |ledger: &mut Ledger, _: &mut Scenario| {
            ledger.sent_by_another(0);
            ledger.queued(NOW, Some(0), None, "");
            (0..copies).for_each(|_| ledger.copied(0));
            ledger.acknowledged(NOW, 0);
        }
    };
    check(&[Property::NothingIsLost], acknowledged(0));
    check(&[], acknowledged(1));
}

#[test]
fn metrics_are_checked() {
    for (line, expected) in [("", &[][..]), (r#"{"done":1}"#, &[Property::MetricsAddUp][..])] {
        check(expected, |ledger, scenario| {
            let number = ledger.invoked(NOW, vec![(0, "a".to_owned())]);
            ledger.called(NOW, false, true, 0);
            ledger.decided(NOW, number, 0, None, Decision::Done);
            report(ledger, number, "done", 1);
            ledger.counted(NOW, number, line.as_bytes());
            ledger.ended(NOW, scenario, number, &answer(&[]));
        });
    }
    for (status, code, expected) in [
        (503, Some("x"), &[][..]),
        (503, Some("y"), &[Property::MetricsAddUp][..]),
        (202, None, &[Property::MetricsAddUp][..]),
    ] {
        check(expected, |ledger, _| {
            let request = ledger.requested(&[0]);
            ledger.request_counted(NOW, request, br#"{"refused":1,"code":"x","enqueue_ms":1.5}"#);
            ledger.request_answered(NOW, request, [(status, code)].into_iter());
        });
    }
}

#[test]
fn an_invocation_fails_only_on_rabbitmq_with_a_message_that_it_could_not_settle() {
    let wrong = &[Property::EachDeliveryIsSettledOnce][..];
    for (is_rabbitmq, is_ordered, is_touched, outcome, expected) in [
        (true, false, true, "retry", &[][..]),
        (true, true, false, "retry", &[][..]),
        (true, false, false, "retry", wrong),
        (true, true, true, "done", wrong),
        (false, false, true, "retry", wrong),
    ] {
        check(expected, |ledger, scenario| {
            (scenario.rabbitmq, scenario.fifo) = (is_rabbitmq, is_ordered);
            let number = ledger.invoked(NOW, vec![(0, "a".to_owned())]);
            let decision = if outcome == "done" { Decision::Done } else { Decision::Failed };
            ledger.called(NOW, false, true, 0);
            ledger.decided(NOW, number, 0, None, decision);
            report(ledger, number, outcome, 1);
            if is_touched {
                ledger.touch_invocation(number);
            }
            ledger.ended(NOW, scenario, number, &Ended::Failed("simulated".to_owned()));
        });
    }
}

#[test]
fn the_last_receive_on_rabbitmq_is_later_only_by_those_without_a_failure() {
    let wrong = &[Property::DeadLettersHaveTheirReason][..];
    for (receives, came_back, is_ordered, expected) in [
        (3, 0, false, &[][..]),
        (2, 0, false, wrong),
        (4, 0, false, wrong),
        (4, 1, false, &[][..]),
        (4, 1, true, wrong),
    ] {
        check(expected, |ledger, scenario| {
            (scenario.rabbitmq, scenario.fifo) = (true, is_ordered);
            ledger.received(NOW, 1);
            ledger.decided(NOW, 9, 1, None, Decision::Failed);
            (0..came_back).for_each(|_| ledger.came_back(1));
            let reason = format!("receives exhausted after {receives}: simulated failure");
            ledger.dead_lettered(NOW, scenario, 1, EXHAUSTED, &reason);
        });
    }
    let client = Sender::Client;
    let kinds = [(client, true, &[][..]), (client, false, wrong), (Sender::Undecodable, true, wrong)];
    for (sender, is_unroutable, expected) in kinds {
        check(expected, |ledger, scenario| {
            scenario.rabbitmq = true;
            scenario.messages[0].sender = sender;
            if is_unroutable {
                ledger.unroutable(0);
            }
            ledger.dead_lettered(NOW, scenario, 0, "retry_queue_missing", "");
        });
    }
}

#[test]
fn a_message_with_a_copy_is_on_both_queues() {
    const BOTH: [Queue; 2] = [Queue::Work, Queue::Copies];
    let unknown = |stored: &[Queue], not_stored: &[Queue]| Conclusion::Unknown {
        stored: stored.to_vec(),
        not_stored: not_stored.to_vec(),
    };
    for (stored, conclusion, later, expected) in [
        (&BOTH[..], accepted("a"), None, None),
        (&BOTH[..1], accepted("a"), None, Some(Property::AcceptedIsStored)),
        (&BOTH[1..], accepted("a"), None, Some(Property::AcceptedIsStored)),
        (&BOTH[..1], unknown(&BOTH[..1], &BOTH[1..]), None, None),
        (&BOTH[..1], unknown(&BOTH[..1], &[]), Some(Queue::Copies), None),
        (&[], unknown(&BOTH[..1], &[]), None, Some(Property::AcceptedIsStored)),
        (&BOTH[..], unknown(&BOTH[..1], &BOTH[1..]), None, Some(Property::NotStoredIsTrue)),
        (&BOTH[..1], unknown(&BOTH[..1], &BOTH[1..]), Some(Queue::Copies), Some(Property::NotStoredIsTrue)),
        (&[], Conclusion::NotStored, None, None),
        (&BOTH[1..], Conclusion::NotStored, None, Some(Property::NotStoredIsTrue)),
        (&[], Conclusion::NotStored, Some(Queue::Copies), Some(Property::NotStoredIsTrue)),
    ] {
        check(expected.as_slice(), |ledger, scenario| {
            scenario.has_copies = true;
            let request = ledger.requested(&[0]);
            stored.iter().for_each(|queue| ledger.request_stored(NOW, request, 0, *queue));
            ledger.answered(NOW, scenario, request, &conclusion);
            later.into_iter().for_each(|queue| ledger.request_stored(NOW, request, 0, queue));
        });
    }
    for (copies, expected) in [(1, &[][..]), (0, &[Property::AcceptedIsStored])] {
        check(expected, |ledger, scenario| {
            scenario.has_copies = true;
            store(ledger, &[0]);
            (0..copies).for_each(|_| ledger.copy_queued(NOW, Some(0), "a", ""));
            let request = ledger.requested(&[0]);
            let replayed = Conclusion::Accepted { id: "a".to_owned(), is_replayed: true };
            ledger.answered(NOW, scenario, request, &replayed);
        });
    }
    for (number, id, expected) in [
        (Some(0), "a", &[][..]),
        (Some(0), "b", &[Property::IdsNameTheirMessage]),
        (None, "a", &[Property::NothingIsInvented]),
        (Some(1), "a", &[Property::NothingIsInvented]),
    ] {
        check(expected, |ledger, scenario| {
            let request = ledger.requested(&[0]);
            ledger.request_stored(NOW, request, 0, Queue::Work);
            ledger.answered(NOW, scenario, request, &accepted("a"));
            ledger.copy_queued(NOW, number, id, "");
        });
    }
}

#[test]
fn a_status_is_that_of_its_message() {
    for (location, is_touched, expected) in [
        (Some("/messages/a"), false, &[][..]),
        (Some("/messages/b"), false, &[Property::StatusesAreTrue]),
        (None, false, &[Property::StatusesAreTrue]),
        (None, true, &[]),
    ] {
        check(expected, |ledger, _| {
            ledger.entry(0).is_key_touched = is_touched;
            ledger.located(NOW, 0, "a", false, location);
        });
    }
    for (from, to, done, dead, expected) in [
        (State::Open, State::Done, 1, 0, &[][..]),
        (State::Open, State::Done, 0, 1, &[Property::StatusesAreTrue]),
        (State::Open, State::Dead, 0, 1, &[]),
        (State::Open, State::Dead, 1, 0, &[Property::StatusesAreTrue]),
        (State::Dead, State::Open, 0, 1, &[]),
        (State::Done, State::Dead, 1, 1, &[Property::StatusesAreTrue]),
    ] {
        check(expected, |ledger, _| {
            (ledger.entry(0).done, ledger.entry(0).dead_lettered) = (done, dead);
            ledger.identified("a", 0);
            ledger.status_changed(NOW, "message/a", from, to);
        });
    }
}

#[test]
fn a_status_that_a_202_has_named_is_there_at_the_end() {
    let done = Some(r#"{"Done":{"result":null}}"#);
    for (text, may_be_behind, expected) in [
        (done, false, &[][..]),
        (Some(r#""Accepted""#), false, &[Property::StatusesAreTrue]),
        (Some(r#""Accepted""#), true, &[]),
        (None, true, &[Property::StatusesAreTrue]),
    ] {
        check(expected, |ledger, scenario| {
            let mut table = Table::default();
            let item = |state: &str| serde_json::json!({ "id": { "S": "message/a" }, "message_state": { "S": state } });
            if let Some(text) = text {
                let condition = "attribute_not_exists(id)";
                let input = serde_json::json!({ "Item": item(text), "ConditionExpression": condition });
                table.call("PutItem", &input).unwrap();
            }
            store(ledger, &[0]);
            ledger.located(NOW, 0, "a", false, Some("/messages/a"));
            let entry = ledger.entry(0);
            (entry.id, entry.done) = (Some("a".to_owned()), 1);
            entry.may_be_behind = may_be_behind;
            ledger.finished(NOW, scenario, &table, 0);
        });
    }
}

#[test]
fn an_effect_happens_once_and_means_that_the_message_is_handled() {
    for (effects, is_once, expected) in [
        (0, true, &[Property::NothingIsLost][..]),
        (1, true, &[]),
        (2, true, &[Property::StoredEffectsHappenOnce]),
        (2, false, &[]),
    ] {
        check(expected, |ledger, scenario| {
            store(ledger, &[0]);
            (0..effects).for_each(|_| ledger.effect_happened(NOW, is_once, 0));
            ledger.finished(NOW, scenario, &Table::default(), 0);
        });
    }
}

#[test]
fn a_copy_leaves_the_queue_of_the_archive_once_it_is_in_an_object() {
    for (is_archived, is_deleted, expected) in [
        (true, true, &[][..]),
        (false, true, &[Property::NothingIsLost, Property::NothingIsLost]),
        (false, false, &[Property::NothingIsLost]),
    ] {
        check(expected, |ledger, scenario| {
            scenario.has_archive = true;
            ledger.sent_by_another(0);
            ledger.copy_queued(NOW, Some(0), "a", "");
            if is_archived {
                ledger.archived(0);
            }
            if is_deleted {
                ledger.copy_deleted(NOW, 0);
            }
            ledger.finished(NOW, scenario, &Table::default(), 0);
        });
    }
}
