//! What it reports of dead letters.

use super::*;

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
        scenario.set_rates(1);
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
fn a_redrive_fails_only_with_faults() {
    check(&[Property::RedrivesSucceed], |ledger, scenario| {
        scenario.set_rates(0);
        ledger.redrive_failed(NOW, scenario, "it failed");
    });
    check(&[], |ledger, scenario| {
        scenario.set_rates(1);
        ledger.redrive_failed(NOW, scenario, "it failed");
    });
}
