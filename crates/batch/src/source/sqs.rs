//! Amazon SQS as a source: partial batch responses, retry delays by `ChangeMessageVisibilityBatch`, rejects straight to the
//! dead-letter queue.
//!
//! A rejected message is copied to the queue's own dead-letter queue with its body unchanged and its message attributes kept,
//! plus `sluicegate-reason`, `sluicegate-receive-count` and `sluicegate-source` (the source queue's ARN). Only once SQS has
//! said that it stored just that, the original counts as done. Where the dead-letter queue is, is asked of the source queue
//! (its redrive policy) at the first reject and remembered. A queue without one gets its rejected messages back.
//!
//! SQS itself dead-letters what a standard queue has delivered `maxReceiveCount` deadlines. On a FIFO queue the runtime does it before,
//! for the reasons in `sqs/fifo.rs`.

mod dead_letter;
mod event;
mod fifo;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, QueueAttributeName};
use futures_util::{StreamExt, stream};
use serde_json::value::RawValue;
use sluicegate_envelope::Envelope;
use sluicegate_queue::chain;
use sluicegate_queue::sqs::SdkConfig;
use tokio::time::Instant;

use self::event::Record;
use self::fifo::FailingMessages;
pub(crate) use self::fifo::RECEIVE_COUNT_MAX_DEFAULT;
use crate::batch_run::{BatchRun, Ended, ReceivedMessage, Settled, Source, Tries};
use crate::consumer::Deadlines;
use crate::report::Invocation;
use crate::{BatchResponse, Consumer};

/// Entries of one batch request.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-batch-api-actions.html>
const BATCH_ENTRIES_MAX: usize = 10;

/// Calls at once that hide returned messages: a batch may have 10,000 of them, and each call takes a connection.
const CALLS_MAX: usize = 16;

/// Longest delay asked for, in seconds. SQS allows a message to be hidden for 43,200 s from its receive and refuses what goes
/// beyond; 300 s of batching window and 900 s of function may have passed since.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
const DELAY_S_MAX: u64 = 43_200 - 300 - 900;

impl Consumer {
    /// Works one SQS batch off.
    pub(crate) async fn handle_sqs(
        &self,
        event: &RawValue,
        deadlines: Deadlines,
        invocation: Invocation<'_>,
    ) -> Result<BatchResponse, lambda_runtime::Error> {
        let records = event::records(event)?;
        let messages: Vec<_> = records.iter().map(Record::received_message).collect();
        let work = BatchRun {
            handlers: &self.handlers,
            retry: self.retry,
            concurrency: self.concurrency,
            work_until: deadlines.work_until,
            dead_letter_until: deadlines.dead_letter_until,
            settle_until: deadlines.settle_until,
            messages: &messages,
            source: &Batch { source: &self.sqs, records: &records, dead_letter_until: deadlines.dead_letter_until },
            invocation,
        };
        let ended = work.run().await;
        let returned = |(message, ended): (&ReceivedMessage<'_>, Ended)| {
            matches!(ended.settled, Settled::Returned(_)).then(|| message.id.clone().into_owned())
        };
        Ok(BatchResponse::of(messages.iter().zip(ended).filter_map(returned)))
    }
}

/// The account's SQS, and the dead-letter queues found so far.
pub(crate) struct SqsSource {
    config: SdkConfig,
    /// Made on first need: most batches need no call, and a client reads the system's root certificates.
    client: OnceLock<Client>,
    /// By the source queue's ARN.
    redrive_policies: Mutex<HashMap<String, RedrivePolicy>>,
    failing: FailingMessages,
}

/// What a queue says about its dead letters.
#[derive(Clone)]
struct RedrivePolicy {
    dead_letter_url: String,
    /// `maxReceiveCount`, if it can be read.
    receive_count_max: Option<u32>,
}

impl SqsSource {
    /// A failing message of a FIFO queue is given up after `fifo_receive_count_max` receives.
    pub(crate) fn new(config: SdkConfig, fifo_receive_count_max: u32) -> Self {
        let failing = FailingMessages::new(fifo_receive_count_max);
        Self { config, client: OnceLock::new(), redrive_policies: Mutex::default(), failing }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(&self.config))
    }

    /// The URL is put together, because `GetQueueUrl` would be one more call and one more permission, which SAM's policies for
    /// pollers and senders do not grant. SQS reads account and name from the path alone.
    fn queue_url(&self, arn: &str) -> Result<String, String> {
        let mut parts = arn.splitn(6, ':');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let (Some("arn"), Some(partition), Some("sqs"), Some(region), Some(account), Some(name)) =
            (part(), part(), part(), part(), part(), part())
        else {
            return Err(format!("{arn:?} is not the ARN of a queue"));
        };
        let domain = match partition {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        match self.config.endpoint_url() {
            Some(endpoint) => Ok(format!("{}/{account}/{name}", endpoint.trim_end_matches('/'))),
            None => Ok(format!("https://sqs.{region}.{domain}/{account}/{name}")),
        }
    }

    async fn redrive_policy(&self, source_arn: &str) -> Result<RedrivePolicy, String> {
        if let Some(known) = self.known_redrive_policies().get(source_arn) {
            return Ok(known.clone());
        }
        let request = self.client().get_queue_attributes().queue_url(self.queue_url(source_arn)?);
        let answer = request.attribute_names(QueueAttributeName::RedrivePolicy).send().await.map_err(|e| chain(&e))?;
        let policy = answer.attributes.and_then(|mut attributes| attributes.remove(&QueueAttributeName::RedrivePolicy));
        let policy = policy.ok_or("the queue has no dead-letter queue")?;
        let policy: serde_json::Value = serde_json::from_str(&policy).map_err(|_| "the redrive policy is not JSON")?;
        let arn = policy["deadLetterTargetArn"].as_str().ok_or("the redrive policy names no dead-letter queue")?;
        // A number; some tools that create queues write it as text, and SQS keeps it so.
        let receives = &policy["maxReceiveCount"];
        let receives = receives.as_u64().or_else(|| receives.as_str()?.parse().ok());
        let receive_count_max = receives.and_then(|receives| receives.try_into().ok());
        let policy = RedrivePolicy { dead_letter_url: self.queue_url(arn)?, receive_count_max };
        self.known_redrive_policies().insert(source_arn.to_owned(), policy.clone());
        Ok(policy)
    }

    fn known_redrive_policies(&self) -> std::sync::MutexGuard<'_, HashMap<String, RedrivePolicy>> {
        self.redrive_policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One batch of one source.
struct Batch<'a> {
    source: &'a SqsSource,
    records: &'a [Record<'a>],
    dead_letter_until: Instant,
}

