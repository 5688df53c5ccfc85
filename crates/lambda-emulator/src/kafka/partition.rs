//! [`Partition`]: gathers batches of one partition, delivers them one after the other and commits their offsets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate_queue::kafka::{
    Cluster, FETCH_WAIT_MAX, FetchedRecord, GroupOffsets, PartitionReader, Position, Publication, ReadError,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::event::{self, Condition};
use super::response::{Verdict, interpret};
use super::{FailureDestination, KafkaEvent, RETRY_PAUSE, Shared, record_id};
use crate::mapping::{Backoff, EVENT_BYTES_MAX, Invoke, MappedMessage, MappingEvent, invoke};

/// Limit for the storage of one record in a topic.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(5);

/// The log of a partition: a broker's, or that of a test.
pub(super) trait Log: Send + Sync + 'static {
    /// Returns the offset that is committed.
    fn committed(&self) -> impl Future<Output = Result<Option<i64>, ReadError>> + Send;
    /// Returns the offset at a position.
    fn offset(&self, position: Position) -> impl Future<Output = Result<i64, ReadError>> + Send;
    /// Returns the records from an offset on and the offset after them; waits for the first.
    fn fetch(
        &self,
        offset: i64,
        wait: Duration,
    ) -> impl Future<Output = Result<(Vec<FetchedRecord>, i64), ReadError>> + Send;
    /// Commits an offset.
    fn commit(&self, offset: i64) -> impl Future<Output = Result<(), ReadError>> + Send;
    /// Stores a record in a topic.
    fn publish(&self, topic: &str, key: Option<&[u8]>, value: &[u8])
    -> impl Future<Output = Result<(), String>> + Send;
}

/// The log at a broker.
pub(super) struct BrokerLog {
    pub(super) reader: PartitionReader,
    pub(super) offsets: GroupOffsets,
    pub(super) cluster: Cluster,
    pub(super) topic: String,
    pub(super) index: i32,
}

impl Log for BrokerLog {
    async fn committed(&self) -> Result<Option<i64>, ReadError> {
        self.offsets.committed(&self.topic, self.index).await
    }

    async fn offset(&self, position: Position) -> Result<i64, ReadError> {
        self.reader.offset(position).await
    }

    async fn fetch(&self, offset: i64, wait: Duration) -> Result<(Vec<FetchedRecord>, i64), ReadError> {
        self.reader.fetch(offset, wait).await
    }

    async fn commit(&self, offset: i64) -> Result<(), ReadError> {
        self.offsets.commit(&self.topic, self.index, offset).await
    }

    async fn publish(&self, topic: &str, key: Option<&[u8]>, value: &[u8]) -> Result<(), String> {
        let publication = Publication { topic, key, value: Some(value), headers: &[] };
        let published = self.cluster.publish(&publication, Instant::now() + PUBLISH_TIME_MAX).await;
        published.map(drop).map_err(|error| error.to_string())
    }
}

/// A record on its way to the function.
struct Delivery {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    /// The record's JSON.
    record: String,
    id: Arc<str>,
    /// The value decoded from UTF-8.
    body: Arc<str>,
    receives: u32,
    /// Whether a filter matches it.
    passes: bool,
}

/// Records for one invocation, and how often the function has failed with them.
struct Chunk {
    deliveries: Vec<Delivery>,
    failures: u32,
}

/// One partition of a mapping.
pub(super) struct Partition<I, L> {
    shared: Arc<Shared<I>>,
    index: i32,
    log: L,
    head: String,
    key: String,
    failures: Backoff,
    /// The offset that was committed last.
    committed: i64,
    /// The offset of the next fetch.
    next: i64,
    /// Records that were fetched and did not fit into the last batch.
    waiting: VecDeque<Delivery>,
}

/// The mapping was stopped.
pub(super) struct Stopped;

