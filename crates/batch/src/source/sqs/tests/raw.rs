//! Messages that no ingress sent: notifications of other services, texts, bytes of any program.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{event, sqs_with};
use crate::{Delivery, Outcome};

/// Gives bodies to a consumer with handlers for these patterns. Returns what each handled delivery shows, and the
/// number of messages that went to the dead-letter queue.
async fn handled(patterns: &[&str], bodies: &[&str]) -> (Vec<Value>, usize) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = |seen: Arc<Mutex<Vec<Value>>>| {
        move |delivery: Arc<Delivery>| {
            let envelope = delivery.envelope();
            let attributes = ["kind", "count", "key", "none"].map(|name| delivery.message_attribute(name));
            seen.lock().unwrap().push(json!({
                "id": envelope.id(),
                "source": envelope.source(),
                "type": envelope.event_type(),
                "time": envelope.time().map(time::OffsetDateTime::unix_timestamp),
                "payload": String::from_utf8(envelope.payload().into_owned()).unwrap(),
                "group": delivery.group(),
                "attributes": attributes,
            }));
            std::future::ready(Outcome::Done)
        }
    };
    let (consumer, calls) = sqs_with(Some("arn:aws:sqs:eu-west-1:123456789012:dlq"), true, |mut builder| {
        for pattern in patterns {
            builder = builder.on(pattern, handler(Arc::clone(&seen)));
        }
        builder
    })
    .await;
    let record = |(index, body): (usize, &&str)| {
        json!({
            "messageId": format!("m-{index}"),
            "body": body,
            "attributes": { "SentTimestamp": "1700000000999", "MessageGroupId": "g-1" },
            "messageAttributes": {
                "kind": { "stringValue": "created", "dataType": "String" },
                "count": { "stringValue": "7", "dataType": "Number" },
                "key": { "binaryValue": "AQI=", "dataType": "Binary" },
            },
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:uploads",
        })
    };
    let records: Vec<_> = bodies.iter().enumerate().map(record).collect();
    consumer.handle(event(json!({ "Records": records }).to_string())).await.unwrap();
    let dead = calls.lock().unwrap().iter().filter(|(action, _)| action == "SendMessage").count();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, dead)
}

#[tokio::test]
async fn a_raw_message_is_given_to_its_handler_with_its_attributes() {
    let notification = r#"{"Records": [{"s3": {"object": {"key": "a.png"}}}], "specversion": null}"#;
    for body in ["Order ID: 12345", notification, " [1, 2] ", r#""text""#] {
        let expected = json!({
            "id": "m-0",
            "source": "/sqs/uploads",
            "type": "sqs.message",
            "time": 1_700_000_000,
            "payload": body,
            "group": "g-1",
            "attributes": ["created", "7", "AQI=", null],
        });
        assert_eq!(handled(&["sqs.message"], &[body]).await, (vec![expected], 0), "{body}");
    }
}

#[tokio::test]
async fn a_raw_message_without_a_handler_of_its_own_is_dead_lettered() {
    assert_eq!(handled(&["*", "sqs.*"], &["Order ID: 12345", "{}"]).await, (Vec::new(), 2));
}

#[tokio::test]
async fn a_broken_event_is_no_raw_message() {
    let broken = [r#"{"specversion": "1.0"}"#, r#"{"specversion": "0.3", "id": "1", "source": "/", "type": "t"}"#];
    assert_eq!(handled(&["sqs.message"], &broken).await, (Vec::new(), 2));
}

/// Each time SQS gives a message another id: when the consumer dead-letters it, and when it is redriven.
#[tokio::test]
async fn a_raw_message_has_the_id_of_its_first_receive_after_the_dead_letter_queue() {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (consumer, calls) = sqs_with(Some("arn:aws:sqs:eu-west-1:123456789012:dlq"), true, |builder| {
        let ids = Arc::clone(&ids);
        builder.on("sqs.message", move |delivery: Arc<Delivery>| {
            ids.lock().unwrap().push(delivery.envelope().id().to_owned());
            std::future::ready(Outcome::reject("no", "never"))
        })
    })
    .await;
    let receive = async |message_id: &str, body: &str, first: Option<&str>| {
        let text = |text: &str| json!({ "stringValue": text, "dataType": "String" });
        let attributes = first.map_or(json!({}), |first| json!({ "sluicegate-message-id": text(first) }));
        let arn = "arn:aws:sqs:eu-west-1:123456789012:uploads";
        let record = json!({
            "messageId": message_id, "body": body, "messageAttributes": attributes, "eventSourceARN": arn,
        });
        consumer.handle(event(json!({ "Records": [record] }).to_string())).await.unwrap();
        let (_, sent) = calls.lock().unwrap().pop().unwrap();
        sent["MessageAttributes"]["sluicegate-message-id"]["StringValue"].as_str().map(str::to_owned)
    };
    let copied = receive("m-1", "text", None).await;
    assert_eq!(copied.as_deref(), Some("m-1"));
    assert_eq!(receive("m-2", "text", copied.as_deref()).await.as_deref(), Some("m-1"));
    // Not what SQS gives to a message.
    let long = "x".repeat(101);
    for other in ["", &long] {
        assert_eq!(receive("m-3", "text", Some(other)).await.as_deref(), Some("m-3"), "{other}");
    }
    assert_eq!(*ids.lock().unwrap(), ["m-1", "m-1", "m-3", "m-3"]);
    let event = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;
    assert_eq!(receive("m-4", event, None).await, None);
}
