//! The copy of a message that goes to another queue: its bytes, its properties and headers, and what we tell about it.
//!
//! All of them are kept, but for these. What RabbitMQ wrote about earlier ways of the message is left out: an `x-death` that names
//! the queue makes RabbitMQ see a cycle, and drop the message on its way back from a retry queue
//! (<https://www.rabbitmq.com/docs/dlx#automatic-dead-letter-cycles>), and the counts of another queue say nothing here. So is
//! `expiration`, which would end the wait in a retry queue early, or the life of the message in the dead-letter queue. `CC` and
//! `BCC` would send each copy once more to the queues they name (<https://www.rabbitmq.com/docs/sender-selected>), and a user id
//! other than ours would be refused (<https://www.rabbitmq.com/docs/validated-user-id>): they move to headers of ours. Copies are
//! persistent, even of a message that was not.

use std::collections::BTreeMap;

use sluicegate_queue::dead_letter::{REASON, REASON_CHARS_MAX, RECEIVE_COUNT, SOURCE};
use sluicegate_queue::rabbitmq::BasicProperties;
use sluicegate_queue::rabbitmq::republish::{DIRECT_REPLY_TO, PERSISTENT, USER_ID, is_of_the_broker, moved};
use sluicegate_queue::rabbitmq::types::{AMQPValue, FieldTable, ShortString};

use super::event::Message;
use super::header;

/// RabbitMQ's frame takes 131,072 bytes by default, and all properties must fit into one; the others together are shorter than
/// the difference (<https://www.rabbitmq.com/docs/configure#config-items>).
const HEADERS_BYTES_MAX: usize = 120_000;

/// The properties of a copy of `message`, which is called `id` and has been received `receive_count` deadlines. With a reason, it is
/// one for a dead-letter queue.
pub(super) fn properties(message: &Message, id: &str, receive_count: u32, reason: Option<&str>) -> BasicProperties {
    let own = &message.properties;
    let mut copy = BasicProperties::default()
        .with_headers(headers(message, id, receive_count, reason))
        .with_delivery_mode(PERSISTENT)
        .with_priority(own.priority.unwrap_or_default());
    if let Ok(id) = ShortString::try_new(id) {
        copy = copy.with_message_id(id);
    }
    if let Some(unix_s) = own.timestamp_unix_s {
        copy = copy.with_timestamp(unix_s);
    }
    let reply_to = own.reply_to.as_ref().filter(|queue| queue.as_str() != DIRECT_REPLY_TO);
    type With = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(Option<&ShortString>, With); 7] = [
        (own.content_type.as_ref(), BasicProperties::with_content_type),
        (own.content_encoding.as_ref(), BasicProperties::with_content_encoding),
        (own.correlation_id.as_ref(), BasicProperties::with_correlation_id),
        (reply_to, BasicProperties::with_reply_to),
        (own.event_type.as_ref(), BasicProperties::with_type),
        (own.app_id.as_ref(), BasicProperties::with_app_id),
        (own.cluster_id.as_ref(), BasicProperties::with_cluster_id),
    ];
    texts.into_iter().fold(copy, |copy, (text, with)| match text {
        Some(text) => with(copy, text.clone()),
        None => copy,
    })
}

fn headers(message: &Message, id: &str, receive_count: u32, reason: Option<&str>) -> FieldTable {
    let mut headers = BTreeMap::new();
    for (name, value) in &message.headers {
        match moved(name.as_str()) {
            Some(to) => insert(&mut headers, to, value.clone()),
            None if is_kept(name.as_str()) => drop(headers.insert(name.clone(), value.clone())),
            None => {}
        }
    }
    if let Some(user) = &message.properties.user_id {
        insert(&mut headers, USER_ID, AMQPValue::LongString(user.as_str().into()));
    }
    shorten(&mut headers, id);
    // Signed, as that is the one integer type every client reads.
    insert(&mut headers, RECEIVE_COUNT, AMQPValue::LongInt(i32::try_from(receive_count).unwrap_or(i32::MAX)));
    if let Some(reason) = reason {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let source = format!("{}::{}", message.queue.name, message.queue.vhost.as_deref().unwrap_or("/"));
        insert(&mut headers, REASON, AMQPValue::LongString(reason.into()));
        insert(&mut headers, SOURCE, AMQPValue::LongString(source.into()));
    }
    headers.into()
}

fn is_kept(name: &str) -> bool {
    !is_of_the_broker(name) && ![RECEIVE_COUNT, REASON, SOURCE].contains(&name)
}

fn insert(headers: &mut BTreeMap<ShortString, AMQPValue>, name: &str, value: AMQPValue) {
    // None of ours is too long.
    if let Ok(name) = ShortString::try_new(name) {
        headers.insert(name, value);
    }
}

/// Leaves out the largest headers if they are too many bytes for one frame. They came in one, so that hardly happens.
fn shorten(headers: &mut BTreeMap<ShortString, AMQPValue>, id: &str) {
    let bytes = |(name, value): (&ShortString, &AMQPValue)| 1 + name.as_str().len() + header::size_bytes(value);
    let mut total_bytes: usize = headers.iter().map(bytes).sum();
    while total_bytes > HEADERS_BYTES_MAX {
        let Some(largest) = headers.iter().max_by_key(|entry| bytes(*entry)).map(|(name, _)| name.clone()) else {
            break;
        };
        tracing::warn!(
            broker_id = id,
            header = largest.as_str(),
            "header not copied: all of them must fit into one frame"
        );
        total_bytes -= headers.remove_entry(&largest).map_or(0, |(name, value)| bytes((&name, &value)));
    }
}
