//! Each message's life as a timeline: accepted → delivered → done, and everything that can come between.
//!
//! A message is known by its envelope's id, which stays the same through retries, the dead-letter queue and redrives; a
//! message that is no CloudEvent is known by its SQS message id, or by RabbitMQ's property `message_id`. Timelines are bounded in
//! number and length. With the embedded queue every step is seen; with another endpoint those that happen in the queue alone are
//! not, and with RabbitMQ those that the broker takes by itself: a message that it dead-letters, expires or purges.

pub(crate) mod rabbitmq;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluicegate_lambda_emulator::MappingEvent;
use sqs_emulator::QueueEvent;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::rabbitmq::Published;

/// How many messages are remembered; the oldest are forgotten.
const MESSAGES_MAX: usize = 10_000;
/// How many steps of one message are remembered: the first and the latest.
const STEPS_MAX: usize = 200;

/// The message attribute in which a consumer that rejects a message says why, on the copy in the dead-letter queue.
const REASON_ATTRIBUTE: &str = "sluicegate-reason";
/// How a dead-letter queue on RabbitMQ is called, after its queue's name.
const DEAD_LETTER_QUEUE_END: &str = ".dlq";
/// What stands between a queue's name and the seconds of a step of its retry ladder.
const LADDER_QUEUE_MIDDLE: &str = ".retry.";

/// A step in a message's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
#[allow(missing_docs)] // Fields are what they are called.
pub enum Step {
    /// The broker has it.
    Accepted { queue: String },
    /// The same message was sent again and the queue kept one of them.
    Repeated,
    /// A function got it.
    Delivered { queue: String, function: String, receive_count: u32 },
    /// The function is through with it.
    Done,
    /// The function wants it again, then.
    Retrying { visible_in_s: u32 },
    /// Back in its queue; it is visible again when its visibility timeout ends.
    Returned { reason: String },
    /// Given up on.
    DeadLettered { queue: String, reason: String },
    /// From a dead-letter queue back into service.
    Redriven { queue: String },
    /// No filter of the mapping matches, so it was deleted.
    FilteredOut { queue: String, function: String },
    /// No function can take it, so it was dropped.
    Dropped { queue: String, reason: String },
    /// Its retention period ended.
    Expired { queue: String },
    /// Its queue was purged or deleted.
    Purged { queue: String },
}

impl Step {
    fn is_dead_lettered(&self) -> bool {
        matches!(self, Self::DeadLettered { .. })
    }

    /// The step's name, as in JSON.
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

/// The step's details for a log line.
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { queue } | Self::Redriven { queue } => write!(out, "into {queue}"),
            Self::Repeated => write!(out, "is there already"),
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

/// Hears of every step as it is noted.
pub(crate) type StepObserver = Arc<dyn Fn(&str, &Step) + Send + Sync>;

/// The timelines. Clones share them.
#[derive(Clone)]
pub(crate) struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    dead_letter_queues: HashSet<String>,
    observer: StepObserver,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    timelines: HashMap<String, MessageLog>,
    /// Oldest first.
    order: VecDeque<String>,
}

#[derive(Default)]
struct MessageLog {
    steps: Vec<(OffsetDateTime, Step)>,
    /// It was sent, and the sender has not been answered yet.
    unanswered: bool,
}

impl MessageLog {
    /// The last step that changed what becomes of the message.
    fn state(&self) -> &'static str {
        let last = self.steps.iter().rev().find(|(_, step)| *step != Step::Repeated);
        last.map_or("unknown", |(_, step)| step.name())
    }

    /// Puts in that it was accepted, if a function got it before the sender's answer was seen.
    fn put_first(&mut self, accepted: &Step) -> bool {
        match self.steps.first() {
            Some((at, first)) if !matches!(first, Step::Accepted { .. }) => {
                self.steps.insert(0, (*at, accepted.clone()));
                true
            }
            _ => false,
        }
    }

    fn last(&self) -> Option<&Step> {
        self.steps.last().map(|(_, step)| step)
    }
}

impl Journal {
    /// `dead_letter_queues`: the names of queues whose messages were given up on.
    pub(crate) fn new(dead_letter_queues: impl IntoIterator<Item = String>, observer: StepObserver) -> Self {
        let dead_letter_queues = dead_letter_queues.into_iter().collect();
        Self { inner: Arc::new(Inner { dead_letter_queues, observer, state: Mutex::default() }) }
    }

