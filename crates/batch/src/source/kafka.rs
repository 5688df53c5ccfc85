//! Kafka as a source, on Amazon MSK or elsewhere: records are retried in the invocation and then stored in a
//! dead-letter topic, because a partition has no place for a record that waits.
//!
//! Lambda commits the offsets of a batch after a successful invocation and repeats the batch after a failed one, by
//! default without a limit. In provisioned mode a mapping may have a limit of retries, an on-failure destination, and
//! `ReportBatchItemFailures`, with which a response names the records from which each partition is read again
//! (<https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>). The event does not say which
//! settings its mapping has, and without the setting Lambda would take such a response for success. The response
//! therefore names records only if `KAFKA_PARTIAL_BATCH_RESPONSE` is `true`, and otherwise the invocation fails.
//!
//! | record | settlement |
//! |---|---|
//! | done | none |
//! | to be retried | called again in the same invocation after its delay; later records of its key wait |
//! | to be retried, but received too often | stored in `<topic>.dlq` with the reason |
//! | rejected, or undecodable | stored in `<topic>.dlq` with the reason, at once |
//! | a tombstone, without a handler for it | none: logged |
//! | not settled in time, or the dead-letter topic does not take it | returned |
//!
//! Records with one key are handled in order, and other keys and records without a key concurrently. A batch is done
//! only if every record is done or its dead letter is confirmed by every in-sync replica. Otherwise it comes again: see
//! [`progress`] for what is then known of each record.

mod config;
mod envelope;
mod event;
mod progress;
mod record;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluicegate_envelope::Envelope;
use sluicegate_queue::dead_letter::{CODE, OF_DEAD_LETTER, REASON, REASON_CHARS_MAX, RECEIVE_COUNT, SOURCE};
use sluicegate_queue::kafka::{Cluster, Publication};
use sluicegate_queue::queue_names::dead_letter_queue;
use sluicegate_queue::{SendError, TOPIC_BYTES_MAX};
use tokio::time::Instant;

pub(crate) use self::config::Settings;
pub(crate) use self::envelope::TOMBSTONE_TYPE;
use self::event::{EventError, EventRecord};
use self::progress::Progress;
pub use self::record::KafkaRecord;
use crate::Rejection;
use crate::deadlines::Deadlines;
use crate::settlement::{BatchResponse, Disposition, Settlement, Tries};
use crate::source::adapter::{ReceivedMessage, SETTLED_BEFORE, Source};
use crate::source::cloud_event::Undecodable;

/// The cluster with the dead-letter topics, and the rules for them.
pub(crate) struct KafkaSource<P = Cluster> {
    cluster: P,
    receive_count_max: u32,
    /// `None` for a topic of the name `<topic>.dlq`.
    dead_letter_topic: Option<String>,
    partial_batch_response: bool,
    accepts_tombstones: bool,
    progress: Progress,
}

/// A cluster, or a fake in tests.
pub(crate) trait Publish {
    /// Appends a record. `Ok` means that every in-sync replica has it.
    fn publish(
        &self,
        publication: &Publication<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), SendError>> + Send;
}

impl Publish for Cluster {
    async fn publish(&self, publication: &Publication<'_>, deadline: Instant) -> Result<(), SendError> {
        Cluster::publish(self, publication, deadline).await.map(drop)
    }
}

/// An event whose records cannot be settled. All of them are returned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("the batch is from Kafka, but KAFKA_BOOTSTRAP_SERVERS is not set")]
    NoCluster,
}

/// A batch that is returned as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch is returned: {left} of {records} records could not be settled: {reason}")]
pub(crate) struct Unsettled {
    left: usize,
    records: usize,
    reason: String,
}

/// Reads the batch in `event`; `None` if the event is not one of Kafka.
pub(crate) fn read<'a, P: Publish>(
    source: Option<&'a KafkaSource<P>>,
    event: &str,
    deadlines: Deadlines,
) -> Option<Result<Batch<'a, P>, ReadError>> {
    let records = event::records(event)?;
    Some(records.map_err(ReadError::from).and_then(|records| {
        let source = source.ok_or(ReadError::NoCluster)?;
        let received = records.into_iter().map(|message| Received::new(message, &source.progress)).collect();
        Ok(Batch { source, received, deadlines, failure: Mutex::default() })
    }))
}

/// A record with what is known of it.
struct Received {
    message: EventRecord,
    /// The place of the record.
    id: String,
    /// The key as text, or else in base64.
    key: Option<String>,
    settled: bool,
    /// Failures before the receive that is counted now.
    failures: AtomicU32,
}

impl Received {
    fn new(message: EventRecord, progress: &Progress) -> Self {
        let known = progress.of(&message);
        let key = message.record.key.as_ref().map(|key| match std::str::from_utf8(key) {
            Ok(text) => text.to_owned(),
            Err(_) => STANDARD.encode(key),
        });
        Self {
            id: message.record.place(),
            key,
            settled: known.is_some_and(|known| known.settled),
            failures: known.map_or(0, |known| known.failures).into(),
            message,
        }
    }

    fn receive_count(&self) -> u32 {
        self.failures.load(Ordering::Relaxed).saturating_add(1)
    }
}

/// A batch of records.
pub(crate) struct Batch<'a, P = Cluster> {
    source: &'a KafkaSource<P>,
    received: Vec<Received>,
    deadlines: Deadlines,
    /// The error of the first dead letter that was not stored.
    failure: Mutex<Option<String>>,
}

