//! Amazon SQS as a source: partial batch responses, retry delays by `ChangeMessageVisibilityBatch`, rejected messages
//! sent to the dead-letter queue.
//!
//! A rejected message is copied to the dead-letter queue of its queue with the same body and message attributes, plus
//! `sluicegate-reason`, `sluicegate-code`, `sluicegate-receive-count` and `sluicegate-source` (the ARN of the source
//! queue); one that is not an event also has `sluicegate-message-id`, because SQS gives the copy a new id. Once SQS has
//! proven that it stored the copy, the original counts as done. The dead-letter queue is read from the redrive policy
//! of the source queue at the first reject. Without a dead-letter queue, a rejected message is returned to its queue.
//!
//! A message of another sender is handled too: `sqs/envelope.rs`.
//!
//! With the feature `s3`, the payload of a message may be in S3, with a pointer to it on the queue: `sqs/payload.rs`.
//!
//! SQS would dead-letter a message after `maxReceiveCount` receives, without a reason. The runtime does it instead when
//! the handler fails in the last of them; on a FIFO queue earlier, for the reasons in `sqs/fifo.rs`. SQS still does it
//! for a message whose last receive ended without a result, such as a crash of the function.

mod config;
mod dead_letter;
pub(crate) mod envelope;
mod event;
mod fifo;
#[cfg(feature = "s3")]
pub(crate) mod payload;
mod redrive_policy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use sluicegate_aws_client::{AwsEnvironment, Service};
use sluicegate_envelope::Envelope;
use sluicegate_queue::SendError;
use sluicegate_queue::sqs::{BATCH_ENTRIES_MAX, SqsClient, VisibilityEntry};
#[cfg(feature = "s3")]
use tokio::sync::SemaphorePermit;

pub(crate) use self::config::Settings;
use self::envelope::Undecodable;
pub(crate) use self::event::ReadError;
use self::event::Record;
use self::fifo::FailingMessages;
use self::redrive_policy::{RedrivePolicies, RedrivePolicy, RedrivePolicyError, queue_url};
use crate::Rejection;
use crate::deadlines::Deadlines;
use crate::settlement::{BatchResponse, Settlement, Tries};
#[cfg(feature = "s3")]
use crate::source::adapter::FetchError;
use crate::source::adapter::{ReceivedMessage, Source};

/// Concurrent `ChangeMessageVisibilityBatch` calls. A batch may have 10,000 messages, and each call needs a connection.
const CALLS_MAX: usize = 16;

/// Longest delay requested, in seconds. SQS allows a message to be hidden for 43,200 s from its receive and refuses
/// more; 300 s of batching window and 900 s of function may have passed since.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
const DELAY_S_MAX: u32 = 43_200 - 300 - 900;

/// The SQS client, and the redrive policies read so far.
pub(crate) struct SqsSource {
    environment: AwsEnvironment,
    /// Created on first use: most batches need no call, and a client reads the system's root certificates.
    client: OnceLock<SqsClient>,
    redrive_policies: RedrivePolicies,
    failing: FailingMessages,
    accepts_raw: bool,
    #[cfg(feature = "s3")]
    payloads: payload::Payloads,
}

impl SqsSource {
    /// Creates a source that dead-letters a failing message of a FIFO queue after `fifo_receive_count_max` receives.
    pub(crate) fn new(environment: AwsEnvironment, fifo_receive_count_max: u32) -> Self {
        let failing = FailingMessages::new(fifo_receive_count_max);
        Self {
            environment,
            client: OnceLock::new(),
            redrive_policies: RedrivePolicies::default(),
            failing,
            accepts_raw: false,
            #[cfg(feature = "s3")]
            payloads: payload::Payloads::default(),
        }
    }

    /// Sets whether a message may be something else than an event.
    pub(crate) fn accepting_raw(mut self, accepts_raw: bool) -> Self {
        self.accepts_raw = accepts_raw;
        self
    }

