//! A queue's attributes and tags.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::input::{QueueInput, queue_name, required};
use crate::clock::EpochMs;
use crate::engine::Engine;
use crate::error::ApiError;
use crate::limits::TAGS_MAX;
use crate::queue_attributes::{READ_ONLY, SETTABLE, unknown};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetInput {
    queue_url: Option<String>,
    attribute_names: Option<Vec<String>>,
}

pub(super) fn get(engine: &mut Engine, input: GetInput, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let wanted = input.attribute_names.unwrap_or_default();
    let is_known = |name: &&String| *name == "All" || is_queue_attribute(name);
    if let Some(name) = wanted.iter().find(|name| !is_known(name)) {
        return Err(unknown(name));
    }
    let queue = engine.queue(&name, now)?;
    let counts = queue.counts();
    let mut all = queue.attributes.render();
    all.insert("ApproximateNumberOfMessages", counts.ready.to_string());
    all.insert("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string());
    all.insert("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string());
    all.insert("CreatedTimestamp", (queue.created_at / 1_000).to_string());
    all.insert("LastModifiedTimestamp", (queue.modified_at / 1_000).to_string());
    all.insert("QueueArn", queue.arn.to_string());
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted == "All" || wanted == name);
    let shown: Map<String, Value> = all
        .into_iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect();
    Ok(if shown.is_empty() { json!({}) } else { json!({ "Attributes": shown }) })
}

/// Returns whether a queue can have an attribute of this name.
pub(super) fn is_queue_attribute(name: &str) -> bool {
    READ_ONLY.contains(&name) || SETTABLE.contains(&name)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetInput {
    queue_url: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
}

pub(super) fn set(engine: &mut Engine, input: SetInput, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    engine.set_attributes(&name, &required(input.attributes, "Attributes")?, now)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagInput {
    queue_url: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    tag_keys: Option<Vec<String>>,
}

pub(super) fn tag(engine: &mut Engine, input: TagInput, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let queue = engine.queue(&name, now)?;
    let mut tags = queue.tags.clone();
    tags.extend(required(input.tags, "Tags")?);
    check_tags(&tags)?;
    queue.tags = tags;
    Ok(json!({}))
}

pub(super) fn untag(engine: &mut Engine, input: TagInput, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let keys = required(input.tag_keys, "TagKeys")?;
    engine.queue(&name, now)?.tags.retain(|key, _| !keys.contains(key));
    Ok(json!({}))
}

pub(super) fn list_tags(engine: &mut Engine, input: QueueInput, now: EpochMs) -> Result<Value, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    let tags = &engine.queue(&name, now)?.tags;
    Ok(if tags.is_empty() { json!({}) } else { json!({ "Tags": tags }) })
}

/// Checks all tags of a queue.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > TAGS_MAX {
        return Err(ApiError::invalid_parameter(format!("Too many tags added for queue: {TAGS_MAX} is the maximum.")));
    }
    if tags.keys().any(String::is_empty) {
        return Err(ApiError::invalid_parameter("Tag keys must be between 1 and 128 characters in length."));
    }
    Ok(())
}
