//! The API actions: read the request, check it, run it on the engine, write the answer.
//!
//! Requests are read tolerantly: null and unknown members are ignored. Answers have the members that the API documents.

mod attributes;
mod batch;
mod input;
mod message;
mod moves;
mod queue;

use serde_json::Value;

use crate::caller::Caller;
use crate::clock::EpochMs;
use crate::engine::Engine;
use crate::error::{ApiError, ErrorKind};

use input::parse;
pub(crate) use message::ReceiveCall;
pub(crate) use moves::task_id_in;

/// Runs any action except `ReceiveMessage`, which may wait.
///
/// # Errors
/// The action's documented errors; `UnknownOperationException` for an unknown action.
pub(crate) fn run(
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
            ErrorKind::UnsupportedOperation,
            format!("{action} is not supported: this service has no access control."),
        )),
        _ => Err(ApiError::new(
            ErrorKind::UnknownOperation,
            format!("The action {action} is not valid for this endpoint."),
        )),
    }
}
