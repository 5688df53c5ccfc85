//! The behaviour of SQS, through `Sqs::call` on paused time.

mod dead_letter;
mod events;
mod fifo;
mod messages;
mod moves;
mod properties;
mod queues;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{ApiError, Caller, Clock, QueueEvent, Sqs, SqsConfig};

const NOW: u64 = 1_700_000_000_000;

/// A service at a known time, with helpers. Tests run on paused tokio time.
struct Fixture {
    sqs: Sqs,
    events: Arc<Mutex<Vec<String>>>,
}

impl Fixture {
    fn new() -> Self {
        let sqs = Sqs::new(Clock::starting_at(NOW), SqsConfig::default());
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = events.clone();
        sqs.observe(Arc::new(move |event: &QueueEvent| log.lock().unwrap().push(describe(event))));
        Self { sqs, events }
    }

    async fn call(&self, action: &str, input: Value) -> Value {
        self.sqs.call(action, input).await.unwrap_or_else(|error| panic!("{action}: {error}"))
    }

    async fn refuse(&self, action: &str, input: Value) -> ApiError {
        match self.sqs.call(action, input.clone()).await {
            Err(error) => error,
            Ok(output) => panic!("{action} {input} gave {output}"),
        }
    }

    /// Calls and compares the name of the error, or "" for success.
    async fn check(&self, action: &str, input: Value, error: &str) {
        let name =
            self.sqs.call(action, input.clone()).await.err().map_or(String::new(), |error| error.name().to_owned());
        assert_eq!(name, error, "{action} {}", input.to_string().chars().take(300).collect::<String>());
    }

    /// Calls and compares the error's text.
    async fn check_text(&self, action: &str, input: Value, text: &str) {
        assert_eq!(self.refuse(action, input.clone()).await.message(), text, "{action} {input}");
    }

    /// Creates a queue; a name ending in `.fifo` makes it FIFO.
    async fn queue(&self, name: &str, mut attributes: Value) -> String {
        if name.ends_with(".fifo") {
            attributes["FifoQueue"] = "true".into();
        }
        let answer = self.call("CreateQueue", json!({ "QueueName": name, "Attributes": attributes })).await;
        answer["QueueUrl"].as_str().unwrap().to_owned()
    }

    async fn send(&self, url: &str, body: &str) -> Value {
        self.call("SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await
    }

    async fn send_to(&self, url: &str, group: &str, body: &str) -> Value {
        let id = format!("{group}-{body}");
        let input =
            json!({ "QueueUrl": url, "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": id });
        self.call("SendMessage", input).await
    }

    /// Receives up to ten messages without waiting, with all attributes.
    async fn receive(&self, url: &str) -> Vec<Value> {
        self.receive_with(url, json!({})).await
    }

    async fn receive_with(&self, url: &str, more: Value) -> Vec<Value> {
        let mut input = json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": 10,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.call("ReceiveMessage", input).await;
        answer["Messages"].as_array().cloned().unwrap_or_default()
    }

    async fn delete(&self, url: &str, message: &Value) {
        self.call("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"] })).await;
    }

    /// Returns the queue's counts as ready / delayed / in flight.
    async fn counts(&self, url: &str) -> String {
        let answer = self.call("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["All"] })).await;
        let count = |name: &str| answer["Attributes"][name].as_str().unwrap().to_owned();
        ["", "Delayed", "NotVisible"].map(|suffix| count(&format!("ApproximateNumberOfMessages{suffix}"))).join("/")
    }

    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

fn describe(event: &QueueEvent) -> String {
    match event {
        QueueEvent::Sent { queue, body, .. } => format!("sent {body} {queue}"),
        QueueEvent::Received { body, receive_count, .. } => format!("received {body} {receive_count}"),
        QueueEvent::Deleted { body, .. } => format!("deleted {body}"),
        QueueEvent::VisibilityChanged { body, timeout_s, .. } => format!("visibility {body} {timeout_s}"),
        QueueEvent::DeadLettered { body, receive_count, target, .. } => format!("dead {body} {receive_count} {target}"),
        QueueEvent::Moved { queue, body, target, .. } => format!("moved {body} {queue} {target}"),
        QueueEvent::Expired { body, .. } => format!("expired {body}"),
        QueueEvent::Purged { body, .. } => format!("purged {body}"),
    }
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["Body"].as_str().unwrap()).collect()
}

async fn advance_s(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}
