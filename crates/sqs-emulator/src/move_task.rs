//! Message move tasks: redrive at a rate, to each message's source queue or to one queue.
//!
//! Guide sqs-configure-dead-letter-queue-redrive; failure reasons: guide troubleshooting-dlq-redrive.

use std::sync::Arc;

use crate::clock::EpochMs;
use crate::limits::MOVES_PER_S;

/// All tasks, oldest first.
#[derive(Debug, Default)]
pub(crate) struct MoveTasks(pub(crate) Vec<MoveTask>);

/// One task.
#[derive(Debug, Clone)]
pub(crate) struct MoveTask {
    pub(crate) id: Arc<str>,
    pub(crate) source: Arc<str>,
    pub(crate) source_arn: Arc<str>,
    /// The destination; `None` is each message's source queue.
    pub(crate) destination_arn: Option<Arc<str>>,
    pub(crate) rate_per_s: Option<u32>,
    pub(crate) started_at: EpochMs,
    pub(crate) to_move: usize,
    pub(crate) moved: u64,
    pub(crate) status: Status,
}

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Completed,
    Cancelled,
    Failed(&'static str),
}

impl MoveTask {
    /// Returns the time the next message is due.
    pub(crate) fn due_at(&self) -> EpochMs {
        let default = u32::try_from(*MOVES_PER_S.end()).unwrap_or(u32::MAX);
        let rate = EpochMs::from(self.rate_per_s.unwrap_or(default).max(1));
        self.started_at.saturating_add(self.moved.saturating_mul(1_000) / rate)
    }
}