impl Source for Batch<'_> {
    fn decode(&self, index: usize) -> Result<Envelope, String> {
        let body = self.records[index].body.as_deref().ok_or("no body")?;
        Envelope::decode(body).map_err(|error| error.to_string())
    }

    /// SQS says so itself; the sender's clock does not matter.
    fn sent_unix_ms(&self, index: usize, _: Option<&Envelope>) -> Option<u64> {
        self.records[index].sent_unix_ms
    }

    /// On a standard queue, SQS counts and dead-letters.
    async fn failed(&self, index: usize, head: bool) -> Tries {
        let record = &self.records[index];
        let source_arn = record.source_arn.as_deref().unwrap_or_default();
        if !record.is_ordered() {
            return Tries { count: record.receive_count, last: false };
        }
        let policy = self.source.redrive_policy(source_arn).await;
        let policy = policy.inspect_err(|reason| tracing::warn!(queue = source_arn, reason, "no redrive policy")).ok();
        let queue_receive_count_max = policy.and_then(|policy| policy.receive_count_max);
        self.source.failing.failed(&record.message_id, record.receive_count, head, queue_receive_count_max)
    }

    async fn dead_letter(&self, index: usize, reason: &str) -> Result<(), String> {
        let record = &self.records[index];
        let source_arn = record.source_arn.as_deref().ok_or("the record names no queue")?;
        let url = self.source.redrive_policy(source_arn).await?.dead_letter_url;
        let sent =
            dead_letter::send(self.source.client(), &url, record, source_arn, reason, self.dead_letter_until).await;
        if sent.is_err() {
            // It may have been replaced since: ask again next time.
            self.source.known_redrive_policies().remove(source_arn);
        }
        sent.map_err(|error| error.to_string())
    }

    /// Lambda's response is what gives them back; here those that have a delay are hidden for that long. Best effort: one that
    /// fails just waits the queue's own time.
    async fn return_to_queue(&self, returned: &[(usize, Option<Duration>)]) {
        let mut by_queue: HashMap<&str, Vec<_>> = HashMap::new();
        for (index, delay) in returned.iter().filter_map(|&(index, delay)| Some((index, delay?))) {
            let record = &self.records[index];
            let (Some(arn), Some(handle)) = (record.source_arn.as_deref(), record.receipt_handle.as_deref()) else {
                tracing::warn!(broker_id = %record.message_id, "no retry delay: the record lacks its queue or receipt handle");
                continue;
            };
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle)
                .visibility_timeout(whole_seconds(delay));
            // Building fails without id or receipt handle only.
            by_queue.entry(arn).or_default().extend(entry.build());
        }
        let chunks = by_queue
            .iter()
            .flat_map(|(arn, entries)| entries.chunks(BATCH_ENTRIES_MAX).map(move |chunk| (*arn, chunk)));
        let calls = stream::iter(chunks);
        calls.for_each_concurrent(CALLS_MAX, |(arn, entries)| self.change_visibility(arn, entries)).await;
    }
}

impl Batch<'_> {
    /// A failure is logged and no more: the message then waits the queue's visibility timeout.
    async fn change_visibility(&self, arn: &str, entries: &[ChangeMessageVisibilityBatchRequestEntry]) {
        let url = match self.source.queue_url(arn) {
            Ok(url) => url,
            Err(reason) => return tracing::warn!(messages = entries.len(), reason, "no retry delay"),
        };
        let request = self.source.client().change_message_visibility_batch().queue_url(url);
        match request.set_entries(Some(entries.to_vec())).send().await {
            Err(error) => tracing::warn!(messages = entries.len(), reason = chain(&error), "no retry delay"),
            Ok(answer) => {
                for failed in answer.failed {
                    let record = failed.id.parse().ok().and_then(|index: usize| self.records.get(index));
                    let broker_id = record.map(|record| record.message_id.as_ref());
                    let (code, reason) = (failed.code, failed.message);
                    tracing::warn!(broker_id, code, reason, "no retry delay");
                }
            }
        }
    }
}

/// Rounded up, so that nothing comes early, and within the limit of SQS.
fn whole_seconds(delay: Duration) -> i32 {
    let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).min(DELAY_S_MAX);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}
