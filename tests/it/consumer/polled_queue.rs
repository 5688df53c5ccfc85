//! A queue with its dead-letter queue, polled as Lambda does for a consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, QueueAttributeName as Attribute};
use lambda_http::LambdaEvent;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use sluicegate_batch::{Consumer, ConsumerBuilder, RetryPolicy};
use sluicegate_envelope::Envelope;
use sluicegate_queue::sqs::AwsEnvironment;

use crate::support::context;
use crate::support::service::{Service, handle};

/// The queue.
pub(super) struct PolledQueue<'a> {
    service: &'a Service,
    url: String,
    arn: String,
    dead_letter_url: String,
    /// The messages that were sent and not deleted, by the id that SQS gave them.
    left: Mutex<BTreeSet<String>>,
}

impl<'a> PolledQueue<'a> {
    /// Creates the queue, and a dead-letter queue of its kind.
    pub(super) async fn create(service: &'a Service, attributes: &[(Attribute, &str)], receive_count_max: u32) -> Self {
        let kind: Vec<_> = attributes.iter().filter(|(name, _)| *name == Attribute::FifoQueue).cloned().collect();
        let dead_letter_url = service.queue(&kind).await;
        let dead_letter_arn = service.arn(&dead_letter_url).await;
        let policy =
            json!({ "deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": receive_count_max }).to_string();
        let url = service.queue(&[attributes, &[(Attribute::RedrivePolicy, policy.as_str())]].concat()).await;
        let arn = service.arn(&url).await;
        Self { service, url, arn, dead_letter_url, left: Mutex::default() }
    }

    /// Sends a message; to a FIFO queue in this group, with the id of the message as its deduplication id.
    pub(super) async fn send(&self, envelope: &Envelope, group: Option<&str>) {
        let body = envelope.encode();
        let sent = match group {
            Some(group) => self.service.send_fifo(&self.url, group, envelope.id(), &body).await,
            None => self.service.send(&self.url, &body).await,
        };
        self.left.lock().expect("no panic").insert(sent.message_id.expect("an id"));
    }

    /// Starts building a consumer of this queue, with short delays.
    pub(super) fn builder(&self) -> ConsumerBuilder {
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
        Consumer::builder().aws_environment(AwsEnvironment::read(lookup).expect("an environment")).retry(short)
    }

    /// Polls, invokes and deletes as Lambda does, until every message is deleted. The number of messages that SQS gives
    /// would not do: a message that becomes visible while it counts may be in neither number.
    pub(super) async fn process_all(&self, consumer: &Consumer, function_timeout: Duration) {
        while !self.left.lock().expect("no panic").is_empty() {
            self.process(consumer, function_timeout).await;
        }
    }

    async fn process(&self, consumer: &Consumer, function_timeout: Duration) {
        let messages = self.service.receive(&self.url, 1).await;
        if messages.is_empty() {
            return;
        }
        let records: Vec<_> = messages.iter().map(|message| self.record(message)).collect();
        let event = to_raw_value(&json!({ "Records": records })).expect("JSON");
        let invocation = LambdaEvent::new(event, context(function_timeout));
        let response = consumer.handle(invocation).await.expect("the batch is settled");
        let failures: Vec<_> = response.failures().collect();
        for message in &messages {
            let id = message.message_id().expect("an id");
            if !failures.contains(&id) {
                self.service.delete(&self.url, message).await;
                self.left.lock().expect("no panic").remove(id);
            }
        }
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
    pub(super) async fn dead_letters(&self) -> Vec<(String, Option<String>)> {
        let messages = self.service.receive(&self.dead_letter_url, 1).await;
        let dead_letter = |message: &Message| {
            let envelope = Envelope::decode(message.body().expect("a body")).expect("an envelope");
            let reason = message.message_attributes().and_then(|all| all.get("sluicegate-reason"));
            (envelope.id().to_owned(), reason.and_then(|reason| reason.string_value()).map(str::to_owned))
        };
        messages.iter().map(dead_letter).collect()
    }
}
