//! Ordered queues, with a mapping that acknowledges or requeues whole batches as Lambda does.

use proptest::prelude::*;

use super::*;

/// What the handler does with a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plan {
    /// Succeeds after this many failures.
    Fail(u32),
    Panic,
    Hang,
    Slow,
    Reject,
}

impl Plan {
    /// Returns the calls of the handler until the message is settled, and whether it is dead-lettered. The source has a
    /// maximum of 3 receives.
    fn expected(self) -> (u32, bool) {
        match self {
            Self::Fail(failures @ 0..3) => (failures + 1, false),
            Self::Fail(_) | Self::Panic | Self::Hang => (3, true),
            Self::Slow => (1, false),
            Self::Reject => (1, true),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    plan: Plan,
    group: Option<u8>,
}

/// The calls of the handler: the number in the payload, and the receive count.
type Calls = Arc<Mutex<Vec<(usize, u32)>>>;

fn consumer(planned: &[Planned], calls: &Calls) -> Consumer {
    let (planned, calls) = (planned.to_vec(), Arc::clone(calls));
    let handler = move |delivery: Arc<crate::Delivery>| {
        let number: usize = std::str::from_utf8(&delivery.envelope().payload()).unwrap().parse().unwrap();
        calls.lock().unwrap().push((number, delivery.receive_count()));
        let plan = planned[number].plan;
        async move {
            match plan {
                Plan::Fail(failures) if delivery.receive_count() <= failures => Outcome::Retry,
                Plan::Fail(_) => Outcome::Done,
                Plan::Panic => panic!("planned"),
                Plan::Hang => std::future::pending().await,
                Plan::Slow => {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    Outcome::Done
                }
                Plan::Reject => Outcome::reject("card_bad", "bad card"),
            }
        }
    };
    consumer_of(Consumer::builder().otherwise(handler))
}

/// A message as Lambda delivers it. Without an id the event is not a `CloudEvent`.
fn record(number: usize, planned: Planned, redelivered: bool) -> Value {
    let Planned { group, .. } = planned;
    let event = json!({ "specversion": "1.0", "id": number.to_string(), "source": "/s", "type": "t", "data": number });
    let body = match group {
        Some(group) => {
            let mut event = event;
            event["partitionkey"] = json!(format!("g-{group}"));
            event.to_string()
        }
        None => number.to_string(),
    };
    json!({ "basicProperties": {}, "redelivered": redelivered, "data": STANDARD.encode(body) })
}

/// The end of a run.
struct End {
    calls: Vec<(usize, u32)>,
    /// The queue, payload and reason of each copy.
    copies: Vec<(String, usize, String)>,
    invocations: usize,
}

/// Invokes the consumer until the queue is empty. After each return a batch has one message more; a mapping that
/// prefetches delivers it first, and the batch comes again in that order.
async fn deliver_all(planned: &[Planned], batch_size: usize, prefetches: bool) -> End {
    let calls = Calls::default();
    let (consumer, source) = (consumer(planned, &calls), source(Fake::default()));
    let mut queue: Vec<(usize, bool)> = (0..planned.len()).map(|number| (number, false)).collect();
    let (mut invocations, mut returns) = (0, 0);
    while !queue.is_empty() {
        invocations += 1;
        assert!(invocations <= 4 * planned.len(), "each invocation calls a handler");
        let size = (batch_size + returns).min(queue.len());
        if prefetches {
            queue[..size].sort_by_key(|(_, redelivered)| *redelivered);
        }
        let records: Vec<_> =
            queue[..size].iter().map(|&(number, again)| record(number, planned[number], again)).collect();
        let event = json!({ "eventSource": "aws:rmq", "rmqMessagesByQueue": { "ordered::/": records } });
        match invoke(&source, &consumer, &event).await {
            Ok(_) => drop(queue.drain(..size)),
            Err(_) => {
                returns += 1;
                queue[..size].iter_mut().for_each(|(_, redelivered)| *redelivered = true);
            }
        }
    }
    let number = |sent: &Sent| match Envelope::decode(std::str::from_utf8(&sent.body).unwrap()) {
        Ok(envelope) => envelope.id().parse().unwrap(),
        Err(_) => std::str::from_utf8(&sent.body).unwrap().parse().unwrap(),
    };
    let reason = |sent: &Sent| sent.text(dead_letter::REASON).unwrap_or_default().to_owned();
    let copies = source.broker.confirmed.lock().unwrap();
    let copies = copies.iter().map(|sent| (sent.queue.clone(), number(sent), reason(sent))).collect();
    let calls = calls.lock().unwrap().clone();
    End { calls, copies, invocations }
}

fn run(planned: &[Planned], batch_size: usize, prefetches: bool) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(deliver_all(planned, batch_size, prefetches))
}

fn any_plan() -> impl Strategy<Value = Planned> {
    let plan = prop_oneof![
        4 => Just(Plan::Fail(0)),
        3 => (1..5u32).prop_map(Plan::Fail),
        1 => Just(Plan::Panic),
        1 => Just(Plan::Hang),
        2 => Just(Plan::Slow),
        1 => Just(Plan::Reject),
    ];
    (plan, prop::option::of(0..3u8)).prop_map(|(plan, group)| Planned { plan, group })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// In each group the handler gets the messages in order, a message only after the one before is settled. Every
    /// message is settled once: handled, or dead-lettered with a reason after its handler rejected it or failed the
    /// last of its receives.
    #[test]
    fn order_is_kept_and_every_message_is_settled_once(
        planned in prop::collection::vec(any_plan(), 1..16),
        batch_size in 1..20usize,
        prefetches: bool,
    ) {
        let End { calls, copies, .. } = run(&planned, batch_size, prefetches);
        for group in [None, Some(0), Some(1), Some(2)] {
            let of_group = |number: usize| planned[number].group == group;
            // A slow message may be cancelled at the deadline once, and is then the first of the next batch.
            let is_cut = |(number, receive): (usize, u32)| planned[number].plan == Plan::Slow && receive == 2;
            let called = calls.iter().copied().filter(|call| of_group(call.0) && !is_cut(*call)).collect::<Vec<_>>();
            let expected: Vec<_> = (0..planned.len())
                .filter(|number| of_group(*number))
                .flat_map(|number| (1..=planned[number].plan.expected().0).map(move |receive| (number, receive)))
                .collect();
            prop_assert_eq!(called, expected, "group {:?}", group);
        }
        let mut dead: Vec<_> = copies.iter().map(|(queue, number, _)| (queue.as_str(), *number)).collect();
        dead.sort_unstable();
        let expected = (0..planned.len()).filter(|number| planned[*number].plan.expected().1);
        prop_assert_eq!(dead, expected.map(|number| ("ordered.dlq", number)).collect::<Vec<_>>());
        for (_, number, reason) in &copies {
            let start = if planned[*number].plan == Plan::Reject { "bad card" } else { "receives exhausted after 3: " };
            prop_assert!(reason.starts_with(start), "{}", reason);
        }
    }
}

/// A step of a mapping: this many messages arrive, then a batch of a size goes to one of two environments, and is
/// acknowledged or comes again, behind what the mapping has fetched.
type Step = (usize, usize, usize, bool);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A batch is in the order in which its messages came to the queue, whichever environment gets it.
    #[test]
    fn the_counts_of_the_broker_put_returned_batches_in_order(
        steps in prop::collection::vec((0..4usize, 1..6usize, 0..2usize, prop::bool::weighted(0.2)), 1..40),
        is_acquired_count: bool,
    ) {
        let count_name = if is_acquired_count { "x-acquired-count" } else { "x-delivery-count" };
        // RabbitMQ 4.3 does not count what was returned with `basic.nack` as a delivery.
        let record = |(number, returns): (usize, u32)| {
            let headers = json!({ "x-delivery-count": 0, count_name: returns });
            let data = STANDARD.encode(number.to_string());
            json!({ "basicProperties": { "headers": headers }, "redelivered": returns > 0, "data": data })
        };
        let environments = [source(Fake::default()), source(Fake::default())];
        let (mut fetched, mut next) = (VecDeque::<(usize, u32)>::new(), 0);
        for step in steps {
            let (arriving, size, environment, is_acknowledged): Step = step;
            fetched.extend((next..next + arriving).map(|number| (number, 0)));
            next += arriving;
            let batch: Vec<_> = fetched.drain(..size.min(fetched.len())).collect();
            let records: Vec<_> = batch.iter().copied().map(record).collect();
            let event = json!({ "rmqMessagesByQueue": { "ordered::/": records } });
            let mut received = received(&event.to_string(), None).unwrap().unwrap();
            let ordered = &environments[environment].ordered;
            ordered.arrange(&mut received);
            let number = |received: &Received| -> usize {
                std::str::from_utf8(received.message.data.as_ref().unwrap()).unwrap().parse().unwrap()
            };
            prop_assert!(received.iter().map(number).is_sorted(), "{:?}", batch);
            let in_order = received.iter().map(|received| received.in_order.as_ref().unwrap());
            if is_acknowledged {
                ordered.acknowledged(in_order);
            } else {
                ordered.returned(in_order.map(|message| (message, false)));
                fetched.extend(batch.into_iter().map(|(number, returns)| (number, returns + 1)));
            }
        }
    }
}

