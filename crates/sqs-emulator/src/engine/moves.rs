//! Message move tasks on the engine.
//!
//! A task is a step function of time: [`Engine::step_move_task`] moves the due messages and returns when to call again.
//! A moved message is a new message (new id, new sent time, receive count 0), as AWS documents.

use std::sync::Arc;

use super::Engine;
use crate::clock::EpochMs;
use crate::error::{ApiError, ErrorKind};
use crate::event::QueueEvent;
use crate::message::fresh_id;
use crate::move_task::{MoveTask, Status};

/// Ended tasks kept per source queue: the largest number that can be listed. API ListMessageMoveTasks.
const TASKS_KEPT_MAX: usize = 10;

impl Engine {
    /// Starts a task and returns its id.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for a missing queue, `InvalidParameterValue` if the source is not a dead-letter
    /// queue, the types differ, or a task is running already.
    pub(crate) fn start_move_task(
        &mut self,
        source_arn: &str,
        destination_arn: Option<&str>,
        rate_per_s: Option<u32>,
        now: EpochMs,
    ) -> Result<Arc<str>, ApiError> {
        let source = self.existing("SourceArn", source_arn)?;
        let mut policies = self.queues.values().filter_map(|queue| queue.attributes.redrive.as_ref());
        if !policies.any(|policy| policy.target_arn == source_arn) {
            return Err(ApiError::invalid_parameter("Source queue must be configured as a Dead Letter Queue."));
        }
        let queue = self.queue(&source, now)?;
        let (to_move, fifo, source_arn) = (queue.counts().ready, queue.attributes.fifo, queue.arn.clone());
        let mut destination = None;
        if let Some(arn) = destination_arn {
            let name = self.existing("DestinationArn", arn)?;
            if name == source {
                return Err(ApiError::invalid_parameter(
                    "Source queue arn and destination queue arn cannot be the same.",
                ));
            }
            let queue = self.queue(&name, now)?;
            if queue.attributes.fifo != fifo {
                return Err(ApiError::invalid_parameter("Source and destination must be the same type of queue."));
            }
            destination = Some(queue.arn.clone());
        }
        let tasks = &mut self.move_tasks.0;
        if tasks.iter().any(|task| task.source == source && task.status == Status::Running) {
            return Err(ApiError::invalid_parameter(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            ));
        }
        if tasks.iter().filter(|task| task.source == source).count() >= TASKS_KEPT_MAX
            && let Some(oldest) = tasks.iter().position(|task| task.source == source)
        {
            tasks.remove(oldest);
        }
        let id = fresh_id();
        tasks.push(MoveTask {
            id: id.clone(),
            source,
            source_arn,
            destination_arn: destination,
            rate_per_s,
            started_at: now,
            to_move,
            moved: 0,
            status: Status::Running,
        });
        Ok(id)
    }

    /// Moves the messages that are due; returns the time of the next, or `None` when the task has ended.
    pub(crate) fn step_move_task(&mut self, id: &str, now: EpochMs) -> Option<EpochMs> {
        let index = self.move_tasks.0.iter().position(|task| &*task.id == id)?;
        let mut task = self.move_tasks.0.get(index)?.clone();
        while task.status == Status::Running && task.due_at() <= now {
            match self.move_one(&task, now) {
                Ok(true) => task.moved += 1,
                Ok(false) => task.status = Status::Completed,
                Err(reason) => task.status = Status::Failed(reason),
            }
        }
        let next = (task.status == Status::Running).then(|| task.due_at());
        if let Some(slot) = self.move_tasks.0.get_mut(index) {
            *slot = task;
        }
        next
    }

    /// Moves one message; returns `false` when none is left.
    fn move_one(&mut self, task: &MoveTask, now: EpochMs) -> Result<bool, &'static str> {
        const NO_QUEUE: &str = "AWS.SimpleQueueService.NonExistentQueue";
        const NO_SOURCE: &str = "CouldNotDetermineMessageSource";
        let source = self.queue(&task.source, now).map_err(|_| NO_QUEUE)?;
        let Some(next) = source.peek_next() else { return Ok(false) };
        let origin = next.dead_letter_source.clone();
        let arn = task.destination_arn.clone().or(origin).ok_or(NO_SOURCE)?;
        let target = self.name_of_arn(&arn).ok_or(NO_QUEUE)?;
        let source = self.queue(&task.source, now).map_err(|_| NO_QUEUE)?;
        let Some(mut message) = source.take_next() else { return Ok(false) };
        let old_id = std::mem::replace(&mut message.id, fresh_id());
        message.sent_at = now;
        message.receive_count = 0;
        message.first_received_at = None;
        message.dead_letter_source = None;
        self.events.push(QueueEvent::moved(&task.source, old_id, &target, &message));
        self.queue(&target, now).map_err(|_| NO_QUEUE)?.insert(message, 0, now);
        Ok(true)
    }

    /// Stops a running task; returns the number of messages moved, which stay at their destination.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for a missing task or source, `UnsupportedOperation` for a task that has ended.
    pub(crate) fn cancel_move_task(&mut self, id: &str, source_arn: Option<&str>) -> Result<u64, ApiError> {
        if let Some(arn) = source_arn {
            self.existing("SourceArn", arn)?;
        }
        let task = self.move_tasks.0.iter_mut().find(|task| &*task.id == id);
        let task = task.ok_or_else(|| ApiError::new(ErrorKind::ResourceNotFound, "Task does not exist."))?;
        if task.status != Status::Running {
            return Err(ApiError::new(
                ErrorKind::UnsupportedOperation,
                "Only a task in status RUNNING can be cancelled.",
            ));
        }
        task.status = Status::Cancelled;
        Ok(task.moved)
    }

    /// Returns the newest tasks of a queue, newest first.
    pub(crate) fn list_move_tasks(&self, source_arn: &str, count: usize) -> Result<Vec<&MoveTask>, ApiError> {
        let source = self.existing("SourceArn", source_arn)?;
        Ok(self.move_tasks.0.iter().rev().filter(|task| task.source == source).take(count).collect())
    }

    fn existing(&self, parameter: &str, arn: &str) -> Result<Arc<str>, ApiError> {
        self.name_of_arn(arn).ok_or_else(|| {
            let text = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
            ApiError::new(ErrorKind::ResourceNotFound, text)
        })
    }
}
