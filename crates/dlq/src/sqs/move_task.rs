//! A message move task: SQS itself moves everything to one queue.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>

use std::time::Duration;

use aws_sdk_sqs::{
    error::{ProvideErrorMetadata, SdkError},
    operation::start_message_move_task::StartMessageMoveTaskError,
    types::ListMessageMoveTasksResultEntry,
};

use sluicegate_queue::sqs::error_text;

use super::{Queue, SqsDeadLetterQueue, broker, is_unknown_operation};
use crate::{CancellationToken, Error};

/// How often the task is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// About how many messages it moved. They stay where they are.
    pub moved: u64,
    /// Whether it was cancelled because the end was asked for.
    pub cancelled: bool,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Why no task was started, or nothing is known of it.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The endpoint has no such operation, or not for this queue. Nothing was moved.
    #[error("no message move task here: {0}")]
    Unsupported(String),
    /// Everything else.
    #[error(transparent)]
    Other(#[from] Error),
}

impl SqsDeadLetterQueue {
    /// The most messages that a task moves in a second.
    pub const MOVES_PER_S_MAX: u32 = 500;

    /// Lets SQS move all messages to `destination`, and tells `progress` how many were moved and how many there were. Messages that are
    /// hidden stay. Nothing is counted on the messages themselves.
    ///
    /// # Errors
    /// [`MoveError`].
    pub async fn move_all(
        &self,
        destination: &Queue,
        rate_per_s: Option<u32>,
        stop: &CancellationToken,
        progress: impl Fn(u64, u64),
    ) -> Result<Moved, MoveError> {
        let request = self
            .client
            .start_message_move_task()
            .source_arn(&self.queue.arn)
            .destination_arn(&destination.arn)
            .set_max_number_of_messages_per_second(rate_per_s.and_then(|rate| i32::try_from(rate).ok()));
        let started = request.send().await.map_err(|error| conclude(&error))?;
        let handle = started.task_handle.unwrap_or_default();
        let mut cancelled = false;
        loop {
            let task = self.newest_task().await?;
            let moved = u64::try_from(task.approximate_number_of_messages_moved).unwrap_or(0);
            let all = task.approximate_number_of_messages_to_move.and_then(|count| u64::try_from(count).ok());
            progress(moved, all.unwrap_or(moved).max(moved));
            match task.status.as_deref() {
                Some("RUNNING" | "CANCELLING") => {}
                Some("FAILED") => {
                    let failure = task.failure_reason.unwrap_or_else(|| "SQS gives no reason".to_owned());
                    return Ok(Moved { moved, cancelled: false, failure: Some(failure) });
                }
                _ => return Ok(Moved { moved, cancelled, failure: None }),
            }
            if stop.is_cancelled() && !cancelled {
                // One that has ended by now cannot be cancelled, and the next look tells.
                let _ = self.client.cancel_message_move_task().task_handle(&handle).send().await;
                cancelled = true;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = stop.cancelled(), if !cancelled => {}
            }
        }
    }

    async fn newest_task(&self) -> Result<ListMessageMoveTasksResultEntry, Error> {
        let request = self.client.list_message_move_tasks().source_arn(&self.queue.arn).max_results(1);
        let answer = request.send().await.map_err(|error| broker(&error))?;
        answer.results.into_iter().flatten().next().ok_or_else(|| Error::Broker("the task is not listed".to_owned()))
    }
}

fn conclude(error: &SdkError<StartMessageMoveTaskError>) -> MoveError {
    let code = error.code().unwrap_or_default();
    let unsupported = error.as_service_error().is_some_and(StartMessageMoveTaskError::is_unsupported_operation);
    // No queue has this one as its dead-letter queue.
    let not_a_source = || {
        code.starts_with("InvalidParameterValue")
            && error.message().is_some_and(|text| text.contains("Dead Letter Queue"))
    };
    if unsupported || is_unknown_operation(error) || not_a_source() {
        return MoveError::Unsupported(error_text(error));
    }
    MoveError::Other(broker(error))
}
