//! The counts of a batch for any dispositions of its messages.

use proptest::prelude::*;

use super::*;

const DELAY: Duration = Duration::from_secs(1);
const ALL: &[Disposition] = &[
    Disposition::Done,
    Disposition::Retry(DELAY),
    Disposition::Rejected,
    Disposition::Undecodable,
    Disposition::Returned(None),
    Disposition::RejectFailed(DELAY),
    Disposition::Duplicate,
];
const QUEUES: [&str; 3] = ["orders", "webhooks", ""];
const NOW_UNIX_MS: u64 = 1_795_251_597_123;

fn message(queue: &'static str) -> ReceivedMessage<'static> {
    ReceivedMessage { id: "b".into(), queue, receive_count: 1, group: None, ordered: false, trace_header: None }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(NOW_UNIX_MS)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every message is counted once, in its own queue, and `oldest` is the greatest age.
    #[test]
    fn received_is_the_sum_of_the_dispositions(
        picks in prop::collection::vec(
            (0..3usize, 0..ALL.len(), prop::option::of(0..2_000_000u64), prop::option::of(0..900_000u64)),
            0..200,
        ),
    ) {
        let messages: Vec<_> = picks.iter().map(|&(queue, ..)| message(QUEUES[queue])).collect();
        let ended: Vec<_> = picks
            .iter()
            .map(|&(_, disposition, age_ms, handler_us)| Settlement {
                disposition: ALL[disposition],
                handler: handler_us.map(Duration::from_micros),
                retried_in_place: Vec::new(),
                sent_unix_ms: age_ms.map(|age_ms| NOW_UNIX_MS - age_ms),
                unlogged: None,
            })
            .collect();
        let queues = by_queue(&messages, &ended, now());
        for (index, name) in QUEUES.iter().enumerate() {
            let of_queue = || picks.iter().filter(|pick| pick.0 == index);
            let Some(deliveries) = queues.get(name) else {
                prop_assert_eq!(of_queue().count(), 0);
                continue;
            };
            let count = |disposition: &[Disposition]| of_queue().filter(|pick| disposition.contains(&ALL[pick.1])).count() as u64;
            prop_assert_eq!(deliveries.received(), of_queue().count() as u64);
            prop_assert_eq!(deliveries.done, count(&[Disposition::Done]));
            prop_assert_eq!(deliveries.duplicate, count(&[Disposition::Duplicate]));
            prop_assert_eq!(deliveries.retried, count(&[ALL[1], ALL[5]]));
            prop_assert_eq!(deliveries.rejected, count(&[Disposition::Rejected]));
            prop_assert_eq!(deliveries.undecodable, count(&[Disposition::Undecodable]));
            prop_assert_eq!(deliveries.returned, count(&[ALL[4]]));
            let oldest = of_queue().filter_map(|pick| pick.2).max().map(Duration::from_millis);
            prop_assert_eq!(deliveries.oldest, oldest);
            prop_assert_eq!(deliveries.handlers.len(), of_queue().filter(|pick| pick.3.is_some()).count());
        }
    }
}

#[test]
fn a_message_sent_in_the_future_has_age_zero() {
    let ended = Settlement {
        disposition: Disposition::Done,
        handler: None,
        retried_in_place: Vec::new(),
        sent_unix_ms: Some(NOW_UNIX_MS + 5_000),
        unlogged: None,
    };
    let queues = by_queue(&[message("orders")], &[ended], now());
    assert_eq!(queues["orders"].oldest, Some(Duration::ZERO));
}

#[test]
fn retries_in_the_same_invocation_are_counted_and_timed_beside_the_end_of_their_message() {
    let ms = |ms| Some(Duration::from_millis(ms));
    let ended = Settlement {
        disposition: Disposition::Rejected,
        handler: ms(3),
        retried_in_place: vec![ms(1), None, ms(2)],
        sent_unix_ms: None,
        unlogged: None,
    };
    let queues = by_queue(&[message("orders")], &[ended], now());
    let Deliveries { retried, rejected, handlers, .. } = &queues["orders"];
    assert_eq!((*retried, *rejected), (3, 1));
    assert_eq!(*handlers, [1, 2, 3].map(Duration::from_millis));
}