    /// What the embedded queue saw.
    pub(crate) fn queue_event(&self, event: &QueueEvent) {
        match event {
            QueueEvent::Sent { queue, message_id, body, attributes } => {
                let id = identify(body, message_id);
                if self.inner.dead_letter_queues.contains(&**queue) {
                    let reason = attributes
                        .get(REASON_ATTRIBUTE)
                        .map_or("sent there without a reason", String::as_str)
                        .to_owned();
                    self.note(&id, Step::DeadLettered { queue: queue.to_string(), reason });
                } else {
                    self.note(&id, Step::Accepted { queue: queue.to_string() });
                    if let Some(timeline) = self.state().timelines.get_mut(&id) {
                        timeline.unanswered = true;
                    }
                }
            }
            // Looking at a dead letter hides it for a moment and gives it back: that retries nothing.
            QueueEvent::VisibilityChanged { queue, .. } if self.inner.dead_letter_queues.contains(&**queue) => {}
            QueueEvent::VisibilityChanged { message_id, body, timeout_s, .. } => {
                self.note(&identify(body, message_id), Step::Retrying { visible_in_s: *timeout_s });
            }
            QueueEvent::DeadLettered { message_id, body, receive_count, target, .. } => {
                let reason = format!("receives exhausted ({receive_count})");
                self.note(&identify(body, message_id), Step::DeadLettered { queue: target.to_string(), reason });
            }
            QueueEvent::Moved { message_id, body, target, .. } => {
                self.note(&identify(body, message_id), Step::Redriven { queue: target.to_string() });
            }
            QueueEvent::Expired { queue, message_id, body, .. } => {
                self.note(&identify(body, message_id), Step::Expired { queue: queue.to_string() });
            }
            QueueEvent::Purged { queue, message_id, body, .. } => {
                self.note(&identify(body, message_id), Step::Purged { queue: queue.to_string() });
            }
            // The mapping tells these, and for whom.
            QueueEvent::Received { .. } | QueueEvent::Deleted { .. } => {}
        }
    }

    /// What a client published to RabbitMQ: ingress a new message, or the consumer one that it puts where it belongs now.
    pub(crate) fn published(&self, message: &Published) {
        let id = identify(&message.body, &message.message_id);
        let (Some(queue), false) = (message.queues.first(), id.is_empty()) else { return };
        let step = if queue.ends_with(DEAD_LETTER_QUEUE_END) {
            let reason = message.reason.as_deref().unwrap_or("published there without a reason").to_owned();
            Step::DeadLettered { queue: queue.clone(), reason }
        } else if let Some(visible_in_s) = ladder_step_s(queue) {
            Step::Retrying { visible_in_s }
        } else if self.state().timelines.get(&id).and_then(MessageLog::last).is_some_and(Step::is_dead_lettered) {
            Step::Redriven { queue: queue.clone() }
        } else if message.is_copy && message.exchange.is_empty() {
            Step::Returned { reason: "the function did not begin with it in time and published it again".to_owned() }
        } else {
            return self.published_new(&id, message.queues.join(", "));
        };
        self.note(&id, step);
    }

    /// The trace of a new message may come after its delivery, and before or after the sender's answer.
    fn published_new(&self, id: &str, queue: String) {
        let accepted = Step::Accepted { queue };
        let mut state = self.state();
        let is_late = state.timelines.get_mut(id).is_some_and(|timeline| timeline.put_first(&accepted));
        drop(state);
        if is_late {
            (self.inner.observer)(id, &accepted);
        } else {
            self.note(id, accepted);
        }
        if let Some(timeline) = self.state().timelines.get_mut(id) {
            timeline.unanswered = true;
        }
    }

