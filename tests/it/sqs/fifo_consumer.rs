//! The consumer runtime on a FIFO queue, with a poller that behaves as Lambda's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, QueueAttributeName as Attribute};
use lambda_http::LambdaEvent;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sluicegate_batch::{Consumer, ConsumerBuilder, Delivery, Outcome, RetryPolicy};
use sluicegate_envelope::Envelope;
use sluicegate_queue::sqs::sdk_config;

use super::dead_letters::policy;
use crate::support::service::{Service, handle};

/// The value in `template.yaml`.
const RECEIVE_COUNT_MAX: u32 = 100;

/// Orders of one customer.
const ORDERS: usize = 10;

/// A FIFO queue with its dead-letter queue, and the calls of the handler.
struct Orders<'a> {
    service: &'a Service,
    url: String,
    arn: String,
    dead_letter_url: String,
    /// The ids that a handler was called with, in order.
    called: Arc<Mutex<Vec<String>>>,
    /// The ids it has handled.
    done: Arc<Mutex<Vec<String>>>,
}

impl<'a> Orders<'a> {
    /// Creates the queue with all orders of one customer.
    async fn of_one_customer(service: &'a Service, receive_count_max: u32) -> Self {
        let dead_letter_url = service.queue(&[(Attribute::FifoQueue, "true")]).await;
        let policy = policy(&service.arn(&dead_letter_url).await, receive_count_max);
        let attributes = [
            (Attribute::FifoQueue, "true"),
            (Attribute::RedrivePolicy, policy.as_str()),
            (Attribute::VisibilityTimeout, "5"),
        ];
        let url = service.queue(&attributes).await;
        for n in 0..ORDERS {
            let envelope = Envelope::builder(n.to_string(), "/orders", "order.placed").group("c-1").build();
            service.send_fifo(&url, "c-1", &n.to_string(), &envelope.expect("an envelope").encode()).await;
        }
        let arn = service.arn(&url).await;
        Self { service, url, arn, dead_letter_url, called: Arc::default(), done: Arc::default() }
    }

    /// Returns a consumer whose handler takes this long and fails on `poison`.
    fn consumer(&self, handler_time: Duration, poison: Option<&'static str>) -> Consumer {
        let (called, done) = (Arc::clone(&self.called), Arc::clone(&self.done));
        let handler = move |delivery: Arc<Delivery>| {
            let (called, done) = (Arc::clone(&called), Arc::clone(&done));
            async move {
                let id = delivery.envelope().id().to_owned();
                called.lock().expect("no panic").push(id.clone());
                tokio::time::sleep(handler_time).await;
                if poison == Some(id.as_str()) {
                    return Outcome::Retry;
                }
                done.lock().expect("no panic").push(id);
                Outcome::Done
            }
        };
        self.builder().on("order.placed", handler).build().expect("a consumer")
    }

