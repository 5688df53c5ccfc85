//! [`PartitionWriter`]: appends records to one partition, as the only task that does so in this process.
//!
//! The task takes the records that wait, appends them as one batch and answers their senders before it takes the next.
//! It is an idempotent producer with an identity of its own: a batch keeps its sequence number until its result is
//! known, so the leader recognizes one that it has stored already. When a batch is given up without a result, the
//! identity is given up too, because the sequence number of the next batch would depend on that result.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::cluster::{Inner, late};
use super::connection::{Broker, CallError, REPLICATION_TIMEOUT_MS};
use super::error_code::Conclusion;
use super::record::{BATCH_HEAD_BYTES, ProducerIdentity, Record, batch};
use super::requests::{self, Api, Produced};
use crate::SendError;

/// The most bytes of a batch with more than one record. Half the default limit of a topic, so that records which are
/// accepted alone are accepted together; a topic with a lower limit refuses the batch, and its records are sent alone.
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// The most attempts of a batch. The waits between them are as long as an election of a leader usually takes.
const ATTEMPTS_MAX: u32 = 4;

/// The wait before the second attempt. It doubles with each.
const BACKOFF: Duration = Duration::from_millis(100);

/// A handle to the task.
#[derive(Clone)]
pub(super) struct PartitionWriter(mpsc::UnboundedSender<Waiting>);

/// The result of a record: its offset, if the broker knows it.
type Appended = Result<Option<i64>, SendError>;

/// A record that was handed to the task.
pub(super) struct Handed {
    progress: Arc<Progress>,
    result: oneshot::Receiver<Appended>,
}

/// A record in the task.
struct Waiting {
    record: Record,
    progress: Arc<Progress>,
    result: oneshot::Sender<Appended>,
}

/// Whether a record was written to a broker or withdrawn by its sender, whichever came first.
#[derive(Default)]
struct Progress(AtomicU8);

impl Progress {
    const WAITING: u8 = 0;
    const WRITTEN: u8 = 1;
    const WITHDRAWN: u8 = 2;

    /// Marks the record as written. Returns false if it was withdrawn.
    fn write(&self) -> bool {
        self.leave(Self::WRITTEN) != Self::WITHDRAWN
    }

    /// Withdraws the record. Returns false if it may have been written.
    fn withdraw(&self) -> bool {
        self.leave(Self::WITHDRAWN) == Self::WAITING
    }

    fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::WITHDRAWN
    }

    /// Changes from waiting to `next` and returns the earlier state.
    fn leave(&self, next: u8) -> u8 {
        self.0.compare_exchange(Self::WAITING, next, Ordering::AcqRel, Ordering::Acquire).unwrap_or_else(|other| other)
    }
}

impl PartitionWriter {
    /// Starts the task. It ends with the cluster, or with the last handle.
    pub(super) fn start(cluster: Weak<Inner>, topic: String, partition: i32) -> Self {
        let (sender, records) = mpsc::unbounded_channel();
        tokio::spawn(Task { cluster, topic, partition, identity: None }.run(records));
        Self(sender)
    }

    pub(super) fn is_running(&self) -> bool {
        !self.0.is_closed()
    }

    /// Hands a record to the task. Records are appended in the order in which they are handed over.
    pub(super) fn hand(&self, record: Record) -> Handed {
        let (sender, result) = oneshot::channel();
        let progress = Arc::new(Progress::default());
        // If the task has ended, the sender is dropped, which is the result.
        let _ = self.0.send(Waiting { record, progress: Arc::clone(&progress), result: sender });
        Handed { progress, result }
    }
}

impl Handed {
    /// Waits until the record is appended, but not past `deadline`.
    pub(super) async fn appended(self, deadline: Instant) -> Appended {
        let (reason, ended) = match timeout_at(deadline, self.result).await {
            Ok(Ok(appended)) => return appended,
            Ok(Err(_)) => ("the task of the partition ended", true),
            Err(_) => ("no confirm before the deadline", false),
        };
        if self.progress.withdraw() {
            return Err(if ended { SendError::NotSent { reason: reason.to_owned() } } else { late() });
        }
        Err(SendError::Unknown { reason: reason.to_owned() })
    }
}

