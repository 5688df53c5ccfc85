//! The state machine of one queue: every method takes the current time as an argument and returns without waiting.
//!
//! A message is delayed, ready or in flight. Each state has an index ordered by the time it ends, so that no
//! operation scans the queue: its cost is the logarithm of the number of messages. The engine calls `advance` to
//! the current time before any other method.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use crate::clock::EpochMs;
use crate::error::{ApiError, ErrorKind};
use crate::event::QueueEvent;
use crate::fifo::{Groups, Window};
use crate::limits::{IN_FLIGHT_MAX, VISIBILITY_S};
use crate::message::Message;
use crate::queue_attributes::QueueAttributes;
use crate::receipt::ReceiptHandle;

/// The first sequence number: all have 20 digits, as in SQS.
const SEQUENCE_BASE: u64 = 10_000_000_000_000_000_000;

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Arc<str>,
    pub(crate) arn: Arc<str>,
    pub(crate) attributes: QueueAttributes,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: EpochMs,
    pub(crate) modified_at: EpochMs,
    pub(crate) purged_at: Option<EpochMs>,
    /// Wakes waiting receives after a change.
    pub(crate) changed: Arc<Notify>,
    pub(crate) sent_before: Window<DeduplicationKey, FirstSend>,
    attempts: Window<String, Vec<ReceiptHandle>>,
    instance: u64,
    serials: u64,
    receives: u64,
    slots: HashMap<u64, Slot>,
    order: Order,
    delayed: BTreeSet<(EpochMs, u64)>,
    in_flight: BTreeSet<(EpochMs, u64)>,
    by_age: BTreeSet<(EpochMs, u64)>,
}

/// A digest of a deduplication id and its scope: a group, or `None` for the queue. It is kept for five minutes, so it
/// is small, whatever the length of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeduplicationKey([u8; 16]);

impl DeduplicationKey {
    pub(crate) fn new(scope: Option<&str>, id: &str) -> Self {
        // Neither has a line break.
        let text = [scope.unwrap_or_default(), "\n", id];
        let digest = text.iter().fold(Sha256::new(), |digest, part| digest.chain_update(part)).finalize();
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

/// Id and sequence number of the message first sent under a deduplication id.
pub(crate) type FirstSend = (Arc<str>, u64);

#[derive(Debug)]
struct Slot {
    message: Message,
    state: MessageState,
    /// Receives from this queue, which its redrive policy counts.
    receives_here: u32,
    /// The latest receive; older handles delete nothing.
    receive: u64,
}

#[derive(Debug, Clone, Copy)]
enum MessageState {
    Delayed { until: EpochMs },
    Ready { since: EpochMs },
    InFlight { until: EpochMs, received_at: EpochMs, changed: bool },
}

/// The order of ready messages.
#[derive(Debug)]
enum Order {
    /// By the time of becoming ready.
    Standard(BTreeSet<(EpochMs, u64)>),
    Fifo(Groups),
}

/// The parameters of a receive.
#[derive(Debug, Clone)]
pub(crate) struct Receive {
    pub(crate) messages_max: usize,
    /// `None` stands for the queue's at the time of delivery, which may change during a long poll.
    pub(crate) visibility_s: Option<u32>,
    pub(crate) attempt_id: Option<String>,
}

/// The result of a receive.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Messages with their receipt handles.
    pub(crate) messages: Vec<(Message, String)>,
    /// Messages that were received too often before; they have left the queue.
    pub(crate) dead: Vec<Message>,
}

/// The number of messages in each state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: usize,
    pub(crate) delayed: usize,
    pub(crate) in_flight: usize,
}

impl Queue {
    pub(crate) fn new(name: &str, arn: String, attributes: QueueAttributes, now: EpochMs) -> Self {
        let order = if attributes.fifo { Order::Fifo(Groups::default()) } else { Order::Standard(BTreeSet::new()) };
        Self {
            name: name.into(),
            arn: arn.into(),
            attributes,
            tags: BTreeMap::new(),
            created_at: now,
            modified_at: now,
            purged_at: None,
            changed: Arc::default(),
            sent_before: Window::default(),
            attempts: Window::default(),
            instance: uuid::Uuid::now_v7().as_u64_pair().1,
            serials: 0,
            receives: 0,
            slots: HashMap::new(),
            order,
            delayed: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            by_age: BTreeSet::new(),
        }
    }

    /// Returns the account in the queue's ARN.
    pub(crate) fn account(&self) -> &str {
        self.arn.rsplit(':').nth(1).unwrap_or_default()
    }