impl<P: Publish> Source for Batch<'_, P> {
    type Undecodable = Undecodable;
    type Unsettled = Unsettled;

    fn messages(&self) -> Vec<ReceivedMessage<'_>> {
        let message = |received| {
            let Received { message, id, key, .. }: &Received = received;
            ReceivedMessage {
                id: Cow::Borrowed(id),
                queue: &message.record.topic,
                receive_count: received.receive_count(),
                group: key.as_deref().map(Cow::Borrowed),
                ordered: key.is_some(),
                trace_header: None,
            }
        };
        self.received.iter().map(message).collect()
    }

    fn decode(&self, index: usize) -> Result<Envelope, Undecodable> {
        envelope::envelope(&self.received[index].message)
    }

    /// Returns the time of the record, or else that of the event.
    fn sent_unix_ms(&self, index: usize, envelope: Option<&Envelope>) -> Option<u64> {
        let of_event = || {
            let unix_ms = envelope?.time()?.unix_timestamp_nanos() / 1_000_000;
            u64::try_from(unix_ms).ok()
        };
        self.received[index].message.record.timestamp_unix_ms.or_else(of_event)
    }

    fn settled_unhandled(&self, index: usize) -> Option<(Disposition, &'static str)> {
        let Received { message, settled, .. } = &self.received[index];
        if *settled {
            return Some((Disposition::Duplicate, SETTLED_BEFORE));
        }
        let is_ignored = !self.source.accepts_tombstones && envelope::is_tombstone(message);
        is_ignored.then_some((Disposition::Done, "a tombstone, and kafka.tombstone has no handler"))
    }

    fn kafka_record(&self, index: usize) -> Option<Arc<KafkaRecord>> {
        Some(Arc::clone(&self.received[index].message.record))
    }

    fn retries_in_place(&self, _: usize) -> bool {
        true
    }

    async fn failed(&self, index: usize, _: bool) -> Tries {
        let received = &self.received[index];
        let count = received.receive_count();
        let last = count >= self.source.receive_count_max;
        if !last {
            received.failures.fetch_add(1, Ordering::Relaxed);
        }
        Tries { count, last }
    }

    async fn dead_letter(&self, index: usize, rejection: &Rejection) -> Result<(), SendError> {
        let stored = self.store_dead_letter(index, rejection).await;
        stored.inspect_err(|error| {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| format!("not dead-lettered: {error}"));
        })
    }

    /// Publishes nothing: a returned record keeps its place in the partition.
    async fn return_to_queue(&self, _: &[(usize, Option<Duration>)]) {}

    /// Succeeds if every record is settled. Otherwise the response names the others, if the mapping reads that.
    fn respond(&self, settlements: &[Settlement]) -> Result<BatchResponse, Unsettled> {
        let settled = || settlements.iter().map(|settlement| !settlement.disposition.is_returned());
        let left: Vec<_> = self.received.iter().zip(settled()).filter(|(_, settled)| !settled).collect();
        let messages = || self.received.iter().map(|received| &received.message);
        if left.is_empty() {
            self.source.progress.done(messages());
            return Ok(BatchResponse::of(std::iter::empty()));
        }
        let failures = self.received.iter().map(|received| received.failures.load(Ordering::Relaxed));
        let progress = messages().zip(settled()).zip(failures);
        self.source.progress.returned(progress.map(|((message, settled), failures)| (message, settled, failures)));
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = failure.unwrap_or_else(|| "no time was left".to_owned());
        let (left_count, records) = (left.len(), settlements.len());
        let has_places = left.iter().all(|(received, _)| received.message.record.offset >= 0);
        if self.source.partial_batch_response && has_places {
            tracing::error!(records, left = left_count, reason, "records are returned");
            return Ok(BatchResponse::of_records(left.into_iter().map(|(received, _)| {
                let message = &received.message;
                (received.id.clone(), message.partition_key.to_string(), message.record.offset)
            })));
        }
        tracing::error!(records, left = left_count, reason, "the batch is returned");
        Err(Unsettled { left: left_count, records, reason })
    }
}

impl<P: Publish> Batch<'_, P> {
    /// Stores a record in its dead-letter topic as it is, with its place, the reason, its code and the receive count in
    /// headers.
    async fn store_dead_letter(&self, index: usize, rejection: &Rejection) -> Result<(), SendError> {
        let received = &self.received[index];
        let (record, value) = (&received.message.record, &received.message.value);
        let of_source = self.source.dead_letter_topic.as_ref();
        let topic = of_source.map_or_else(|| dead_letter_queue(&record.topic), Clone::clone);
        if topic == record.topic {
            let reason = format!("the dead-letter topic {topic} is the topic of the record: give it another name");
            return Err(SendError::Refused { reason, message_at_fault: false });
        }
        if topic.len() > TOPIC_BYTES_MAX {
            let reason = format!("the name of the dead-letter topic {topic} is too long: set KAFKA_DEAD_LETTER_TOPIC");
            return Err(SendError::Unroutable { reason });
        }
        let reason: String = rejection.detail().chars().take(REASON_CHARS_MAX).collect();
        let receive_count = received.receive_count().to_string();
        let own = record.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice())));
        let mut headers: Vec<_> = own.filter(|(name, _)| !OF_DEAD_LETTER.contains(name)).collect();
        for (name, text) in [
            (REASON, reason.as_str()),
            (CODE, rejection.code()),
            (RECEIVE_COUNT, &receive_count),
            (SOURCE, &received.id),
        ] {
            headers.push((name, Some(text.as_bytes())));
        }
        let value = match value {
            Ok(value) => value.as_deref(),
            Err(unreadable) => Some(unreadable.kept.as_slice()),
        };
        let publication = Publication { topic: &topic, key: record.key.as_deref(), value, headers: &headers };
        self.source.cluster.publish(&publication, self.deadlines.dead_letter_until).await
    }
}
