//! Statuses of messages whose sender can ask for them, as their envelopes say.
//!
//! A handler that runs for longer than [`PROCESSING_AFTER`] has its message recorded as being processed, while it runs.
//! What became of a message is recorded after the batch is settled, for all messages at once, for [`WRITE_TIMEOUT`] at
//! most: a slow table delays the answer to Lambda by that, and neither a handler nor settling. What fails here is
//! logged. The messages of a batch without statuses cost nothing.

use std::collections::{BTreeMap, btree_map::Entry};
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use sluicegate_idempotency::{AnyStore, MessageState, STATUS_TEXT_BYTES_MAX, StatusStore as _};
use tokio::time::{Instant, sleep, timeout_at};

use crate::Delivery;
use crate::rejection::codes;
use crate::settlement::{Disposition, Reason};

/// How long a handler runs before its message is recorded as being processed. Chosen here: a sender asks every few
/// seconds, and would not see a shorter state, which costs as much as the one that follows.
const PROCESSING_AFTER: Duration = Duration::from_millis(250);

/// Longest wait for the table, for one message in progress and for all settled ones together.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes to the table at a time. Each has a connection, and an SQS batch may have 10,000 messages.
const WRITES_AT_ONCE: usize = 32;

/// The reason that a sender sees for a message that failed in each of its receives. The log has the failure, which may
/// name what is internal.
const EXHAUSTED: &str = "receives exhausted";

/// A result that a sender cannot get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// It is too long.
    #[error("the result has {bytes} bytes: a sender gets {STATUS_TEXT_BYTES_MAX} at most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The delivery has a result already.
    #[error("the delivery has a result already")]
    AlreadySet,
}

impl Delivery {
    /// Sets the result that the sender of the message sees in its status once the message is done. It is seen outside
    /// of your system. Without a status, it has no effect.
    ///
    /// # Errors
    /// The result is longer than 1,024 bytes, or this delivery has one.
    pub fn set_result(&self, result: impl Into<String>) -> Result<(), ResultError> {
        let result = result.into();
        if result.len() > STATUS_TEXT_BYTES_MAX {
            return Err(ResultError::TooLong { bytes: result.len() });
        }
        self.result.set(result).map_err(|_| ResultError::AlreadySet)
    }

    /// Returns what [`set_result`](Self::set_result) was called with.
    #[must_use]
    pub fn result(&self) -> Option<&str> {
        self.result.get().map(String::as_str)
    }
}

/// A delivery of a message that has a status.
pub(crate) struct Subject<'a> {
    /// The id of the message.
    pub(crate) id: &'a str,
    pub(crate) receive_count: u32,
    pub(crate) result: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// Returns the delivery; `None` if its message has no status.
    pub(crate) fn of(delivery: &'a Delivery) -> Option<Self> {
        let Delivery { envelope, receive_count, .. } = delivery;
        let subject = || Self { id: envelope.id(), receive_count: *receive_count, result: delivery.result() };
        envelope.has_status().then(subject)
    }
}

/// The statuses of one batch.
pub(crate) struct Statuses<'a> {
    store: &'a AnyStore,
    /// By the id of the message. A batch may have several deliveries of one: the first that is done counts, or else the
    /// last that was dead-lettered, or else the last.
    settled: Mutex<BTreeMap<String, (MessageState, SystemTime)>>,
}

impl<'a> Statuses<'a> {
    pub(crate) fn of(store: &'a AnyStore) -> Self {
        Self { store, settled: Mutex::default() }
    }

    /// Waits for the handler. Records meanwhile that it runs.
    pub(crate) async fn while_handled<T>(&self, delivery: &Delivery, handling: impl Future<Output = T>) -> T {
        if !delivery.envelope.has_status() {
            return handling.await;
        }
        match select(pin!(handling), pin!(self.processing(delivery))).await {
            Either::Left((handled, _)) => handled,
            Either::Right(((), handling)) => handling.await,
        }
    }

    async fn processing(&self, delivery: &Delivery) {
        sleep(PROCESSING_AFTER).await;
        let (id, state) = (delivery.envelope.id(), MessageState::Processing { receive_count: delivery.receive_count });
        let deadline = Instant::now() + WRITE_TIMEOUT;
        if let Err(error) = self.store.change_status(id, &state, SystemTime::now(), deadline).await {
            tracing::warn!(message_id = id, reason = %error, "the status of the message is late");
        }
    }

    /// Notes what became of a message. `is_last` is true if it failed in each of its receives.
    pub(crate) fn settled(&self, subject: &Subject<'_>, disposition: Disposition, reason: &Reason, is_last: bool) {
        let Subject { id, receive_count, result } = *subject;
        let now = SystemTime::now();
        let state = match disposition {
            // The function may have ended before it recorded the status of the delivery that was done.
            Disposition::Done | Disposition::Duplicate => MessageState::Done { result: result.map(str::to_owned) },
            Disposition::Rejected => dead(reason, is_last),
            Disposition::Retry(delay) | Disposition::RejectFailed(delay) => {
                let next = (now + delay).duration_since(UNIX_EPOCH).unwrap_or_default();
                MessageState::Retrying { receive_count, next_s: next.as_secs() }
            }
            // They have no event, or were not handled now.
            Disposition::Undecodable | Disposition::Returned(_) => return,
        };
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        match settled.entry(id.to_owned()) {
            Entry::Vacant(entry) => drop(entry.insert((state, now))),
            Entry::Occupied(mut entry) => match (&entry.get().0, &state) {
                (MessageState::Done { .. }, _) | (MessageState::Dead { .. }, MessageState::Retrying { .. }) => {}
                _ => drop(entry.insert((state, now))),
            },
        }
    }

    /// Records what was noted, not past `until`.
    pub(crate) async fn record(self, request_id: &str, until: Instant) {
        let settled = self.settled.into_inner().unwrap_or_else(PoisonError::into_inner);
        if settled.is_empty() {
            return;
        }
        let deadline = until.min(Instant::now() + WRITE_TIMEOUT);
        let writing = async {
            let writes = settled.iter().map(|(id, (state, now))| self.store.change_status(id, state, *now, deadline));
            let written = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
            written.fold(None, async |failed, written| failed.or(written.err())).await
        };
        let failed = match timeout_at(deadline, writing).await {
            Ok(failed) => failed.map(|error| error.to_string()),
            Err(_) => Some("no time was left".to_owned()),
        };
        if let Some(reason) = failed {
            tracing::error!(request_id, reason, "statuses of messages are not recorded");
        }
    }
}

/// Returns the state of a dead letter, with the reason that a sender sees.
fn dead(reason: &Reason, is_last: bool) -> MessageState {
    if is_last {
        return MessageState::Dead { code: Some(codes::RECEIVES_EXHAUSTED.to_owned()), reason: EXHAUSTED.to_owned() };
    }
    let text = &reason.text[..reason.text.floor_char_boundary(STATUS_TEXT_BYTES_MAX)];
    MessageState::Dead { code: reason.code.as_deref().map(str::to_owned), reason: text.to_owned() }
}

#[cfg(test)]
mod tests;
