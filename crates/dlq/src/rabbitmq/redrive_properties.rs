//! The properties of a dead letter that is redriven.
//!
//! A redriven message starts again: the headers of the consumer and of RabbitMQ about the failure are removed, its
//! receives count from one, and [`REDRIVES`] is incremented.

use lapin::BasicProperties;
use sluicegate_queue::dead_letter::REDRIVES;
use sluicegate_queue::rabbitmq::{header, republish};

/// Returns the properties for a redrive of a message with the properties `own`, published by `user`.
pub(super) fn properties(own: &BasicProperties, user: &str) -> BasicProperties {
    let redrives = header::get(own, REDRIVES).and_then(header::count).unwrap_or_default().saturating_add(1);
    header::with(republish::properties(own, Some(user)), REDRIVES, header::from_count(redrives))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lapin::types::{AMQPValue, FieldTable, ShortString};
    use sluicegate_queue::dead_letter::{CODE, REASON, RECEIVE_COUNT, SOURCE};
    use sluicegate_queue::rabbitmq::republish::{DIRECT_REPLY_TO, PERSISTENT, USER_ID};

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
    fn dead_letter_headers_are_removed_and_redrives_count_up() {
        let count = AMQPValue::LongLongInt(4);
        let own = [
            (REASON, long("bad")),
            (CODE, long("card_bad")),
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
    fn a_user_id_is_kept_only_if_it_is_the_user_of_the_connection() {
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
    fn a_direct_reply_to_is_removed() {
        let once = (REDRIVES, AMQPValue::LongInt(1));
        check(BasicProperties::default().with_reply_to(DIRECT_REPLY_TO.into()), fresh(&[once]));
    }
}
