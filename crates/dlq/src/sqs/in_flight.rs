//! [`InFlight`]: the hidden messages, their receipt handles and the heartbeat that extends their visibility timeouts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    types::{BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, Message},
};
use futures_util::{StreamExt, stream};
use sluicegate_queue::sqs::error_text;
use tokio::time::Instant;

use crate::Error;

/// Largest number of messages of one `ReceiveMessage`, and of entries of one batch call.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub(super) const BATCH_ENTRIES_MAX: usize = 10;

/// Default time for which messages stay hidden if this process ends soon after it took them.
pub const VISIBILITY_DEFAULT: Duration = Duration::from_secs(60);

/// Longest time for which a message can be hidden, counted from its receive; SQS refuses a longer one.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
pub const VISIBILITY_MAX: Duration = Duration::from_secs(43_200);

/// Margin before [`VISIBILITY_MAX`]: SQS counts the time from an earlier moment than this process.
const VISIBILITY_MARGIN: Duration = Duration::from_secs(60);

/// Concurrent batch calls: 120,000 messages, the maximum in flight of a queue, are 12,000 calls.
const CALLS_AT_ONCE: usize = 16;

/// Attempts of a release, after which a message becomes visible by itself.
const RELEASE_ATTEMPTS_MAX: u32 = 3;

/// The messages that were taken and not deleted.
pub(super) struct InFlight {
    client: Client,
    url: String,
    visibility: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_handle: u64,
    entries: BTreeMap<u64, Entry>,
    /// The handles of the messages in flight, by the broker's id.
    handles: HashMap<String, u64>,
    /// The broker's ids of deleted messages. A standard queue may deliver such a message once more.
    deleted: HashSet<String>,
    /// Whether messages are being released, and must not be extended.
    is_releasing: bool,
}

#[derive(Clone)]
struct Entry {
    broker_id: String,
    receipt: String,
    received_at: Instant,
    hidden_until: Instant,
}

/// Why a message is still in the queue, or may be.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeleteError {
    /// It was deleted or released before.
    #[error("it is not in flight")]
    NotInFlight,
    /// SQS refused, or could not be reached.
    #[error("{0}")]
    Broker(String),
    /// Its visibility timeout ended.
    #[error("it became visible before it was deleted, and the deletion may have had no effect")]
    Lapsed,
}

impl InFlight {
    pub(super) fn new(client: Client, url: String, visibility: Duration) -> Self {
        let visibility = visibility.clamp(Duration::from_secs(1), VISIBILITY_MAX - VISIBILITY_MARGIN);
        Self { client, url, visibility, state: Mutex::default() }
    }

