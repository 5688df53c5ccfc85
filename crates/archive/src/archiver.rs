//! [`Archiver`]: writes the messages of a batch to S3, an object for each hour and type.
//!
//! It is a handler of single messages, so that messages are decoded, settled, counted and dead-lettered as those of
//! every consumer, and payloads in S3 are fetched. The messages of a batch are handled at once: the first waits for the
//! others ([`GATHER_TIME`]) and writes the objects, and the others wait for it. Each is done when the object with its
//! line is stored, and returned to its queue otherwise: if the write fails, if the deadline cancels the first, or if
//! the function is killed.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sluicegate_aws_client::{AwsEnvironment, S3Client};
use sluicegate_batch::{Consumer, ConsumerBuilder, Delivery, Outcome, chain};
use sluicegate_envelope::Envelope;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::{Hour, ObjectKey, object};

/// The variable with the bucket's name.
const BUCKET: &str = "ARCHIVE_BUCKET";

/// The messages that are handled at once: the largest batch of SQS.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html>
const BATCH_MESSAGES_MAX: usize = 10_000;

/// How long the first message waits for the others of its batch, which the runtime starts at once; those with a payload
/// in S3 come later, and make another group if they are late.
const GATHER_TIME: Duration = Duration::from_millis(50);

/// Text of an object after which another event goes to a second one, in bytes: what a batch of SQS has at most is one
/// object, and its compression needs little memory.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const OBJECT_BYTES: usize = 6 * 1024 * 1024;

/// Objects that are written at once. Most batches have fewer.
const WRITES_AT_ONCE: usize = 16;

/// A handler that writes events to a bucket.
pub struct Archiver {
    client: S3Client,
    /// The group that messages join; `None` until the next message.
    gathering: Mutex<Option<Group>>,
}

/// Messages that are written together.
struct Group {
    events: Vec<ArchivedEvent>,
    result: watch::Sender<Option<Arc<Failed>>>,
}

/// The hours and types that were not written.
type Failed = HashSet<Partition>;

/// What the events of an object have in common.
type Partition = (Hour, String);

struct ArchivedEvent {
    partition: Partition,
    time: OffsetDateTime,
    /// `id` and `source`, which together name an event.
    name: (String, String),
    line: String,
}

impl ArchivedEvent {
    fn of(envelope: &Envelope) -> Self {
        let time = envelope.time().unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self {
            partition: (Hour::of(time), envelope.event_type().to_owned()),
            time,
            name: (envelope.id().to_owned(), envelope.source().to_owned()),
            line: object::line(envelope),
        }
    }
}

/// Serves Lambda with an archiver until the process ends: the `main` of the function. `ARCHIVE_BUCKET` names the
/// bucket. Failures are those of [`sluicegate_batch::serve`].
pub async fn serve() -> ExitCode {
    let archiver = Archiver::from_env(|name| std::env::var(name).ok());
    sluicegate_batch::serve(archiver.map(Archiver::into_consumer)).await
}

impl Archiver {
    /// Creates an archiver that writes to `bucket`, without calling S3.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, bucket: &str) -> Self {
        Self { client: S3Client::new(environment, bucket), gathering: Mutex::new(None) }
    }

    /// Creates an archiver for the bucket in `ARCHIVE_BUCKET`.
    ///
    /// # Errors
    /// The variable is not set, or the variables of AWS are incomplete.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let bucket = lookup(BUCKET).filter(|bucket| !bucket.is_empty());
        let bucket = bucket.ok_or_else(|| format!("{BUCKET} is not set: it names the bucket of the archive"))?;
        let environment = AwsEnvironment::read(lookup).map_err(|error| error.to_string())?;
        Ok(Self::new(&environment, &bucket))
    }

    /// Returns a consumer that archives every message.
    pub fn into_consumer(self) -> ConsumerBuilder {
        let archiver = Arc::new(self);
        let handler = move |delivery: Arc<Delivery>| -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
            let archiver = Arc::clone(&archiver);
            Box::pin(async move { archiver.archive(delivery.envelope(), delivery.deadline()).await })
        };
        Consumer::builder().concurrency(BATCH_MESSAGES_MAX).otherwise(handler)
    }

    /// Archives an event together with the others of its batch.
    async fn archive(&self, envelope: &Envelope, deadline: Instant) -> Outcome {
        let event = ArchivedEvent::of(envelope);
        let partition = event.partition.clone();
        let (mut result, is_first) = self.join(event);
        if is_first {
            self.write_group(deadline).await;
        }
        // An error: the first was cancelled.
        match result.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(failed)) if !failed.contains(&partition) => Outcome::Done,
            _ => Outcome::Retry,
        }
    }

    /// Adds an event to the group; returns its result, and whether the event is the first.
    fn join(&self, event: ArchivedEvent) -> (watch::Receiver<Option<Arc<Failed>>>, bool) {
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = gathering.is_none();
        let group = gathering.get_or_insert_with(|| Group { events: Vec::new(), result: watch::Sender::new(None) });
        group.events.push(event);
        (group.result.subscribe(), is_first)
    }

    /// Waits for the other events, and writes the objects of all.
    async fn write_group(&self, deadline: Instant) {
        let closing = Closing(self);
        sleep(GATHER_TIME).await;
        let Some(Group { events, result }) = closing.close() else { return };
        let writes = stream::iter(objects(events)).map(|(partition, text)| async {
            let written = self.write(&partition, text, deadline).await;
            if written { None } else { Some(partition) }
        });
        let failed: Failed = writes.buffer_unordered(WRITES_AT_ONCE).filter_map(std::future::ready).collect().await;
        result.send_replace(Some(Arc::new(failed)));
    }

    /// Writes an object. Returns whether it is stored.
    async fn write(&self, (hour, event_type): &Partition, text: String, deadline: Instant) -> bool {
        let key = ObjectKey::new(*hour, event_type, &text).to_string();
        let written = self.client.put(&key, Bytes::from(object::write(&text)), deadline).await;
        if let Err(error) = &written {
            tracing::warn!(bucket = self.client.bucket(), key, reason = %chain(error), "not archived");
        }
        written.is_ok()
    }
}

/// Closes the group when the first event stops waiting, also if it is cancelled: the next message starts another.
struct Closing<'a>(&'a Archiver);

impl Closing<'_> {
    fn close(self) -> Option<Group> {
        let group = self.take();
        std::mem::forget(self);
        group
    }

    fn take(&self) -> Option<Group> {
        self.0.gathering.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Returns the texts of the objects: by hour and type, and of each in the order of time, each event once.
fn objects(mut events: Vec<ArchivedEvent>) -> Vec<(Partition, String)> {
    events.sort_by(|a, b| (a.time, &a.name, &a.line).cmp(&(b.time, &b.name, &b.line)));
    let mut objects: BTreeMap<Partition, (HashSet<_>, Vec<String>)> = BTreeMap::new();
    for event in events {
        // A repeated request has another time, which may be in another hour, whose object may fail.
        let (names, texts) = objects.entry(event.partition).or_default();
        if !names.insert(event.name) {
            continue;
        }
        match texts.last_mut() {
            Some(text) if text.len() + event.line.len() <= OBJECT_BYTES => text.push_str(&event.line),
            _ => texts.push(event.line),
        }
    }
    let of_partition = |(partition, (_, texts)): (Partition, (_, Vec<_>))| {
        texts.into_iter().map(move |text| (partition.clone(), text))
    };
    objects.into_iter().flat_map(of_partition).collect()
}

#[cfg(test)]
mod tests;
