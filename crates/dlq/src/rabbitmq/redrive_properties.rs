//! The properties of a message that goes back to be tried again: all it had, but for what would keep it from a fair trial.
//!
//! What the consumer and RabbitMQ wrote when they gave the message up goes: its receives count from one again, and an `x-death`
//! that names the queue would make RabbitMQ see a cycle and drop the message on its way back from a retry queue
//! (<https://www.rabbitmq.com/docs/dlx#automatic-dead-letter-cycles>). So does `expiration`, whose time is over. `CC` and `BCC`
//! would send the message to other queues once more (<https://www.rabbitmq.com/docs/sender-selected>); they move to headers of
//! ours, as in the consumer's copies. A user id is kept as a property only for the user that it names, because RabbitMQ refuses
//! it from another (<https://www.rabbitmq.com/docs/validated-user-id>). It is persistent, even if it was not.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use sluicegate_queue::dead_letter::{REASON, RECEIVE_COUNT, REDRIVES, SOURCE};
use sluicegate_queue::rabbitmq::republish::{DIRECT_REPLY_TO, PERSISTENT, USER_ID, is_of_the_broker, moved};

use super::header;

/// The properties of `own` for another try, published by `user`.
pub(super) fn properties(own: &BasicProperties, user: &str) -> BasicProperties {
    let user_id = own.user_id().as_ref().map(ShortString::as_str).or_else(|| header::text(own, USER_ID));
    let (ours, other) = match user_id {
        Some(id) if id == user => (ShortString::try_new(id).ok(), None),
        other => (None, other),
    };
    let mut again = BasicProperties::default().with_headers(headers(own, other)).with_delivery_mode(PERSISTENT);
    if let Some(priority) = *own.priority() {
        again = again.with_priority(priority);
    }
    if let Some(unix_s) = *own.timestamp() {
        again = again.with_timestamp(unix_s);
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
        (ours, BasicProperties::with_user_id),
        (own.app_id().clone(), BasicProperties::with_app_id),
        (own.cluster_id().clone(), BasicProperties::with_cluster_id),
    ];
    texts.into_iter().fold(again, |again, (text, with)| match text {
        Some(text) => with(again, text),
        None => again,
    })
}

fn headers(own: &BasicProperties, user_id: Option<&str>) -> FieldTable {
    let mut headers = BTreeMap::new();
    for (name, value) in own.headers().iter().flat_map(|headers| headers.inner()) {
        match moved(name.as_str()) {
            Some(to) => drop(headers.insert(to.into(), value.clone())),
            None if is_kept(name.as_str()) => drop(headers.insert(name.clone(), value.clone())),
            None => {}
        }
    }
    if let Some(user_id) = user_id {
        headers.insert(USER_ID.into(), AMQPValue::LongString(user_id.into()));
    }
    let redrives = header::count(own, REDRIVES).unwrap_or_default().saturating_add(1);
    // Signed, as that is the one integer type every client reads.
    headers.insert(REDRIVES.into(), AMQPValue::LongInt(i32::try_from(redrives).unwrap_or(i32::MAX)));
    headers.into()
}

fn is_kept(name: &str) -> bool {
    !is_of_the_broker(name) && ![RECEIVE_COUNT, REASON, SOURCE, USER_ID].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: BasicProperties, expected: BasicProperties) {
        assert_eq!(properties(&own, "me"), expected);
    }

    fn headers(members: &[(&str, AMQPValue)]) -> FieldTable {
        let members = members.iter().map(|(name, value)| (ShortString::from(*name), value.clone()));
        members.collect::<BTreeMap<_, _>>().into()
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn fresh(members: &[(&str, AMQPValue)]) -> BasicProperties {
        BasicProperties::default().with_headers(headers(members)).with_delivery_mode(PERSISTENT)
    }

    #[test]
    fn everything_of_the_sender_is_kept() {
        let all = |properties: BasicProperties| {
            properties
                .with_content_type("a/b".into())
                .with_content_encoding("gzip".into())
                .with_delivery_mode(PERSISTENT)
                .with_priority(7)
                .with_correlation_id("c".into())
                .with_reply_to("r".into())
                .with_message_id("m".into())
                .with_timestamp(5)
                .with_type("t".into())
                .with_user_id("me".into())
                .with_app_id("a".into())
                .with_cluster_id("k".into())
        };
        let own = [("traceparent", long("00-1-2-01")), ("n", AMQPValue::ShortUInt(3)), ("b", long("\u{fffd}"))];
        let [trace, n, b] = own.clone();
        check(
            all(BasicProperties::default().with_headers(headers(&own))).with_expiration("1000".into()),
            all(fresh(&[trace, n, b, (REDRIVES, AMQPValue::LongInt(1))])),
        );
    }

    #[test]
    fn what_was_written_on_giving_up_goes_and_redrives_count_up() {
        let count = AMQPValue::LongLongInt(4);
        let own = [
            (REASON, long("bad")),
            (SOURCE, long("q::/")),
            (RECEIVE_COUNT, AMQPValue::LongInt(5)),
            ("x-death", long("any")),
            ("x-first-death-queue", long("q")),
            ("x-last-death-reason", long("rejected")),
            ("x-delivery-count", count.clone()),
            ("x-acquired-count", count.clone()),
            ("x-own", count.clone()),
            ("CC", long("other")),
            ("sluicegate-bcc", long("more")),
            (REDRIVES, AMQPValue::ShortShortUInt(2)),
        ];
        let kept = [
            ("x-own", count),
            ("sluicegate-cc", long("other")),
            ("sluicegate-bcc", long("more")),
            (REDRIVES, AMQPValue::LongInt(3)),
        ];
        check(BasicProperties::default().with_headers(headers(&own)), fresh(&kept));
    }

    #[test]
    fn a_user_id_is_published_by_its_user_only() {
        let once = (REDRIVES, AMQPValue::LongInt(1));
        let you = (USER_ID, long("you"));
        check(BasicProperties::default().with_user_id("you".into()), fresh(&[you.clone(), once.clone()]));
        check(
            BasicProperties::default().with_headers(headers(std::slice::from_ref(&you))),
            fresh(&[you, once.clone()]),
        );
        let me = BasicProperties::default().with_headers(headers(&[(USER_ID, long("me"))]));
        check(me, fresh(&[once]).with_user_id("me".into()));
    }

    #[test]
    fn a_direct_reply_to_goes() {
        let once = (REDRIVES, AMQPValue::LongInt(1));
        check(BasicProperties::default().with_reply_to(DIRECT_REPLY_TO.into()), fresh(&[once]));
    }
}
