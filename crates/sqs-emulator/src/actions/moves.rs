//! Actions on message move tasks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{in_range, required};
use crate::clock::EpochMs;
use crate::engine::Engine;
use crate::error::ApiError;
use crate::limits::{MOVE_TASKS_LISTED, MOVES_PER_S};
use crate::move_task::{MoveTask, Status};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartInput {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<i64>,
}

pub(super) fn start(engine: &mut Engine, input: StartInput, now: EpochMs) -> Result<Value, ApiError> {
    let source = required(input.source_arn, "SourceArn")?;
    let rate = input.max_number_of_messages_per_second;
    let rate = rate.map(|rate| in_range("MaxNumberOfMessagesPerSecond", rate, &MOVES_PER_S)).transpose()?;
    let rate = rate.and_then(|rate| u32::try_from(rate).ok());
    let destination = input.destination_arn.as_deref().filter(|arn| !arn.is_empty());
    let id = engine.start_move_task(&source, destination, rate, now)?;
    Ok(json!({ "TaskHandle": handle(&id, &source) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListMoveTasksInput {
    source_arn: Option<String>,
    max_results: Option<i64>,
}

pub(super) fn list(engine: &mut Engine, input: &ListMoveTasksInput) -> Result<Value, ApiError> {
    let source = required(input.source_arn.as_deref(), "SourceArn")?;
    let count = in_range("MaxResults", input.max_results.unwrap_or(1), &MOVE_TASKS_LISTED)?;
    let tasks = engine.list_move_tasks(source, usize::try_from(count).unwrap_or(1))?;
    Ok(json!({ "Results": tasks.into_iter().map(render).collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CancelInput {
    task_handle: Option<String>,
}

pub(super) fn cancel(engine: &mut Engine, input: CancelInput) -> Result<Value, ApiError> {
    let handle = required(input.task_handle, "TaskHandle")?;
    let invalid = || ApiError::invalid_parameter("Value for parameter TaskHandle is invalid.");
    let (id, source) = (member_of(&handle, "taskId").ok_or_else(invalid)?, member_of(&handle, "sourceArn"));
    Ok(json!({ "ApproximateNumberOfMessagesMoved": engine.cancel_move_task(&id, source.as_deref())? }))
}

fn render(task: &MoveTask) -> Value {
    let (status, reason) = match task.status {
        Status::Running => ("RUNNING", None),
        Status::Completed => ("COMPLETED", None),
        Status::Cancelled => ("CANCELLED", None),
        Status::Failed(reason) => ("FAILED", Some(reason)),
    };
    let mut out = json!({
        "Status": status,
        "SourceArn": &*task.source_arn,
        "StartedTimestamp": task.started_at,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
    });
    let optional = [
        ("TaskHandle", (task.status == Status::Running).then(|| handle(&task.id, &task.source_arn).into())),
        ("DestinationArn", task.destination_arn.as_deref().map(Value::from)),
        ("MaxNumberOfMessagesPerSecond", task.rate_per_s.map(Value::from)),
        ("FailureReason", reason.map(Value::from)),
    ];
    if let Some(out) = out.as_object_mut() {
        out.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    out
}

/// Returns a task handle in SQS's format: base64 of a JSON object with the task's id and its source.
fn handle(id: &str, source_arn: &str) -> String {
    BASE64.encode(json!({ "taskId": id, "sourceArn": source_arn }).to_string())
}

/// Returns the task id in a handle.
pub(crate) fn task_id_in(handle: &str) -> Option<String> {
    member_of(handle, "taskId")
}

fn member_of(handle: &str, name: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(&BASE64.decode(handle).ok()?).ok()?;
    Some(value.get(name)?.as_str()?.to_owned())
}
