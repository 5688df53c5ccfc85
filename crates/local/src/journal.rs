//! The log of each message: accepted → delivered → done, and every step in between.
//!
//! A message is identified by its envelope's id, which stays the same through retries, the dead-letter queue and
//! redrives. A message that is not a CloudEvent is identified by its SQS message id, or by RabbitMQ's property
//! `message_id`. Logs are bounded in number and length. With the emulated queues every step is recorded; steps inside
//! the queues of a remote endpoint, and steps of the RabbitMQ broker itself (dead-lettering, expiry, purge), are not
//! visible.

#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
#[cfg(test)]
// They have messages of both brokers.
#[cfg(feature = "rabbitmq")]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    num::NonZeroU8,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluicegate_lambda_emulator::MappingEvent;
use sluicegate_queue::dead_letter::REASON;
use sqs_emulator::QueueEvent;
use time::{
    OffsetDateTime,
    format_description::well_known::iso8601::{Config, EncodedConfig, Iso8601, TimePrecision},
};

use crate::s3::S3;

/// Largest number of messages with a log; the oldest are dropped.
const MESSAGES_MAX: usize = 10_000;
/// Largest number of steps in one log: the first and the latest are kept.
const STEPS_MAX: usize = 200;

/// The time of a step: RFC 3339 with three digits of the second, so that the texts sort as the times.
const AT: EncodedConfig =
    Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) }).encode();

/// A step of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
#[allow(missing_docs)] // Field names describe the fields.
pub enum MessageStep {
    /// The broker stored it.
    Accepted { queue: String },
    /// It was sent again, and the queue kept one copy.
    Repeated,
    /// A function received it.
    Delivered { queue: String, function: String, receive_count: u32 },
    /// The function processed it.
    Done,
    /// The function returned it to be retried after this delay.
    Retrying { visible_in_s: u32 },
    /// It returned to its queue and is visible again after its visibility timeout.
    Returned { reason: String },
    /// It was moved to a dead-letter queue.
    DeadLettered { queue: String, reason: String },
    /// It was moved from a dead-letter queue back to a queue.
    Redriven { queue: String },
    /// No filter of the mapping matches, so it was deleted.
    FilteredOut { queue: String, function: String },
    /// It was too large for an event and was dropped.
    Dropped { queue: String, reason: String },
    /// Its retention period ended.
    Expired { queue: String },
    /// Its queue was purged or deleted.
    Purged { queue: String },
}

impl MessageStep {
    /// Returns the step's name, as in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Repeated => "repeated",
            Self::Delivered { .. } => "delivered",
            Self::Done => "done",
            Self::Retrying { .. } => "retrying",
            Self::Returned { .. } => "returned",
            Self::DeadLettered { .. } => "dead-lettered",
            Self::Redriven { .. } => "redriven",
            Self::FilteredOut { .. } => "filtered-out",
            Self::Dropped { .. } => "dropped",
            Self::Expired { .. } => "expired",
            Self::Purged { .. } => "purged",
        }
    }
}

/// Writes the step's details for a line on the terminal.
impl fmt::Display for MessageStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { queue } | Self::Redriven { queue } => write!(out, "into {queue}"),
            Self::Repeated => write!(out, "is already on the queue"),
            Self::Delivered { queue, function, receive_count } => {
                write!(out, "from {queue} to {function}, receive {receive_count}")
            }
            Self::Retrying { visible_in_s } => write!(out, "in {visible_in_s} s"),
            Self::Returned { reason } => write!(out, "to its queue: {reason}"),
            Self::DeadLettered { queue, reason } => write!(out, "into {queue}: {reason}"),
            Self::Dropped { queue, reason } => write!(out, "from {queue}: {reason}"),
            Self::FilteredOut { queue, function } => write!(out, "of {queue} before {function}"),
            Self::Expired { queue } | Self::Purged { queue } => write!(out, "from {queue}"),
            Self::Done => Ok(()),
        }
    }
}

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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logs: HashMap<String, MessageLog>,
    /// Message ids, oldest first.
    order: VecDeque<String>,
}

/// The log of one message.
#[derive(Default)]
struct MessageLog {
    steps: Vec<(OffsetDateTime, MessageStep)>,
    /// The message was sent, and its sender has no answer yet.
    unanswered: bool,
}

