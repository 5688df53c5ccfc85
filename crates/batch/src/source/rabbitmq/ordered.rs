//! [`OrderedQueues`]: the queues whose messages are handled in order, and the progress of batches that were returned.
//!
//! Lambda has no partial batch response for RabbitMQ, and a copy goes to the end of a queue, behind later messages. On
//! an ordered queue nothing is therefore published for a retry:
//!
//! - A message that failed is tried again in the same invocation after its delay; the later messages of its group wait.
//!   After the last of its receives it is dead-lettered, and the group goes on.
//! - If time runs out before a group has ended, the whole batch is returned, and comes again at once. The messages that
//!   were settled before are then not handled again, and the receives of the others continue.
//! - Messages of a returned batch are handled in their earlier order, before those that arrive for the first time: a
//!   quorum queue delivers returned messages in the order of their last delivery (seen on RabbitMQ 3.10.8), and a
//!   mapping may have fetched later messages before it returned the batch. The broker counts how often a message came
//!   back, and never counts more for a message than for an earlier one of the queue. Where it does not count, the order
//!   in the returned batches decides.
//!
//! What is known of earlier batches is kept in memory. In another execution environment settled messages are handled
//! again and failing ones get more tries, never fewer; their order is lost only where the broker does not count. A
//! mapping invokes one environment at a time (<https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>).
//!
//! The receive count does not include deliveries that RabbitMQ counted: those of a returned batch are not failures of
//! each of its messages.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Received;
use super::envelope;
use super::event::EventMessage;
use super::queue_header;

/// Messages with known progress; beyond that all of it is dropped. Twice the largest batch
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-mq-params.html>).
const MESSAGES_MAX: usize = 20_000;

/// The ordered queues of a function.
#[derive(Debug, Default)]
pub(super) struct OrderedQueues {
    names: Vec<String>,
    hasher: RandomState,
    progress: Mutex<Progress>,
}

/// What is known of the messages of returned batches.
#[derive(Debug, Default)]
struct Progress {
    /// By key; messages with the same key are in the order of their ranks.
    messages: HashMap<u64, Vec<Returned>>,
    next_rank: u64,
}

/// A message of a returned batch.
#[derive(Clone, Copy, Debug)]
struct Returned {
    rank: u64,
    settled: bool,
    failures: u32,
}

/// The place of a message in an ordered queue.
#[derive(Debug)]
pub(super) struct InOrder {
    /// Equal for redeliveries of a message, and for messages that cannot be distinguished.
    key: u64,
    /// The place among the messages of returned batches, if it was in one.
    rank: Option<u64>,
    /// The ordering group, from the event. Messages without one are a group together.
    pub(super) group: Option<String>,
    /// Whether it was settled before, in a batch that was returned.
    pub(super) settled: bool,
    /// Failures before the receive that is counted now.
    failures: AtomicU32,
}

impl InOrder {
    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl OrderedQueues {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Puts the messages of ordered queues in order, with what is known of each.
    pub(super) fn arrange(&self, received: &mut [Received]) {
        if self.names.is_empty() {
            return;
        }
        let progress = self.progress();
        let mut seen = HashMap::<u64, usize>::new();
        for received in received.iter_mut().filter(|received| self.names.contains(&received.message.queue.name)) {
            let message = &received.message;
            let id = message.properties.message_id().as_ref().map(|id| id.as_str());
            let key = self.hasher.hash_one((&message.queue.name, id, message.data.as_ref().ok()));
            let known = progress.messages.get(&key).filter(|_| message.redelivered).and_then(|known| {
                let before = seen.entry(key).or_default();
                *before += 1;
                known.get(*before - 1)
            });
            let group = envelope::envelope(message, &received.id).ok();
            received.in_order = Some(InOrder {
                key,
                rank: known.map(|known| known.rank),
                group: group.and_then(|envelope| envelope.group().map(str::to_owned)),
                settled: known.is_some_and(|known| known.settled),
                failures: known.map_or(0, |known| known.failures).into(),
            });
        }
        received.sort_by_cached_key(|received| {
            let rank = received.in_order.as_ref()?.rank;
            Some(match returns(&received.message) {
                // Each environment has ranks of its own; the counts are the broker's.
                returns @ (1.., _) => (Reverse(returns), u64::MAX),
                returns => (Reverse(returns), rank.unwrap_or(u64::MAX)),
            })
        });
    }

    /// Records the progress of a batch that is returned: whether each message was settled in it.
    pub(super) fn returned<'a>(&self, messages: impl Iterator<Item = (&'a InOrder, bool)>) {
        if self.names.is_empty() {
            return;
        }
        let mut progress = self.progress();
        if progress.messages.values().map(Vec::len).sum::<usize>() > MESSAGES_MAX {
            progress.messages.clear();
        }
        for (message, settled) in messages {
            let (settled, failures) = (settled || message.settled, message.failures());
            let rank = message.rank.unwrap_or(progress.next_rank);
            progress.next_rank = progress.next_rank.max(rank + 1);
            let known = progress.messages.entry(message.key).or_default();
            match known.iter_mut().find(|known| known.rank == rank) {
                Some(known) => *known = Returned { rank, settled, failures },
                None => known.push(Returned { rank, settled, failures }),
            }
        }
    }

    /// Forgets the messages of a batch that is acknowledged.
    pub(super) fn acknowledged<'a>(&self, messages: impl Iterator<Item = &'a InOrder>) {
        if self.names.is_empty() {
            return;
        }
        let mut progress = self.progress();
        for message in messages {
            if let (Some(rank), Entry::Occupied(mut known)) = (message.rank, progress.messages.entry(message.key)) {
                known.get_mut().retain(|known| known.rank != rank);
                if known.get().is_empty() {
                    known.remove();
                }
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how often a message came back to its queue, as far as the broker counts it, and whether it did at all. Since
/// RabbitMQ 4.3 `x-delivery-count` leaves out what was returned with `basic.nack`, and `x-acquired-count` has it.
/// <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>
fn returns(message: &EventMessage) -> (u32, bool) {
    if !message.redelivered {
        return (0, false);
    }
    let count = |name| message.header(name).and_then(queue_header::count);
    (count("x-acquired-count").or_else(|| count("x-delivery-count")).unwrap_or_default(), true)
}