    pub(crate) fn counts(&self) -> Counts {
        let (delayed, in_flight) = (self.delayed.len(), self.in_flight.len());
        Counts { ready: self.slots.len().saturating_sub(delayed + in_flight), delayed, in_flight }
    }

    /// Returns the time the next message becomes ready without a call.
    pub(crate) fn next_ready_at(&self) -> Option<EpochMs> {
        let first = |set: &BTreeSet<(EpochMs, u64)>| set.first().map(|(at, _)| *at);
        first(&self.delayed).into_iter().chain(first(&self.in_flight)).min()
    }

    /// Advances every state to `now`: ends retention, delays and visibility timeouts.
    pub(crate) fn advance(&mut self, now: EpochMs, events: &mut Vec<QueueEvent>) {
        let retention_ms = EpochMs::from(self.attributes.retention_s) * 1_000;
        while let Some((sent_at, serial)) = self.by_age.first().copied()
            && sent_at.saturating_add(retention_ms) <= now
        {
            if let Some(message) = self.remove(serial) {
                events.push(QueueEvent::expired(&self.name, &message));
            }
        }
        for due in [&self.delayed, &self.in_flight].map(|set| due(set, now)) {
            for (at, serial) in due {
                self.make_ready(serial, at);
            }
        }
    }

    /// Adds a message that becomes ready after `delay_ms`; returns its sequence number if the queue is FIFO.
    pub(crate) fn insert(&mut self, mut message: Message, delay_ms: EpochMs, now: EpochMs) -> Option<u64> {
        self.serials += 1;
        let serial = self.serials;
        message.sequence = self.attributes.fifo.then(|| SEQUENCE_BASE.saturating_add(serial));
        let sequence = message.sequence;
        let (until, is_ready) = (now.saturating_add(delay_ms), delay_ms == 0);
        match &mut self.order {
            Order::Fifo(groups) => groups.set(&group_of(&message), serial, is_ready),
            Order::Standard(ready) if is_ready => {
                ready.insert((now, serial));
            }
            Order::Standard(_) => {}
        }
        if !is_ready {
            self.delayed.insert((until, serial));
        }
        self.by_age.insert((message.sent_at, serial));
        let state = if is_ready { MessageState::Ready { since: now } } else { MessageState::Delayed { until } };
        self.slots.insert(serial, Slot { message, state, receives_here: 0, receive: 0 });
        self.changed.notify_waiters();
        sequence
    }

    /// Receives messages. A message already received `receive_count_max` times is dead-lettered instead of delivered.
    ///
    /// # Errors
    /// `OverLimit` if a standard queue has too many messages in flight; a FIFO queue returns no messages then.
    pub(crate) fn receive(
        &mut self,
        wanted: &Receive,
        receive_count_max: Option<u32>,
        now: EpochMs,
    ) -> Result<Received, ApiError> {
        let visibility_s = wanted.visibility_s.unwrap_or(self.attributes.visibility_s);
        let until = now.saturating_add(EpochMs::from(visibility_s) * 1_000);
        let mut received = Received::default();
        if let Some(messages) = self.replay(wanted, until, now) {
            received.messages = messages;
            return Ok(received);
        }
        let mut receipts = Vec::new();
        while receipts.len() < wanted.messages_max
            && let Some(serial) = self.next(receipts.last().copied())
        {
            if self.in_flight.len() >= IN_FLIGHT_MAX {
                if receipts.is_empty() && !self.attributes.fifo {
                    return Err(ApiError::new(
                        ErrorKind::OverLimit,
                        "Too many messages in flight: 120000 is the maximum.",
                    ));
                }
                break;
            }
            let is_dead = |slot: &Slot| receive_count_max.is_some_and(|max| slot.receives_here >= max);
            if self.slots.get(&serial).is_none_or(is_dead) {
                received.dead.extend(self.remove(serial));
            } else {
                receipts.push(self.deliver(serial, until, now));
            }
        }
        received.messages = receipts.iter().filter_map(|receipt| self.delivered(*receipt)).collect();
        if let Some(id) = wanted.attempt_id.clone().filter(|_| self.attributes.fifo && !receipts.is_empty()) {
            self.attempts.put(id, receipts, now);
        }
        Ok(received)
    }

