//! Stage 5: the broker's [`Receipt`] for an envelope, if the breakers of its queues permit it to be sent.
//!
//! Only a receipt is a success. Any other outcome, including a timeout, is answered with 503, and the client may repeat
//! the request.

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use sluicegate_contract::Operation;
use sluicegate_envelope::Envelope;
use sluicegate_queue::{
    Message, Producer, Receipt, SendError,
    breaker::{Breaker, Permit},
};
use tokio::time::Instant;

use crate::{
    breaker::{LIMITS, Verdict},
    limit::whole_s,
    rejection::{Code, Destination, Destinations, IsStored, Rejection, UNAVAILABLE_RETRY_AFTER_S},
    request_record::RequestRecord,
};

/// How the messages of a request are sent.
pub(crate) struct SendOptions<'a> {
    pub(crate) delay: Duration,
    /// See [`Message::trace_header`].
    pub(crate) trace_header: Option<&'a str>,
    /// See [`Message::may_be_pointer`].
    pub(crate) may_be_pointer: bool,
    /// When the broker must have answered.
    pub(crate) deadline: Instant,
}

impl<'a> SendOptions<'a> {
    fn message(&self, envelope: &'a Envelope) -> Message<'a> {
        let &Self { delay, trace_header, may_be_pointer, .. } = self;
        Message { envelope, group: envelope.group(), delay, trace_header, may_be_pointer }
    }
}

/// The queues of a contract by their logical names.
pub(crate) struct Queues<P>(BTreeMap<String, (P, Breaker)>);

impl<P: Producer> Queues<P> {
    /// Returns the queues of these producers.
    pub(crate) fn new(producers: BTreeMap<String, P>) -> Self {
        Self(producers.into_iter().map(|(name, producer)| (name, (producer, Breaker::new(LIMITS)))).collect())
    }

    /// Returns the sends of a message to its queue and to those of its copies, if the breaker of each permits it.
    ///
    /// # Errors
    /// 503 while the breaker of one of them is open, 500 for a queue without a binding.
    pub(crate) fn permit<'q>(
        &'q self,
        queue: &'q str,
        operation: &'q Operation,
    ) -> Result<PermittedSends<'q, P>, Rejection> {
        let first = self.permit_one(queue)?;
        let copies = operation.enqueue.copies.iter().map(|copy| self.permit_one(copy)).collect::<Result<_, _>>()?;
        Ok(PermittedSends { first, copies })
    }

    /// Sends the envelopes of a batch to the queue and to those of its copies, if the breaker of each permits it, and
    /// waits for the confirms; returns the result of each item.
    pub(crate) async fn send_all(
        &self,
        queue: &str,
        operation: &Operation,
        items: Vec<Result<Envelope, Rejection>>,
        options: &SendOptions<'_>,
        record: &mut RequestRecord,
    ) -> Vec<Result<Receipt, Rejection>> {
        let envelopes: Vec<_> = items.iter().filter_map(|item| item.as_ref().ok()).collect();
        let sent = match self.permit(queue, operation) {
            _ if envelopes.is_empty() => Vec::new(),
            Ok(permitted) => permitted.send_all(&envelopes, options, record).await,
            Err(rejection) => vec![Err(rejection); envelopes.len()],
        };
        let mut sent = sent.into_iter();
        items
            .into_iter()
            .map(|item| item.and_then(|envelope| sent.next().unwrap_or_else(|| missing(&envelope))))
            .collect()
    }

    fn permit_one<'q>(&'q self, queue: &'q str) -> Result<PermittedSend<'q, P>, Rejection> {
        let Some((producer, breaker)) = self.0.get(queue) else {
            let rejection = Rejection::new(Code::Internal, "This route has no queue.");
            return Err(rejection.log(format!("queue {queue} is not bound")));
        };
        let permit = breaker.permit().map_err(|rest| refused(queue, rest))?;
        Ok(PermittedSend { queue, producer, permit })
    }
}

/// The permitted sends of a message to its queue and to those of its copies.
pub(crate) struct PermittedSends<'q, P> {
    first: PermittedSend<'q, P>,
    copies: Vec<PermittedSend<'q, P>>,
}

