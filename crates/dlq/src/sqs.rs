//! Amazon SQS, standard and FIFO, as a [`DeadLetterQueue`].
//!
//! A message in flight is hidden by a visibility timeout, which is extended while it is in flight and ended by a
//! release. Taking a message increments its receive count and changes nothing else. A redrive stores a copy with the
//! same body, message attributes, trace header and group, and deletes the original once SQS has proven that the copy is
//! stored. The copy does not have the attributes of the last failure (`sluicegate-reason` and related ones). One that
//! is not an event has `sluicegate-message-id`, because SQS gives it a new id.
//!
//! A redrive of a message whose payload is in S3 sends the same pointer. An edited payload is the body of the copy, or
//! if it is too large for SQS, another object of the same bucket.
//!
//! The deduplication id of a copy for a FIFO queue consists of the original's message id and its redrives. A redrive
//! that was interrupted and is repeated within five minutes is stored once; a later redrive of the same message does
//! not count as a repeat.

mod environment;
mod error;
mod in_flight;
mod message;
mod move_task;
mod payload;
mod queues;
mod redrive_message;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    types::{Message, MessageSystemAttributeName},
};
use sluicegate_queue::{
    SendError, dead_letter,
    sqs::{RawMessage, SdkConfig, store},
};
use tokio::{sync::OnceCell, time::Instant};

use self::{
    error::broker,
    in_flight::{BATCH_ENTRIES_MAX, InFlight},
    move_task::MoveTask,
    queues::Queues,
    redrive_message::CopyError,
};
use crate::{CancellationToken, DeadLetter, DeadLetterQueue, Error};

pub use self::{
    environment::{EnvironmentError, read as environment},
    in_flight::{VISIBILITY_DEFAULT, VISIBILITY_MAX},
    move_task::{MoveError, Moved},
    queues::{SqsQueue, dead_letter_queues, find},
};

/// Attempts of one call, and the pause before the second; it doubles.
const ATTEMPTS_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// Longest attempt: connection, wait and answer.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(15);

/// Longest store: all attempts with their pauses.
const STORE_TIME_MAX: Duration = Duration::from_secs(90);

/// Wait of a receive. With a wait SQS queries all of its servers, without one a sample.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>
const RECEIVE_WAIT_S: i32 = 1;

/// Consecutive empty receives after which the remaining visible messages in the counts are considered unreachable.
const EMPTY_RECEIVES_MAX: u32 = 2;

/// An open dead-letter queue of SQS.
pub struct SqsDeadLetterQueue {
    config: SdkConfig,
    client: Client,
    queue: SqsQueue,
    queues: Queues,
    /// The queues whose redrive policy names this one.
    sources: OnceCell<Vec<SqsQueue>>,
    in_flight: Arc<InFlight>,
    /// The messages of the latest take.
    latest: Mutex<HashMap<u64, Message>>,
    heartbeat: tokio::task::JoinHandle<()>,
}

