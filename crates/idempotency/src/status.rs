//! [`StatusStore`]: the status of messages, for those who sent them.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::lease::token;
use crate::record::{unix_ms, unix_s};
use crate::{Effect, StoreError};

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

/// The status of a message that is about to be sent, as one request has opened it.
#[derive(Clone, Debug)]
pub struct OpenedStatus {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) opened_at: SystemTime,
    /// Names the request.
    pub(crate) token: String,
    /// Set by the store.
    pub(crate) before: Before,
}

impl OpenedStatus {
    pub(crate) fn new(id: &str, owner: &str, now: SystemTime) -> Self {
        let (id, owner) = (id.to_owned(), owner.to_owned());
        Self { id, owner, opened_at: now, token: token(), before: Before::Absent }
    }

    /// Returns what a request leaves of the status whose message it has not stored for certain; `None` if nothing
    /// changes.
    pub(crate) fn withdrawal(&self, effect: Effect) -> Option<Withdrawal> {
        match (self.before, effect) {
            (Before::Shown, _) => None,
            (Before::Absent, Effect::None) => Some(Withdrawal::Remove),
            (Before::Absent, Effect::Unknown) | (Before::Hidden, _) => Some(Withdrawal::Hide),
        }
    }
}

/// What a message had before a request opened its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Absent,
    /// A status of a message that may be on its queue. Also where the store does not say what it had.
    Hidden,
    Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    Remove,
    Hide,
}

/// A store of statuses by message id.
///
/// Changes may arrive late and in any order. `Done` is final. `Dead` replaces every other state, and is replaced by a
/// later one, because a dead letter may be redriven. The others replace a state that was recorded before them.
pub trait StatusStore: Send + Sync {
    /// Records that a message is accepted, unless a consumer has changed its status.
    ///
    /// # Errors
    /// [`StoreError`]. The status may be recorded all the same.
    fn open_status(
        &self,
        id: &str,
        owner: &str,
        now: SystemTime,
        deadline: Instant,
    ) -> impl Future<Output = Result<OpenedStatus, StoreError>> + Send;

    /// Takes back the status of a message that is not known to be on its queue. If the effect of the request is
    /// unknown, the status is hidden until a consumer changes it or a repeat of the request opens it; otherwise it is
    /// removed, and hidden if it was so before. Nothing changes if the message had a status that was shown, a consumer
    /// has changed it, or another request has opened it since.
    ///
    /// # Errors
    /// [`StoreError`]. The status may be taken back all the same.
    fn withdraw_status(
        &self,
        opened: &OpenedStatus,
        effect: Effect,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

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

    /// Returns the status of a message, if it has one that did not expire and is not hidden.
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

/// When a status was recorded that no consumer has changed.
pub(crate) const OPENED_MS: u64 = 0;

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
            MessageState::Accepted => (OPENED_MS, OPENED_MS),
            MessageState::Processing { .. } => (now_ms, now_ms),
            MessageState::Retrying { .. } => (now_ms, now_ms.saturating_add(1)),
            MessageState::Done { .. } => (FINAL_MS, FINAL_MS),
            MessageState::Dead { .. } => (now_ms, FINAL_MS),
        };
        Self { changed_ms, before_ms, expires_at_s: unix_s(now + STATUS_KEPT) }
    }
}
