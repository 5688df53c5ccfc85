//! [`PendingConfirms`]: the published and not yet confirmed messages of one channel, and the result of each.
//!
//! lapin matches confirms by delivery tag, but attaches a returned message to the confirm that it completes next, and
//! one acknowledgement of several messages completes them in any order (lapin 4.12.3, `acknowledgement.rs`). With
//! several messages pending, a return can therefore reach the wrong message, and the returned message would count as
//! stored.
//!
//! RabbitMQ sends the return before the acknowledgement (<https://www.rabbitmq.com/docs/confirms>), so the confirm that
//! carries a return completes before, or together with, the confirm of the returned message. Results are concluded in
//! two steps: first every completed confirm is taken, then each return is assigned to its own message by exchange,
//! routing key and message id. When a confirm carries the return of another message, its own return may be attached to
//! a confirm that is not complete yet. Such a confirm is held until the broker has answered a later request: the broker
//! answers in order, so the missing return has arrived by then.
//!
//! A message may be pending twice, if its first sender has not waited for the confirm. A return then names both, and
//! the queue may have been bound between them. Both are held as well, and count as returned only if there is a return
//! for each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::oneshot;

/// The result of one published message.
#[derive(Debug)]
pub(crate) enum ConfirmResult {
    /// The broker stored the message on a queue.
    Stored,
    /// No queue is bound for the message; holds the broker's reply text.
    Returned(String),
    /// The broker returned this message or another pending one with its key; holds the reply text.
    MaybeReturned(String),
    /// The broker rejected the message.
    Nacked,
    /// The channel or the connection ended before the confirm. `sent` is true if a part of the message may have been
    /// written: the broker may read and store bytes that the socket took even after the connection ended.
    Lost { error: Option<lapin::Error>, sent: bool },
    /// The broker blocks publishers for this reason. `sent` as for [`Self::Lost`]: written messages are stored once the
    /// broker unblocks.
    Blocked { reason: String, sent: bool },
}

/// One message to publish, and the channel for its result.
pub(crate) struct PublishRequest {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
    pub(crate) result: oneshot::Sender<ConfirmResult>,
}

/// The pending messages of one channel.
#[derive(Default)]
pub(crate) struct PendingConfirms {
    confirms: FuturesUnordered<BoxFuture<'static, (u64, End)>>,
    open: HashMap<u64, Pending>,
    /// Publishes that ended and whose result is not reported until [`Self::release`].
    held: Vec<(u64, End)>,
    published: u64,
    wake_flag: Arc<WakeFlag>,
}

struct Pending {
    key: MessageKey,
    body_bytes: usize,
    returned: Option<Returned>,
    /// `None` once a result was reported before the publish ended.
    result: Option<oneshot::Sender<ConfirmResult>>,
}

/// The returns that name a pending message.
struct Returned {
    reason: String,
    count: usize,
    /// The number of pending messages that they name.
    named: usize,
}

impl Returned {
    /// Returns whether each message that is named was returned.
    fn is_certain(&self) -> bool {
        self.count >= self.named
    }
}

/// Identifies a returned message.
#[derive(PartialEq, Eq)]
struct MessageKey {
    exchange: ShortString,
    routing_key: ShortString,
    message_id: Option<ShortString>,
}

/// How a publish ended.
enum End {
    Unsent(lapin::Error),
    Unconfirmed(lapin::Error),
    Confirmed(Box<Confirmation>),
}