impl SqsDeadLetterQueue {
    /// Opens the queue with this name, URL or ARN. `visibility`, in whole seconds, is how long messages stay hidden if
    /// this process ends; it grows with the time that they have been in flight.
    ///
    /// # Errors
    /// The queue does not exist, or SQS cannot be reached.
    pub async fn open(config: &SdkConfig, queue: &str, visibility: Duration) -> Result<Self, Error> {
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX).with_initial_backoff(PAUSE);
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIME_MAX).build();
        let client = Builder::from(config).retry_config(retries).timeout_config(timeouts).build();
        let client = Client::from_conf(client);
        let queues = Queues::new(client.clone(), config.region().map(ToString::to_string));
        let queue = queues.find(queue).await?;
        let in_flight = Arc::new(InFlight::new(client.clone(), queue.url.clone(), visibility));
        let heartbeat = tokio::spawn(Arc::clone(&in_flight).keep());
        let (config, sources, latest) = (config.clone(), OnceCell::new(), Mutex::default());
        Ok(Self { config, client, queue, queues, sources, in_flight, latest, heartbeat })
    }

    /// Returns the queue.
    #[must_use]
    pub fn queue(&self) -> &SqsQueue {
        &self.queue
    }

    /// Returns the one destination of all messages: `to`, or else the only queue that has this one as its dead-letter
    /// queue. `None` if there are none or several.
    ///
    /// # Errors
    /// The queue does not exist, or SQS cannot be reached.
    pub async fn only_destination(&self, to: Option<&str>) -> Result<Option<SqsQueue>, Error> {
        if let Some(to) = to {
            return self.queues.find(to).await.map(Some);
        }
        Ok(match self.sources().await?.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        })
    }

    /// Largest number of messages that [`Self::move_all`] moves per second.
    pub const MOVES_PER_S_MAX: u32 = move_task::MOVES_PER_S_MAX;

    /// Makes SQS move all messages to `destination`, and passes to `progress` the number of moved messages and of all
    /// messages. Messages in flight stay. Attributes are not changed.
    ///
    /// # Errors
    /// [`MoveError`].
    pub async fn move_all(
        &self,
        destination: &SqsQueue,
        rate_per_s: Option<u32>,
        stop: &CancellationToken,
        progress: impl Fn(u64, u64),
    ) -> Result<Moved, MoveError> {
        let task = MoveTask { client: &self.client, source_arn: &self.queue.arn };
        task.run(&destination.arn, rate_per_s, stop, progress).await
    }

    async fn sources(&self) -> Result<&Vec<SqsQueue>, Error> {
        self.sources.get_or_try_init(|| self.queues.sources_of(&self.queue)).await
    }

    /// Returns the destination of a message.
    async fn queue_for(&self, id: &str, message: &Message, to: Option<&str>) -> Result<SqsQueue, Error> {
        let not_sent = |reason: String| Error::NotSent { id: id.to_owned(), reason };
        let recorded = message::attribute(message, dead_letter::SOURCE)
            .or_else(|| message::system(message, &MessageSystemAttributeName::DeadLetterQueueSourceArn));
        let queue = match to.or(recorded) {
            Some(name) => self.queues.find(name).await.map_err(|error| match (to, error) {
                (None, Error::NotSent { reason, .. }) => not_sent(format!("it came from {name}: {reason}")),
                (_, error) => error,
            })?,
            None => match self.sources().await?.as_slice() {
                [only] => only.clone(),
                [] => {
                    return Err(not_sent(
                        "the queue it came from is not recorded: name the queue to send it to".to_owned(),
                    ));
                }
                several => {
                    let names: Vec<&str> = several.iter().map(|queue| queue.name.as_str()).collect();
                    let names = names.join(", ");
                    return Err(not_sent(format!(
                        "the queue it came from is not recorded ({names}): name the queue to send it to"
                    )));
                }
            },
        };
        if queue.arn == self.queue.arn {
            return Err(not_sent("the destination is the queue it is in".to_owned()));
        }
        Ok(queue)
    }

    fn latest(&self, letter: &DeadLetter) -> Result<Message, Error> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = || "it is not of the latest take".to_owned();
        latest.get(&letter.handle).cloned().ok_or_else(|| Error::NotSent { id: letter.id.clone(), reason: reason() })
    }

    /// Returns the destination and the copy, after every check that needs no sending. An edited payload that is too
    /// large for SQS is in S3 then.
    async fn prepare(
        &self,
        letter: &DeadLetter,
        to: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<(SqsQueue, RawMessage), Error> {
        let message = self.latest(letter)?;
        let queue = self.queue_for(&letter.id, &message, to).await?;
        let copy = match (redrive_message::copy(&message, &queue, body), &letter.pointer, body) {
            (Err(CopyError::TooLarge { .. }), Some(pointer), Some(body)) => {
                let edited = payload::write(&self.config, &letter.id, &pointer.bucket, body).await?;
                redrive_message::pointing(&message, &queue, &edited, body)
            }
            (copy, ..) => copy,
        };
        Ok((queue, copy.map_err(|error| Error::not_sent(&letter.id, error.to_string()))?))
    }

    async fn receive(&self, max: usize) -> Result<Vec<Message>, Error> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.queue.url)
            .max_number_of_messages(i32::try_from(max.clamp(1, BATCH_ENTRIES_MAX)).unwrap_or(1))
            .wait_time_seconds(RECEIVE_WAIT_S)
            .visibility_timeout(self.in_flight.visibility_s())
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        match request.send().await {
            Ok(answer) => Ok(answer.messages.unwrap_or_default()),
            // 120,000 messages are in flight: the rest cannot be reached now.
            Err(error) if error.as_service_error().is_some_and(|service| service.is_over_limit()) => Ok(Vec::new()),
            Err(error) => Err(broker(&error)),
        }
    }
}

