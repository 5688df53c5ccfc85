//! [`Flights`]: the messages of one channel that are published and not yet confirmed, and what becomes of each.
//!
//! The library matches confirms by delivery tag, but gives a returned message to whichever confirm it completes next, and one
//! acknowledgement of several completes them in no order (lapin 4.12.3, `acknowledgement.rs`): with several messages in
//! flight, the wrong one would be told that it was returned, and the returned one that it is stored. RabbitMQ sends the return
//! before the acknowledgement (<https://www.rabbitmq.com/docs/confirms>), so whichever confirm carries it is complete before, or
//! together with, that of the returned message. Hence two steps: take every confirm that is complete, until there is none
//! left; give each returned message to its own flight, found by exchange, routing key and message id; and only then conclude.
//! A confirm that carries another's return may have left its own to the next one, which may not be complete yet: it is held
//! until the broker's answer to a question asked afterwards proves that whatever came before has been told.

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

/// What became of one published message.
#[derive(Debug)]
pub(crate) enum Landing {
    /// The broker has it on a queue.
    Stored,
    /// It fits no queue, as the broker says in these words.
    Returned(String),
    /// The broker did not take it.
    Nacked,
    /// The channel or the connection ended before it was confirmed; `sent`: some of it may have been written. What the socket
    /// took, the broker may read and store even after the connection ended.
    Lost { error: Option<lapin::Error>, sent: bool },
    /// The broker takes no messages, for this reason; `sent` as above. What was written is stored once it takes messages again.
    Blocked { reason: String, sent: bool },
}

/// One message to publish, and who waits for it.
pub(crate) struct Job {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
    pub(crate) landed: oneshot::Sender<Landing>,
}

/// Every message in flight on one channel.
#[derive(Default)]
pub(crate) struct Flights {
    confirms: FuturesUnordered<BoxFuture<'static, (u64, End)>>,
    open: HashMap<u64, Flight>,
    /// Ended, and not concluded yet.
    held: Vec<(u64, End)>,
    launched: u64,
    stirred: Arc<Stirred>,
}

struct Flight {
    ticket: Ticket,
    body_bytes: usize,
    returned: Option<String>,
    /// Taken when an answer was given before the end.
    landed: Option<oneshot::Sender<Landing>>,
}

/// What a returned message is recognised by. Two in flight with one ticket count as returned together, since they go the same way.
#[derive(PartialEq, Eq)]
struct Ticket {
    exchange: ShortString,
    routing_key: ShortString,
    message_id: Option<ShortString>,
}

enum End {
    Unsent(lapin::Error),
    Unconfirmed(lapin::Error),
    Confirmed(Box<Confirmation>),
}

impl Flights {
    /// Whether none is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.confirms.is_empty() && self.held.is_empty()
    }

    /// How many are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Concludes the first `count` that are held: everything that came before they did has been told.
    pub(crate) fn release(&mut self, count: usize) {
        for (id, end) in self.held.drain(..count.min(self.held.len())) {
            if let Some(flight) = self.open.remove(&id) {
                flight.land(end);
            }
        }
    }

    /// The bytes of all bodies in flight.
    pub(crate) fn body_bytes(&self) -> usize {
        self.open.values().map(|flight| flight.body_bytes).sum()
    }

    /// Publishes one more. Messages get their delivery tags in the order of these calls.
    pub(crate) fn launch(&mut self, channel: &Channel, job: Job) {
        let id = self.launched;
        self.launched += 1;
        let ticket = Ticket {
            exchange: job.exchange.clone(),
            routing_key: job.routing_key.clone(),
            message_id: job.properties.message_id().clone(),
        };
        let body_bytes = job.body.len();
        let Job { exchange, routing_key, properties, body, landed } = job;
        let landed = Some(landed);
        self.open.insert(id, Flight { ticket, body_bytes, returned: None, landed });
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

    /// Waits until some have ended, and tells each who waits for it; pending for ever when none is in flight.
    pub(crate) async fn landed(&mut self) {
        std::future::poll_fn(|context| self.poll_landed(context)).await;
    }

    fn poll_landed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stirred.task.register(context.waker());
        let waker = Waker::from(Arc::clone(&self.stirred));
        let mut ended = Vec::new();
        loop {
            self.stirred.again.store(false, Ordering::SeqCst);
            match self.confirms.poll_next_unpin(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(end)) => ended.push(end),
                Poll::Ready(None) => break,
                // It may stop early out of politeness; it stirs us then, as a confirm does that came meanwhile.
                Poll::Pending if self.stirred.again.load(Ordering::SeqCst) => {}
                Poll::Pending => break,
            }
        }
        if ended.is_empty() {
            return Poll::Pending;
        }
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
            // One that is returned itself is known by now.
            let is_known = self.open.get(&id).is_none_or(|flight| flight.returned.is_some());
            if carriers.contains(&id) && !is_known {
                self.held.push((id, end));
            } else if let Some(flight) = self.open.remove(&id) {
                flight.land(end);
            }
        }
        Poll::Ready(())
    }

    /// Tells the flights of the message; answers whether `carrier` is one of them.
    fn mark_returned(&mut self, message: &BasicReturnMessage, carrier: u64) -> bool {
        let ticket = Ticket {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            message_id: message.properties.message_id().clone(),
        };
        let mut own = false;
        for (id, flight) in self.open.iter_mut().filter(|(_, flight)| flight.ticket == ticket) {
            flight.returned = Some(message.reply_text.to_string());
            own |= *id == carrier;
        }
        own
    }

    /// Tells everybody who waits that the broker takes no messages. The flights go on: what was sent may be confirmed one day.
    pub(crate) fn answer_blocked(&mut self, reason: &str) {
        for flight in self.open.values_mut() {
            flight.answer(Landing::Blocked { reason: reason.to_owned(), sent: true });
        }
    }

    /// Tells everybody who waits that the connection was given up.
    pub(crate) fn answer_lost(&mut self) {
        for flight in self.open.values_mut() {
            flight.answer(Landing::Lost { error: None, sent: true });
        }
    }
}

impl Flight {
    fn land(mut self, end: End) {
        let landing = match (end, self.returned.take()) {
            (End::Confirmed(_), Some(reason)) => Landing::Returned(reason),
            (End::Confirmed(confirmation), None) => match *confirmation {
                Confirmation::Ack(_) => Landing::Stored,
                Confirmation::Nack(_) => Landing::Nacked,
                // Cannot be on a channel in confirm mode.
                Confirmation::NotRequested => Landing::Lost { error: None, sent: true },
            },
            (End::Unsent(error), _) => Landing::Lost { error: Some(error), sent: false },
            (End::Unconfirmed(error), _) => Landing::Lost { error: Some(error), sent: true },
        };
        self.answer(landing);
    }

    fn answer(&mut self, landing: Landing) {
        if let Some(landed) = self.landed.take() {
            // Whoever waited may have given up at his deadline.
            let _ = landed.send(landing);
        }
    }
}

/// Remembers that a confirm stirred, and wakes the task.
#[derive(Default)]
struct Stirred {
    again: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}
