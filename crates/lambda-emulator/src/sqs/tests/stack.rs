//! An emulated queue, its mapping and a function that is a closure.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sqs_emulator::{ApiError, Clock, Sqs, SqsConfig};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::environment::Invocation;
use crate::mapping::MappingEvent;
use crate::sqs::*;
use crate::sqs_client::SqsClient;

/// An upper bound on the paused clock, longer than every backoff.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(super) const ARN: &str = "arn:aws:sqs:us-east-1:000000000000:orders";

type Run = Pin<Box<dyn Future<Output = Invocation> + Send>>;

/// A function as a closure, called with the event and the number of earlier invocations.
#[derive(Clone)]
pub(super) struct Script {
    run: Arc<dyn Fn(Value, usize) -> Run + Send + Sync>,
    pub(super) invoked: Arc<AtomicUsize>,
}

impl Invoke for Script {
    async fn invoke(&self, event: Bytes) -> Invocation {
        let before = self.invoked.fetch_add(1, Ordering::SeqCst);
        (self.run)(serde_json::from_slice(&event).unwrap(), before).await
    }
}

pub(super) fn script<F: Future<Output = Invocation> + Send + 'static>(
    run: impl Fn(Value, usize) -> F + Send + Sync + 'static,
) -> Script {
    Script { run: Arc::new(move |event, before| Box::pin(run(event, before))), invoked: Arc::default() }
}

pub(super) fn answer(text: &str) -> Invocation {
    Invocation::Response(Bytes::copy_from_slice(text.as_bytes()))
}

pub(super) fn failure(ids: &[&Value]) -> Invocation {
    let items: Vec<Value> = ids.iter().map(|id| json!({ "itemIdentifier": id })).collect();
    answer(&json!({ "batchItemFailures": items }).to_string())
}

/// Step, body, receive count.
pub(super) type Steps = watch::Sender<Vec<(&'static str, String, u32)>>;

pub(super) struct Stack {
    pub(super) queue: SqsClient,
    pub(super) url: String,
    pub(super) steps: Arc<Steps>,
}

impl Stack {
    pub(super) async fn new(attributes: Value) -> Stack {
        let queue = SqsClient::Emulated(Sqs::new(Clock::starting_at(1_700_000_000_000), SqsConfig::default()));
        let fifo = attributes.get("FifoQueue").is_some();
        let name = if fifo { "orders.fifo" } else { "orders" };
        let created = queue.call("CreateQueue", json!({ "QueueName": name, "Attributes": attributes })).await.unwrap();
        Stack {
            queue,
            url: created["QueueUrl"].as_str().unwrap().to_owned(),
            steps: Arc::new(watch::Sender::default()),
        }
    }

    pub(super) async fn send(&self, body: &str) {
        self.call("SendMessage", json!({ "MessageBody": body })).await;
    }

    pub(super) async fn call(&self, action: &str, mut input: Value) -> Value {
        input["QueueUrl"] = self.url.clone().into();
        self.queue.call(action, input).await.unwrap()
    }

    /// Messages in the queue: visible, in flight.
    pub(super) async fn counts(&self) -> (String, String) {
        let answer = self.call("GetQueueAttributes", json!({ "AttributeNames": ["All"] })).await;
        let count = |name: &str| answer["Attributes"][name].as_str().unwrap().to_owned();
        (count("ApproximateNumberOfMessages"), count("ApproximateNumberOfMessagesNotVisible"))
    }

    pub(super) fn spec(&self) -> SqsMappingSpec {
        SqsMappingSpec {
            function: "consumer".to_owned(),
            queue_name: "orders".to_owned(),
            queue_arn: ARN.to_owned(),
            queue_url: self.url.clone(),
            batch_size: 10,
            batching_window: Duration::ZERO,
            maximum_concurrency: None,
            report_batch_item_failures: true,
            filters: Vec::new(),
            fifo: false,
        }
    }

    pub(super) fn start(&self, spec: SqsMappingSpec, function: &Script) -> SqsMapping {
        self.start_on(spec, self.queue.clone(), function)
    }

    pub(super) fn start_on(&self, spec: SqsMappingSpec, queue: impl SqsApi, function: &Script) -> SqsMapping {
        let steps = Arc::clone(&self.steps);
        let observer: MappingObserver = Arc::new(move |event: &MappingEvent| {
            let step = match event {
                MappingEvent::Delivered(_) => "delivered",
                MappingEvent::Done(_) => "done",
                MappingEvent::Returned(_) => "returned",
                MappingEvent::FilteredOut(_) => "filtered",
                MappingEvent::BatchFailed { .. } => "failed",
                MappingEvent::DeadLettered { .. } => "dead-lettered",
                MappingEvent::Dropped { .. } => "dropped",
            };
            let message = event.message();
            steps.send_modify(|steps| steps.push((step, message.body.to_string(), message.receive_count)));
        });
        SqsMapping::start(spec, queue, function.clone(), observer).unwrap()
    }

    /// Waits until this number of steps of this kind has occurred.
    pub(super) async fn seen(&self, step: &str, count: usize) {
        let mut steps = self.steps.subscribe();
        let enough =
            |steps: &Vec<(&str, String, u32)>| steps.iter().filter(|(seen, ..)| *seen == step).count() >= count;
        let seen = timeout(PATIENCE, steps.wait_for(enough)).await.is_ok();
        assert!(seen, "not {count} × {step} in {:?}", self.steps.borrow());
    }

    pub(super) fn steps(&self) -> Vec<(&'static str, String, u32)> {
        self.steps.borrow().clone()
    }
}

/// Answers the first batch deletes with errors.
#[derive(Clone)]
pub(super) struct Flaky {
    pub(super) queue: SqsClient,
    pub(super) answers: Arc<Mutex<VecDeque<Result<Value, ApiError>>>>,
}

impl SqsApi for Flaky {
    async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        let answer = (action == "DeleteMessageBatch").then(|| self.answers.lock().unwrap().pop_front()).flatten();
        match answer {
            Some(answer) => answer,
            None => self.queue.call(action, input).await,
        }
    }
}