impl Drop for SqsDeadLetterQueue {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl DeadLetterQueue for SqsDeadLetterQueue {
    async fn take(&self, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut empty = 0;
        loop {
            let asked_at = Instant::now();
            let received = self.receive(max).await?;
            if received.is_empty() {
                empty += 1;
                if empty == EMPTY_RECEIVES_MAX || self.queues.counts(&self.queue.url).await?.visible == 0 {
                    return Ok(Vec::new());
                }
                continue;
            }
            let mut taken = Vec::with_capacity(received.len());
            for message in received {
                if let Some(handle) = self.in_flight.admit(&message, asked_at).await {
                    taken.push(message::dead_letter(handle, &message));
                    self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(handle, message);
                }
            }
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    fn keeps_order(&self) -> bool {
        self.queue.is_fifo()
    }

    async fn body(&self, letter: &DeadLetter) -> Result<Vec<u8>, Error> {
        match &letter.pointer {
            Some(pointer) => payload::read(&self.config, &letter.id, pointer).await,
            None => Ok(letter.body.clone()),
        }
    }

    async fn destination(&self, letter: &DeadLetter, to: Option<&str>) -> Result<String, Error> {
        self.prepare(letter, to, None).await.map(|(queue, _)| queue.name)
    }

    async fn redrive(&self, letter: &DeadLetter, to: Option<&str>, body: Option<&[u8]>) -> Result<(), Error> {
        let (queue, copy) = self.prepare(letter, to, body).await?;
        if self.in_flight.has_lapsed(letter.handle) {
            return Err(Error::not_sent(&letter.id, "its visibility timeout ended"));
        }
        let stored = store(&self.client, &queue.url, copy, Instant::now() + STORE_TIME_MAX).await;
        let stored = stored.map_err(|error| match error {
            SendError::Unknown { reason } => Error::unknown(&letter.id, reason),
            SendError::NotSent { reason }
            | SendError::PayloadNotStored { reason }
            | SendError::Refused { reason, .. }
            | SendError::Unroutable { reason } => Error::not_sent(&letter.id, reason),
            too_large @ SendError::TooLarge { .. } => Error::not_sent(&letter.id, too_large.to_string()),
        })?;
        self.in_flight.delete(letter.handle).await.map_err(|error| {
            let reason = format!("stored in {} as {stored}, but perhaps not removed here: {error}", queue.name);
            Error::unknown(&letter.id, reason)
        })
    }

    async fn delete(&self, letter: &DeadLetter) -> Result<(), Error> {
        let deleted = self.in_flight.delete(letter.handle).await;
        deleted.map_err(|error| Error::unknown(&letter.id, error.to_string()))
    }

    async fn release(&self) -> Result<(), Error> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.in_flight.release().await
    }

    async fn depth(&self) -> Result<u64, Error> {
        self.queues.counts(&self.queue.url).await.map(|counts| counts.all())
    }
}