    /// What a mapping did.
    pub(crate) fn mapping_event(&self, event: &MappingEvent) {
        let message = event.message();
        let id = identify(&message.body, &message.message_id);
        let (queue, function) = (message.queue.to_string(), message.function.to_string());
        match event {
            MappingEvent::Delivered(_) => {
                self.note(&id, Step::Delivered { queue, function, receive_count: message.receive_count });
            }
            MappingEvent::Done(_) => {
                // A function that rejects a message puts it into the dead-letter queue itself and then is through with it. On
                // RabbitMQ it also publishes again what is to be retried or was not begun.
                let is_settled_otherwise = |last: &_| {
                    matches!(last, Step::DeadLettered { .. } | Step::Retrying { .. } | Step::Returned { .. })
                };
                self.note_unless(&id, Step::Done, is_settled_otherwise);
            }
            MappingEvent::Returned { .. } => {
                let step = Step::Returned { reason: format!("{function} listed it as failed") };
                self.note_unless(&id, step, |last| matches!(last, Step::Retrying { .. }));
            }
            MappingEvent::FilteredOut(_) => self.note(&id, Step::FilteredOut { queue, function }),
            MappingEvent::Dropped { reason, .. } => self.note(&id, Step::Dropped { queue, reason: reason.clone() }),
            MappingEvent::BatchFailed { reason, .. } => self.note(&id, Step::Returned { reason: reason.clone() }),
        }
    }

    /// A client was told 202 with this id. Who saw the message being sent has told so; of another endpoint, which `elsewhere`
    /// names, this answer may be all there is to know.
    pub(crate) fn answered(&self, id: &str, remote: Option<&str>) {
        let mut state = self.state();
        let timeline = state.timelines.get_mut(id);
        let (is_new, mut is_told, mut is_late) = (timeline.is_none(), false, false);
        let accepted = remote.map(|queue| Step::Accepted { queue: queue.to_owned() });
        if let Some(timeline) = timeline {
            is_told = std::mem::take(&mut timeline.unanswered);
            is_late = !is_told && accepted.as_ref().is_some_and(|accepted| timeline.put_first(accepted));
        }
        drop(state);
        match accepted {
            _ if is_told => {}
            Some(accepted) if is_late => (self.inner.observer)(id, &accepted),
            Some(accepted) if is_new => self.note(id, accepted),
            _ => self.note(id, Step::Repeated),
        }
    }

    /// The message's timeline: `{"id", "state", "steps": [{"at", "step", …}]}`.
    pub(crate) fn timeline(&self, id: &str) -> Option<Value> {
        let state = self.state();
        let timeline = state.timelines.get(id)?;
        let steps: Vec<Value> = timeline.steps.iter().map(|(at, step)| step_json(*at, step)).collect();
        Some(json!({ "id": id, "state": timeline.state(), "steps": steps }))
    }

    /// The latest messages, newest first: `[{"id", "state"}]`.
    pub(crate) fn latest(&self, count: usize) -> Value {
        let state = self.state();
        let newest = state.order.iter().rev().take(count);
        newest.map(|id| json!({ "id": id, "state": state.timelines.get(id).map(MessageLog::state) })).collect()
    }

    fn note(&self, id: &str, step: Step) {
        self.note_unless(id, step, |_| false);
    }

    fn note_unless(&self, id: &str, step: Step, pointless_after: impl Fn(&Step) -> bool) {
        {
            let mut state = self.state();
            if !state.timelines.contains_key(id) {
                if state.order.len() >= MESSAGES_MAX
                    && let Some(oldest) = state.order.pop_front()
                {
                    state.timelines.remove(&oldest);
                }
                state.order.push_back(id.to_owned());
            }
            let timeline = state.timelines.entry(id.to_owned()).or_default();
            if timeline.last().is_some_and(pointless_after) {
                return;
            }
            if timeline.steps.len() >= STEPS_MAX {
                timeline.steps.remove(1);
            }
            timeline.steps.push((OffsetDateTime::now_utc(), step.clone()));
        }
        (self.inner.observer)(id, &step);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn step_json(at: OffsetDateTime, step: &Step) -> Value {
    let mut value = serde_json::to_value(step).unwrap_or_default();
    let at = at.replace_millisecond(at.millisecond()).unwrap_or(at);
    value["at"] = at.format(&Rfc3339).unwrap_or_default().into();
    value
}

/// The seconds of a queue that holds messages for a step of the retry ladder: `orders.retry.5s`.
fn ladder_step_s(queue: &str) -> Option<u32> {
    queue.rsplit_once(LADDER_QUEUE_MIDDLE)?.1.strip_suffix('s')?.parse().ok()
}

/// The envelope's id, if the body is a CloudEvent.
fn identify(body: &str, message_id: &str) -> String {
    #[derive(Deserialize)]
    struct Event<'a> {
        specversion: &'a str,
        id: String,
    }
    match serde_json::from_str::<Event<'_>>(body) {
        Ok(event) if event.specversion.starts_with("1.") && !event.id.is_empty() => event.id,
        _ => message_id.to_owned(),
    }
}
