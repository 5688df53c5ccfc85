//! The log of each message: accepted → delivered → done, and every step in between.
//!
//! A message is identified by its envelope's id, which stays the same through retries, the dead-letter queue and
//! redrives. A message that is not a CloudEvent is identified by its SQS message id, or by RabbitMQ's property
//! `message_id`, or by its place in a topic of Kafka, and a refused request by the id of the request. With each log the
//! request and the envelope are kept by reference, and parsed when they are shown. Logs are bounded in number, length
//! and kept bytes. With the emulated queues every step is recorded; steps inside the queues of a remote endpoint, and
//! steps of the RabbitMQ broker itself (dead-lettering, expiry, purge), are not visible.

#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) mod feed;
#[cfg(feature = "kafka")]
mod kafka;
mod logs;
#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
mod select;
mod step;
#[cfg(test)]
// They have messages of both brokers.
#[cfg(feature = "rabbitmq")]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::StatusCode;
use serde::Deserialize;
use sluicegate_lambda_emulator::MappingEvent;
use sluicegate_queue::dead_letter::{CODE, REASON, REDRIVES};
use sqs_emulator::QueueEvent;
use time::OffsetDateTime;

use crate::{gateway::HttpExchange, s3::S3};
use logs::Logs;
pub(crate) use logs::{Content, Exchange};
pub(crate) use select::{Filter, Row, STATES, Selection};
pub(crate) use step::{MessageStep, step_json, time_text};

/// Receives every step as it is recorded.
pub(crate) type StepObserver = Arc<dyn Fn(&str, &MessageStep) + Send + Sync>;

/// The logs of all messages. Clones share them.
#[derive(Clone)]
pub(crate) struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    dead_letter_queues: HashSet<String>,
    observer: StepObserver,
    objects: S3,
    state: Mutex<Logs>,
}

/// A message with its steps, as they are now.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its row in a list.
    pub row: Row,
    /// The index of a refused item in its batch.
    pub item: Option<usize>,
    /// The id of the dead letter that it was before its correction, if that had another id.
    pub corrects: Option<String>,
    /// Its steps, oldest first.
    pub steps: Vec<(OffsetDateTime, MessageStep)>,
    /// What is kept of it.
    pub content: Content,
    /// The version of the journal, for `/events?since=`.
    pub version: u64,
}

impl Journal {
    /// Creates a journal; `dead_letter_queues` are the names of the dead-letter queues, `objects` has the envelopes
    /// that are not on a queue.
    pub(crate) fn new(
        dead_letter_queues: impl IntoIterator<Item = String>,
        objects: S3,
        observer: StepObserver,
    ) -> Self {
        let dead_letter_queues = dead_letter_queues.into_iter().collect();
        Self { inner: Arc::new(Inner { dead_letter_queues, observer, objects, state: Mutex::default() }) }
    }

    /// Records an event of the emulated queues.
    pub(crate) fn queue_event(&self, event: &QueueEvent) {
        match event {
            QueueEvent::Sent { queue, message_id, body, attributes } => {
                let id = self.identify(body, message_id);
                if self.inner.dead_letter_queues.contains(&**queue) {
                    let reason =
                        attributes.get(REASON).map_or("sent there without a reason", String::as_str).to_owned();
                    let code = attributes.get(CODE).cloned();
                    self.record(&id, MessageStep::DeadLettered { queue: queue.to_string(), reason, code });
                } else if attributes.contains_key(REDRIVES) {
                    self.redriven(&id, queue.to_string(), body);
                } else {
                    self.record(&id, MessageStep::Accepted { queue: queue.to_string() });
                    self.sent(&id, body);
                }
            }
            // `sluicegate dlq` makes a dead letter invisible while it shows it, which is not a retry.
            QueueEvent::VisibilityChanged { queue, .. } if self.inner.dead_letter_queues.contains(&**queue) => {}
            QueueEvent::VisibilityChanged { message_id, body, timeout_s, .. } => {
                self.record(&self.identify(body, message_id), MessageStep::Retrying { visible_in_s: *timeout_s });
            }
            QueueEvent::DeadLettered { message_id, body, receive_count, target, .. } => {
                let reason = format!("receives exhausted ({receive_count})");
                self.record(
                    &self.identify(body, message_id),
                    MessageStep::DeadLettered { queue: target.to_string(), reason, code: None },
                );
            }
            QueueEvent::Moved { queue, message_id, body, target, .. } => {
                let step = MessageStep::Redriven { queue: target.to_string(), from: Some(queue.to_string()) };
                self.record(&self.identify(body, message_id), step);
            }
            QueueEvent::Expired { queue, message_id, body, .. } => {
                self.record(&self.identify(body, message_id), MessageStep::Expired { queue: queue.to_string() });
            }
            QueueEvent::Purged { queue, message_id, body, .. } => {
                self.record(&self.identify(body, message_id), MessageStep::Purged { queue: queue.to_string() });
            }
            // The mapping reports these with the function's name.
            QueueEvent::Received { .. } | QueueEvent::Deleted { .. } => {}
        }
    }