    fn builder(&self) -> ConsumerBuilder {
        let url = self.service.url.clone();
        let lookup = move |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some(url.clone()),
            "AWS_REGION" => Some("us-east-1".to_owned()),
            name if name.starts_with("AWS_ENDPOINT") => None,
            _ => Some("test".to_owned()),
        };
        // SQS hides messages for whole seconds, so these delays become one second.
        let short =
            RetryPolicy { base: Duration::from_millis(10), cap: Duration::from_millis(10), ..Default::default() };
        Consumer::builder().sdk_config(sdk_config(lookup).expect("a configuration")).retry(short)
    }

    /// Polls, invokes and deletes as Lambda does, until the queue is empty.
    async fn process_all(&self, consumer: &Consumer, function_timeout: Duration) {
        loop {
            let messages = self.service.receive(&self.url, 1).await;
            if messages.is_empty() && self.is_empty().await {
                return;
            }
            if messages.is_empty() {
                continue;
            }
            let records: Vec<_> = messages.iter().map(|message| self.record(message)).collect();
            let event = to_raw_value(&json!({ "Records": records })).expect("JSON");
            let response = consumer.handle(invocation(event, function_timeout)).await.expect("the batch is settled");
            let failures: Vec<_> = response.failures().collect();
            for message in messages.iter().filter(|message| !failures.contains(&message.message_id().expect("an id"))) {
                self.service.delete(&self.url, message).await;
            }
        }
    }

    async fn is_empty(&self) -> bool {
        let visible = self.service.attribute(&self.url, Attribute::ApproximateNumberOfMessages).await;
        let hidden = self.service.attribute(&self.url, Attribute::ApproximateNumberOfMessagesNotVisible).await;
        (visible.as_str(), hidden.as_str()) == ("0", "0")
    }

    fn record(&self, message: &Message) -> Value {
        let attributes: BTreeMap<&str, &String> =
            message.attributes().into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
        json!({
            "messageId": message.message_id(),
            "receiptHandle": handle(message),
            "body": message.body(),
            "attributes": attributes,
            "messageAttributes": {},
            "md5OfBody": message.md5_of_body(),
            "eventSource": "aws:sqs",
            "eventSourceARN": self.arn,
            "awsRegion": "us-east-1",
        })
    }

    /// Returns the ids in the dead-letter queue, each with its reason, if any.
    async fn dead_letters(&self) -> Vec<(String, Option<String>)> {
        let messages = self.service.receive(&self.dead_letter_url, 1).await;
        let dead_letter = |message: &Message| {
            let envelope = Envelope::decode(message.body().expect("a body")).expect("an envelope");
            let reason = message.message_attributes().and_then(|all| all.get("sluicegate-reason"));
            (envelope.id().to_owned(), reason.and_then(|reason| reason.string_value()).map(str::to_owned))
        };
        messages.iter().map(dead_letter).collect()
    }

    fn called(&self, id: &str) -> usize {
        self.called.lock().expect("no panic").iter().filter(|called| *called == id).count()
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().expect("no panic").clone()
    }
}

fn invocation(event: Box<RawValue>, function_timeout: Duration) -> LambdaEvent<Box<RawValue>> {
    LambdaEvent::new(event, crate::support::context(function_timeout))
}

fn all_but(poison: Option<&str>) -> Vec<String> {
    (0..ORDERS).map(|n| n.to_string()).filter(|id| Some(id.as_str()) != poison).collect()
}

pub(super) async fn messages_behind_a_failing_one_are_not_dead_lettered(service: &Service) {
    let orders = Orders::of_one_customer(service, RECEIVE_COUNT_MAX).await;
    let consumer = orders.consumer(Duration::ZERO, Some("2"));
    orders.process_all(&consumer, Duration::from_secs(10)).await;
    service.check("worked off, in order", orders.done(), all_but(Some("2")));
    service.check("tries of the failing message: behind others, then at the head of its group", orders.called("2"), 6);
    let reason = "receives exhausted after 6: the handler returned a retry".to_owned();
    service.check("dead letters", orders.dead_letters().await, vec![("2".to_owned(), Some(reason))]);
}

/// With a low limit the last receive is reserved for the waiting messages.
pub(super) async fn a_low_max_receive_count_dead_letters_the_failing_message_one_receive_early(service: &Service) {
    let orders = Orders::of_one_customer(service, 3).await;
    let consumer = orders.consumer(Duration::ZERO, Some("0"));
    orders.process_all(&consumer, Duration::from_secs(10)).await;
    service.check("worked off, in order", orders.done(), all_but(Some("0")));
    let reason = "receives exhausted after 2: the handler returned a retry".to_owned();
    service.check("dead letters", orders.dead_letters().await, vec![("0".to_owned(), Some(reason))]);
}

pub(super) async fn a_slow_group_loses_no_message(service: &Service) {
    let orders = Orders::of_one_customer(service, RECEIVE_COUNT_MAX).await;
    // Handlers have three quarters of the timeout: enough for one message, not for two.
    let consumer = orders.consumer(Duration::from_millis(500), None);
    orders.process_all(&consumer, Duration::from_millis(1_000)).await;
    service.check("worked off, in order", orders.done(), all_but(None));
    service.check("dead letters", orders.dead_letters().await, Vec::new());
    let receives = orders.called.lock().expect("no panic").len();
    service.check("some were received more than once", receives > ORDERS, true);
}