struct Task {
    cluster: Weak<Inner>,
    topic: String,
    partition: i32,
    identity: Option<ProducerIdentity>,
}

/// The result of one attempt to append a batch.
enum Attempt {
    /// It is stored, from this offset on if the broker knows it.
    Stored(Option<i64>),
    /// It has more bytes than the topic accepts.
    TooLarge(String),
    /// It is not stored by this attempt, and another does not change that.
    Refused(SendError),
    /// Another attempt may succeed.
    Failed {
        reason: String,
        /// This attempt may have stored it.
        perhaps_stored: bool,
    },
}

impl Task {
    async fn run(mut self, mut records: mpsc::UnboundedReceiver<Waiting>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(first) => first,
                None => match records.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let Some(cluster) = self.cluster.upgrade() else { return };
            let mut bytes = BATCH_HEAD_BYTES + first.record.bytes_max();
            let mut batch = vec![first];
            while let Ok(record) = records.try_recv() {
                bytes += record.record.bytes_max();
                if bytes > BATCH_BYTES_MAX {
                    next = Some(record);
                    break;
                }
                batch.push(record);
            }
            if let Some(alone) = self.append(&cluster, batch).await {
                for record in alone {
                    self.append(&cluster, vec![record]).await;
                }
            }
        }
    }

    /// Appends records as one batch and answers their senders. Returns them if they are too large together.
    async fn append(&mut self, cluster: &Inner, mut records: Vec<Waiting>) -> Option<Vec<Waiting>> {
        // Whether an earlier attempt may have stored the batch, which then stays as it is.
        let mut perhaps_stored = false;
        let mut attempts = 0;
        loop {
            if !perhaps_stored {
                records.retain(|record| !record.progress.is_withdrawn());
            }
            if records.iter().all(|record| record.result.is_closed()) {
                // Each sender has given up.
                self.give_up(perhaps_stored);
                return None;
            }
            let reason = match self.attempt(cluster, &records).await {
                None => continue,
                Some(Attempt::Stored(offset)) => {
                    if let Some(identity) = &mut self.identity {
                        identity.advance(records.len());
                    }
                    for (place, record) in (0..).zip(records) {
                        let _ = record.result.send(Ok(offset.map(|offset| offset + place)));
                    }
                    return None;
                }
                Some(Attempt::TooLarge(_)) if records.len() > 1 && !perhaps_stored => return Some(records),
                Some(Attempt::TooLarge(reason)) => {
                    let error = SendError::Refused { reason, message_at_fault: true };
                    self.fail(records, &error, perhaps_stored);
                    return None;
                }
                Some(Attempt::Refused(error)) => {
                    self.fail(records, &error, perhaps_stored);
                    return None;
                }
                Some(Attempt::Failed { reason, perhaps_stored: now }) => {
                    perhaps_stored |= now;
                    reason
                }
            };
            attempts += 1;
            if attempts == ATTEMPTS_MAX {
                self.fail(records, &SendError::NotSent { reason }, perhaps_stored);
                return None;
            }
            sleep(BACKOFF * 2_u32.pow(attempts - 1)).await;
            // Another broker may lead the partition now. Without an answer the next attempt asks the old leader.
            let _ = cluster.read_topic(&self.topic).await;
        }
    }

    /// Makes one attempt; `None` if a record was withdrawn before it was written.
    async fn attempt(&mut self, cluster: &Inner, records: &[Waiting]) -> Option<Attempt> {
        let leader = match self.leader(cluster).await {
            Ok(leader) => leader,
            Err(attempt) => return Some(attempt),
        };
        let identity = match self.identity {
            Some(identity) => identity,
            None => match Self::identify(&leader).await {
                Ok(identity) => *self.identity.insert(identity),
                Err(attempt) => return Some(attempt),
            },
        };
        let batch = batch(records.iter().map(|waiting| &waiting.record), identity, SystemTime::now());
        let body = requests::produce(&self.topic, self.partition, &batch, REPLICATION_TIMEOUT_MS);
        let mark = || records.iter().all(|record| record.progress.write());
        let produced = match leader.call(Api::Produce, &body, mark).await {
            Ok(response) => requests::produced(&response),
            Err(CallError::Withdrawn) => return None,
            Err(error) => return Some(Attempt::of(error)),
        };
        Some(match produced {
            Ok(produced) => self.conclude(produced),
            Err(malformed) => Attempt::Failed { reason: malformed.to_string(), perhaps_stored: true },
        })
    }

    async fn leader(&self, cluster: &Inner) -> Result<Arc<Broker>, Attempt> {
        let topic = cluster.topic(&self.topic).await.map_err(Attempt::of_lookup)?;
        let partition = topic.partitions.iter().find(|partition| partition.index == self.partition);
        let leader = partition.and_then(|partition| partition.leader.clone());
        leader.ok_or_else(|| {
            let reason = format!("partition {} of topic {} has no leader", self.partition, self.topic);
            Attempt::Failed { reason, perhaps_stored: false }
        })
    }

    async fn identify(broker: &Broker) -> Result<ProducerIdentity, Attempt> {
        let response = broker.call(Api::InitProducerId, &requests::init_producer_id(), || true).await;
        let response = response.map_err(|error| match Attempt::of(error) {
            // A lost request for an identity says nothing of the batch.
            Attempt::Failed { reason, .. } => Attempt::Failed { reason, perhaps_stored: false },
            attempt => attempt,
        })?;
        let failed = |reason: String| Attempt::Failed { reason, perhaps_stored: false };
        match requests::producer_id(&response) {
            Ok(Ok((id, epoch))) => Ok(ProducerIdentity { id, epoch, next_sequence: 0 }),
            Ok(Err(error)) => {
                let reason = format!("no identity for an idempotent producer: {error}");
                Err(match error.conclusion() {
                    Conclusion::Refused => Attempt::Refused(SendError::Refused { reason, message_at_fault: false }),
                    _ => failed(reason),
                })
            }
            Err(malformed) => Err(failed(malformed.to_string())),
        }
    }

    fn conclude(&mut self, produced: Produced) -> Attempt {
        let Produced { error, reason, offset } = produced;
        let reason = format!("topic {}: {error} {reason}", self.topic).trim_end().to_owned();
        match error.conclusion() {
            Conclusion::Stored => Attempt::Stored(u64::try_from(offset).is_ok().then_some(offset)),
            Conclusion::TooLarge => Attempt::TooLarge(reason),
            Conclusion::Refused => Attempt::Refused(SendError::Refused { reason, message_at_fault: false }),
            Conclusion::NotStored => Attempt::Failed { reason, perhaps_stored: false },
            Conclusion::Unclear => Attempt::Failed { reason, perhaps_stored: true },
            Conclusion::NewIdentity => {
                self.identity = None;
                Attempt::Failed { reason, perhaps_stored: false }
            }
        }
    }

    /// Answers the senders with the error, or that the records may be stored.
    fn fail(&mut self, records: Vec<Waiting>, error: &SendError, perhaps_stored: bool) {
        self.give_up(perhaps_stored);
        for record in records {
            let error = match (error, perhaps_stored) {
                (error, false) => error.clone(),
                (SendError::NotSent { reason }, true) => SendError::Unknown { reason: reason.clone() },
                (error, true) => {
                    SendError::Unknown { reason: format!("an earlier attempt had no result; then {error}") }
                }
            };
            let _ = record.result.send(Err(error));
        }
    }

    fn give_up(&mut self, perhaps_stored: bool) {
        if perhaps_stored {
            self.identity = None;
        }
    }
}

impl Attempt {
    fn of(error: CallError) -> Self {
        match error {
            CallError::Lost(reason) => Self::Failed { reason, perhaps_stored: true },
            error => Self::of_lookup(error.into()),
        }
    }

    fn of_lookup(error: SendError) -> Self {
        match error {
            SendError::NotSent { reason } => Self::Failed { reason, perhaps_stored: false },
            error => Self::Refused(error),
        }
    }
}