    /// Records an event of a mapping.
    pub(crate) fn mapping_event(&self, event: &MappingEvent) {
        let message = event.message();
        let id = self.identify(&message.body, &message.message_id);
        let (queue, function) = (|| message.queue.to_string(), || message.function.to_string());
        match event {
            MappingEvent::Delivered(_) => {
                let (queue, function, receive_count) = (queue(), function(), message.receive_count);
                self.record(&id, MessageStep::Delivered { queue, function, receive_count });
                self.keep_if_unknown(&id, &message.body);
            }
            MappingEvent::Done(_) => {
                // A function that rejects a message stores it in the dead-letter queue itself, then succeeds. On
                // RabbitMQ it also republishes messages to retry and messages it did not start.
                let settles_otherwise = |last: &_| {
                    matches!(
                        last,
                        MessageStep::DeadLettered { .. } | MessageStep::Retrying { .. } | MessageStep::Returned { .. }
                    )
                };
                self.record_unless(&id, MessageStep::Done, settles_otherwise);
            }
            MappingEvent::Returned { .. } => {
                let step = MessageStep::Returned { reason: format!("{} listed it as failed", message.function) };
                self.record_unless(&id, step, |last| matches!(last, MessageStep::Retrying { .. }));
            }
            MappingEvent::FilteredOut(_) => {
                self.record(&id, MessageStep::FilteredOut { queue: queue(), function: function() })
            }
            MappingEvent::Dropped { reason, .. } => {
                self.record(&id, MessageStep::Dropped { queue: queue(), reason: reason.clone() })
            }
            MappingEvent::BatchFailed { reason, .. } => {
                self.record(&id, MessageStep::Returned { reason: reason.clone() })
            }
            MappingEvent::DeadLettered { destination, reason, .. } => {
                let (queue, reason) = (destination.clone(), reason.clone());
                self.record(&id, MessageStep::DeadLettered { queue, reason, code: None })
            }
        }
    }

    /// Records a 202 with this id. The emulated queues report the send too; for a remote endpoint, which `remote`
    /// names, the answer may be the only evidence.
    pub(crate) fn answered(&self, id: &str, remote: Option<&str>) {
        let mut state = self.state();
        let log = state.get_mut(id);
        let (mut is_new, mut is_known, mut is_late) = (true, false, false);
        let accepted = remote.map(|queue| MessageStep::Accepted { queue: queue.to_owned() });
        if let Some(log) = log {
            is_new = log.steps.is_empty();
            is_known = std::mem::take(&mut log.unanswered);
            is_late = !is_known && accepted.as_ref().is_some_and(|accepted| log.put_first(accepted));
        }
        drop(state);
        match accepted {
            _ if is_known => {}
            Some(accepted) if is_late => (self.inner.observer)(id, &accepted),
            Some(accepted) if is_new => self.record(id, accepted),
            _ => self.record(id, MessageStep::Repeated),
        }
    }

    /// Records a request and its answer: with its messages after a 202, by the id of the request after a refusal. A
    /// refused item of a batch has the id of the request with its index.
    pub(crate) fn exchanged(&self, exchange: &HttpExchange<'_>) {
        #[derive(Deserialize)]
        struct Answer {
            id: Option<String>,
            #[serde(default)]
            items: Vec<Item>,
            code: Option<String>,
        }
        #[derive(Deserialize)]
        struct Item {
            status: u16,
            id: Option<String>,
            code: Option<String>,
        }
        let status = exchange.status;
        if status != StatusCode::ACCEPTED && !status.is_client_error() && !status.is_server_error() {
            return;
        }
        let answer = serde_json::from_slice(exchange.body);
        let Answer { id, items, code } = answer.unwrap_or(Answer { id: None, items: Vec::new(), code: None });
        let exchange = Arc::new(Exchange::of(exchange));
        let mut state = self.state();
        if status == StatusCode::ACCEPTED {
            if let Some(id) = id {
                state.keep_exchange(&id, &exchange);
            }
            for (index, Item { status, id, code }) in items.into_iter().enumerate() {
                match id.filter(|_| status == StatusCode::ACCEPTED) {
                    Some(id) => state.keep_exchange(&id, &exchange),
                    None => {
                        let id = format!("{}.{index}", exchange.request_id);
                        let log = state.entry(&id);
                        log.item = Some(index);
                        log.push(MessageStep::Refused { status, code });
                        state.keep_exchange(&id, &exchange);
                    }
                }
            }
        } else {
            let log = state.entry(&exchange.request_id);
            log.push(MessageStep::Refused { status: status.as_u16(), code });
            state.keep_exchange(&exchange.request_id, &exchange);
        }
    }

