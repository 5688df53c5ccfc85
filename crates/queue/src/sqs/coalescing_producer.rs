//! [`CoalescingProducer`]: sends the messages of concurrent callers to one queue in common calls.
//!
//! A caller that is alone sends at once, as [`SqsProducer`] does. The messages of callers that come while a call is in
//! progress wait: until that call ends, until they are a full batch, or for [`COALESCE_DELAY_MAX`]. Then one
//! SendMessageBatch sends them all, and each caller gets the result of its own message.
//!
//! A caller returns at its own deadline. Its message is withdrawn if no call has it by then, and the others in a call
//! are not affected. A call that SQS refuses as a whole is repeated with a call for each message, so that one message
//! cannot decide over the others.
//!
//! The messages of a FIFO group are in one call at a time, in the order of their callers.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::batch_entry::BATCH_ENTRIES_MAX;
use super::producer::{Fitting, SqsProducer};
use super::send_message::SendMessage;
use super::send_message_batch::BATCH_BYTES_MAX;
use crate::{Destination, Message, Producer, Receipt, SendError};

/// Longest time that a message waits for others: half of the 10 ms that a call of SQS is assumed to take within a
/// Region (docs/performance.md). A caller with less than 10 ms left waits for half of that. A message of a FIFO group
/// also waits while an earlier one of its group is being sent.
pub const COALESCE_DELAY_MAX: Duration = Duration::from_millis(5);

/// A producer for one queue whose callers are concurrent. [`Producer::send_all`] does not wait for other callers.
#[derive(Clone)]
pub struct CoalescingProducer(Arc<Coalescer<SqsProducer>>);

impl fmt::Debug for CoalescingProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoalescingProducer").field(&self.0.calls).finish()
    }
}

impl CoalescingProducer {
    /// Creates a producer that sends through another.
    #[must_use]
    pub fn new(producer: SqsProducer) -> Self {
        Self(Arc::new(Coalescer { calls: producer, state: Mutex::default() }))
    }
}

impl Producer for CoalescingProducer {
    fn destination(&self) -> Option<Destination<'_>> {
        self.0.calls.destination()
    }

    fn check(&self, message: &Message<'_>) -> Result<(), SendError> {
        self.0.calls.check(message)
    }

    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let producer = &self.0.calls;
        let sent = match producer.fit(message) {
            Ok(fitting) => {
                let trace_header = message.trace_header.map(str::to_owned);
                let group = fitting.group.clone().filter(|_| producer.fifo);
                self.0.send(Outgoing { fitting, trace_header }, group, deadline).await
            }
            Err(error) => Err(error),
        };
        let sent = sent.map(|broker_id| Receipt { id: message.envelope.id().to_owned(), broker_id });
        #[cfg(feature = "s3")]
        if let Some(payloads) = producer.payloads_after(&sent, message) {
            return Box::pin(producer.send_pointer(message, payloads, deadline)).await;
        }
        sent
    }

    async fn send_all(&self, messages: &[Message<'_>], deadline: Instant) -> Vec<Result<Receipt, SendError>> {
        self.0.calls.send_all(messages, deadline).await
    }
}

/// A message that fits SQS, with its trace header.
struct Outgoing {
    fitting: Fitting,
    trace_header: Option<String>,
}

impl Outgoing {
    fn raw<'m>(&'m self, producer: &'m SqsProducer) -> SendMessage<'m> {
        producer.raw(&self.fitting, self.trace_header.as_deref())
    }
}

/// What SQS assigned to a message, or what the caller may conclude.
type Sent = Result<String, SendError>;

/// The calls of one queue.
trait Calls: Send + Sync + 'static {
    type Message: Send + Sync;

    /// Returns the bytes of a message that count towards those of its batch.
    fn bytes(message: &Self::Message) -> usize;

    /// Sends messages within the limits of a batch, in order. Returns the result of each.
    fn send(&self, messages: &[Self::Message], deadline: Instant) -> impl Future<Output = Vec<Sent>> + Send;
}

impl Calls for SqsProducer {
    type Message = Outgoing;

    fn bytes(message: &Outgoing) -> usize {
        message.fitting.body.len()
    }

    async fn send(&self, messages: &[Outgoing], deadline: Instant) -> Vec<Sent> {
        if messages.len() > 1 {
            let trace_header = messages.iter().find_map(|message| message.trace_header.as_deref());
            let batch: Vec<_> = messages.iter().map(|message| message.raw(self)).collect();
            match self.client.send_batch(&batch, trace_header, deadline).await {
                Ok(sent) => return sent,
                Err(SendError::Refused { .. } | SendError::TooLarge { .. }) => {}
                Err(error) => return messages.iter().map(|_| Err(error.clone())).collect(),
            }
        }
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            sent.push(self.client.send(&message.raw(self), message.trace_header.as_deref(), deadline).await);
        }
        sent
    }
}

/// Joins the messages of concurrent callers into calls.
struct Coalescer<C: Calls> {
    calls: C,
    state: Mutex<State<C::Message>>,
}

