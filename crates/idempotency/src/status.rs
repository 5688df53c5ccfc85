//! [`StatusStore`]: the status of messages, for those who sent them.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::StoreError;
use crate::record::{unix_ms, unix_s};

/// How long a status is kept after its last change: as long as SQS keeps a message at most, and its dead-letter queue a
/// dead letter.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const STATUS_KEPT: Duration = Duration::from_secs(14 * 24 * 3_600);

/// The longest result or reason of a status, in bytes. Chosen here: an item stays within the 4 KB of one read and a few
/// of the 1 KB of a write.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
pub const STATUS_TEXT_BYTES_MAX: usize = 1_024;

/// The state of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "dynamodb", derive(serde::Deserialize, serde::Serialize))]
pub enum MessageState {
    /// It is on its queue, and was not handled yet.
    Accepted,
    /// Its handler runs.
    Processing {
        /// How often it was received, this time included.
        receive_count: u32,
    },
    /// Its handler failed, and is called again.
    Retrying {
        /// How often it was received.
        receive_count: u32,
        /// When it can be received again, in seconds since 1970.
        next_s: u64,
    },
    /// It is handled.
    Done {
        /// The result of the handler, if it gave one.
        result: Option<String>,
    },
    /// It is in its dead-letter queue.
    Dead {
        /// The code of the rejection; `None` in what earlier versions recorded.
        code: Option<String>,
        /// Why.
        reason: String,
    },
}

/// The status of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who may read it, as [`StatusStore::open_status`] was called with.
    pub owner: String,
    /// The state of the message.
    pub state: MessageState,
}

/// A store of statuses by message id.
///
/// Changes may arrive late and in any order. `Done` is final. `Dead` replaces every other state, and is replaced by a
/// later one, because a dead letter may be redriven. The others replace a state that was recorded before them.
pub trait StatusStore: Send + Sync {
    /// Records an accepted message, unless its id has a status. Returns whether it had none.
    ///
    /// # Errors
    /// [`StoreError`]. The status may be recorded all the same.
    fn open_status(
        &self,
        id: &str,
        owner: &str,
        now: SystemTime,
        deadline: Instant,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes the status of a message that is not known to be on its queue, unless a consumer has received it.
    ///
    /// # Errors
    /// [`StoreError`]. The status may be removed all the same.
    fn discard_status(&self, id: &str, deadline: Instant) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Changes the state of a message, at `now`. Does nothing if its id has no status, or the change is late.
    ///
    /// # Errors
    /// [`StoreError`]. The state may be changed all the same.
    fn change_status(
        &self,
        id: &str,
        state: &MessageState,
        now: SystemTime,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the status of a message, if it has one that did not expire.
    ///
    /// # Errors
    /// [`StoreError`].
    fn status(
        &self,
        id: &str,
        now: SystemTime,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<Status>, StoreError>> + Send;
}

/// When a state was recorded that no other may replace.
const FINAL_MS: u64 = u64::MAX;

/// A change of a status: the state is replaced if it was recorded before `before_ms`.
#[derive(Debug)]
pub(crate) struct Change {
    /// When the new state counts as recorded, in milliseconds since 1970.
    pub(crate) changed_ms: u64,
    pub(crate) before_ms: u64,
    /// In seconds since 1970.
    pub(crate) expires_at_s: u64,
}

impl Change {
    pub(crate) fn to(state: &MessageState, now: SystemTime) -> Self {
        let now_ms = unix_ms(now);
        let (changed_ms, before_ms) = match state {
            // Older than everything that a consumer records, whatever its clock.
            MessageState::Accepted => (0, 0),
            MessageState::Processing { .. } => (now_ms, now_ms),
            MessageState::Retrying { .. } => (now_ms, now_ms.saturating_add(1)),
            MessageState::Done { .. } => (FINAL_MS, FINAL_MS),
            MessageState::Dead { .. } => (now_ms, FINAL_MS),
        };
        Self { changed_ms, before_ms, expires_at_s: unix_s(now + STATUS_KEPT) }
    }
}
