//! Actions on queues: create, find, list, purge, delete.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{QueueInput, in_range, queue_name, required};
use crate::caller::Caller;
use crate::clock::EpochMs;
use crate::engine::Engine;
use crate::error::ApiError;
use crate::limits::LIST_RESULTS;
use crate::queue::Queue;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateInput {
    queue_name: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
    // The API model spells this member in lower case.
    #[serde(alias = "tags")]
    tags: Option<BTreeMap<String, String>>,
}

pub(super) fn create(
    engine: &mut Engine,
    input: CreateInput,
    caller: &Caller,
    now: EpochMs,
) -> Result<Value, ApiError> {
    let name = required(input.queue_name, "QueueName")?;
    let tags = input.tags.unwrap_or_default();
    super::attributes::check_tags(&tags)?;
    let url = engine.create(&name, &input.attributes.unwrap_or_default(), tags, caller, now)?;
    Ok(json!({ "QueueUrl": url }))
}

#[derive(Deserialize)]
pub(super) struct GetUrlInput {
    #[serde(rename = "QueueName")]
    queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

pub(super) fn get_url(engine: &mut Engine, input: GetUrlInput) -> Result<Value, ApiError> {
    let name = required(input.queue_name, "QueueName")?;
    let is_owners = |queue: &&Queue| input.owner.as_ref().is_none_or(|owner| owner == queue.account());
    let queue = engine.queues.get(name.as_str()).filter(is_owners).ok_or_else(ApiError::no_such_queue)?;
    Ok(json!({ "QueueUrl": engine.url(queue) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListQueuesInput {
    queue_url: Option<String>,
    queue_name_prefix: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn list(engine: &mut Engine, input: ListQueuesInput) -> Result<Value, ApiError> {
    let prefix = input.queue_name_prefix.unwrap_or_default();
    let queues = engine.queues.values().filter(|queue| queue.name.starts_with(&prefix));
    page(engine, queues, "QueueUrls", input.max_results, input.next_token.as_deref())
}

pub(super) fn list_sources(engine: &mut Engine, input: ListQueuesInput) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let arn = engine.queues.get(name.as_str()).map(|queue| queue.arn.clone()).unwrap_or_default();
    let is_source = |policy: &crate::redrive::RedrivePolicy| policy.target_arn == *arn;
    let sources = engine.queues.values().filter(|queue| queue.attributes.redrive.as_ref().is_some_and(is_source));
    // The API model spells this member in lower case.
    page(engine, sources, "queueUrls", input.max_results, input.next_token.as_deref())
}

/// Returns one page of queues by name. Without `MaxResults` there is only one page; with it, the token is the page's
/// last name.
fn page<'e>(
    engine: &'e Engine,
    queues: impl Iterator<Item = &'e Queue>,
    member: &str,
    results_max: Option<i64>,
    token: Option<&str>,
) -> Result<Value, ApiError> {
    let has_pages = results_max.is_some();
    let results_max = in_range("MaxResults", results_max.unwrap_or(*LIST_RESULTS.end()), &LIST_RESULTS)?;
    let results_max = usize::try_from(results_max).unwrap_or(usize::MAX);
    let after = match token {
        None => None,
        Some(token) => Some(
            BASE64
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| ApiError::invalid_parameter("Invalid or expired next token."))?,
        ),
    };
    let mut queues = queues.filter(|queue| after.as_deref().is_none_or(|after| *queue.name > *after));
    let shown: Vec<_> = queues.by_ref().take(results_max).collect();
    let urls: Vec<_> = shown.iter().map(|queue| engine.url(queue)).collect();
    let mut answer = if urls.is_empty() { json!({}) } else { json!({ member: urls }) };
    if has_pages
        && queues.next().is_some()
        && let Some(last) = shown.last()
        && let Some(answer) = answer.as_object_mut()
    {
        answer.insert("NextToken".into(), BASE64.encode(last.name.as_bytes()).into());
    }
    Ok(answer)
}

pub(super) fn delete(engine: &mut Engine, input: QueueInput, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    engine.delete_queue(&name, now)?;
    Ok(json!({}))
}

pub(super) fn purge(engine: &mut Engine, input: QueueInput, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    engine.purge(&name, now)?;
    Ok(json!({}))
}
