//! The keys of `x-sluicegate` about the body: `batch`, `cloudEvents`, `contentEncodings` and `webhookOrigins`.

use sluicegate_yaml::Node;

use super::checker::ContractChecker;
use super::schema;
use crate::content::is_lines;
use crate::{BATCH_ITEMS_MAX, BodySchema, CLOUDEVENT_MEDIA_TYPE, CLOUDEVENTS_BATCH_MEDIA_TYPE, ContentCoding, is_json};

/// The names of the keys.
pub(super) const FIELDS: [&str; 4] = ["batch", "cloudEvents", "contentEncodings", "webhookOrigins"];

/// The keywords of a batch. Every other keyword would be about the array, whose items are stored one by one.
const BATCH_KEYWORDS: &[&str] =
    &["type", "items", "minItems", "maxItems", "title", "description", "examples", "example", "default"];

/// The keys of one operation.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) is_batch: bool,
    pub(super) has_binary_events: bool,
    pub(super) content_codings: Vec<ContentCoding>,
}

/// Reads the keys that apply to the body.
pub(super) fn keys<'d>(checker: &mut ContractChecker<'d>, operation: &'d Node) -> Keys {
    let Some(at) = operation.get("x-sluicegate") else { return Keys::default() };
    let is_batch = checker.flag(at, "batch");
    let events = at.get("cloudEvents").and_then(|field| checker.choice(field, &[("binary", true)]));
    let has_binary_events = events.unwrap_or(false);
    if let Some(field) = at.get("batch").filter(|_| is_batch && has_binary_events) {
        checker.fault(field, "a CloudEvent in binary mode is one message: leave out batch or cloudEvents");
    }
    Keys { is_batch, has_binary_events, content_codings: content_codings(checker, at) }
}

fn content_codings<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Vec<ContentCoding> {
    let known: Vec<_> = ContentCoding::ALL.iter().map(|coding| (coding.name(), *coding)).collect();
    let mut codings = Vec::new();
    let Some(at) = at.get("contentEncodings") else { return codings };
    for entry in checker.list(at) {
        let Some(coding) = checker.choice(entry, &known) else { continue };
        if codings.contains(&coding) {
            checker.fault(entry, "is already there, above");
        }
        codings.push(coding);
    }
    codings
}

/// Reads the origins that the handshake of the CloudEvents webhook specification admits.
pub(super) fn webhook_origins<'d>(checker: &mut ContractChecker<'d>, operation: &'d Node) -> Vec<String> {
    let Some(at) = operation.get("x-sluicegate").and_then(|at| at.get("webhookOrigins")) else { return Vec::new() };
    let mut origins = Vec::new();
    for entry in checker.list(at) {
        let Some(text) = checker.text(entry) else { continue };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
        if text != "*" && (text.is_empty() || !text.bytes().all(legal)) {
            checker.fault(entry, "an origin is a host name such as eventemitter.example.com, or * for any");
        }
        origins.push(text.to_ascii_lowercase());
    }
    origins
}

/// A batch that a media type declares: the schema of its items, and how many there may be.
pub(super) struct Batch<'d> {
    pub(super) items: Option<&'d Node>,
    pub(super) items_min: usize,
    pub(super) items_max: usize,
}

/// Reads the schema of a batch, `type: array` with `items`, which OpenAPI 3.2 uses for JSON and for JSON Lines alike.
pub(super) fn batch<'d>(checker: &mut ContractChecker<'d>, schema: Option<&'d Node>) -> Option<Batch<'d>> {
    let none = Batch { items: None, items_min: 0, items_max: BATCH_ITEMS_MAX };
    let Some(at) = schema else { return Some(none) };
    let at = checker.resolve(at)?;
    if at.get("type").and_then(Node::text) != Some("array") {
        checker.fault(at, "the schema of a batch is `type: array`, with the schema of one message as `items`");
        return None;
    }
    for (keyword, member) in at.entries() {
        if !BATCH_KEYWORDS.contains(&keyword) && !keyword.starts_with("x-") {
            checker.fault(member, "does not apply to a batch, whose items are stored one by one");
        }
    }
    let items_max = at.get("maxItems").and_then(|field| checker.integer(field, 1..=BATCH_ITEMS_MAX));
    let items_max = items_max.unwrap_or(BATCH_ITEMS_MAX);
    let items_min = at.get("minItems").and_then(|field| checker.integer(field, 0..=items_max)).unwrap_or(0);
    Some(Batch { items: at.get("items"), items_min, items_max })
}

/// Returns whether bodies of this media type are batches.
pub(super) fn is_batch(keys: &Keys, media_type: &str) -> bool {
    media_type == CLOUDEVENTS_BATCH_MEDIA_TYPE || keys.is_batch && media_type != CLOUDEVENT_MEDIA_TYPE
}

/// Notes a fault for a media type that cannot be a batch.
pub(super) fn check_batch(checker: &mut ContractChecker<'_>, media_type: &str, at: &Node) {
    if !is_json(media_type) && !is_lines(media_type) {
        checker.fault(at, "a batch is a JSON array, or JSON Lines (application/x-ndjson)");
    }
}

/// Returns the schema of one message.
pub(super) fn item_schema<'d>(checker: &mut ContractChecker<'d>, items: Option<&'d Node>) -> BodySchema {
    let schema = items.and_then(|items| schema::bundle(checker, items));
    schema.map_or(BodySchema::Any, schema::of_body)
}