impl<P: Producer> PermittedSends<'_, P> {
    /// Sends the envelope to each queue, one after another, and waits for the confirms of the brokers.
    ///
    /// # Errors
    /// 503 with Retry-After without a confirm, or 413 if the message exceeds the limit of a queue. The rejection has
    /// the id of the message if a queue may have it.
    pub(crate) async fn send(
        self,
        envelope: &Envelope,
        options: &SendOptions<'_>,
        record: &mut RequestRecord,
    ) -> Result<Receipt, Rejection> {
        check_copies(&self.copies, envelope, options)?;
        let queue = self.first.queue;
        let receipt = self.first.send(envelope, options, record).await?;
        if !self.copies.is_empty() {
            // In a box, because the future of every other request would have room for it.
            Box::pin(send_copies(queue, self.copies, envelope, options, record)).await?;
        }
        Ok(receipt)
    }

    /// Sends the envelopes to each queue, one queue after another, and waits for the confirms of the brokers; returns
    /// the result of each.
    async fn send_all(
        self,
        envelopes: &[&Envelope],
        options: &SendOptions<'_>,
        record: &mut RequestRecord,
    ) -> Vec<Result<Receipt, Rejection>> {
        if self.copies.is_empty() {
            return self.first.send_all(envelopes, options, record).await;
        }
        let queue = self.first.queue;
        let check = |envelope: &&Envelope| check_copies(&self.copies, envelope, options);
        let checked: Vec<_> = envelopes.iter().map(check).collect();
        let sent = envelopes.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        let sent: Vec<_> = sent.map(|(envelope, _)| *envelope).collect();
        let mut results = Vec::new();
        if !sent.is_empty() {
            results = self.first.send_all(&sent, options, record).await;
            Box::pin(send_all_copies(queue, self.copies, &sent, &mut results, options, record)).await;
        }
        let mut results = results.into_iter();
        let result = |(envelope, checked): (&&Envelope, Result<(), Rejection>)| {
            checked.and_then(|()| results.next().unwrap_or_else(|| missing(envelope)))
        };
        envelopes.iter().zip(checked).map(result).collect()
    }
}

/// A permitted send to one queue.
struct PermittedSend<'q, P> {
    queue: &'q str,
    producer: &'q P,
    permit: Permit<'q>,
}

impl<P: Producer> PermittedSend<'_, P> {
    async fn send(
        self,
        envelope: &Envelope,
        options: &SendOptions<'_>,
        record: &mut RequestRecord,
    ) -> Result<Receipt, Rejection> {
        let started = Instant::now();
        let sent = self.producer.send(&options.message(envelope), options.deadline).await;
        let took = started.elapsed();
        record.sent(took);
        #[cfg(feature = "otlp")]
        if let Some(trace) = &mut record.trace {
            trace.sent(self.queue, self.producer.destination(), took, std::slice::from_ref(&sent));
        }
        Verdict::of(&sent, took, started + took >= options.deadline).settle(self.permit, self.queue);
        sent.map_err(|error| rejection(&error, envelope))
    }

    /// Sends the envelopes and waits for the confirms; returns the result of each.
    async fn send_all(
        self,
        envelopes: &[&Envelope],
        options: &SendOptions<'_>,
        record: &mut RequestRecord,
    ) -> Vec<Result<Receipt, Rejection>> {
        let messages: Vec<_> = envelopes.iter().map(|envelope| options.message(envelope)).collect();
        let started = Instant::now();
        let sent = self.producer.send_all(&messages, options.deadline).await;
        let took = started.elapsed();
        record.sent(took);
        #[cfg(feature = "otlp")]
        if let Some(trace) = &mut record.trace {
            trace.sent(self.queue, self.producer.destination(), took, &sent);
        }
        Verdict::of_all(&sent, took, started + took >= options.deadline).settle(self.permit, self.queue);
        let mut sent = sent.into_iter();
        let result = |envelope: &&Envelope| match sent.next() {
            Some(sent) => sent.map_err(|error| rejection(&error, envelope)),
            None => missing(envelope),
        };
        envelopes.iter().map(result).collect()
    }
}

