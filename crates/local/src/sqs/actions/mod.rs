//! The API actions: read the request, check it, run it on the engine, write the answer.
//!
//! Requests are tolerant (members that are null or not known are ignored), answers carry the members the API documents.

mod attributes;
mod batch;
mod message;
mod moves;
mod queue;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Caller;
use super::engine::Engine;
use super::error::{ApiError, Kind};
use crate::clock::EpochMs;

pub(super) use message::ReceiveCall;
pub(super) use moves::task_id_in;

/// Runs any action but `ReceiveMessage`, which may have to wait.
///
/// # Errors
/// What the action documents; `UnknownOperationException` for an action this engine does not have.
pub(super) fn run(
    engine: &mut Engine,
    action: &str,
    input: Value,
    caller: &Caller,
    now: EpochMs,
) -> Result<Value, ApiError> {
    match action {
        "CreateQueue" => queue::create(engine, parse(input)?, caller, now),
        "GetQueueUrl" => queue::get_url(engine, parse(input)?),
        "ListQueues" => queue::list(engine, parse(input)?),
        "ListDeadLetterSourceQueues" => queue::list_sources(engine, parse(input)?),
        "DeleteQueue" => queue::delete(engine, parse(input)?, now),
        "PurgeQueue" => queue::purge(engine, parse(input)?, now),
        "GetQueueAttributes" => attributes::get(engine, parse(input)?, now),
        "SetQueueAttributes" => attributes::set(engine, parse(input)?, now),
        "TagQueue" => attributes::tag(engine, parse(input)?, now),
        "UntagQueue" => attributes::untag(engine, parse(input)?, now),
        "ListQueueTags" => attributes::list_tags(engine, parse(input)?, now),
        "SendMessage" => message::send(engine, parse(input)?, caller, now),
        "DeleteMessage" => message::delete(engine, parse(input)?, now),
        "ChangeMessageVisibility" => message::change_visibility(engine, parse(input)?, now),
        "SendMessageBatch" => batch::send(engine, parse(input)?, caller, now),
        "DeleteMessageBatch" => batch::delete(engine, parse(input)?, now),
        "ChangeMessageVisibilityBatch" => batch::change_visibility(engine, parse(input)?, now),
        "StartMessageMoveTask" => moves::start(engine, parse(input)?, now),
        "ListMessageMoveTasks" => moves::list(engine, &parse(input)?),
        "CancelMessageMoveTask" => moves::cancel(engine, parse(input)?),
        "AddPermission" | "RemovePermission" => Err(ApiError::new(
            Kind::UnsupportedOperation,
            format!("{action} is not supported by the local queue service: nothing here is access-controlled."),
        )),
        _ => Err(ApiError::new(Kind::UnknownOperation, format!("The action {action} is not valid for this endpoint."))),
    }
}

/// A request that names nothing but a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueInput {
    queue_url: Option<String>,
}

fn parse<T: DeserializeOwned>(input: Value) -> Result<T, ApiError> {
    serde_json::from_value(input).map_err(|error| ApiError::new(Kind::Serialization, error.to_string()))
}

fn required<T>(value: Option<T>, parameter: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::missing(parameter))
}

/// The name of the queue a request is about.
fn queue_name(engine: &Engine, queue_url: Option<&str>) -> Result<String, ApiError> {
    let url = required(queue_url.filter(|url| !url.is_empty()), "QueueUrl")?;
    engine.name_in_url(url).map(str::to_owned)
}

/// A number in a range.
fn in_range<T>(parameter: &str, value: i64, range: &std::ops::RangeInclusive<T>) -> Result<T, ApiError>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    T::try_from(value).ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (start, end) = (range.start(), range.end());
        let reason = match parameter {
            "WaitTimeSeconds" => format!("Must be >= {start} and <= {end}, if provided."),
            "DelaySeconds" => format!("DelaySeconds must be >= {start} and <= {end}."),
            _ => format!("Must be between {start} and {end}, if provided."),
        };
        ApiError::invalid_parameter(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
    })
}
