//! Message move tasks: SQS itself moves all messages to one queue.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::start_message_move_task::StartMessageMoveTaskError,
    types::ListMessageMoveTasksResultEntry,
};

use sluicegate_queue::sqs::error_text;

use super::error::{broker, is_unknown_operation};
use crate::{CancellationToken, Error};

/// Interval between reads of the task.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The result of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// About how many messages the task moved.
    pub moved: u64,
    /// Whether the task was cancelled.
    pub cancelled: bool,
    /// The reason of a failure.
    pub failure: Option<String>,
}

/// A task that was not started, or whose state is unknown.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The endpoint lacks the operation, or does not support it for this queue. Nothing was moved.
    #[error("no message move task here: {0}")]
    Unsupported(String),
    /// Any other error.
    #[error(transparent)]
    Other(#[from] Error),
}

/// Largest number of messages that a task moves per second.
pub(super) const MOVES_PER_S_MAX: u32 = 500;

/// The tasks of a source queue.
pub(super) struct MoveTask<'a> {
    pub(super) client: &'a Client,
    pub(super) source_arn: &'a str,
}

impl MoveTask<'_> {
    /// Starts a task, and waits until it has ended.
    pub(super) async fn run(
        &self,
        destination_arn: &str,
        rate_per_s: Option<u32>,
        stop: &CancellationToken,
        progress: impl Fn(u64, u64),
    ) -> Result<Moved, MoveError> {
        let request = self
            .client
            .start_message_move_task()
            .source_arn(self.source_arn)
            .destination_arn(destination_arn)
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
                // A task that has ended cannot be cancelled; the next read shows that.
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
        let request = self.client.list_message_move_tasks().source_arn(self.source_arn).max_results(1);
        let answer = request.send().await.map_err(|error| broker(&error))?;
        answer.results.into_iter().flatten().next().ok_or_else(|| Error::Broker("the task is not listed".to_owned()))
    }
}

fn conclude(error: &SdkError<StartMessageMoveTaskError>) -> MoveError {
    let code = error.code().unwrap_or_default();
    let unsupported = error.as_service_error().is_some_and(StartMessageMoveTaskError::is_unsupported_operation);
    // This queue is not the dead-letter queue of any queue.
    let not_a_source = || {
        code.starts_with("InvalidParameterValue")
            && error.message().is_some_and(|text| text.contains("Dead Letter Queue"))
    };
    if unsupported || is_unknown_operation(error) || not_a_source() {
        return MoveError::Unsupported(error_text(error));
    }
    MoveError::Other(broker(error))
}