    /// Sets the buckets that payloads are read from.
    #[cfg(feature = "s3")]
    pub(crate) fn with_payloads(mut self, payloads: payload::Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// Reads the batch in `event`.
    pub(crate) fn read<'a>(
        &'a self,
        event: &'a str,
        trace_header: Option<&'a str>,
        deadlines: Deadlines,
    ) -> Result<Batch<'a>, ReadError> {
        Ok(Batch { source: self, records: event::records(event)?, trace_header, deadlines })
    }

    fn client(&self) -> &SqsClient {
        self.client.get_or_init(|| SqsClient::new(&self.environment))
    }

    fn endpoint(&self) -> Option<&str> {
        self.environment.endpoint(Service::Sqs)
    }
}

/// A batch of SQS messages.
pub(crate) struct Batch<'a> {
    source: &'a SqsSource,
    records: Vec<Record<'a>>,
    /// That of the invocation, sent on with each call so that the detection of recursive calls sees the chain.
    trace_header: Option<&'a str>,
    deadlines: Deadlines,
}

impl Source for Batch<'_> {
    type Undecodable = Undecodable;
    type Unsettled = Infallible;

    fn messages(&self) -> Vec<ReceivedMessage<'_>> {
        self.records.iter().map(Record::received_message).collect()
    }

    fn decode(&self, index: usize) -> Result<Envelope, Undecodable> {
        let record = &self.records[index];
        let body = record.body.as_deref().ok_or(Undecodable::NoBody)?;
        envelope::envelope(record, body, self.source.accepts_raw)
    }

    #[cfg(feature = "s3")]
    async fn room(&self, index: usize, until: tokio::time::Instant) -> Option<SemaphorePermit<'_>> {
        if self.records[index].has_pointer() { self.source.payloads.room(until).await } else { None }
    }

    #[cfg(feature = "s3")]
    async fn fetch(&self, index: usize, until: tokio::time::Instant) -> Option<Result<Envelope, FetchError>> {
        let record = &self.records[index];
        if !record.has_pointer() {
            return None;
        }
        // Boxed, because most messages have no pointer, and the future is large.
        Some(Box::pin(self.source.payloads.fetch(record, self.source.accepts_raw, until)).await)
    }

    #[cfg(feature = "s3")]
    fn is_pointer(&self, index: usize) -> bool {
        self.records[index].has_pointer()
    }

    #[cfg(feature = "s3")]
    fn status_id(&self, index: usize) -> Option<String> {
        self.records[index].status_id()
    }

    fn message_attributes(&self, index: usize) -> BTreeMap<String, String> {
        let (attributes, _) = self.records[index].message_attributes();
        let texts =
            attributes.into_iter().map(|(name, value)| Some((name, value.string_value.or(value.binary_value)?)));
        texts.flatten().collect()
    }

    /// Returns the time that SQS recorded, which does not depend on the sender's clock.
    fn sent_unix_ms(&self, index: usize, _: Option<&Envelope>) -> Option<u64> {
        self.records[index].sent_unix_ms
    }

    /// Counts the failures of a FIFO queue. A message of a standard queue fails for the last time in the receive after
    /// which SQS would dead-letter it.
    async fn failed(&self, index: usize, head: bool) -> Tries {
        let record = &self.records[index];
        let queue_receive_count_max = self.receive_count_max(record).await;
        if record.is_ordered() {
            return self.source.failing.failed(&record.message_id, record.receive_count, head, queue_receive_count_max);
        }
        let last = queue_receive_count_max.is_some_and(|max| record.receive_count >= max);
        Tries { count: record.receive_count, last }
    }

    async fn is_last_receive(&self, index: usize) -> bool {
        let record = &self.records[index];
        self.receive_count_max(record).await.is_some_and(|max| record.receive_count >= max)
    }

    async fn dead_letter(&self, index: usize, rejection: &Rejection) -> Result<(), SendError> {
        let record = &self.records[index];
        let Some(source_arn) = record.source_arn.as_deref() else {
            let reason = "the record has no queue ARN".to_owned();
            return Err(SendError::Refused { reason, message_at_fault: true });
        };
        let url = self.redrive_policy(source_arn).await?.dead_letter_url;
        let copy = dead_letter::DeadLetter { url: &url, record, source: source_arn, rejection };
        let sent = copy.send(self.source.client(), self.trace_header, self.deadlines.dead_letter_until).await;
        if sent.is_err() {
            self.source.redrive_policies.forget(source_arn);
        }
        sent
    }

    /// Hides messages that have a delay; the response to Lambda returns them. If a call fails, a message waits for the
    /// visibility timeout of its queue.
    async fn return_to_queue(&self, returned: &[(usize, Option<Duration>)]) {
        let mut by_queue: HashMap<&str, Vec<_>> = HashMap::new();
        for (index, delay) in returned.iter().filter_map(|&(index, delay)| Some((index, delay?))) {
            let record = &self.records[index];
            let (Some(arn), Some(handle)) = (record.source_arn.as_deref(), record.receipt_handle.as_deref()) else {
                tracing::warn!(broker_id = %record.message_id, "no retry delay: the record lacks its queue or receipt handle");
                continue;
            };
            let entry = VisibilityEntry {
                id: index.to_string(),
                receipt_handle: handle,
                visibility_timeout_s: whole_seconds(delay),
            };
            by_queue.entry(arn).or_default().push(entry);
        }
        let chunks = by_queue
            .iter()
            .flat_map(|(arn, entries)| entries.chunks(BATCH_ENTRIES_MAX).map(move |chunk| (*arn, chunk)));
        let calls = stream::iter(chunks);
        calls.for_each_concurrent(CALLS_MAX, |(arn, entries)| self.change_visibility(arn, entries)).await;
    }

    fn respond(&self, settlements: &[Settlement]) -> Result<BatchResponse, Infallible> {
        let returned = |(record, settlement): (&Record<'_>, &Settlement)| {
            settlement.disposition.is_returned().then(|| record.message_id.clone().into_owned())
        };
        Ok(BatchResponse::of(self.records.iter().zip(settlements).filter_map(returned)))
    }
}