impl MessageLog {
    /// Returns the last step that changed the message's state.
    fn state(&self) -> &'static str {
        let last = self.steps.iter().rev().find(|(_, step)| *step != MessageStep::Repeated);
        last.map_or("unknown", |(_, step)| step.name())
    }

    /// Inserts `accepted` as the first step if a delivery was recorded before it; returns whether it did.
    fn put_first(&mut self, accepted: &MessageStep) -> bool {
        match self.steps.first() {
            Some((at, first)) if !matches!(first, MessageStep::Accepted { .. }) => {
                self.steps.insert(0, (*at, accepted.clone()));
                true
            }
            _ => false,
        }
    }

    fn last(&self) -> Option<&MessageStep> {
        self.steps.last().map(|(_, step)| step)
    }
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
                    self.record(&id, MessageStep::DeadLettered { queue: queue.to_string(), reason });
                } else {
                    self.record(&id, MessageStep::Accepted { queue: queue.to_string() });
                    if let Some(log) = self.state().logs.get_mut(&id) {
                        log.unanswered = true;
                    }
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
                    MessageStep::DeadLettered { queue: target.to_string(), reason },
                );
            }
            QueueEvent::Moved { message_id, body, target, .. } => {
                self.record(&self.identify(body, message_id), MessageStep::Redriven { queue: target.to_string() });
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
        let (queue, function) = (message.queue.to_string(), message.function.to_string());
        match event {
            MappingEvent::Delivered(_) => {
                self.record(&id, MessageStep::Delivered { queue, function, receive_count: message.receive_count });
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
                let step = MessageStep::Returned { reason: format!("{function} listed it as failed") };
                self.record_unless(&id, step, |last| matches!(last, MessageStep::Retrying { .. }));
            }
            MappingEvent::FilteredOut(_) => self.record(&id, MessageStep::FilteredOut { queue, function }),
            MappingEvent::Dropped { reason, .. } => {
                self.record(&id, MessageStep::Dropped { queue, reason: reason.clone() })
            }
            MappingEvent::BatchFailed { reason, .. } => {
                self.record(&id, MessageStep::Returned { reason: reason.clone() })
            }
        }
    }

    /// Records a 202 with this id. The emulated queues report the send too; for a remote endpoint, which `remote`
    /// names, the answer may be the only evidence.
    pub(crate) fn answered(&self, id: &str, remote: Option<&str>) {
        let mut state = self.state();
        let log = state.logs.get_mut(id);
        let (is_new, mut is_known, mut is_late) = (log.is_none(), false, false);
        let accepted = remote.map(|queue| MessageStep::Accepted { queue: queue.to_owned() });
        if let Some(log) = log {
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

    /// Returns the message's log: `{"id", "state", "steps": [{"at", "step", …}]}`.
    pub(crate) fn log_of(&self, id: &str) -> Option<Value> {
        let state = self.state();
        let log = state.logs.get(id)?;
        let steps: Vec<Value> = log.steps.iter().map(|(at, step)| step_json(*at, step)).collect();
        Some(json!({ "id": id, "state": log.state(), "steps": steps }))
    }

    /// Returns the latest messages, newest first: `[{"id", "state"}]`.
    pub(crate) fn latest(&self, count: usize) -> Value {
        let state = self.state();
        let newest = state.order.iter().rev().take(count);
        newest.map(|id| json!({ "id": id, "state": state.logs.get(id).map(MessageLog::state) })).collect()
    }

    fn record(&self, id: &str, step: MessageStep) {
        self.record_unless(id, step, |_| false);
    }

    fn record_unless(&self, id: &str, step: MessageStep, is_redundant_after: impl Fn(&MessageStep) -> bool) {
        {
            let mut state = self.state();
            if !state.logs.contains_key(id) {
                if state.order.len() >= MESSAGES_MAX
                    && let Some(oldest) = state.order.pop_front()
                {
                    state.logs.remove(&oldest);
                }
                state.order.push_back(id.to_owned());
            }
            let log = state.logs.entry(id.to_owned()).or_default();
            if log.last().is_some_and(is_redundant_after) {
                return;
            }
            if log.steps.len() >= STEPS_MAX {
                log.steps.remove(1);
            }
            log.steps.push((OffsetDateTime::now_utc(), step.clone()));
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a time as in the logs.
pub(crate) fn time_text(at: OffsetDateTime) -> String {
    at.format(&Iso8601::<AT>).unwrap_or_default()
}

fn step_json(at: OffsetDateTime, step: &MessageStep) -> Value {
    let mut value = serde_json::to_value(step).unwrap_or_default();
    value["at"] = time_text(at).into();
    value
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
