//! The consumer runtime on a standard queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use sluicegate_batch::{AnyStore, BreakerLimits, CircuitBreaker, Delivery, IdempotencyRule, MemoryStore, Outcome};
use sluicegate_envelope::Envelope;

use super::polled_queue::PolledQueue;
use crate::support::service::Service;

const FUNCTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The receives of a message before it is a dead letter.
const RECEIVE_COUNT_MAX: u32 = 3;

/// The ids and receive counts that a handler was called with, in order.
type Calls = Arc<Mutex<Vec<(String, u32)>>>;

async fn queue(service: &Service) -> PolledQueue<'_> {
    PolledQueue::create(service, &[(Attribute::VisibilityTimeout, "30")], RECEIVE_COUNT_MAX).await
}

async fn send(queue: &PolledQueue<'_>, id: &str) {
    let envelope = Envelope::builder(id, "/orders", "order.placed").build().expect("an envelope");
    queue.send(&envelope, None).await;
}

/// Returns a handler with this outcome for each call, by id and receive count.
fn handler(
    calls: &Calls,
    outcome: impl Fn(&str, u32) -> Outcome + Send + Sync + 'static,
) -> impl Fn(Arc<Delivery>) -> std::future::Ready<Outcome> + Send + Sync + 'static {
    let calls = Arc::clone(calls);
    move |delivery: Arc<Delivery>| {
        let (id, receive_count) = (delivery.envelope().id().to_owned(), delivery.receive_count());
        let outcome = outcome(&id, receive_count);
        calls.lock().expect("no panic").push((id, receive_count));
        std::future::ready(outcome)
    }
}

fn called(calls: &Calls) -> Vec<(String, u32)> {
    let mut calls = calls.lock().expect("no panic").clone();
    calls.sort();
    calls
}

fn each<const N: usize>(calls: [(&str, u32); N]) -> Vec<(String, u32)> {
    calls.map(|(id, receive_count)| (id.to_owned(), receive_count)).to_vec()
}

pub(super) async fn a_failed_message_is_received_again_after_its_delay_and_the_others_are_done(service: &Service) {
    let queue = queue(service).await;
    for id in ["good", "late"] {
        send(&queue, id).await;
    }
    let calls = Calls::default();
    let outcome =
        |id: &str, receive_count| if id == "late" && receive_count == 1 { Outcome::Retry } else { Outcome::Done };
    let consumer = queue.builder().otherwise(handler(&calls, outcome)).build().expect("a consumer");
    // Sooner than the visibility timeout of 30 s.
    let processed = tokio::time::timeout(Duration::from_secs(15), queue.process_all(&consumer, FUNCTION_TIMEOUT)).await;
    service.check("the delay of the retry", processed.is_ok(), true);
    service.check("calls", called(&calls), each([("good", 1), ("late", 1), ("late", 2)]));
    service.check("dead letters", queue.dead_letters().await, Vec::new());
}

/// <https://github.com/aws-powertools/powertools-lambda-typescript/issues/4478>
pub(super) async fn a_rejected_message_is_dead_lettered_at_once_with_its_reason(service: &Service) {
    let queue = queue(service).await;
    send(&queue, "bad").await;
    let calls = Calls::default();
    let outcome = |_: &str, _| Outcome::reject("unknown_customer", "no such customer");
    let consumer = queue.builder().otherwise(handler(&calls, outcome)).build().expect("a consumer");
    queue.process_all(&consumer, FUNCTION_TIMEOUT).await;
    service.check("calls", called(&calls), each([("bad", 1)]));
    let dead = vec![("bad".to_owned(), Some("no such customer".to_owned()))];
    service.check("dead letters", queue.dead_letters().await, dead);
}