impl<I: Invoke, L: Log> Partition<I, L> {
    pub(super) fn new(shared: Arc<Shared<I>>, index: i32, log: L) -> Self {
        let head = event::head(&shared.spec, index);
        let key = event::partition_key(&shared.spec.topic, index);
        let (failures, waiting) = (Backoff::default(), VecDeque::new());
        Self { shared, index, log, head, key, failures, committed: -1, next: 0, waiting }
    }

    /// Delivers batches until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let _ = self.work(&stop).await;
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), Stopped> {
        self.next = loop {
            match self.start().await {
                Ok(next) => break next,
                Err(error) => self.wait(&error.to_string(), stop).await?,
            }
        };
        loop {
            let batch = self.gather(stop).await?;
            self.deliver(batch, stop).await?;
        }
    }

    /// Returns the offset to start at: the committed one, or that of the mapping's position.
    async fn start(&self) -> Result<i64, ReadError> {
        match self.log.committed().await? {
            Some(offset) => Ok(offset),
            None => self.log.offset(self.shared.spec.start).await,
        }
    }

    /// Reports a failure of the broker, and waits before the next attempt.
    async fn wait(&self, reason: &str, stop: &CancellationToken) -> Result<(), Stopped> {
        self.shared.waits(reason.to_owned());
        pause(RETRY_PAUSE, stop).await
    }

    /// Returns the next records. The batch may be smaller than its limits, but not empty.
    async fn gather(&mut self, stop: &CancellationToken) -> Result<Vec<Delivery>, Stopped> {
        let mut batch = Vec::new();
        let mut event_bytes = self.head.len() + event::TAIL.len();
        let mut window_end = None;
        loop {
            while let Some(delivery) = self.waiting.pop_front() {
                // A record that no filter matches is in no event.
                let added = if delivery.passes { delivery.record.len() + 1 } else { 0 };
                if !batch.is_empty() && event_bytes + added > EVENT_BYTES_MAX {
                    self.waiting.push_front(delivery);
                    return Ok(batch);
                }
                event_bytes += added;
                batch.push(delivery);
                if batch.len() >= self.shared.spec.batch_size {
                    return Ok(batch);
                }
            }
            let wait = match (batch.is_empty(), window_end) {
                (true, _) => FETCH_WAIT_MAX,
                (false, None) => *window_end.insert(Instant::now() + self.shared.spec.batching_window) - Instant::now(),
                (false, Some(end)) => end.saturating_duration_since(Instant::now()),
            };
            if wait.is_zero() {
                return Ok(batch);
            }
            let fetched = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Stopped),
                fetched = self.log.fetch(self.next, wait) => fetched,
            };
            match fetched {
                Ok((records, next)) => {
                    self.shared.reads();
                    self.next = next;
                    let deliveries = records.iter().map(|record| self.delivery(record));
                    let deliveries: Vec<_> = deliveries.collect();
                    self.waiting.extend(deliveries);
                }
                Err(error @ ReadError::NoOffset { .. }) => {
                    self.wait(&error.to_string(), stop).await?;
                    // As `auto.offset.reset` of a consumer with this position.
                    let position = match self.shared.spec.start {
                        Position::End => Position::End,
                        Position::Start | Position::At(_) => Position::Start,
                    };
                    if let Ok(offset) = self.log.offset(position).await {
                        self.next = offset;
                        self.committed = -1;
                    }
                }
                Err(error) => self.wait(&error.to_string(), stop).await?,
            }
        }
    }

    fn delivery(&self, record: &FetchedRecord) -> Delivery {
        let topic = &self.shared.spec.topic;
        let value = record.value.as_deref().unwrap_or_default();
        let json = event::record(topic, self.index, record);
        Delivery {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.clone(),
            passes: self.shared.filters.is_empty() || self.shared.filters.pass_decoded(&json, "value", value),
            record: json.to_string(),
            id: record_id(topic, self.index, record).into(),
            body: String::from_utf8_lossy(value).into(),
            receives: 0,
        }
    }

    /// Delivers records until each is processed or given up, and commits their offsets.
    async fn deliver(&mut self, batch: Vec<Delivery>, stop: &CancellationToken) -> Result<(), Stopped> {
        let end = batch.last().map_or(self.committed, |last| last.offset + 1);
        let (passing, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|delivery| delivery.passes);
        for delivery in &others {
            self.report(MappingEvent::FilteredOut(self.message(delivery)));
        }
        let mut chunks = vec![Chunk { deliveries: passing, failures: 0 }];
        while let Some(chunk) = chunks.pop() {
            let chunk = self.without_old(chunk, stop).await?;
            if !chunk.deliveries.is_empty() {
                pause(self.failures.pause(), stop).await?;
                self.deliver_chunk(chunk, &mut chunks, stop).await?;
            }
        }
        self.commit(end, stop).await
    }

    /// Gives up the records that are too old.
    async fn without_old(&mut self, chunk: Chunk, stop: &CancellationToken) -> Result<Chunk, Stopped> {
        let Some(age_max) = self.shared.spec.record_age_max else { return Ok(chunk) };
        let (now_ms, age_max_ms) = (event::now_ms(), i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX));
        let is_old = |delivery: &Delivery| now_ms.saturating_sub(delivery.timestamp_ms) > age_max_ms;
        let (old, deliveries): (Vec<_>, Vec<_>) = chunk.deliveries.into_iter().partition(is_old);
        if !old.is_empty() {
            self.give_up(&old, Condition::MaximumRecordAgeExceeded, chunk.failures, stop).await?;
        }
        Ok(Chunk { deliveries, failures: chunk.failures })
    }

    /// Invokes the function once, and adds the records that it has to receive again to `chunks`.
    async fn deliver_chunk(
        &mut self,
        mut chunk: Chunk,
        chunks: &mut Vec<Chunk>,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let event = self.event(&chunk.deliveries);
        if event.len() > EVENT_BYTES_MAX {
            // It is one record: gather() keeps larger batches below the limit.
            self.give_up(&chunk.deliveries, Condition::MaximumPayloadSizeExceeded, 0, stop).await?;
            return self.commit_past(&chunk.deliveries, stop).await;
        }
        for delivery in &mut chunk.deliveries {
            delivery.receives += 1;
        }
        self.report_each(&chunk.deliveries, MappingEvent::Delivered);
        let verdict = match invoke(&self.shared.function, &event, stop).await {
            Ok(response) if self.shared.spec.report_batch_item_failures => {
                let offsets: Vec<_> = chunk.deliveries.iter().map(|delivery| delivery.offset).collect();
                interpret(&response, &self.key, &offsets)
            }
            Ok(_) => Verdict::Success,
            Err(error) => Verdict::Failure(error.to_string()),
        };
        let (failed_from, reason) = match verdict {
            Verdict::Success => {
                self.failures.succeeded();
                return self.done(&chunk.deliveries, stop).await;
            }
            Verdict::From(index) => (index, None),
            Verdict::Failure(reason) => (0, Some(reason)),
        };
        self.failures.failed();
        let mut rest = chunk.deliveries.split_off(failed_from);
        self.done(&chunk.deliveries, stop).await?;
        self.report_each(&rest, |message| match &reason {
            Some(reason) => MappingEvent::BatchFailed { message, reason: reason.clone() },
            None => MappingEvent::Returned(message),
        });
        // The records that are left are another batch if some were processed.
        let failures = if failed_from > 0 { 1 } else { chunk.failures + 1 };
        // Splitting a batch does not count as a retry.
        if self.shared.spec.bisects && reason.is_some() && rest.len() > 1 {
            let second = rest.split_off(rest.len() / 2);
            chunks.extend([second, rest].map(|deliveries| Chunk { deliveries, failures: 0 }));
        } else if self.shared.spec.retries_max.is_some_and(|retries_max| failures > retries_max) {
            self.give_up(&rest, Condition::RetryAttemptsExhausted, failures, stop).await?;
            self.failures.succeeded();
            self.commit_past(&rest, stop).await?;
        } else {
            chunks.push(Chunk { deliveries: rest, failures });
        }
        Ok(())
    }

    fn event(&self, deliveries: &[Delivery]) -> Bytes {
        let records: Vec<_> = deliveries.iter().map(|delivery| delivery.record.as_str()).collect();
        [&self.head, &records.join(","), event::TAIL].concat().into()
    }

    async fn done(&mut self, deliveries: &[Delivery], stop: &CancellationToken) -> Result<(), Stopped> {
        let committed = self.commit_past(deliveries, stop).await;
        self.report_each(deliveries, MappingEvent::Done);
        committed
    }

    /// Stores records at the destination, if there is one.
    async fn give_up(
        &mut self,
        deliveries: &[Delivery],
        condition: Condition,
        invocations: u32,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let (Some(first), Some(last)) = (deliveries.first(), deliveries.last()) else { return Ok(()) };
        let place = |delivery: &Delivery| (delivery.offset, delivery.timestamp_ms);
        let shared = Arc::clone(&self.shared);
        let given_up = |first, last, of: &[Delivery]| {
            let size = (of.len(), self.event(of).len());
            event::given_up(&shared.spec, self.index, condition, invocations, (place(first), place(last)), size)
        };
        let destination = match &shared.spec.on_failure {
            None => None,
            Some(FailureDestination::Queue { name, url, client }) => {
                let record = given_up(first, last, deliveries);
                let input = json!({ "QueueUrl": url, "MessageBody": record.to_string() });
                while let Err(error) = client.call("SendMessage", input.clone()).await {
                    self.wait(&format!("on-failure destination {name}: {error}"), stop).await?;
                }
                Some(name)
            }
            Some(FailureDestination::Topic(topic)) => {
                for delivery in deliveries {
                    let one = std::slice::from_ref(delivery);
                    let mut record = given_up(delivery, delivery, one);
                    record["payload"] = serde_json::from_slice(&self.event(one)).unwrap_or(Value::Null);
                    let value = record.to_string();
                    while let Err(error) = self.log.publish(topic, delivery.key.as_deref(), value.as_bytes()).await {
                        self.wait(&format!("on-failure destination {topic}: {error}"), stop).await?;
                    }
                }
                Some(topic)
            }
        };
        let reason = match condition {
            Condition::RetryAttemptsExhausted => format!("failed {invocations} times"),
            Condition::MaximumRecordAgeExceeded => "older than MaximumRecordAgeInSeconds".to_owned(),
            Condition::MaximumPayloadSizeExceeded => "its record is larger than 6 MB".to_owned(),
        };
        self.report_each(deliveries, |message| match destination {
            Some(destination) => {
                MappingEvent::DeadLettered { message, destination: destination.clone(), reason: reason.clone() }
            }
            None => MappingEvent::Dropped { message, reason: reason.clone() },
        });
        Ok(())
    }

    /// Commits the offset after these records.
    async fn commit_past(&mut self, deliveries: &[Delivery], stop: &CancellationToken) -> Result<(), Stopped> {
        match deliveries.last() {
            Some(last) => self.commit(last.offset + 1, stop).await,
            None => Ok(()),
        }
    }

    /// Commits an offset, and retries until the broker accepts it.
    async fn commit(&mut self, offset: i64, stop: &CancellationToken) -> Result<(), Stopped> {
        while self.committed < offset {
            match self.log.commit(offset).await {
                Ok(()) => self.committed = offset,
                Err(error) => self.wait(&error.to_string(), stop).await?,
            }
        }
        Ok(())
    }

    fn report_each(&self, deliveries: &[Delivery], event: impl Fn(MappedMessage) -> MappingEvent) {
        for delivery in deliveries {
            self.report(event(self.message(delivery)));
        }
    }

    fn report(&self, event: MappingEvent) {
        self.shared.report(KafkaEvent::Message(event));
    }

    fn message(&self, delivery: &Delivery) -> MappedMessage {
        self.shared.names.message(&delivery.id, &delivery.body, delivery.receives)
    }
}

async fn pause(time: Duration, stop: &CancellationToken) -> Result<(), Stopped> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Stopped),
        () = sleep(time) => Ok(()),
    }
}
