//! Properties of a message that is published again to another queue: the consumer's copies and redriven dead letters.
//!
//! A copy keeps every property and header except those that would change its routing or handling:
//!
//! - Headers that RabbitMQ wrote about earlier queues. An `x-death` that names the queue makes RabbitMQ see a cycle and
//!   drop the message on its way back from a retry queue
//!   (<https://www.rabbitmq.com/docs/dlx#automatic-dead-letter-cycles>).
//! - Headers that describe a dead letter (`crate::dead_letter`): the caller sets those that apply.
//! - `expiration`, which would end the wait in a retry queue early, or the life of the message in a dead-letter queue.
//! - `CC` and `BCC`, which would send each copy to the queues that they name once more
//!   (<https://www.rabbitmq.com/docs/sender-selected>). They move to `sluicegate-cc` and `sluicegate-bcc`.
//! - A user id other than the publisher's, which RabbitMQ refuses (<https://www.rabbitmq.com/docs/validated-user-id>).
//!   It moves to the header [`USER_ID`], and back once its user publishes the message.
//! - A direct reply-to, which closes the channel of a publisher that does not consume from it
//!   (<https://www.rabbitmq.com/docs/direct-reply-to>).
//!
//! Every copy is persistent.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::header;
use crate::dead_letter::OF_DEAD_LETTER;

/// The header for a user id that the publisher may not use.
pub const USER_ID: &str = "sluicegate-user-id";

/// The name of a direct reply-to.
pub const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// The delivery mode of a message that survives a restart of the broker, on a classic queue too.
pub const PERSISTENT: u8 = 2;

/// Returns the properties for a copy of a message with the properties `own`, published by the user `publisher`, or by
/// an unknown user if `None`.
#[must_use]
pub fn properties(own: &BasicProperties, publisher: Option<&str>) -> BasicProperties {
    let header = || header::get(own, USER_ID).and_then(header::text);
    let user_id = own.user_id().as_ref().map(ShortString::as_str).or_else(header);
    let (allowed, foreign) = match user_id {
        Some(id) if Some(id) == publisher => (ShortString::try_new(id).ok(), None),
        other => (None, other),
    };
    let mut copy = BasicProperties::default().with_headers(headers(own, foreign)).with_delivery_mode(PERSISTENT);
    if let Some(priority) = *own.priority() {
        copy = copy.with_priority(priority);
    }
    if let Some(unix_s) = *own.timestamp() {
        copy = copy.with_timestamp(unix_s);
    }
    let reply_to = own.reply_to().clone().filter(|queue| queue.as_str() != DIRECT_REPLY_TO);
    type With = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(Option<ShortString>, With); 9] = [
        (own.content_type().clone(), BasicProperties::with_content_type),
        (own.content_encoding().clone(), BasicProperties::with_content_encoding),
        (own.correlation_id().clone(), BasicProperties::with_correlation_id),
        (reply_to, BasicProperties::with_reply_to),
        (own.message_id().clone(), BasicProperties::with_message_id),
        (own.kind().clone(), BasicProperties::with_type),
        (allowed, BasicProperties::with_user_id),
        (own.app_id().clone(), BasicProperties::with_app_id),
        (own.cluster_id().clone(), BasicProperties::with_cluster_id),
    ];
    texts.into_iter().fold(copy, |copy, (text, with)| match text {
        Some(text) => with(copy, text),
        None => copy,
    })
}

fn headers(own: &BasicProperties, foreign_user_id: Option<&str>) -> FieldTable {
    let mut headers = BTreeMap::new();
    for (name, value) in own.headers().iter().flat_map(|headers| headers.inner()) {
        let name = match name.as_str() {
            "CC" => "sluicegate-cc".into(),
            "BCC" => "sluicegate-bcc".into(),
            USER_ID => continue,
            written if OF_DEAD_LETTER.contains(&written) || is_of_the_broker(written) => continue,
            _ => name.clone(),
        };
        headers.insert(name, value.clone());
    }
    if let Some(user_id) = foreign_user_id {
        headers.insert(USER_ID.into(), AMQPValue::LongString(user_id.into()));
    }
    headers.into()
}

/// Returns whether RabbitMQ wrote the header.
fn is_of_the_broker(header: &str) -> bool {
    ["x-first-death-", "x-last-death-"].iter().any(|prefix| header.starts_with(prefix))
        || ["x-death", "x-delivery-count", "x-acquired-count"].contains(&header)
}