    /// Returns the messages of an earlier receive with the same attempt id, with a new visibility timeout. Returns
    /// `None` without such a receive, or if one of its messages was deleted, changed or became visible since. API
    /// ReceiveMessage.
    fn replay(&mut self, wanted: &Receive, until: EpochMs, now: EpochMs) -> Option<Vec<(Message, String)>> {
        let id = wanted.attempt_id.as_ref()?;
        let receipts = self.attempts.get(id, now)?.clone();
        let is_untouched = |receipt: &ReceiptHandle| {
            self.slots.get(&receipt.serial).is_some_and(|slot| {
                slot.receive == receipt.receive && matches!(slot.state, MessageState::InFlight { changed: false, .. })
            })
        };
        if !receipts.iter().all(is_untouched) {
            return None;
        }
        for receipt in &receipts {
            self.set_visible_at(receipt.serial, until, false);
        }
        Some(receipts.into_iter().filter_map(|receipt| self.delivered(receipt)).collect())
    }

    /// Returns the ready message to deliver next. A FIFO queue delivers as many as possible of the last group.
    fn next(&self, last: Option<ReceiptHandle>) -> Option<u64> {
        match &self.order {
            Order::Standard(ready) => ready.first().map(|(_, serial)| *serial),
            Order::Fifo(groups) => {
                let same_group = last.and_then(|last| {
                    let group = group_of(&self.slots.get(&last.serial)?.message);
                    groups.next_ready(&group, last.serial)
                });
                same_group.or_else(|| groups.first_eligible())
            }
        }
    }

    fn deliver(&mut self, serial: u64, until: EpochMs, now: EpochMs) -> ReceiptHandle {
        self.receives += 1;
        if let Some(slot) = self.slots.get_mut(&serial) {
            match (&mut self.order, slot.state) {
                (Order::Standard(ready), MessageState::Ready { since }) => {
                    ready.remove(&(since, serial));
                }
                (Order::Fifo(groups), _) => groups.set(&group_of(&slot.message), serial, false),
                _ => {}
            }
            slot.state = MessageState::InFlight { until, received_at: now, changed: false };
            slot.receives_here += 1;
            slot.receive = self.receives;
            slot.message.receive_count += 1;
            slot.message.first_received_at.get_or_insert(now);
            self.in_flight.insert((until, serial));
        }
        ReceiptHandle { queue: self.instance, serial, receive: self.receives }
    }

    fn delivered(&self, receipt: ReceiptHandle) -> Option<(Message, String)> {
        Some((self.slots.get(&receipt.serial)?.message.clone(), receipt.encode()))
    }

    /// Deletes the message received with this handle. Returns `None` if it no longer exists or was received again
    /// since: on a standard queue an old handle succeeds without effect.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid` if the handle is not from this queue; `InvalidParameterValue` on a FIFO queue after the
    /// visibility timeout.
    pub(crate) fn delete(&mut self, handle: &str) -> Result<Option<Message>, ApiError> {
        let receipt = ReceiptHandle::decode(handle, self.instance)?;
        let Some(slot) = self.slots.get(&receipt.serial) else { return Ok(None) };
        let is_newest = slot.receive == receipt.receive;
        let is_in_flight = matches!(slot.state, MessageState::InFlight { .. });
        if self.attributes.fifo && !(is_newest && is_in_flight) {
            return Err(bad_handle(handle, "The receipt handle has expired."));
        }
        let was_full = self.in_flight.len() >= IN_FLIGHT_MAX;
        let deleted = if is_newest { self.remove(receipt.serial) } else { None };
        // Of a standard queue, other messages were ready before, unless too many were in flight.
        if self.attributes.fifo || was_full {
            self.changed.notify_waiters();
        }
        Ok(deleted)
    }

    /// Makes the message received with this handle visible `timeout_s` from now.
    ///
    /// On a standard queue an older handle of a message in flight works too, and the call succeeds without effect
    /// (`None`) after the visibility timeout; both are recorded on AWS.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid`, or `InvalidParameterValue` if the message no longer exists or the timeout ends
    /// more than 12 hours after the receive; on a FIFO queue also if it was received again, and `MessageNotInflight` if
    /// it is visible.
    pub(crate) fn change_visibility(
        &mut self,
        handle: &str,
        timeout_s: u32,
        now: EpochMs,
    ) -> Result<Option<Message>, ApiError> {
        let receipt = ReceiptHandle::decode(handle, self.instance)?;
        let fifo = self.attributes.fifo;
        let works = |slot: &&Slot| !fifo || slot.receive == receipt.receive;
        let slot = self.slots.get(&receipt.serial).filter(works).ok_or_else(|| {
            bad_handle(handle, "Message does not exist or is not available for visibility timeout change.")
        })?;
        let MessageState::InFlight { received_at, .. } = slot.state else {
            if fifo {
                return Err(ApiError::new(ErrorKind::MessageNotInflight, "The specified message isn't in flight."));
            }
            return Ok(None);
        };
        let until = now.saturating_add(EpochMs::from(timeout_s) * 1_000);
        if until > received_at.saturating_add(EpochMs::from(*VISIBILITY_S.end()) * 1_000) {
            return Err(ApiError::invalid_parameter(format!(
                "Value {timeout_s} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message \
                 is beyond the limit [{} seconds]",
                VISIBILITY_S.end()
            )));
        }
        let message = slot.message.clone();
        self.set_visible_at(receipt.serial, until, true);
        if timeout_s == 0 {
            self.make_ready(receipt.serial, now);
        }
        self.changed.notify_waiters();
        Ok(Some(message))
    }

