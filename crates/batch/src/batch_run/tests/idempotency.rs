//! Batches of a consumer with idempotency rules, and their keys in memory.

use std::collections::BTreeMap;

use sluicegate_idempotency::{AnyStore, Begun, Claim, Effect, MemoryStore, Store as _};

use super::*;
use crate::idempotency::Rules;
use crate::{IdempotencyKey, IdempotencyRule};

/// A message as it is received.
#[derive(Clone, Debug)]
struct Received<'a> {
    id: &'a str,
    event_type: &'a str,
    payload: &'a str,
    group: Option<&'a str>,
}

fn order(id: &str) -> Received<'_> {
    Received { id, event_type: "order.placed", payload: r#"{"order_id": "o-1"}"#, group: None }
}

/// A consumer, whose handler does what the next plan says, or `done` if there is none.
struct Consumer {
    idempotency: Idempotency,
    store: MemoryStore,
    plans: Arc<Mutex<Vec<&'static str>>>,
    /// The ids of the events that were handled to the end.
    effects: Arc<Mutex<Vec<String>>>,
    /// Sending to the dead-letter queue fails.
    broken: bool,
    /// Each receive is the last that the queue allows.
    last: bool,
}

fn idempotency(rule: IdempotencyRule, store: AnyStore) -> Idempotency {
    let mut mistakes = Vec::new();
    let mut rules = Rules::default();
    rules.insert("order.*", rule, &mut mistakes);
    let idempotency = rules.with_store(Some(Arc::new(store)), &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    idempotency.expect("a rule and a store")
}

impl Consumer {
    fn new(rule: IdempotencyRule) -> Self {
        let store = MemoryStore::default();
        Self {
            idempotency: idempotency(rule, AnyStore::Memory(store.clone())),
            store,
            plans: Arc::default(),
            effects: Arc::default(),
            broken: false,
            last: false,
        }
    }

    fn plan(&self, plans: &[&'static str]) -> &Self {
        *self.plans.lock().unwrap() = plans.iter().rev().copied().collect();
        self
    }

    fn handlers(&self) -> Handlers {
        let (plans, effects) = (Arc::clone(&self.plans), Arc::clone(&self.effects));
        let store = self.store.clone();
        let mut handlers = Handlers::default();
        handlers.otherwise(plain(move |delivery: Arc<Delivery>| {
            let (plan, effects, store) = (plans.lock().unwrap().pop(), Arc::clone(&effects), store.clone());
            async move {
                tokio::task::yield_now().await;
                let effect = || effects.lock().unwrap().push(delivery.envelope().id().to_owned());
                let until = delivery.deadline();
                match plan.unwrap_or("done") {
                    "done" => {
                        effect();
                        Outcome::Done
                    }
                    "completes" => {
                        effect();
                        store.complete(delivery.lease().unwrap(), "reserved", until).await.unwrap();
                        Outcome::Done
                    }
                    "completes and panics" => {
                        effect();
                        store.complete(delivery.lease().unwrap(), "reserved", until).await.unwrap();
                        panic!("after the effect")
                    }
                    "loses its lease" => {
                        effect();
                        store.abandon(delivery.lease().unwrap(), Effect::None, until).await.unwrap();
                        Outcome::Done
                    }
                    "retry" => Outcome::Retry,
                    "after" => Outcome::RetryAfter(Duration::from_secs(77)),
                    "failed" => Outcome::Failed("the warehouse is closed".to_owned()),
                    "reject" => Outcome::reject("unknown", "no such article"),
                    "hang" => std::future::pending().await,
                    other => panic!("{other}"),
                }
            }
        }));
        handlers
    }

    async fn receive(&self, messages: &[Received<'_>]) -> (Vec<Disposition>, Memory) {
        let body = |message: &Received<'_>| {
            let envelope = Envelope::builder(message.id, "/orders", message.event_type);
            envelope.payload(Some("application/json"), message.payload).build().unwrap().encode()
        };
        let received = |(index, message): (usize, &Received<'_>)| ReceivedMessage {
            id: format!("m-{index}").into(),
            queue: "orders",
            receive_count: 1,
            group: message.group.map(|group| group.to_owned().into()),
            ordered: message.group.is_some(),
            trace_header: None,
        };
        let received: Vec<_> = messages.iter().enumerate().map(received).collect();
        let bodies = messages.iter().map(body).collect();
        let memory = Memory { bodies, broken: self.broken, last: self.last, ..Memory::default() };
        let handlers = self.handlers();
        let run = BatchRun { idempotency: Some(&self.idempotency), ..rules(&handlers, 10, deadlines()) };
        let settled = run.settle(&memory, &received).await;
        for settlement in &settled {
            let is_called = settlement.handler.is_some();
            assert!(settlement.disposition != Disposition::Duplicate || !is_called, "a duplicate is not handled");
        }
        (settled.iter().map(|settlement| settlement.disposition).collect(), memory)
    }

    async fn receive_one(&self, message: Received<'_>) -> Disposition {
        self.receive(&[message]).await.0[0]
    }

    /// Returns the stored result of an order that was handled.
    async fn result(&self, id: &str) -> String {
        let envelope =
            Envelope::builder(id, "/orders", "order.placed").payload(Some("application/json"), order(id).payload);
        let delivery = crate::testing::delivery(envelope.build().unwrap()).queue("orders").build();
        let now = std::time::SystemTime::now();
        let claim = Claim {
            key: &IdempotencyKey::Event.of(&delivery).unwrap(),
            fingerprint: &IdempotencyRule::default().fingerprint(&delivery),
            now,
            lease_until: now,
            keep_until: now,
        };
        match self.store.begin(&claim, Instant::now()).await {
            Ok(Begun::Completed { result }) => result,
            other => panic!("{other:?}"),
        }
    }

    fn effects(&self) -> usize {
        self.effects.lock().unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_handled_message_is_a_duplicate_when_it_comes_again() {
    let consumer = Consumer::new(IdempotencyRule::default());
    assert_eq!(consumer.receive_one(order("e-1")).await, Disposition::Done);
    let (settled, memory) = consumer.receive(&[order("e-1"), order("e-2"), order("e-1")]).await;
    assert_eq!(settled, [Disposition::Duplicate, Disposition::Done, Disposition::Duplicate]);
    assert!(memory.dead_letters.into_inner().unwrap().is_empty() && memory.delays.into_inner().unwrap().is_empty());
    assert_eq!(*consumer.effects.lock().unwrap(), ["e-1", "e-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_type_without_a_rule_is_handled_each_time() {
    let consumer = Consumer::new(IdempotencyRule::default());
    let refund = Received { event_type: "payment.refunded", ..order("e-1") };
    for _ in 0..2 {
        assert_eq!(consumer.receive_one(refund.clone()).await, Disposition::Done);
    }
    assert_eq!(consumer.effects(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_failed_is_handled_when_it_comes_again() {
    for plan in ["retry", "after", "failed", "panic", "hang"] {
        let consumer = Consumer::new(IdempotencyRule::default());
        let settled = consumer.plan(&[plan]).receive_one(order("e-1")).await;
        assert!(matches!(settled, Disposition::Retry(_)), "{plan}: {settled:?}");
        let other = Received { payload: "{}", ..order("e-1") };
        assert_eq!(consumer.receive_one(other).await, Disposition::Rejected, "{plan}: bound to its payload");
        assert_eq!(consumer.receive_one(order("e-1")).await, Disposition::Done, "{plan}");
        assert_eq!(
            (consumer.receive_one(order("e-1")).await, consumer.effects()),
            (Disposition::Duplicate, 1),
            "{plan}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_may_be_corrected_under_its_id() {
    let consumer = Consumer::new(IdempotencyRule::default());
    assert_eq!(consumer.plan(&["reject"]).receive_one(order("e-1")).await, Disposition::Rejected);
    let corrected = Received { payload: r#"{"order_id": "o-2"}"#, ..order("e-1") };
    assert_eq!(consumer.receive_one(corrected).await, Disposition::Done);
    assert_eq!(consumer.receive_one(order("e-1")).await, Disposition::Rejected, "another payload");
    assert_eq!(consumer.effects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reject_that_is_not_stored_does_not_free_the_key() {
    let consumer = Consumer { broken: true, ..Consumer::new(IdempotencyRule::default()) };
    let settled = consumer.plan(&["reject"]).receive_one(order("e-1")).await;
    assert!(matches!(settled, Disposition::RejectFailed(_)), "{settled:?}");
    let consumer = Consumer { broken: false, ..consumer };
    let other = Received { payload: "{}", ..order("e-1") };
    assert_eq!(consumer.receive_one(other).await, Disposition::Rejected);
    assert_eq!((consumer.receive_one(order("e-1")).await, consumer.effects()), (Disposition::Done, 1));
}

/// Its effect is unknown, so a dead letter with another payload must not be handled under its id.
#[tokio::test(start_paused = true)]
async fn a_message_that_used_up_its_receives_stays_bound_to_its_payload() {
    let consumer = Consumer { last: true, ..Consumer::new(IdempotencyRule::default()) };
    assert_eq!(consumer.plan(&["failed"]).receive_one(order("e-1")).await, Disposition::Rejected);
    let other = Received { payload: "{}", ..order("e-1") };
    assert_eq!(consumer.receive_one(other).await, Disposition::Rejected);
    assert_eq!((consumer.receive_one(order("e-1")).await, consumer.effects()), (Disposition::Done, 1));
}

#[tokio::test(start_paused = true)]
async fn of_two_receives_in_one_batch_one_is_handled() {
    let consumer = Consumer::new(IdempotencyRule::default());
    let (settled, memory) = consumer.receive(&[order("e-1"), order("e-1")]).await;
    let Disposition::Returned(Some(delay)) = settled[1] else { panic!("{settled:?}") };
    assert!(settled[0] == Disposition::Done && delay <= Duration::from_secs(11), "{settled:?}");
    assert_eq!(memory.delays.into_inner().unwrap(), [(1, delay)], "it comes again when the lease has ended");
    assert_eq!((consumer.receive_one(order("e-1")).await, consumer.effects()), (Disposition::Duplicate, 1));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_has_to_wait_in_its_last_receive_is_dead_lettered_with_the_reason() {
    let consumer = Consumer { last: true, ..Consumer::new(IdempotencyRule::default()) };
    let (settled, memory) = consumer.receive(&[order("e-1"), order("e-1")]).await;
    assert_eq!(settled, [Disposition::Done, Disposition::Rejected]);
    let detail = "receives exhausted after 1: another delivery of it is being handled";
    let dead_letters = memory.dead_letters.into_inner().unwrap();
    assert_eq!(dead_letters, [(1, Rejection::new("in_progress", detail))]);
    let consumer = Consumer { broken: true, ..consumer };
    let (settled, _) = consumer.receive(&[order("e-2"), order("e-2")]).await;
    assert!(matches!(settled[..], [Disposition::Done, Disposition::RejectFailed(_)]), "{settled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_does_not_block_its_group() {
    let consumer = Consumer::new(IdempotencyRule::default());
    let of_group = |id| Received { group: Some("a"), ..order(id) };
    let (settled, _) = consumer.receive(&[of_group("e-1"), of_group("e-1"), of_group("e-2")]).await;
    assert_eq!(settled, [Disposition::Done, Disposition::Duplicate, Disposition::Done]);
    let (settled, _) = consumer.plan(&["retry"]).receive(&[of_group("e-2"), of_group("e-3"), of_group("e-4")]).await;
    assert_eq!(settled[0], Disposition::Duplicate);
    assert!(settled[1..].iter().all(|disposition| disposition.is_returned()), "{settled:?}");
    assert_eq!(consumer.effects(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_payload_or_type_under_a_known_key_is_rejected_with_the_reason() {
    let consumer = Consumer::new(IdempotencyRule::default());
    assert_eq!(consumer.receive_one(order("e-1")).await, Disposition::Done);
    for other in [
        Received { payload: r#"{"order_id": "o-2"}"#, ..order("e-1") },
        Received { event_type: "order.cancelled", ..order("e-1") },
    ] {
        let (settled, memory) = consumer.receive(&[other]).await;
        assert_eq!(settled, [Disposition::Rejected]);
        let detail = "its idempotency key belongs to a message with another type or payload";
        let rejection = Rejection::new("idempotency_key_reused", detail);
        assert_eq!(memory.dead_letters.into_inner().unwrap(), [(0, rejection)]);
    }
    assert_eq!(consumer.effects(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_key_may_be_a_value_of_the_payload() {
    let by_order = IdempotencyRule { key: IdempotencyKey::Pointer("/order/id"), ..IdempotencyRule::default() };
    let consumer = Consumer::new(IdempotencyRule { fingerprint: false, ..by_order });
    let placed = |id, payload| Received { payload, ..order(id) };
    for (message, expected) in [
        (placed("e-1", r#"{"order": {"id": "o-1"}}"#), Disposition::Done),
        (placed("e-2", r#"{"order": {"id": "o-1"}, "sent": 2}"#), Disposition::Duplicate),
        (placed("e-3", r#"{"order": {"id": "o-2"}}"#), Disposition::Done),
        (Received { event_type: "order.cancelled", ..placed("e-4", r#"{"order": {"id": "o-1"}}"#) }, Disposition::Done),
        (placed("e-5", r#"{"order": {"id": 7}}"#), Disposition::Done),
        (placed("e-6", r#"{"order": {"id": 7}}"#), Disposition::Duplicate),
        (placed("e-7", r#"{"order": {"id": 7.0}}"#), Disposition::Duplicate),
    ] {
        assert_eq!(consumer.receive_one(message.clone()).await, expected, "{message:?}");
    }
    for payload in
        ["{}", r#"{"order": {"id": ""}}"#, r#"{"order": {"id": null}}"#, r#"{"order": {"id": 1.5}}"#, "{", ""]
    {
        let (settled, memory) = consumer.receive(&[placed("e-7", payload)]).await;
        let (_, rejection) = memory.dead_letters.into_inner().unwrap().remove(0);
        assert_eq!(settled, [Disposition::Rejected], "{payload}");
        assert_eq!(rejection.code(), "idempotency_key_missing", "{payload}");
        assert!(rejection.detail().contains("no text and no whole number at /order/id"), "{payload}: {rejection}");
    }
    let consumer = Consumer::new(by_order);
    consumer.receive_one(placed("e-1", r#"{"order": {"id": "o-1"}}"#)).await;
    let changed = placed("e-2", r#"{"order": {"id": "o-1"}, "sent": 2}"#);
    assert_eq!(consumer.receive_one(changed).await, Disposition::Rejected, "another payload");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_handler_completed_is_not_written_again() {
    let consumer = Consumer::new(IdempotencyRule::default());
    assert_eq!(consumer.plan(&["completes"]).receive_one(order("e-1")).await, Disposition::Done);
    assert_eq!(consumer.result("e-1").await, "reserved");
    let settled = consumer.plan(&["completes and panics"]).receive_one(order("e-2")).await;
    assert!(matches!(settled, Disposition::Retry(_)), "{settled:?}");
    assert_eq!(consumer.receive_one(order("e-2")).await, Disposition::Duplicate, "the effect is known to be complete");
    assert_eq!(consumer.effects(), 2);
}

/// The effect has happened, and a retry would repeat it for certain.
#[tokio::test(start_paused = true)]
async fn a_message_is_done_even_if_its_record_cannot_be_completed() {
    let consumer = Consumer::new(IdempotencyRule::default());
    assert_eq!(consumer.plan(&["loses its lease"]).receive_one(order("e-1")).await, Disposition::Done);
    assert_eq!(consumer.receive_one(order("e-1")).await, Disposition::Done, "handled again: the store has no record");
    assert_eq!(consumer.effects(), 2);
}

#[cfg(feature = "dynamodb")]
#[tokio::test]
async fn while_the_store_fails_a_message_is_retried_or_handled_as_the_rule_says() {
    use crate::OnStoreFailure;

    for (on_store_failure, effects) in [(OnStoreFailure::Closed, 0), (OnStoreFailure::Open, 1)] {
        let store = {
            let lookup =
                |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { "http://127.0.0.1:9" } else { "x" }.to_owned());
            let environment = sluicegate_aws_client::AwsEnvironment::read(lookup).unwrap();
            AnyStore::DynamoDb(Box::new(sluicegate_idempotency::DynamoDbStore::new(&environment, "keys")))
        };
        let rule = IdempotencyRule { on_store_failure, ..IdempotencyRule::default() };
        let consumer = Consumer { idempotency: idempotency(rule, store), ..Consumer::new(rule) };
        let (settled, memory) = consumer.receive(&[order("e-1")]).await;
        assert_eq!(consumer.effects(), effects, "{on_store_failure:?}: {settled:?}");
        assert_eq!(matches!(settled[..], [Disposition::Retry(_)]), effects == 0, "{on_store_failure:?}: {settled:?}");
        assert_eq!(memory.failures.into_inner(), 0, "the message did not fail");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// For any batches of the same few messages and any outcomes of their handlers: the effect of each happens once,
    /// and a message is done or a duplicate once it has happened.
    #[test]
    fn the_effect_of_each_message_happens_once(
        batches in prop::collection::vec(prop::collection::vec((0..4usize, 0..8usize), 1..8), 1..12),
        ordered: bool,
    ) {
        let ids = ["e-0", "e-1", "e-2", "e-3"];
        let plans =
            ["done", "retry", "after", "failed", "panic", "hang", "completes", "completes and panics"];
        let consumer = Consumer::new(IdempotencyRule::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut effects = BTreeMap::<String, usize>::new();
        for batch in &batches {
            let plan: Vec<_> = batch.iter().map(|&(_, plan)| plans[plan]).collect();
            let group = ordered.then_some("a");
            let messages: Vec<_> = batch.iter().map(|&(id, _)| Received { group, ..order(ids[id]) }).collect();
            let before = effects.clone();
            let (settled, memory) = runtime.block_on(consumer.plan(&plan).receive(&messages));
            effects.clear();
            for id in consumer.effects.lock().unwrap().iter() {
                *effects.entry(id.clone()).or_default() += 1;
            }
            prop_assert!(effects.values().all(|count| *count == 1), "{effects:?}");
            prop_assert!(memory.dead_letters.into_inner().unwrap().is_empty());
            for (message, disposition) in messages.iter().zip(&settled) {
                let (was, is) = (before.contains_key(message.id), effects.contains_key(message.id));
                match disposition {
                    Disposition::Done => prop_assert!(is && !was),
                    Disposition::Duplicate => prop_assert!(is),
                    Disposition::Returned(_) => {}
                    Disposition::Retry(_) => prop_assert!(!was),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
