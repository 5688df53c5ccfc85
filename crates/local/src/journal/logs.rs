//! The logs in memory: those of the newest messages, bounded in number, in steps, and in the bytes of what was sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use time::OffsetDateTime;

use super::step::MessageStep;
use crate::gateway::HttpExchange;

/// Largest number of messages with a log; the oldest are dropped.
pub(super) const MESSAGES_MAX: usize = 10_000;
/// Largest number of steps in one log: the first and the latest are kept.
pub(super) const STEPS_MAX: usize = 200;
/// Largest request or envelope that is kept, in bytes: the largest message of SQS.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub(super) const CONTENT_BYTES_MAX: usize = 1024 * 1024;
/// Largest sum of the requests, answers and envelopes that are kept, in bytes; those of the oldest messages are
/// dropped. [`MESSAGES_MAX`] orders of 2 KB are 20 MB, so only large payloads reach it.
pub(super) const CONTENTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request and its answer, as they are kept.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The time of arrival.
    pub at: OffsetDateTime,
    pub request_id: String,
    pub method: Method,
    /// The path, as sent, without the query.
    pub path: String,
    /// The function's event as JSON, which has headers and body; of a request that the gateway refused, without the
    /// body. `None` if it is larger than [`CONTENT_BYTES_MAX`].
    pub event: Option<Bytes>,
    pub status: StatusCode,
    /// The body of the answer.
    pub answer: Bytes,
    pub took: Duration,
}

impl Exchange {
    pub(super) fn of(exchange: &HttpExchange<'_>) -> Self {
        Self {
            at: exchange.at,
            request_id: exchange.request_id.to_owned(),
            method: exchange.method.clone(),
            path: exchange.path.to_owned(),
            event: (exchange.event.len() <= CONTENT_BYTES_MAX).then(|| exchange.event.clone()),
            status: exchange.status,
            answer: exchange.body.clone(),
            took: exchange.took,
        }
    }

    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, Bytes::len) + self.answer.len()
    }
}

/// What is kept of a message besides its steps.
#[derive(Debug, Default, Clone)]
pub(crate) struct Content {
    /// The request that it came with.
    pub exchange: Option<Arc<Exchange>>,
    /// The message on the queue.
    pub envelope: Option<Arc<str>>,
    /// Whether a part was dropped, or is too large to be kept.
    pub is_incomplete: bool,
}

impl Content {
    /// Returns the bytes that are kept. The request of a batch counts with each of its messages.
    fn bytes(&self) -> usize {
        self.exchange.as_ref().map_or(0, |exchange| exchange.bytes())
            + self.envelope.as_ref().map_or(0, |text| text.len())
    }
}

/// The log of one message.
#[derive(Debug)]
pub(crate) struct MessageLog {
    pub id: Arc<str>,
    /// Increases from message to message.
    pub number: usize,
    /// The version of the logs at its last change.
    pub changed: u64,
    pub steps: Vec<(OffsetDateTime, MessageStep)>,
    /// The message was sent, and its sender has no answer yet.
    pub unanswered: bool,
    /// The index of a refused item in its batch.
    pub item: Option<usize>,
    /// The id of the dead letter that it was before its correction, if that had another id.
    pub corrects: Option<Box<str>>,
    /// The event's type and principal.
    pub event_type: Option<Box<str>>,
    pub principal: Option<Box<str>>,
    pub content: Content,
}

