//! The batch calls: first the rules for the whole call, then each entry by itself.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::input::{queue_name, required};
use super::message::{HandleInput, SendInput};
use crate::caller::Caller;
use crate::clock::EpochMs;
use crate::engine::Engine;
use crate::error::{ApiError, ErrorKind};
use crate::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_ENTRY_ID_CHARS_MAX};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchInput<E> {
    queue_url: Option<String>,
    entries: Option<Vec<E>>,
}

/// An entry with its id.
trait Entry {
    fn take_id(&mut self) -> Option<String>;
}

impl Entry for SendInput {
    fn take_id(&mut self) -> Option<String> {
        self.id.take()
    }
}

impl Entry for HandleInput {
    fn take_id(&mut self) -> Option<String> {
        self.id.take()
    }
}

/// Returns the entries with their ids if the call as a whole is valid.
fn entries<E: Entry>(given: Option<Vec<E>>, of: &str) -> Result<Vec<(String, E)>, ApiError> {
    let given = given.unwrap_or_default();
    if given.is_empty() {
        let text = format!("There should be at least one {of} in the request.");
        return Err(ApiError::new(ErrorKind::EmptyBatchRequest, text));
    }
    if given.len() > BATCH_ENTRIES_MAX {
        let text =
            format!("Maximum number of entries per request are {BATCH_ENTRIES_MAX}. You have sent {}.", given.len());
        return Err(ApiError::new(ErrorKind::TooManyEntriesInBatchRequest, text));
    }
    let mut seen = HashSet::new();
    let mut entries = Vec::with_capacity(given.len());
    for mut entry in given {
        let id = required(entry.take_id(), "Id")?;
        let is_good = !id.is_empty()
            && id.len() <= BATCH_ENTRY_ID_CHARS_MAX
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !is_good {
            return Err(ApiError::new(
                ErrorKind::InvalidBatchEntryId,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
                 letters long.",
            ));
        }
        if !seen.insert(id.clone()) {
            return Err(ApiError::new(ErrorKind::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
        entries.push((id, entry));
    }
    Ok(entries)
}

/// Runs every entry and reports its result.
fn run<E>(entries: Vec<(String, E)>, mut one: impl FnMut(E) -> Result<Value, ApiError>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, entry) in entries {
        match one(entry) {
            Ok(mut answer) => {
                answer["Id"] = id.into();
                successful.push(answer);
            }
            Err(error) => failed.push(json!({
                "Id": id,
                "Code": error.legacy_code(),
                "Message": error.message(),
                "SenderFault": error.sender_fault(),
            })),
        }
    }
    let lists = [("Successful", successful), ("Failed", failed)];
    let lists = lists.into_iter().filter(|(_, entries)| !entries.is_empty());
    Value::Object(lists.map(|(name, entries)| (name.to_owned(), entries.into())).collect())
}

pub(super) fn send(
    engine: &mut Engine,
    input: BatchInput<SendInput>,
    caller: &Caller,
    now: EpochMs,
) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let calls: Vec<_> = entries(input.entries, "SendMessageBatchRequestEntry")?
        .into_iter()
        .map(|(id, entry)| (id, entry.check(caller)))
        .collect();
    let drafts = || calls.iter().filter_map(|(_, call)| call.as_ref().ok()).map(|call| &call.draft);
    let size_bytes: usize = drafts().map(crate::message::Draft::size_bytes).sum();
    if size_bytes > BATCH_BYTES_MAX {
        return Err(ApiError::new(
            ErrorKind::BatchRequestTooLong,
            format!("Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. You have sent {size_bytes} bytes."),
        ));
    }
    for draft in drafts() {
        engine.check_fifo(&name, draft, now).map_err(as_batch_error)?;
    }
    Ok(run(calls, |call| {
        call?.run(engine, &name, now).map(|sent| Answer::Sent(sent).into_value()).map_err(as_batch_error)
    }))
}

/// Converts the error of a single send to a batch entry's, which has another code and text (recorded on AWS).
fn as_batch_error(error: ApiError) -> ApiError {
    let too_long = error.message().strip_prefix("One or more parameters are invalid.");
    match too_long {
        Some(reason) => ApiError::invalid_parameter(format!("One or more parameters cannot be validated.{reason}")),
        None if error.is(ErrorKind::MissingParameter) => ApiError::invalid_parameter(error.message()),
        None => error,
    }
}

pub(super) fn delete(engine: &mut Engine, input: BatchInput<HandleInput>, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let entries = entries(input.entries, "DeleteMessageBatchRequestEntry")?;
    Ok(run(entries, |entry| entry.delete(engine, &name, now).map(|()| json!({}))))
}

pub(super) fn change_visibility(
    engine: &mut Engine,
    input: BatchInput<HandleInput>,
    now: EpochMs,
) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let entries = entries(input.entries, "ChangeMessageVisibilityBatchRequestEntry")?;
    Ok(run(entries, |entry| entry.change_visibility(engine, &name, now).map(|()| json!({}))))
}
