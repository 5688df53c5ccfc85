//! The API actions: read the request, check it, run it on the engine, write the answer.
//!
//! Requests are read tolerantly: null and unknown members are ignored. Answers have the members that the API documents.

mod attributes;
mod batch;
mod input;
mod message;
mod moves;
mod queue;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::caller::Caller;
use crate::clock::EpochMs;
use crate::engine::Engine;
use crate::error::{ApiError, ErrorKind};

use crate::message::ReceivedMessage;
pub(crate) use message::ReceiveCall;
use message::SendAnswer;
pub(crate) use moves::task_id_in;

/// The input of an action.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// JSON text.
    Json(&'a [u8]),
    /// A value.
    Value(Value),
}

impl Input<'_> {
    /// Reads the input of an action.
    ///
    /// # Errors
    /// `SerializationException`.
    fn parse<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        // A text that cannot be read directly may still be valid: a value takes the last of two members of a name.
        if let Self::Json(text) = self
            && let Ok(input) = serde_json::from_slice(text)
        {
            return Ok(input);
        }
        serde_json::from_value(self.into_value()?).map_err(serialization)
    }

    fn into_value(self) -> Result<Value, ApiError> {
        match self {
            Self::Json(text) => serde_json::from_slice(text).map_err(serialization),
            Self::Value(value) => Ok(value),
        }
    }
}

fn serialization(error: serde_json::Error) -> ApiError {
    ApiError::new(ErrorKind::Serialization, error.to_string())
}

/// The answer of an action: typed for the actions on single messages, which are called most.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// No members.
    Empty {},
    /// `SendMessage`.
    Sent(SendAnswer),
    /// `ReceiveMessage`.
    Received {
        #[serde(rename = "Messages")]
        messages: Vec<ReceivedMessage>,
    },
    /// Any other.
    Value(Value),
}

impl Answer {
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Value(value) => value,
            // These always have a value.
            typed => serde_json::to_value(typed).unwrap_or_default(),
        }
    }
}

/// Runs any action except `ReceiveMessage`, which may wait.
///
/// # Errors
/// The action's documented errors; `UnknownOperationException` for an unknown action.
pub(crate) fn run(
    engine: &mut Engine,
    action: &str,
    input: Input<'_>,
    caller: &Caller,
    now: EpochMs,
) -> Result<Answer, ApiError> {
    let value = match action {
        "SendMessage" => return message::send(engine, input.parse()?, caller, now).map(Answer::Sent),
        "DeleteMessage" => return message::delete(engine, input.parse()?, now).map(|()| Answer::Empty {}),
        "ChangeMessageVisibility" => {
            return message::change_visibility(engine, input.parse()?, now).map(|()| Answer::Empty {});
        }
        "CreateQueue" => queue::create(engine, input.parse()?, caller, now),
        "GetQueueUrl" => queue::get_url(engine, input.parse()?),
        "ListQueues" => queue::list(engine, input.parse()?),
        "ListDeadLetterSourceQueues" => queue::list_sources(engine, input.parse()?),
        "DeleteQueue" => queue::delete(engine, input.parse()?, now),
        "PurgeQueue" => queue::purge(engine, input.parse()?, now),
        "GetQueueAttributes" => attributes::get(engine, input.parse()?, now),
        "SetQueueAttributes" => attributes::set(engine, input.parse()?, now),
        "TagQueue" => attributes::tag(engine, input.parse()?, now),
        "UntagQueue" => attributes::untag(engine, input.parse()?, now),
        "ListQueueTags" => attributes::list_tags(engine, input.parse()?, now),
        "SendMessageBatch" => batch::send(engine, input.parse()?, caller, now),
        "DeleteMessageBatch" => batch::delete(engine, input.parse()?, now),
        "ChangeMessageVisibilityBatch" => batch::change_visibility(engine, input.parse()?, now),
        "StartMessageMoveTask" => moves::start(engine, input.parse()?, now),
        "ListMessageMoveTasks" => moves::list(engine, &input.parse()?),
        "CancelMessageMoveTask" => moves::cancel(engine, input.parse()?),
        "AddPermission" | "RemovePermission" => {
            let text = format!("{action} is not supported: this service has no access control.");
            refuse(input, ErrorKind::UnsupportedOperation, text)
        }
        _ => {
            let text = format!("The action {action} is not valid for this endpoint.");
            refuse(input, ErrorKind::UnknownOperation, text)
        }
    };
    value.map(Answer::Value)
}

/// Refuses an action, unless its input is not JSON, which is reported first.
fn refuse(input: Input<'_>, kind: ErrorKind, text: String) -> Result<Value, ApiError> {
    input.into_value()?;
    Err(ApiError::new(kind, text))
}