impl MessageLog {
    /// Returns the last step that changed the message's state. A message without a step has its 202 already.
    pub(super) fn state(&self) -> &'static str {
        self.last_change().map_or("accepted", MessageStep::name)
    }

    fn last_change(&self) -> Option<&MessageStep> {
        self.steps.iter().rev().map(|(_, step)| step).find(|step| **step != MessageStep::Repeated)
    }

    /// Inserts `accepted` as the first step if a delivery was recorded before it; returns whether it did.
    pub(super) fn put_first(&mut self, accepted: &MessageStep) -> bool {
        match self.steps.first() {
            Some((at, first)) if !matches!(first, MessageStep::Accepted { .. }) => {
                self.steps.insert(0, (*at, accepted.clone()));
                true
            }
            _ => false,
        }
    }

    pub(super) fn push(&mut self, step: MessageStep) {
        if self.steps.len() >= STEPS_MAX {
            self.steps.remove(1);
        }
        self.steps.push((OffsetDateTime::now_utc(), step));
    }

    pub(super) fn last(&self) -> Option<&MessageStep> {
        self.steps.last().map(|(_, step)| step)
    }

    /// Returns the code of its refusal, or of the dead letter that it is.
    pub(super) fn code(&self) -> Option<&str> {
        match self.last_change()? {
            MessageStep::Refused { code, .. } | MessageStep::DeadLettered { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Returns the dead-letter queue that it was moved to last.
    pub(super) fn dead_letter_queue(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|(_, step)| match step {
            MessageStep::DeadLettered { queue, .. } => Some(queue.as_str()),
            _ => None,
        })
    }

    /// Sets the type and the principal to those of an event.
    pub(super) fn describe(&mut self, event: &str) {
        #[derive(serde::Deserialize)]
        struct Attributes {
            #[serde(default)]
            r#type: Value,
            #[serde(default)]
            principal: Value,
        }
        let Ok(Attributes { r#type, principal }) = serde_json::from_str(event) else { return };
        self.event_type = r#type.as_str().map(Into::into);
        self.principal = principal.as_str().map(Into::into);
    }
}

/// The logs, oldest first.
#[derive(Default)]
pub(super) struct Logs {
    /// The number of each message.
    numbers: HashMap<Arc<str>, usize>,
    logs: VecDeque<MessageLog>,
    /// The number of the first log, so many were dropped.
    dropped: usize,
    version: u64,
    content_bytes: usize,
    /// No log before this number has content.
    content_from: usize,
}

impl Logs {
    /// Returns how many logs there are, how many were dropped, and the version, which increases with each change.
    pub(super) fn counts(&self) -> (usize, usize, u64) {
        (self.logs.len(), self.dropped, self.version)
    }

    pub(super) fn get(&self, id: &str) -> Option<&MessageLog> {
        self.logs.get(self.numbers.get(id)?.checked_sub(self.dropped)?)
    }

    /// Returns a log to change it.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut MessageLog> {
        let index = self.numbers.get(id)?.checked_sub(self.dropped)?;
        self.version += 1;
        let log = self.logs.get_mut(index)?;
        log.changed = self.version;
        Some(log)
    }

    /// Returns a log to change it; makes it first if the message is new.
    pub(super) fn entry(&mut self, id: &str) -> &mut MessageLog {
        let known = self.numbers.get(id).copied();
        let number = known.unwrap_or_else(|| self.add(id.into()));
        self.version += 1;
        let log = &mut self.logs[number - self.dropped];
        log.changed = self.version;
        log
    }

    fn add(&mut self, id: Arc<str>) -> usize {
        if self.logs.len() >= MESSAGES_MAX
            && let Some(oldest) = self.logs.pop_front()
        {
            self.numbers.remove(&oldest.id);
            self.content_bytes -= oldest.content.bytes();
            self.dropped += 1;
        }
        let number = self.dropped + self.logs.len();
        self.numbers.insert(Arc::clone(&id), number);
        self.logs.push_back(MessageLog {
            id,
            number,
            changed: 0,
            steps: Vec::new(),
            unanswered: false,
            item: None,
            corrects: None,
            event_type: None,
            principal: None,
            content: Content::default(),
        });
        number
    }

    /// Keeps the request of a message, unless it has one: a repeated request is the same.
    pub(super) fn keep_exchange(&mut self, id: &str, exchange: &Arc<Exchange>) {
        self.keep(id, |content| {
            content.is_incomplete |= exchange.event.is_none();
            content.exchange.get_or_insert_with(|| Arc::clone(exchange));
        });
    }

    /// Keeps the message that is on the queue.
    pub(super) fn keep_envelope(&mut self, id: &str, envelope: &Arc<str>) {
        self.keep(id, |content| match envelope.len() <= CONTENT_BYTES_MAX {
            true => content.envelope = Some(Arc::clone(envelope)),
            false => content.is_incomplete = true,
        });
    }

    fn keep(&mut self, id: &str, change: impl FnOnce(&mut Content)) {
        let log = self.entry(id);
        let (before, number) = (log.content.bytes(), log.number);
        change(&mut log.content);
        let after = log.content.bytes();
        self.content_bytes = self.content_bytes + after - before;
        self.content_from = self.content_from.min(number);
        while self.content_bytes > CONTENTS_BYTES_MAX && self.content_from < number {
            let oldest = self.content_from.checked_sub(self.dropped).and_then(|index| self.logs.get_mut(index));
            if let Some(log) = oldest {
                self.content_bytes -= log.content.bytes();
                log.content = Content { is_incomplete: true, ..Content::default() };
            }
            self.content_from += 1;
        }
    }

    /// Returns the logs with a number below `before`, newest first.
    pub(super) fn newest_first(&self, before: usize) -> impl Iterator<Item = &MessageLog> {
        let end = before.saturating_sub(self.dropped).min(self.logs.len());
        self.logs.range(..end).rev()
    }
}
