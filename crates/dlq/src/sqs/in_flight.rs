//! What is hidden from others: receipt handles, how long each is good for, and the heartbeat that keeps it so.

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

use super::BATCH_ENTRIES_MAX;
use crate::Error;

/// How long messages stay hidden when this process dies soon after it took them.
pub const VISIBILITY_DEFAULT: Duration = Duration::from_secs(60);

/// The longest that a message can be hidden, counted from its receive; a change beyond it is refused.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
pub const VISIBILITY_MAX: Duration = Duration::from_secs(43_200);

/// An extension ends this long before [`VISIBILITY_MAX`]: our clock and that of SQS started at different moments.
const VISIBILITY_MARGIN: Duration = Duration::from_secs(60);

/// Batch calls under way at once: 120,000 messages, the most that a queue lets be in flight, are 12,000 calls.
const CALLS_AT_ONCE: usize = 16;

/// Tries of a release before a message is left to come back by itself.
const RELEASE_ATTEMPTS_MAX: u32 = 3;

/// Everything that was taken and not deleted.
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
    /// The handles of the messages that are entry, by the broker's id.
    handles: HashMap<String, u64>,
    /// The broker's ids of what was deleted. A standard queue may show such a message once more.
    deleted: HashSet<String>,
    /// What is being given back must not be extended.
    is_releasing: bool,
}

#[derive(Clone)]
struct Entry {
    broker_id: String,
    receipt: String,
    received_at: Instant,
    hidden_until: Instant,
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

    /// Takes note of a message received by a call that began at `asked_at`. None if it is known already: it is entry, or was deleted
    /// and is deleted again.
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
            // If this fails the message shows again, as one that was redriven or deleted and is there nevertheless.
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

    /// Whether others may see the message again.
    pub(super) fn has_lapsed(&self, handle: u64) -> bool {
        self.state().entries.get(&handle).is_none_or(|entry| entry.hidden_until <= Instant::now())
    }

    /// Deletes a message that is entry.
    ///
    /// # Errors
    /// Why it is still there, or may be.
    pub(super) async fn delete(&self, handle: u64) -> Result<(), String> {
        let entry = self.state().entries.get(&handle).cloned().ok_or("it is not held")?;
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(&entry.receipt);
        request.send().await.map_err(|error| error_text(&error))?;
        // A handle that is no longer good deletes nothing on a standard queue, and is told that it did. A heartbeat that came after
        // the deletion found nothing to extend, so what was known before counts too.
        if entry.hidden_until <= Instant::now() && self.has_lapsed(handle) {
            return Err("it could not be state hidden until then, and the deletion may have had no effect".to_owned());
        }
        let mut state = self.state();
        state.entries.remove(&handle);
        state.handles.remove(&entry.broker_id);
        state.deleted.insert(entry.broker_id);
        Ok(())
    }

    /// Extends what is held for as long as it is held; ends never.
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

    /// As long again as it has been entry, so that a long list is not extended all the time; and 12 hours in all at most. Whole
    /// seconds, because no others can be asked for.
    fn extension(&self, entry: &Entry) -> Duration {
        let age = entry.received_at.elapsed();
        let extension = age.max(self.visibility).min((VISIBILITY_MAX - VISIBILITY_MARGIN).saturating_sub(age));
        Duration::from_secs(extension.as_secs())
    }

    /// Makes everything visible.
    ///
    /// # Errors
    /// How many come back by themselves only, and when.
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
        let left = state.entries.values().filter_map(|entry| entry.hidden_until.checked_duration_since(now));
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

    /// Changes how long from now these are hidden. What could not be changed keeps its time, and is asked for again next time.
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
            // It has all that it needs.
            let Ok(entry) = entry.build() else { continue };
            request = request.entries(entry);
        }
        let Ok(answer) = request.send().await else { return };
        let mut state = self.state();
        for (handle, receipt, timeout) in entries {
            let id = handle.to_string();
            // One of them was received again meanwhile, with another receipt.
            let Some(entry) = state.entries.get_mut(&handle).filter(|entry| entry.receipt == receipt) else { continue };
            if answer.successful.iter().any(|entry| entry.id == id) {
                entry.hidden_until = now + timeout;
            } else if answer.failed.iter().any(|entry| entry.id == id && is_over(entry)) {
                entry.hidden_until = now;
            }
        }
    }
}

/// Whether there is nothing left to change: the message is visible, received by somebody else, or gone.
fn is_over(failed: &BatchResultErrorEntry) -> bool {
    failed.sender_fault && !failed.code.contains("Throttl")
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