impl PendingConfirms {
    /// Returns whether no message is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.confirms.is_empty() && self.held.is_empty()
    }

    /// Returns the number of held messages.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Concludes the first `count` held messages, once the broker has answered a request sent after them.
    pub(crate) fn release(&mut self, count: usize) {
        for (id, end) in self.held.drain(..count.min(self.held.len())) {
            if let Some(pending) = self.open.remove(&id) {
                pending.conclude(end);
            }
        }
    }

    /// Returns the size of all pending bodies, in bytes.
    pub(crate) fn body_bytes(&self) -> usize {
        self.open.values().map(|pending| pending.body_bytes).sum()
    }

    /// Publishes a message. Delivery tags follow the order of these calls.
    pub(crate) fn publish(&mut self, channel: &Channel, request: PublishRequest) {
        let id = self.published;
        self.published += 1;
        let key = MessageKey {
            exchange: request.exchange.clone(),
            routing_key: request.routing_key.clone(),
            message_id: request.properties.message_id().clone(),
        };
        let body_bytes = request.body.len();
        let PublishRequest { exchange, routing_key, properties, body, result } = request;
        self.open.insert(id, Pending { key, body_bytes, returned: None, result: Some(result) });
        let channel = channel.clone();
        self.confirms.push(Box::pin(async move {
            let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let was_open = channel.status().connected();
            let confirm = match channel.basic_publish(exchange, routing_key, mandatory, &body, properties).await {
                Ok(confirm) => confirm,
                Err(error) if was_open => return (id, End::Unconfirmed(error)),
                Err(error) => return (id, End::Unsent(error)),
            };
            drop(body);
            match confirm.await {
                Ok(confirmation) => (id, End::Confirmed(Box::new(confirmation))),
                Err(error) => (id, End::Unconfirmed(error)),
            }
        }));
    }

    /// Waits until at least one publish has ended and reports each result. Never returns while no message is pending.
    pub(crate) async fn concluded(&mut self) {
        std::future::poll_fn(|context| self.poll_concluded(context)).await;
    }

    fn poll_concluded(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wake_flag.task.register(context.waker());
        let waker = Waker::from(Arc::clone(&self.wake_flag));
        let mut ended = Vec::new();
        loop {
            self.wake_flag.again.store(false, Ordering::SeqCst);
            match self.confirms.poll_next_unpin(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(end)) => ended.push(end),
                Poll::Ready(None) => break,
                // `FuturesUnordered` yields after many polls and sets the flag; a confirm that arrived meanwhile sets
                // it too.
                Poll::Pending if self.wake_flag.again.load(Ordering::SeqCst) => {}
                Poll::Pending => break,
            }
        }
        if ended.is_empty() {
            return Poll::Pending;
        }
        self.conclude(ended);
        Poll::Ready(())
    }

    /// Reports the results of publishes that ended, or holds them.
    fn conclude(&mut self, mut ended: Vec<(u64, End)>) {
        let mut carriers = HashSet::new();
        for (id, end) in &mut ended {
            if let End::Confirmed(confirmation) = end
                && let Confirmation::Ack(returned) | Confirmation::Nack(returned) = confirmation.as_mut()
                && let Some(returned) = returned.take()
                && !self.mark_returned(&returned, *id)
            {
                carriers.insert(*id);
            }
        }
        for (id, end) in ended {
            // All returns of this round are assigned, so a message that was itself returned is marked.
            let is_held = self.open.get(&id).is_some_and(|pending| match &pending.returned {
                Some(returned) => !returned.is_certain(),
                None => carriers.contains(&id),
            });
            if is_held {
                self.held.push((id, end));
            } else if let Some(pending) = self.open.remove(&id) {
                pending.conclude(end);
            }
        }
    }

    /// Marks the pending messages with the key of the returned one. Returns whether `carrier` is among them.
    fn mark_returned(&mut self, message: &BasicReturnMessage, carrier: u64) -> bool {
        let key = MessageKey {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            message_id: message.properties.message_id().clone(),
        };
        let named = self.open.values().filter(|pending| pending.key == key).count();
        let mut own = false;
        for (id, pending) in self.open.iter_mut().filter(|(_, pending)| pending.key == key) {
            let before = pending.returned.take();
            pending.returned = Some(Returned {
                reason: message.reply_text.to_string(),
                count: before.as_ref().map_or(0, |before| before.count) + 1,
                named: before.map_or(0, |before| before.named).max(named),
            });
            own |= *id == carrier;
        }
        own
    }

    /// Reports to every waiting caller that the broker blocks publishers. The messages stay pending, as they may be
    /// confirmed later.
    pub(crate) fn answer_blocked(&mut self, reason: &str) {
        for pending in self.open.values_mut() {
            pending.answer(ConfirmResult::Blocked { reason: reason.to_owned(), sent: true });
        }
    }

    /// Reports to every waiting caller that the connection was lost.
    pub(crate) fn answer_lost(&mut self) {
        for pending in self.open.values_mut() {
            pending.answer(ConfirmResult::Lost { error: None, sent: true });
        }
    }
}

impl Pending {
    fn conclude(mut self, end: End) {
        let result = match (end, self.returned.take()) {
            (End::Confirmed(_), Some(returned)) if returned.is_certain() => ConfirmResult::Returned(returned.reason),
            (End::Confirmed(confirmation), returned) => match (*confirmation, returned) {
                (Confirmation::Nack(_), _) => ConfirmResult::Nacked,
                (Confirmation::Ack(_), Some(returned)) => ConfirmResult::MaybeReturned(returned.reason),
                (Confirmation::Ack(_), None) => ConfirmResult::Stored,
                // Does not occur on a channel in confirm mode.
                (Confirmation::NotRequested, _) => ConfirmResult::Lost { error: None, sent: true },
            },
            (End::Unsent(error), _) => ConfirmResult::Lost { error: Some(error), sent: false },
            (End::Unconfirmed(error), _) => ConfirmResult::Lost { error: Some(error), sent: true },
        };
        self.answer(result);
    }

    fn answer(&mut self, result: ConfirmResult) {
        if let Some(sender) = self.result.take() {
            // The receiver is dropped when the caller's deadline has passed.
            let _ = sender.send(result);
        }
    }
}

/// Records that a confirm woke the task, and wakes it.
#[derive(Default)]
struct WakeFlag {
    again: AtomicBool,
    task: AtomicWaker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests;