/// Checks a message before it is sent to any queue: one that a copy's queue does not take would be on the others, and a
/// repeat of its request would not help.
///
/// # Errors
/// What the producer of a copy refuses.
fn check_copies<P: Producer>(
    copies: &[PermittedSend<'_, P>],
    envelope: &Envelope,
    options: &SendOptions<'_>,
) -> Result<(), Rejection> {
    copies.iter().try_for_each(|copy| {
        let checked = copy.producer.check(&options.message(envelope));
        checked.map_err(|error| rejection(&error, envelope))
    })
}

/// Sends the copies of a message that is on `queue`, one after another; none after a failure.
///
/// # Errors
/// 503 with what is known of each queue.
async fn send_copies<P: Producer>(
    queue: &str,
    copies: Vec<PermittedSend<'_, P>>,
    envelope: &Envelope,
    options: &SendOptions<'_>,
    record: &mut RequestRecord,
) -> Result<(), Rejection> {
    let queues = names(queue, &copies);
    for (place, copy) in copies.into_iter().enumerate() {
        let sent = copy.send(envelope, options, record).await;
        sent.map_err(|error| stored_in_part(envelope, &queues, place + 1, error))?;
    }
    Ok(())
}

/// Sends the copies of those messages of a batch that are on `queue`, to one queue after another; no copy of a message
/// after its failure.
async fn send_all_copies<P: Producer>(
    queue: &str,
    copies: Vec<PermittedSend<'_, P>>,
    envelopes: &[&Envelope],
    results: &mut [Result<Receipt, Rejection>],
    options: &SendOptions<'_>,
    record: &mut RequestRecord,
) {
    let queues = names(queue, &copies);
    for (place, copy) in copies.into_iter().enumerate() {
        let stored: Vec<_> = (0..results.len()).filter(|&item| results[item].is_ok()).collect();
        if stored.is_empty() {
            return;
        }
        let copied: Vec<_> = stored.iter().map(|&item| envelopes[item]).collect();
        let sent = copy.send_all(&copied, options, record).await;
        for ((item, envelope), sent) in stored.into_iter().zip(copied).zip(sent) {
            if let Err(error) = sent {
                results[item] = Err(stored_in_part(envelope, &queues, place + 1, error));
            }
        }
    }
}

/// Returns the names of the queues in the order in which a message is sent to them.
fn names<P>(queue: &str, copies: &[PermittedSend<'_, P>]) -> Vec<String> {
    std::iter::once(queue).chain(copies.iter().map(|copy| copy.queue)).map(str::to_owned).collect()
}

/// Returns the rejection of a message that is on the queues before the one at `failed`, which answered with `error`,
/// and not on those after it. The client repeats the request, and the message has the same id on the queues that have
/// it.
fn stored_in_part(envelope: &Envelope, queues: &[String], failed: usize, error: Rejection) -> Rejection {
    let destination = |(place, queue): (usize, &String)| {
        let stored = match place.cmp(&failed) {
            Ordering::Less => IsStored::Yes,
            Ordering::Equal if error.may_be_stored() => IsStored::Unknown,
            Ordering::Equal | Ordering::Greater => IsStored::No,
        };
        Destination { queue: queue.clone(), stored }
    };
    let destinations = Destinations(queues.iter().enumerate().map(destination).collect());
    let detail = "The message is not known to be on each of its queues; see destinations. Send it again with the same \
                  idempotency key.";
    let wait = error.headers.into_iter().find(|(name, _)| *name == "retry-after");
    let wait = wait.unwrap_or_else(|| ("retry-after", UNAVAILABLE_RETRY_AFTER_S.to_string()));
    Rejection {
        id: Some(envelope.id().into()),
        destinations: Some(Box::new(destinations)),
        headers: vec![wait],
        log: error.log,
        ..Rejection::new(Code::QueueUnavailable, detail)
    }
}

/// Returns the result of a message that a producer has none of.
fn missing(envelope: &Envelope) -> Result<Receipt, Rejection> {
    Err(rejection(&SendError::Unknown { reason: "the producer has no result".to_owned() }, envelope))
}

/// Returns the rejection of a message for a queue whose breaker is open for this time.
fn refused(queue: &str, rest: Duration) -> Rejection {
    let detail = "The queue does not accept messages at the moment, so that this one was not sent. Send it again.";
    Rejection::new(Code::BrokerUnavailable, detail)
        .header("retry-after", whole_s(rest))
        .log(format!("not sent: queue {queue} did not answer the requests before"))
}

fn rejection(error: &SendError, envelope: &Envelope) -> Rejection {
    let code = match error {
        // The body is within the limit of the route, but with its envelope it exceeds the limit of the broker.
        SendError::Refused { message_at_fault: true, .. } | SendError::TooLarge { .. } => Code::PayloadTooLarge,
        SendError::Unroutable { .. } => Code::Unroutable,
        _ => Code::QueueUnavailable,
    };
    let mut rejection = Rejection::new(code, error.client_text()).log(error);
    rejection.id = matches!(error, SendError::Unknown { .. }).then(|| envelope.id().into());
    match error {
        SendError::TooLarge { bytes, bytes_max } => {
            let detail = too_large(*bytes, *bytes_max, envelope.payload().len(), envelope.is_base64());
            Rejection { detail: detail.into(), ..rejection }
        }
        _ if code == Code::PayloadTooLarge => rejection,
        _ => rejection.header("retry-after", error.retry_after().as_secs().max(1)),
    }
}

/// Returns the text for a body of `body_bytes` that makes a message of `bytes`, with the largest body that fits.
fn too_large(bytes: usize, bytes_max: usize, body_bytes: usize, is_base64: bool) -> String {
    let (written, why) = match is_base64 {
        true => (body_bytes.div_ceil(3) * 4, ", and base64, because it is not plain JSON, makes it a third longer"),
        false => (body_bytes, ""),
    };
    let left = bytes_max.saturating_sub(bytes.saturating_sub(written));
    let fits = if is_base64 { left / 4 * 3 } else { left };
    format!(
        "The body has {body_bytes} bytes{why}: with its envelope {bytes}, and the queue accepts {bytes_max}. The \
         largest such body that fits has {fits} bytes."
    )
}
