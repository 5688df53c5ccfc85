//! Events of messages, for observers of the queues.
//!
//! Observers receive events in order, after the engine's lock is released and before the call that caused them returns.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::message::Message;
use crate::message_attribute::texts;

/// One step of a message. `queue` is the name of its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are the same in every variant: queue, message id, body, receives so far.
pub enum QueueEvent {
    /// A producer sent it. A FIFO duplicate makes no event. `attributes` are its message attributes of type `String` or
    /// `Number`.
    Sent { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, attributes: BTreeMap<String, String> },
    /// A consumer received it; `receive_count` includes this receive.
    Received { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, receive_count: u32 },
    /// A consumer deleted it.
    Deleted { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, receive_count: u32 },
    /// A consumer changed its visibility timeout to `timeout_s` from now.
    VisibilityChanged { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, receive_count: u32, timeout_s: u32 },
    /// It reached `maxReceiveCount` and was moved from `queue` to the dead-letter queue `target`, with its id and
    /// count.
    DeadLettered { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, receive_count: u32, target: Arc<str> },
    /// A message move task moved it from `queue` to `target`, where it has the id `new_message_id`.
    Moved { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, target: Arc<str>, new_message_id: Arc<str> },
    /// Its retention period ended.
    Expired { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, receive_count: u32 },
    /// `PurgeQueue` or `DeleteQueue` removed it.
    Purged { queue: Arc<str>, message_id: Arc<str>, body: Arc<str>, receive_count: u32 },
}

impl QueueEvent {
    pub(crate) fn sent(queue: &Arc<str>, message: &Message) -> Self {
        let (queue, message_id, body, _) = parts(queue, message);
        Self::Sent { queue, message_id, body, attributes: texts(&message.attributes) }
    }

    pub(crate) fn received(queue: &Arc<str>, message: &Message) -> Self {
        let (queue, message_id, body, receive_count) = parts(queue, message);
        Self::Received { queue, message_id, body, receive_count }
    }

    pub(crate) fn deleted(queue: &Arc<str>, message: &Message) -> Self {
        let (queue, message_id, body, receive_count) = parts(queue, message);
        Self::Deleted { queue, message_id, body, receive_count }
    }

    pub(crate) fn visibility_changed(queue: &Arc<str>, message: &Message, timeout_s: u32) -> Self {
        let (queue, message_id, body, receive_count) = parts(queue, message);
        Self::VisibilityChanged { queue, message_id, body, receive_count, timeout_s }
    }

    pub(crate) fn dead_lettered(queue: &Arc<str>, message: &Message, target: &Arc<str>) -> Self {
        let (queue, message_id, body, receive_count) = parts(queue, message);
        Self::DeadLettered { queue, message_id, body, receive_count, target: target.clone() }
    }

    pub(crate) fn moved(queue: &Arc<str>, old_id: Arc<str>, target: &Arc<str>, message: &Message) -> Self {
        let (queue, new_message_id, body, _) = parts(queue, message);
        Self::Moved { queue, message_id: old_id, body, target: target.clone(), new_message_id }
    }

    pub(crate) fn expired(queue: &Arc<str>, message: &Message) -> Self {
        let (queue, message_id, body, receive_count) = parts(queue, message);
        Self::Expired { queue, message_id, body, receive_count }
    }

    pub(crate) fn purged(queue: &Arc<str>, message: &Message) -> Self {
        let (queue, message_id, body, receive_count) = parts(queue, message);
        Self::Purged { queue, message_id, body, receive_count }
    }
}

fn parts(queue: &Arc<str>, message: &Message) -> (Arc<str>, Arc<str>, Arc<str>, u32) {
    (queue.clone(), message.id.clone(), message.body.clone(), message.receive_count)
}
