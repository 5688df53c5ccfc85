//! What is concluded from confirms and returns, in the order in which lapin reports them.

use lapin::message::Delivery;

use super::*;

/// Adds a pending message; returns where its result arrives.
fn pending(confirms: &mut PendingConfirms, message_id: &str) -> oneshot::Receiver<ConfirmResult> {
    let (result, receiver) = oneshot::channel();
    let key = MessageKey { exchange: "".into(), routing_key: "orders".into(), message_id: Some(message_id.into()) };
    let id = confirms.published;
    confirms.published += 1;
    confirms.open.insert(id, Pending { key, body_bytes: 0, returned: None, result: Some(result) });
    receiver
}

/// The confirm of a message, which carries the return of the message with the id `returned`.
fn confirmed(id: u64, returned: Option<&str>) -> (u64, End) {
    let returned = returned.map(|message_id| {
        let mut delivery = Delivery::mock(0, "".into(), "orders".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(message_id.into());
        BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
    });
    (id, End::Confirmed(Box::new(Confirmation::Ack(returned))))
}

/// Concludes the confirms of each round for messages with these ids; returns the results before and after the broker
/// has answered a later request.
fn results(message_ids: &[&str], rounds: Vec<Vec<(u64, End)>>) -> [Vec<&'static str>; 2] {
    let mut confirms = PendingConfirms::default();
    let mut receivers: Vec<_> = message_ids.iter().map(|message_id| pending(&mut confirms, message_id)).collect();
    for round in rounds {
        confirms.conclude(round);
    }
    let mut results = vec!["pending"; receivers.len()];
    let mut read = || {
        for (result, receiver) in results.iter_mut().zip(&mut receivers) {
            *result = match receiver.try_recv() {
                Ok(ConfirmResult::Stored) => "stored",
                Ok(ConfirmResult::Returned(_)) => "returned",
                Ok(ConfirmResult::MaybeReturned(_)) => "unknown",
                Ok(_) => "other",
                Err(_) => continue,
            };
        }
        results.clone()
    };
    let before = read();
    confirms.release(confirms.held());
    [before, read()]
}

#[test]
fn a_return_is_that_of_its_own_message_whichever_confirm_carries_it() {
    let round = vec![confirmed(0, Some("b")), confirmed(1, None)];
    assert_eq!(results(&["a", "b"], vec![round])[1], ["stored", "returned"]);
    let rounds = vec![vec![confirmed(0, Some("b"))], vec![confirmed(1, Some("a"))]];
    assert_eq!(results(&["a", "b"], rounds)[1], ["returned", "returned"]);
}

#[test]
fn a_message_that_is_pending_twice_is_returned_only_if_both_are() {
    let both = vec![vec![confirmed(0, Some("a"))], vec![confirmed(1, Some("a"))]];
    assert_eq!(results(&["a", "a"], both)[1], ["returned", "returned"]);
    // The queue was bound after the first, or unbound after it.
    for carrier in [0, 1] {
        let carried = |id| confirmed(id, (id == carrier).then_some("a"));
        let [before, after] = results(&["a", "a", "b"], vec![vec![carried(0), carried(1), confirmed(2, None)]]);
        assert_eq!(before, ["pending", "pending", "stored"]);
        assert_eq!(after, ["unknown", "unknown", "stored"]);
    }
}

#[test]
fn a_message_that_is_confirmed_before_the_return_of_its_repeat_is_stored() {
    let rounds = vec![vec![confirmed(0, None)], vec![confirmed(1, Some("a"))]];
    assert_eq!(results(&["a", "a"], rounds)[0], ["stored", "returned"]);
}