impl Batch<'_> {
    /// Returns after how many receives SQS dead-letters a message by itself, if that is known.
    async fn receive_count_max(&self, record: &Record<'_>) -> Option<u32> {
        let source_arn = record.source_arn.as_deref().unwrap_or_default();
        self.redrive_policy(source_arn).await.ok()?.receive_count_max
    }

    async fn redrive_policy(&self, source_arn: &str) -> Result<RedrivePolicy, RedrivePolicyError> {
        let (client, until) = (self.source.client(), self.deadlines.function_until);
        let read = async |url: &str| client.redrive_policy(url, self.trace_header, until).await;
        self.source.redrive_policies.get(self.source.endpoint(), source_arn, read).await
    }

    async fn change_visibility(&self, arn: &str, entries: &[VisibilityEntry<'_>]) {
        let url = match queue_url(self.source.endpoint(), arn) {
            Ok(url) => url,
            Err(error) => return tracing::warn!(messages = entries.len(), reason = %error, "no retry delay"),
        };
        let (client, until) = (self.source.client(), self.deadlines.function_until);
        match client.change_visibility(&url, entries, self.trace_header, until).await {
            Err(error) => tracing::warn!(messages = entries.len(), reason = %error, "no retry delay"),
            Ok(refused) => {
                for failed in refused {
                    let record = failed.id.parse().ok().and_then(|index: usize| self.records.get(index));
                    let broker_id = record.map(|record| record.message_id.as_ref());
                    let (code, reason) = (failed.code, failed.message);
                    tracing::warn!(broker_id, code, reason, "no retry delay");
                }
            }
        }
    }
}

/// Returns whole seconds, rounded up so that a message does not come early, and within [`DELAY_S_MAX`].
fn whole_seconds(delay: Duration) -> u32 {
    let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX).min(DELAY_S_MAX)
}