#[test]
fn a_failing_message_is_dead_lettered_and_its_group_goes_on_in_the_same_invocation() {
    let planned: Vec<_> =
        [Plan::Fail(9), Plan::Fail(1), Plan::Fail(0)].map(|plan| Planned { plan, group: None }).into();
    let End { calls, copies, invocations } = run(&planned, 10, false);
    assert_eq!(calls, [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1)]);
    assert_eq!((copies.len(), copies[0].1, invocations), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn another_environment_gives_a_returned_batch_more_tries_and_never_fewer() {
    let planned = [Plan::Slow, Plan::Hang].map(|plan| Planned { plan, group: None });
    let records = |again| (0..2).map(|number| record(number, planned[number], again)).collect::<Vec<_>>();
    let calls = Calls::default();
    let consumer = consumer(&planned, &calls);
    for (again, expected) in [(false, vec![(0, 1), (1, 1)]), (true, vec![(0, 1), (1, 1)])] {
        let event = json!({ "eventSource": "aws:rmq", "rmqMessagesByQueue": { "ordered::/": records(again) } });
        let source = source(Fake::default());
        let returned = invoke(&source, &consumer, &event).await.expect_err("the batch is returned");
        assert_eq!((returned.left, returned.messages), (1, 2), "{returned}");
        assert_eq!(std::mem::take(&mut *calls.lock().unwrap()), expected);
        assert!(source.broker.confirmed.lock().unwrap().is_empty(), "nothing is published for a retry");
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_dead_letter_queue_a_batch_is_returned_in_order() {
    let planned = [Plan::Reject, Plan::Fail(0)].map(|plan| Planned { plan, group: None });
    let calls = Calls::default();
    let consumer = consumer(&planned, &calls);
    let fates = HashMap::from([("ordered.dlq".to_owned(), vec![Fate::Unroutable])]);
    let source = source(Fake { fates: Mutex::new(fates), ..Fake::default() });
    let records: Vec<_> = (0..2).map(|number| record(number, planned[number], false)).collect();
    let event = json!({ "eventSource": "aws:rmq", "rmqMessagesByQueue": { "ordered::/": records } });
    let returned = invoke(&source, &consumer, &event).await.expect_err("the batch is returned");
    assert_eq!((returned.left, returned.reason.as_str()), (2, "messages of an ordered queue keep their places"));
    assert_eq!(*calls.lock().unwrap(), [(0, 1)]);
    assert!(source.broker.confirmed.lock().unwrap().is_empty(), "nothing goes to a retry queue");
}

#[test]
fn equal_messages_without_ids_are_each_handled_once() {
    let source = source(Fake::default());
    let arranged = |again: bool| {
        let message = |_| json!({ "redelivered": again, "data": STANDARD.encode("Order ID: 12345") });
        let list: Vec<_> = (0..3).map(message).collect();
        let event = json!({ "rmqMessagesByQueue": { "ordered::/": list } });
        let mut received = received(&event.to_string(), None).unwrap().unwrap();
        source.ordered.arrange(&mut received);
        received.into_iter().map(|received| received.in_order.unwrap()).collect::<Vec<_>>()
    };
    let first = arranged(false);
    first[1].failed();
    source.ordered.returned(first.iter().zip([true, false, false]));
    let shown = |messages: &[InOrder]| messages.iter().map(|m| (m.settled, m.failures())).collect::<Vec<_>>();
    assert_eq!(shown(&arranged(false)), [(false, 0); 3], "these are new messages");
    let again = arranged(true);
    assert_eq!(shown(&again), [(true, 0), (false, 1), (false, 0)]);
    // Nothing was started in time.
    source.ordered.returned(again.iter().zip([false; 3]));
    let again = arranged(true);
    assert_eq!(shown(&again), [(true, 0), (false, 1), (false, 0)]);
    source.ordered.acknowledged(again.iter());
    assert_eq!(shown(&arranged(true)), [(false, 0); 3]);
}