impl<C: Calls> Coalescer<C> {
    /// Sends a message of a FIFO group, or of none, alone or with those of other callers.
    async fn send(self: &Arc<Self>, message: C::Message, group: Option<String>, deadline: Instant) -> Sent {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
        }
        let entered = self.state().enter(message, group, deadline);
        let (number, mut result) = match entered {
            Entered::Waits(number, result) => (number, result),
            Entered::Alone(message, groups) => {
                let _call = Call { coalescer: Arc::clone(self), groups };
                let sent = self.calls.send(&[message], deadline).await;
                return sent.into_iter().next().unwrap_or_else(no_result);
            }
        };
        self.send_waiting(false);
        if let Ok(sent) = timeout(COALESCE_DELAY_MAX.min(left / 2), &mut result).await {
            return sent.unwrap_or_else(|_| no_result());
        }
        // Those that came after its call do not wait less for it.
        if self.state().is_waiting(number) {
            self.send_waiting(true);
        }
        match timeout_at(deadline, result).await {
            Ok(sent) => sent.unwrap_or_else(|_| no_result()),
            Err(_) if self.state().withdraw(number) => {
                Err(SendError::NotSent { reason: "not sent before the deadline".to_owned() })
            }
            Err(_) => Err(SendError::Unknown { reason: "no answer before the deadline".to_owned() }),
        }
    }

    /// Starts a call for each full batch that waits, and for all that wait if they are `due`.
    fn send_waiting(self: &Arc<Self>, due: bool) {
        // Without a runtime, the callers are gone as well.
        let Ok(runtime) = Handle::try_current() else { return };
        loop {
            let Some(batch) = self.state().take(due, C::bytes) else { return };
            runtime.spawn(Arc::clone(self).send_batch(batch));
        }
    }

    async fn send_batch(self: Arc<Self>, batch: Vec<Waiting<C::Message>>) {
        let mut groups = Vec::with_capacity(batch.len());
        let (mut messages, mut results) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut deadline = Instant::now();
        for waiting in batch {
            groups.extend(waiting.group);
            messages.push(waiting.message);
            results.push(waiting.result);
            // The last one; each caller keeps to its own.
            deadline = deadline.max(waiting.deadline);
        }
        let _call = Call { coalescer: Arc::clone(&self), groups };
        for (result, sent) in results.into_iter().zip(self.calls.send(&messages, deadline).await) {
            // Fails if the caller has returned at its deadline.
            let _ = result.send(sent);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C::Message>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_result() -> Sent {
    Err(SendError::Unknown { reason: "the call ended without a result".to_owned() })
}

/// A call in progress. Its end sends what waits.
struct Call<C: Calls> {
    coalescer: Arc<Coalescer<C>>,
    /// The FIFO groups of its messages.
    groups: Vec<String>,
}

impl<C: Calls> Drop for Call<C> {
    fn drop(&mut self) {
        self.coalescer.state().end(&self.groups);
        self.coalescer.send_waiting(true);
    }
}

/// A message that no call has yet.
struct Waiting<M> {
    number: u64,
    message: M,
    group: Option<String>,
    deadline: Instant,
    result: oneshot::Sender<Sent>,
}

/// What becomes of a message.
enum Entered<M> {
    /// Its caller sends it. It has these FIFO groups: one, or none.
    Alone(M, Vec<String>),
    /// It has a number, and its result comes later.
    Waits(u64, oneshot::Receiver<Sent>),
}

/// The calls in progress, and the messages that wait for one, in the order of their callers.
struct State<M> {
    calls: usize,
    /// The FIFO groups of the messages in calls.
    groups: HashSet<String>,
    waiting: VecDeque<Waiting<M>>,
    entered: u64,
}

impl<M> Default for State<M> {
    fn default() -> Self {
        Self { calls: 0, groups: HashSet::new(), waiting: VecDeque::new(), entered: 0 }
    }
}

impl<M> State<M> {
    fn start(&mut self, groups: &[String]) {
        self.calls += 1;
        self.groups.extend(groups.iter().cloned());
    }

    fn end(&mut self, groups: &[String]) {
        self.calls -= 1;
        for group in groups {
            self.groups.remove(group);
        }
    }

    /// Starts a call with a message that is alone, and adds any other to those that wait.
    fn enter(&mut self, message: M, group: Option<String>, deadline: Instant) -> Entered<M> {
        if self.calls == 0 && self.waiting.is_empty() {
            let groups = Vec::from_iter(group);
            self.start(&groups);
            return Entered::Alone(message, groups);
        }
        let (result, receiver) = oneshot::channel();
        self.entered += 1;
        self.waiting.push_back(Waiting { number: self.entered, message, group, deadline, result });
        Entered::Waits(self.entered, receiver)
    }

    /// Returns whether no call has the message with this number.
    fn is_waiting(&self, number: u64) -> bool {
        self.waiting.iter().any(|waiting| waiting.number == number)
    }

    /// Removes a message; returns whether no call had it.
    fn withdraw(&mut self, number: u64) -> bool {
        let is_waiting = self.is_waiting(number);
        self.waiting.retain(|waiting| waiting.number != number);
        is_waiting
    }

    /// Starts a call with the messages that wait the longest: those of a full batch, or all if they are `due`. Leaves
    /// out those of FIFO groups that a call has.
    fn take(&mut self, due: bool, bytes_of: impl Fn(&M) -> usize) -> Option<Vec<Waiting<M>>> {
        self.waiting.retain(|waiting| !waiting.result.is_closed());
        let (mut positions, mut bytes, mut is_full) = (Vec::new(), 0, false);
        for (position, waiting) in self.waiting.iter().enumerate() {
            if waiting.group.as_ref().is_some_and(|group| self.groups.contains(group)) {
                continue;
            }
            bytes += bytes_of(&waiting.message);
            is_full = positions.len() == BATCH_ENTRIES_MAX || (bytes > BATCH_BYTES_MAX && !positions.is_empty());
            if is_full {
                break;
            }
            positions.push(position);
            is_full = positions.len() == BATCH_ENTRIES_MAX;
        }
        if positions.is_empty() || !(due || is_full) {
            return None;
        }
        let mut batch: Vec<_> = positions.iter().rev().filter_map(|position| self.waiting.remove(*position)).collect();
        batch.reverse();
        let groups: Vec<_> = batch.iter().filter_map(|waiting| waiting.group.clone()).collect();
        self.start(&groups);
        Some(batch)
    }
}

#[cfg(test)]
mod tests;