    /// Removes every message, all deduplication ids and all receive attempts.
    pub(crate) fn clear(&mut self) -> Vec<Message> {
        self.sent_before = Window::default();
        self.attempts = Window::default();
        let mut serials: Vec<u64> = self.slots.keys().copied().collect();
        serials.sort_unstable();
        serials.into_iter().filter_map(|serial| self.remove(serial)).collect()
    }

    /// Removes the next ready message, for a message move task.
    pub(crate) fn take_next(&mut self) -> Option<Message> {
        let serial = self.next(None)?;
        self.remove(serial)
    }

    /// Returns the next ready message without removing it.
    pub(crate) fn peek_next(&self) -> Option<&Message> {
        Some(&self.slots.get(&self.next(None)?)?.message)
    }

    /// Applies a FIFO queue's changed delay to the messages that are waiting. API SetQueueAttributes.
    pub(crate) fn retime_delayed(&mut self) {
        let delay_ms = EpochMs::from(self.attributes.delay_s) * 1_000;
        if self.attributes.fifo {
            for (_, serial) in std::mem::take(&mut self.delayed) {
                let Some(slot) = self.slots.get_mut(&serial) else { continue };
                let until = slot.message.sent_at.saturating_add(delay_ms);
                slot.state = MessageState::Delayed { until };
                self.delayed.insert((until, serial));
            }
        }
        self.changed.notify_waiters();
    }

    fn set_visible_at(&mut self, serial: u64, until: EpochMs, changed: bool) {
        let Some(slot) = self.slots.get_mut(&serial) else { return };
        if let MessageState::InFlight { until: old, received_at, .. } = slot.state {
            self.in_flight.remove(&(old, serial));
            self.in_flight.insert((until, serial));
            slot.state = MessageState::InFlight { until, received_at, changed };
        }
    }

    fn make_ready(&mut self, serial: u64, since: EpochMs) {
        let Some(slot) = self.slots.get_mut(&serial) else { return };
        match slot.state {
            MessageState::Ready { .. } => return,
            MessageState::Delayed { until } => self.delayed.remove(&(until, serial)),
            MessageState::InFlight { until, .. } => self.in_flight.remove(&(until, serial)),
        };
        match &mut self.order {
            Order::Standard(ready) => {
                ready.insert((since, serial));
            }
            Order::Fifo(groups) => groups.set(&group_of(&slot.message), serial, true),
        }
        slot.state = MessageState::Ready { since };
    }

    /// Removes a message in any state.
    fn remove(&mut self, serial: u64) -> Option<Message> {
        let Slot { message, state, .. } = self.slots.remove(&serial)?;
        self.by_age.remove(&(message.sent_at, serial));
        match state {
            MessageState::Delayed { until } => self.delayed.remove(&(until, serial)),
            MessageState::InFlight { until, .. } => self.in_flight.remove(&(until, serial)),
            MessageState::Ready { .. } => true,
        };
        match (&mut self.order, state) {
            (Order::Standard(ready), MessageState::Ready { since }) => {
                ready.remove(&(since, serial));
            }
            (Order::Standard(_), _) => {}
            (Order::Fifo(groups), _) => groups.remove(&group_of(&message), serial),
        }
        Some(message)
    }
}

fn due(set: &BTreeSet<(EpochMs, u64)>, now: EpochMs) -> Vec<(EpochMs, u64)> {
    set.range(..=(now, u64::MAX)).copied().collect()
}

/// Returns the group of a message in a FIFO queue, which the engine requires.
fn group_of(message: &Message) -> Arc<str> {
    message.group.clone().unwrap_or_default()
}

fn bad_handle(handle: &str, reason: &str) -> ApiError {
    ApiError::invalid_parameter(format!("Value {handle} for parameter ReceiptHandle is invalid. Reason: {reason}"))
}
