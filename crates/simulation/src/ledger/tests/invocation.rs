//! What it reports of invocations, their handlers and their effects.

use super::*;

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
