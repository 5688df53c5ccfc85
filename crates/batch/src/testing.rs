//! Deliveries for tests of handlers, and whole batches for tests of consumers.
//!
//! ```
//! use sluicegate_batch::{Delivery, Outcome, testing};
//! use std::sync::Arc;
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     quantity: u32,
//! }
//!
//! async fn handle(order: Order, delivery: Arc<Delivery>) -> Outcome {
//!     match order.quantity {
//!         0 => Outcome::reject("nothing_ordered", "the quantity is 0"),
//!         _ if delivery.receive_count() < 3 => Outcome::Retry,
//!         _ => Outcome::Done,
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let order = testing::json("order.placed", r#"{"quantity": 2}"#)?;
//! assert_eq!(order.clone().call_json(handle).await, Outcome::Retry);
//! assert_eq!(order.receive_count(3).call_json(handle).await, Outcome::Done);
//! let none = testing::json("order.placed", r#"{"quantity": 0}"#)?;
//! assert_eq!(none.call_json(handle).await, Outcome::reject("nothing_ordered", "the quantity is 0"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`run`] gives a captured Lambda event to a whole consumer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_runtime::{Context, LambdaEvent};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sluicegate_envelope::{Envelope, EnvelopeBuildError};
use tokio::time::Instant;

use crate::delivery::Claimed;
use crate::source::adapter::ReceivedMessage;
use crate::{BatchResponse, Delivery, Outcome, handlers};

/// Default time until the deadline of a delivery, and of a function in [`run`].
const DEADLINE_AFTER: Duration = Duration::from_secs(30);

/// Gives an event, as Lambda sends it, to a consumer with 30 s left, and returns the response to Lambda.
///
/// Services without a configuration in the builder do not answer. With an SQS batch, the response therefore contains
/// each message to retry, and each rejected one, because its dead-letter queue cannot be reached; pass
/// `aws_environment` with the endpoint of an emulator to store rejected messages. With a batch of RabbitMQ the function
/// succeeds if every message is done. Any other outcome needs the broker, which stores a copy: pass `broker`, or the
/// whole batch fails.
/// Idempotency keys are kept in the memory of this run: pass `store` to share them between runs.
///
/// # Errors
/// The event is not JSON, the consumer cannot be built, or Lambda would return the whole batch:
/// [`Consumer::handle`](crate::Consumer::handle).
pub async fn run(consumer: crate::ConsumerBuilder, event: &str) -> Result<BatchResponse, lambda_runtime::Error> {
    let consumer = consumer.without_services()?.build()?;
    let event: Box<RawValue> = serde_json::from_str(event)?;
    let mut context = Context::default();
    let deadline = (SystemTime::now() + DEADLINE_AFTER).duration_since(SystemTime::UNIX_EPOCH)?;
    context.deadline = u64::try_from(deadline.as_millis())?;
    consumer.handle(LambdaEvent::new(event, context)).await
}

/// Starts building a delivery of a JSON payload, with the id `test` and the source `/test`. For other attributes, build
/// the envelope and use [`delivery`].
///
/// # Errors
/// The type is not valid for an event.
pub fn json(event_type: &str, payload: impl Into<Vec<u8>>) -> Result<DeliveryBuilder, EnvelopeBuildError> {
    bytes(event_type, Some("application/json"), payload)
}

/// Starts building a delivery of a payload of any media type, as [`json`] does.
///
/// # Errors
/// The type or the media type is not valid for an event.
pub fn bytes(
    event_type: &str,
    content_type: Option<&str>,
    payload: impl Into<Vec<u8>>,
) -> Result<DeliveryBuilder, EnvelopeBuildError> {
    Envelope::builder("test", "/test", event_type).payload(content_type, payload).build().map(delivery)
}

/// Builds a delivery: by default the first receive, from the queue `test`, in the envelope's own group, 30 s before the
/// deadline.
#[derive(Clone, Debug)]
#[must_use]
pub struct DeliveryBuilder(Delivery);

/// Starts building a delivery of this envelope.
pub fn delivery(envelope: Envelope) -> DeliveryBuilder {
    let message = ReceivedMessage {
        id: Cow::Borrowed("test"),
        queue: "test",
        receive_count: 1,
        group: None,
        ordered: false,
        trace_header: None,
    };
    DeliveryBuilder(Delivery::new(envelope, &message, BTreeMap::new(), Instant::now() + DEADLINE_AFTER))
}

impl DeliveryBuilder {
    /// Sets how often the message was received, this time included.
    pub fn receive_count(mut self, receives: u32) -> Self {
        self.0.receive_count = receives;
        self
    }

    /// Sets the name of the queue.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.0.queue = name.into();
        self
    }

    /// Sets the group of the message.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.0.group = Some(group.into());
        self
    }

    /// Sets a message attribute of SQS.
    pub fn message_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.message_attributes.insert(name.into(), value.into());
        self
    }

    /// Sets the record of Kafka that [`Delivery::kafka_record`] returns.
    #[cfg(feature = "kafka")]
    pub fn kafka_record(mut self, record: crate::KafkaRecord) -> Self {
        self.0.kafka_record = Some(Arc::new(record));
        self
    }

    /// Sets the deadline of the handler.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.0.deadline = deadline;
        self
    }

    /// Sets the lease that [`Delivery::lease`] returns.
    pub fn lease(mut self, lease: crate::Lease) -> Self {
        self.0.claimed = Claimed { lease, store: None }.into();
        self
    }

    /// Calls a handler as a consumer calls a handler registered with [`on`](crate::ConsumerBuilder::on).
    pub async fn call<H, F>(self, handler: H) -> Outcome
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        handlers::plain(handler)(self.build()).await
    }

    /// Calls a handler as a consumer calls a handler registered with [`on_json`](crate::ConsumerBuilder::on_json): a
    /// payload that does not fit is rejected.
    pub async fn call_json<T, H, F>(self, handler: H) -> Outcome
    where
        T: DeserializeOwned + 'static,
        H: Fn(T, Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        handlers::json(handler)(self.build()).await
    }

    /// Returns the delivery.
    #[must_use]
    pub fn build(self) -> Arc<Delivery> {
        Arc::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(any(feature = "rabbitmq", feature = "sqs"))]
    use crate::Consumer;

    #[derive(serde::Deserialize)]
    struct Order {
        #[serde(rename = "quantity")]
        _quantity: u32,
    }

    #[tokio::test]
    async fn a_payload_that_does_not_fit_is_rejected_and_other_bytes_arrive_as_they_are() {
        let typed = async |_: Order, _: Arc<Delivery>| Outcome::Done;
        for (payload, is_done) in [(r#"{"quantity": 2}"#, true), (r#"{"quantity": "2"}"#, false), ("{", false)] {
            let outcome = json("order.placed", payload).unwrap().call_json(typed).await;
            assert_eq!(outcome == Outcome::Done, is_done, "{payload}: {outcome:?}");
            assert!(is_done || matches!(outcome, Outcome::Reject(_)), "{payload}: {outcome:?}");
        }
        let raw = bytes("legacy.order", None, b"\xff\x00".as_slice()).unwrap().queue("orders").group("g");
        let outcome = raw.call(async |delivery: Arc<Delivery>| {
            let is_it = *delivery.envelope().payload() == *b"\xff\x00" && delivery.group() == Some("g");
            if is_it && delivery.queue() == "orders" { Outcome::Done } else { Outcome::Retry }
        });
        assert_eq!(outcome.await, Outcome::Done);
        assert!(json("", "{}").is_err());
    }

    #[cfg(feature = "sqs")]
    #[tokio::test]
    async fn a_batch_of_sqs_returns_what_is_not_done() {
        let event = include_str!("../../../tests/events/orders-placed.json");
        for (outcome, returned) in [(Outcome::Done, 0), (Outcome::Retry, 2), (Outcome::reject("no", ""), 2)] {
            let answers = outcome.clone();
            let consumer = Consumer::builder().otherwise(move |_| std::future::ready(answers.clone()));
            assert_eq!(run(consumer, event).await.unwrap().failures().count(), returned, "{outcome:?}");
        }
        assert!(run(Consumer::builder(), event).await.is_err(), "no handler");
        assert!(run(Consumer::builder().otherwise(async |_| ()), "{").await.is_err(), "not JSON");
    }

    /// Gives an event to two consumers with one store of idempotency keys. Returns how often their handlers ran.
    #[cfg(any(feature = "rabbitmq", feature = "sqs"))]
    async fn calls_in_two_runs(event: &str) -> usize {
        use std::sync::atomic::{AtomicUsize, Ordering};

        use crate::{AnyStore, IdempotencyRule, MemoryStore};

        let calls = Arc::new(AtomicUsize::new(0));
        let store = Arc::new(AnyStore::Memory(MemoryStore::default()));
        for _ in 0..2 {
            let calls = Arc::clone(&calls);
            let handler = move |_| {
                calls.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            };
            let consumer = Consumer::builder()
                .on("order.placed", handler)
                .idempotency_for("order.*", IdempotencyRule::default())
                .store(Arc::clone(&store));
            assert_eq!(run(consumer, event).await.unwrap().failures().count(), 0);
        }
        calls.load(Ordering::Relaxed)
    }

    #[cfg(feature = "sqs")]
    #[tokio::test]
    async fn a_handled_batch_that_comes_again_is_not_handled_again() {
        let event = include_str!("../../../tests/events/orders-placed.json");
        assert_eq!(calls_in_two_runs(event).await, 2, "the batch has two messages");
        let rule = crate::IdempotencyRule::default();
        let without_store = Consumer::builder().otherwise(async |_| ()).idempotency_for("*", rule);
        assert_eq!(run(without_store, event).await.unwrap().failures().count(), 0, "records are in memory by default");
    }

    #[tokio::test]
    async fn a_handler_that_completes_its_record_gets_a_lease() {
        use std::time::SystemTime;

        use sluicegate_idempotency::{Begun, Claim, MemoryStore, Store};

        let store = MemoryStore::default();
        let (now, deadline) = (SystemTime::now(), Instant::now() + DEADLINE_AFTER);
        let (lease_until, keep_until) = (now + DEADLINE_AFTER, now + 2 * DEADLINE_AFTER);
        let claim = Claim { key: "k", fingerprint: "f", now, lease_until, keep_until };
        let Ok(Begun::New(lease)) = store.begin(&claim, deadline).await else { panic!("the store is empty") };
        let delivery = json("order.placed", "{}").unwrap().lease(lease.clone());
        let own = store.clone();
        let handler = move |delivery: Arc<Delivery>| {
            let store = own.clone();
            async move { store.complete(delivery.lease().unwrap(), "reserved", delivery.deadline()).await }
        };
        assert_eq!(delivery.call(handler).await, Outcome::Done);
        assert!(lease.is_completed(), "clones are the same lease");
        assert_eq!(store.begin(&claim, deadline).await, Ok(Begun::Completed { result: "reserved".to_owned() }));
    }

    /// No copy of a duplicate is published, so no broker is needed.
    #[cfg(feature = "rabbitmq")]
    #[tokio::test]
    async fn a_handled_batch_of_rabbitmq_that_comes_again_is_not_handled_again() {
        let event = include_str!("../../../tests/events/rabbitmq-guide.json");
        let named = event
            .replace(r#""messageId": null"#, r#""messageId": "m-1""#)
            .replace(r#""type": null"#, r#""type": "order.placed""#);
        assert_eq!(calls_in_two_runs(&named).await, 1);
    }

    #[cfg(feature = "rabbitmq")]
    #[tokio::test]
    async fn a_batch_of_rabbitmq_needs_the_broker_for_what_is_not_done() {
        let event = include_str!("../../../tests/events/rabbitmq-guide.json");
        for (outcome, is_answered) in [(Outcome::Done, true), (Outcome::Retry, false)] {
            let answers = outcome.clone();
            let consumer = Consumer::builder().otherwise(move |_| std::future::ready(answers.clone()));
            assert_eq!(run(consumer, event).await.is_ok(), is_answered, "{outcome:?}");
        }
    }
}