pub(super) async fn a_failure_in_the_last_receive_is_dead_lettered_with_its_reason(service: &Service) {
    let queue = queue(service).await;
    send(&queue, "poison").await;
    let calls = Calls::default();
    let outcome = |_: &str, _| Outcome::Failed("out of stock".to_owned());
    let consumer = queue.builder().otherwise(handler(&calls, outcome)).build().expect("a consumer");
    queue.process_all(&consumer, FUNCTION_TIMEOUT).await;
    service.check("calls", called(&calls), each([("poison", 1), ("poison", 2), ("poison", 3)]));
    let reason = "receives exhausted after 3: out of stock".to_owned();
    service.check("dead letters", queue.dead_letters().await, vec![("poison".to_owned(), Some(reason))]);
}

pub(super) async fn a_message_not_started_in_its_last_receive_is_dead_lettered_with_its_reason(service: &Service) {
    let queue = PolledQueue::create(service, &[(Attribute::VisibilityTimeout, "30")], 1).await;
    for id in ["a", "b"] {
        send(&queue, id).await;
    }
    let hangs = |_: Arc<Delivery>| std::future::pending::<Outcome>();
    let consumer = queue.builder().otherwise(hangs).concurrency(1).build().expect("a consumer");
    queue.process_all(&consumer, Duration::from_secs(6)).await;
    let mut reasons: Vec<_> = queue.dead_letters().await.into_iter().filter_map(|(_, reason)| reason).collect();
    reasons.sort();
    let expected = ["not started before the deadline", "the handler was cancelled at the deadline"];
    let expected = expected.map(|cause| format!("receives exhausted after 1: {cause}"));
    service.check("reasons", reasons, expected.to_vec());
}

/// <https://github.com/aws-powertools/powertools-lambda-python/issues/2023>
pub(super) async fn a_message_that_is_sent_twice_is_handled_once(service: &Service) {
    let queue = queue(service).await;
    let calls = Calls::default();
    let store = Arc::new(AnyStore::Memory(MemoryStore::default()));
    let builder = queue.builder().otherwise(handler(&calls, |_, _| Outcome::Done));
    let consumer = builder.idempotency_for("*", IdempotencyRule::default()).store(store).build().expect("a consumer");
    for _ in 0..2 {
        send(&queue, "once").await;
        queue.process_all(&consumer, FUNCTION_TIMEOUT).await;
    }
    service.check("calls", called(&calls), each([("once", 1)]));
    service.check("dead letters", queue.dead_letters().await, Vec::new());
}

pub(super) async fn messages_wait_on_their_queue_while_a_breaker_is_open(service: &Service) {
    // Its returns take receives.
    let queue = PolledQueue::create(service, &[(Attribute::VisibilityTimeout, "30")], 100).await;
    for id in ["a", "b"] {
        send(&queue, id).await;
    }
    let open = Duration::from_secs(2);
    let limits = BreakerLimits { failures_max: 1, open_initial: open, open_max: open };
    let warehouse = Arc::new(CircuitBreaker::with_limits("warehouse", limits));
    // The calls of the warehouse, of which the first fails.
    let asked = Calls::default();
    let counted = Arc::clone(&asked);
    let handler = move |delivery: Arc<Delivery>| {
        let (warehouse, counted) = (Arc::clone(&warehouse), Arc::clone(&counted));
        async move {
            let ask = async {
                let mut calls = counted.lock().expect("no panic");
                calls.push((delivery.envelope().id().to_owned(), 0));
                if calls.len() == 1 { Err("away") } else { Ok(()) }
            };
            match warehouse.call(ask).await {
                Err(returned) => returned,
                Ok(Err(reason)) => Outcome::Failed(reason.to_owned()),
                Ok(Ok(())) => Outcome::Done,
            }
        }
    };
    let consumer = queue.builder().otherwise(handler).concurrency(1).build().expect("a consumer");
    queue.process_all(&consumer, FUNCTION_TIMEOUT).await;
    service.check("calls of the warehouse", asked.lock().expect("no panic").len(), 3);
    service.check("dead letters", queue.dead_letters().await, Vec::new());
}