    /// Returns a message.
    pub(crate) fn message(&self, id: &str) -> Option<Message> {
        let state = self.state();
        let log = state.get(id)?;
        let (_, _, version) = state.counts();
        Some(Message {
            row: Row::of(log),
            item: log.item,
            corrects: log.corrects.as_deref().map(str::to_owned),
            steps: log.steps.clone(),
            content: log.content.clone(),
            version,
        })
    }

    /// Notes that the message `id` was redriven in the place of a dead letter, whose id the correction changed.
    pub(crate) fn corrected(&self, dead_letter: &str, id: &str) {
        // RabbitMQ's report of the message may come later.
        self.state().entry(id).corrects = Some(dead_letter.into());
        self.record(dead_letter, MessageStep::Replaced { by: id.to_owned() });
    }

    /// Returns the text of an envelope that is in a bucket and to which the message on the queue points.
    pub(crate) fn stored_envelope(&self, body: &str) -> Option<String> {
        let (bucket, key) = pointer(body)?;
        String::from_utf8(self.inner.objects.object(&bucket, &key)?.to_vec()).ok()
    }

    /// Notes that a message was sent and has no answer yet, and keeps it.
    fn sent(&self, id: &str, body: &Arc<str>) {
        let mut state = self.state();
        state.keep_envelope(id, body);
        let log = state.entry(id);
        log.unanswered = true;
        self.describe(log, body);
    }

    /// Records a send of `sluicegate dlq`, or of the console, and keeps the message, which may be corrected.
    fn redriven(&self, id: &str, queue: String, body: &Arc<str>) {
        let from = self.state().get(id).and_then(logs::MessageLog::dead_letter_queue).map(str::to_owned);
        self.record(id, MessageStep::Redriven { queue, from });
        let mut state = self.state();
        state.keep_envelope(id, body);
        self.describe(state.entry(id), body);
    }

    /// Keeps a message that was received and whose send was not seen.
    fn keep_if_unknown(&self, id: &str, body: &Arc<str>) {
        let mut state = self.state();
        if state.get(id).is_some_and(|log| log.content.envelope.is_none() && !log.content.is_incomplete) {
            state.keep_envelope(id, body);
            let log = state.entry(id);
            self.describe(log, body);
        }
    }

    fn describe(&self, log: &mut logs::MessageLog, body: &str) {
        match self.stored_envelope(body) {
            Some(stored) => log.describe(&stored),
            None => log.describe(body),
        }
    }

    fn record(&self, id: &str, step: MessageStep) {
        self.record_unless(id, step, |_| false);
    }

    fn record_unless(&self, id: &str, step: MessageStep, is_redundant_after: impl Fn(&MessageStep) -> bool) {
        {
            let mut state = self.state();
            let log = state.entry(id);
            if log.last().is_some_and(is_redundant_after) {
                return;
            }
            log.push(step.clone());
        }
        (self.inner.observer)(id, &step);
    }

    /// Returns the envelope's id if the body is a CloudEvent, or points to one in a local bucket; otherwise
    /// `message_id`.
    fn identify(&self, body: &str, message_id: &str) -> String {
        let stored = || {
            let (bucket, key) = pointer(body)?;
            event_id(std::str::from_utf8(&self.inner.objects.object(&bucket, &key)?).ok()?)
        };
        event_id(body).or_else(stored).unwrap_or_else(|| message_id.to_owned())
    }

    fn state(&self) -> MutexGuard<'_, Logs> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the id of the CloudEvent that a text is.
fn event_id(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Event<'a> {
        specversion: &'a str,
        id: String,
    }
    let event: Event<'_> = serde_json::from_str(text).ok()?;
    (event.specversion.starts_with("1.") && !event.id.is_empty()).then_some(event.id)
}

/// Returns the bucket and the key that a body points to, in the format of the SQS Extended Client Libraries.
fn pointer(body: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Pointer {
        #[serde(rename = "s3BucketName")]
        bucket: String,
        #[serde(rename = "s3Key")]
        key: String,
    }
    let (_, pointer): (String, Pointer) = serde_json::from_str(body).ok()?;
    Some((pointer.bucket, pointer.key))
}