    pub(super) fn visibility_s(&self) -> i32 {
        seconds(self.visibility)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a message received by a call that began at `asked_at`. Returns `None` if it is known: it is in flight,
    /// or was deleted and is deleted again.
    pub(super) async fn admit(&self, message: &Message, asked_at: Instant) -> Option<u64> {
        let broker_id = message.message_id.clone().unwrap_or_default();
        let receipt = message.receipt_handle.clone().unwrap_or_default();
        let entry = Entry {
            broker_id: broker_id.clone(),
            receipt: receipt.clone(),
            received_at: asked_at,
            hidden_until: asked_at + self.visibility,
        };
        let was_deleted = {
            let mut state = self.state();
            if let Some(handle) = state.handles.get(&broker_id).copied() {
                state.entries.insert(handle, entry);
                return None;
            }
            state.deleted.contains(&broker_id)
        };
        if was_deleted {
            // If this fails, the deleted or redriven message becomes visible again.
            let _ = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
            return None;
        }
        let mut state = self.state();
        state.last_handle += 1;
        let handle = state.last_handle;
        state.entries.insert(handle, entry);
        state.handles.insert(broker_id, handle);
        Some(handle)
    }

    /// Returns whether the message may be visible to others.
    pub(super) fn has_lapsed(&self, handle: u64) -> bool {
        self.state().entries.get(&handle).is_none_or(|entry| entry.hidden_until <= Instant::now())
    }

    /// Deletes a message in flight.
    ///
    /// # Errors
    /// The message is still in the queue, or may be.
    pub(super) async fn delete(&self, handle: u64) -> Result<(), DeleteError> {
        let entry = self.state().entries.get(&handle).cloned().ok_or(DeleteError::NotInFlight)?;
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(&entry.receipt);
        request.send().await.map_err(|error| DeleteError::Broker(error_text(&error)))?;
        // With an expired handle, a standard queue deletes nothing and reports success. A heartbeat after the deletion
        // found nothing to extend, so the time known before counts too.
        if entry.hidden_until <= Instant::now() && self.has_lapsed(handle) {
            return Err(DeleteError::Lapsed);
        }
        let mut state = self.state();
        state.entries.remove(&handle);
        state.handles.remove(&entry.broker_id);
        state.deleted.insert(entry.broker_id);
        Ok(())
    }

    /// Extends the messages in flight. Does not return.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.visibility / 4);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.state().is_releasing {
                continue;
            }
            let soon = Instant::now() + self.visibility / 2;
            let due = self.entries(|entry| entry.hidden_until <= soon);
            self.change(due, |entry| self.extension(entry)).await;
        }
    }

    /// Returns the next extension: as long as the message has been in flight, so that a long list needs few calls, and
    /// 12 hours in all at most. SQS accepts whole seconds only.
    fn extension(&self, entry: &Entry) -> Duration {
        let age = entry.received_at.elapsed();
        let extension = age.max(self.visibility).min((VISIBILITY_MAX - VISIBILITY_MARGIN).saturating_sub(age));
        Duration::from_secs(extension.as_secs())
    }

    /// Makes every message visible.
    ///
    /// # Errors
    /// How many messages become visible only by themselves, and when.
    pub(super) async fn release(&self) -> Result<(), Error> {
        self.state().is_releasing = true;
        for _ in 0..RELEASE_ATTEMPTS_MAX {
            let due = self.entries(|entry| entry.hidden_until > Instant::now());
            if due.is_empty() {
                break;
            }
            self.change(due, |_| Duration::ZERO).await;
        }
        let mut state = self.state();
        let now = Instant::now();
        let hidden = state.entries.values().filter(|entry| entry.hidden_until > now);
        let left = hidden.map(|entry| entry.hidden_until - now);
        let (count, longest) = left.fold((0_u64, Duration::ZERO), |(count, most), left| (count + 1, most.max(left)));
        state.entries.clear();
        state.handles.clear();
        state.is_releasing = false;
        if count == 0 {
            return Ok(());
        }
        let seconds = longest.as_secs() + 1;
        Err(Error::Broker(format!("{count} messages could not be released: they show again within {seconds} s")))
    }

    fn entries(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<(u64, Entry)> {
        let state = self.state();
        state
            .entries
            .iter()
            .filter(|(_, entry)| wanted(entry))
            .map(|(handle, entry)| (*handle, entry.clone()))
            .collect()
    }

    /// Changes how long these messages are hidden from now. A message that could not be changed keeps its time, and is
    /// changed next time.
    async fn change(&self, entries: Vec<(u64, Entry)>, timeout: impl Fn(&Entry) -> Duration) {
        let mut calls = Vec::with_capacity(entries.len().div_ceil(BATCH_ENTRIES_MAX));
        for chunk in entries.chunks(BATCH_ENTRIES_MAX) {
            calls.push(chunk.iter().map(|(handle, entry)| (*handle, entry.receipt.clone(), timeout(entry))).collect());
        }
        stream::iter(calls).for_each_concurrent(CALLS_AT_ONCE, |call: Vec<_>| self.change_batch(call)).await;
    }

    async fn change_batch(&self, entries: Vec<(u64, String, Duration)>) {
        let now = Instant::now();
        let mut request = self.client.change_message_visibility_batch().queue_url(&self.url);
        for (handle, receipt, timeout) in &entries {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(handle.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(seconds(*timeout));
            // Every required field is set.
            let Ok(entry) = entry.build() else { continue };
            request = request.entries(entry);
        }
        let Ok(answer) = request.send().await else { return };
        let mut state = self.state();
        for (handle, receipt, timeout) in entries {
            let id = handle.to_string();
            // The message was received again meanwhile, with another receipt.
            let Some(entry) = state.entries.get_mut(&handle).filter(|entry| entry.receipt == receipt) else { continue };
            if answer.successful.iter().any(|entry| entry.id == id) {
                entry.hidden_until = now + timeout;
            } else if answer.failed.iter().any(|entry| entry.id == id && is_over(entry)) {
                entry.hidden_until = now;
            }
        }
    }
}

/// Returns whether the message cannot be changed any more: it is visible, received by another reader, or deleted.
fn is_over(failed: &BatchResultErrorEntry) -> bool {
    failed.sender_fault && !failed.code.contains("Throttl")
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
