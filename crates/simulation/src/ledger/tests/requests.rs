//! What it reports of requests and their answers.

use super::*;
use crate::credentials::Validity;

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
            (scenario.fifo, scenario.skew_max) = (fifo, Duration::ZERO);
            scenario.by_stored_key = [(0, vec![0, 1])].into();
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
            scenario.by_stored_key = [(0, vec![0, 1])].into();
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

#[test]
fn a_webhook_is_refused_for_its_signature_alone() {
    use Validity::{Invalid, Uncertain, Valid};
    for (validity, status, has_id, is_right) in [
        (Valid, 202, true, true),
        (Valid, 503, false, true),
        (Valid, 401, false, false),
        (Uncertain, 202, true, true),
        (Uncertain, 401, false, true),
        (Invalid, 401, false, true),
        (Invalid, 202, true, false),
        (Invalid, 422, false, false),
        (Invalid, 429, false, false),
        (Invalid, 413, false, false),
        // A secret that cannot be read, and a message that may be stored.
        (Invalid, 503, false, true),
        (Invalid, 503, true, false),
    ] {
        let expected = if is_right { &[][..] } else { &[Property::SignaturesHold] };
        check(expected, |ledger, scenario| {
            scenario.set_rates(1);
            let request = ledger.requested(&[0]);
            ledger.signature_answered(NOW, scenario, request, validity, status, has_id);
        });
    }
}

#[test]
fn a_forged_request_is_not_stored_and_does_not_count() {
    check(&[Property::SignaturesHold], |ledger, _| {
        let request = ledger.forged(&[0]);
        ledger.request_stored(NOW, request, 0, Queue::Work);
    });
    check(&[Property::SignaturesHold], |ledger, _| {
        let request = ledger.forged(&[0]);
        ledger.limit_counted(NOW, request);
    });
    check(&[], |ledger, _| {
        ledger.forged(&[0]);
        let request = ledger.requested(&[0]);
        ledger.limit_counted(NOW, request);
        ledger.request_stored(NOW, request, 0, Queue::Work);
    });
}

#[test]
fn keys_are_fetched_once_a_minute() {
    let s = Duration::from_secs;
    for (path, environment, after, was_answered, is_right) in [
        ("/keys", 0, s(59), true, true),
        ("/keys", 0, s(58), true, false),
        ("/keys", 0, s(4), false, true),
        ("/keys", 0, s(3), false, false),
        ("/keys", 1, s(0), true, true),
        ("/other", 0, s(0), true, true),
    ] {
        let expected = if is_right { &[][..] } else { &[Property::KeysAreFetchedSeldom] };
        check(expected, |ledger, _| {
            ledger.keys_fetched(NOW, 0, "/keys", was_answered);
            ledger.keys_fetched(NOW + after, environment, path, true);
        });
    }
}
