//! The exact response to real events, and the calls to SQS, served on a loopback socket.

mod errors;
mod fifo;
#[cfg(feature = "s3")]
mod payload;
mod raw;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluicegate_envelope::Envelope;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::test_http::read_request;
use crate::{Consumer, ConsumerBuilder, Outcome};

const FIXTURES: [(&str, &str); 6] = [
    ("standard", include_str!("../../../../../tests/events/sqs-standard.json")),
    ("fifo", include_str!("../../../../../tests/events/sqs-fifo.json")),
    ("null-lists", include_str!("../../../../../tests/events/sqs-null-lists.json")),
    ("null-attributes", include_str!("../../../../../tests/events/sqs-null-attributes.json")),
    ("unknown-fields", include_str!("../../../../../tests/events/sqs-unknown-fields.json")),
    ("empty", include_str!("../../../../../tests/events/sqs-empty.json")),
];

type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// Starts an SQS whose queues have the dead-letter queue `dead_letter`, and whose MD5s are right if `honest`.
async fn sqs(dead_letter: Option<&'static str>, honest: bool) -> (Consumer, Calls) {
    sqs_with(dead_letter, honest, |builder| builder).await
}

async fn sqs_with(
    dead_letter: Option<&'static str>,
    honest: bool,
    settings: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
) -> (Consumer, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let calls = Calls::default();
    tokio::spawn({
        let calls = Arc::clone(&calls);
        async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                tokio::spawn(serve(stream, Arc::clone(&calls), dead_letter, honest));
            }
        }
    });
    let lookup =
        move |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { endpoint.clone() } else { "x".to_owned() });
    let builder = Consumer::builder().aws_environment(AwsEnvironment::read(lookup).unwrap());
    let builder = builder.on("done", async |_| Outcome::Done).on("retry", async |_| Outcome::Retry);
    let builder = builder.on("after", async |_| Outcome::RetryAfter(Duration::from_millis(1_001)));
    let builder = builder.on("late", async |_| Outcome::RetryAfter(Duration::MAX));
    let builder = builder.on("reject", async |_| Outcome::reject("card_bad", "bad\u{0} card"));
    (settings(builder).build().unwrap(), calls)
}

async fn serve(stream: TcpStream, calls: Calls, dead_letter: Option<&str>, honest: bool) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (head, body) = read_request(&mut stream).await?;
        let body: Value = serde_json::from_slice(&body).ok()?;
        let action = head.lines().find_map(|line| line.strip_prefix("x-amz-target: AmazonSQS.")).unwrap().to_owned();
        let answer = match action.as_str() {
            "GetQueueAttributes" => match dead_letter {
                Some(arn) => {
                    let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 5 }).to_string();
                    json!({ "Attributes": { "RedrivePolicy": policy } })
                }
                None => json!({}),
            },
            "SendMessage" => {
                let digest = sluicegate_queue::sqs::body_md5(body["MessageBody"].as_str().unwrap());
                json!({ "MessageId": "x", "MD5OfMessageBody": if honest { digest } else { String::new() } })
            }
            _ => {
                json!({ "Successful": [], "Failed": [{ "Id": "0", "SenderFault": true, "Code": "MessageNotInflight" }] })
            }
        };
        calls.lock().unwrap().push((action, body));
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all((head + &answer).as_bytes()).await.ok()?;
    }
}

fn event(payload: impl Into<String>) -> LambdaEvent<Box<RawValue>> {
    let deadline = SystemTime::now() + Duration::from_secs(60);
    let mut context = Context::default();
    context.deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    LambdaEvent::new(RawValue::from_string(payload.into()).unwrap(), context)
}

/// Records of the queue `name`, one for each event type, with the rest of a record from `more`.
fn records(name: &str, types: &[&str], more: &Value) -> LambdaEvent<Box<RawValue>> {
    let record = |(index, event_type): (usize, &&str)| {
        let mut record = more.clone();
        record["messageId"] = format!("m-{index}").into();
        record["receiptHandle"] = format!("h-{index}").into();
        record["body"] = body(event_type).into();
        record["eventSourceARN"] = format!("arn:aws:sqs:eu-west-1:123456789012:{name}").into();
        record
    };
    let records: Vec<_> = types.iter().enumerate().map(record).collect();
    event(json!({ "Records": records }).to_string())
}

fn body(event_type: &str) -> String {
    Envelope::builder("e-1", "/", event_type).payload(Some("text/plain"), "hi").build().unwrap().encode()
}

async fn response(consumer: &Consumer, event: LambdaEvent<Box<RawValue>>) -> String {
    serde_json::to_string(&consumer.handle(event).await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_shape_of_event_is_read_and_answered_exactly() {
    let none = r#"{"batchItemFailures":[]}"#;
    for (name, text) in FIXTURES {
        // None of the bodies is an envelope: all go to the dead-letter queue, except records without a queue ARN.
        let expected = match name {
            "null-attributes" => r#"{"batchItemFailures":[{"itemIdentifier":"m-2"},{"itemIdentifier":"m-3"}]}"#,
            _ => none,
        };
        let (consumer, calls) = sqs(Some("arn:aws:sqs:us-east-1:000000000000:dlq"), true).await;
        assert_eq!(response(&consumer, event(text)).await, expected, "{name}");
        let calls = calls.lock().unwrap();
        let sent: Vec<_> = calls.iter().filter(|(action, _)| action == "SendMessage").map(|(_, body)| body).collect();
        assert!(sent.iter().all(|body| body["MessageBody"] == "Test message."), "{name}: the body is unchanged");
        match name {
            "null-lists" => {
                let attributes = &sent[0]["MessageAttributes"];
                assert_eq!(attributes["bytes"], json!({ "DataType": "Binary.raw", "BinaryValue": "AAEC" }));
                assert_eq!(attributes["text"], json!({ "DataType": "String", "StringValue": "a" }));
                assert_eq!(attributes["sluicegate-receive-count"], json!({ "DataType": "Number", "StringValue": "3" }));
                assert!(sent[0]["MessageSystemAttributes"]["AWSTraceHeader"].is_object());
            }
            "unknown-fields" => {
                assert_eq!(sent[0]["MessageGroupId"], "tenant-7");
                assert_eq!(sent[0]["MessageAttributes"]["sluicegate-receive-count"]["StringValue"], "4");
            }
            _ => {}
        }
    }
}

#[test]
fn a_messages_age_counts_from_the_time_sqs_recorded() {
    let sent = |name: &str| -> Vec<_> {
        let (_, text) = FIXTURES.iter().find(|(known, _)| *known == name).unwrap();
        event::records(text).unwrap().iter().map(|record| record.sent_unix_ms).collect()
    };
    assert_eq!(sent("standard"), [Some(1_545_082_649_183), Some(1_545_082_650_636)]);
    assert_eq!(sent("null-lists"), [None]);
}

#[test]
fn a_field_of_another_type_is_absent_and_the_others_are_read() {
    let text = r#"{"Records": [
        {"messageId": "m-1", "body": "\ud800", "attributes": {"ApproximateReceiveCount": "2"}},
        {"messageId": "m-2", "body": "\"x\"", "attributes": {"ApproximateReceiveCount": 3, "MessageGroupId": 4}},
        {"messageId": "m-3", "body": 7, "attributes": []}
    ]}"#;
    let records = event::records(text).unwrap();
    let read: Vec<_> = records.iter().map(|record| (record.body.as_deref(), record.receive_count)).collect();
    assert_eq!(read, [(None, 2), (Some("\"x\""), 3), (None, 1)]);
    assert!(records.iter().all(|record| record.group.is_none()));
}

#[tokio::test]
async fn events_without_distinct_message_ids_fail_the_invocation() {
    let (consumer, calls) = sqs(None, true).await;
    for text in [
        "[]",
        "{}",
        r#"{"Records":null}"#,
        r#"{"rmqMessagesByQueue":{}}"#,
        r#"{"Records":[{"messageId":"m-1"},{"body":"x"}]}"#,
        r#"{"Records":[{"messageId":""}]}"#,
        r#"{"Records":[7]}"#,
    ] {
        assert!(consumer.handle(event(text)).await.is_err(), "{text}");
    }
    assert!(calls.lock().unwrap().is_empty());
}

/// <https://github.com/NangoHQ/nango/pull/7334>
#[tokio::test]
async fn retries_are_delayed_in_batches_of_ten_and_a_refused_delay_is_ignored() {
    let (consumer, calls) = sqs(None, true).await;
    let types: Vec<_> = ["after", "late"].into_iter().chain(std::iter::repeat_n("after", 10)).chain(["done"]).collect();
    let response = consumer.handle(records("orders", &types, &json!({}))).await.unwrap();
    assert_eq!(response.failures().count(), 12);
    let mut calls = calls.lock().unwrap();
    assert_eq!(calls.remove(0).0, "GetQueueAttributes", "once, by the first failure");
    let mut entries = Vec::new();
    for (action, body) in calls.iter() {
        assert_eq!(action, "ChangeMessageVisibilityBatch");
        assert!(body["QueueUrl"].as_str().unwrap().ends_with("/123456789012/orders"));
        let chunk = body["Entries"].as_array().unwrap();
        assert!(chunk.len() <= 10);
        entries
            .extend(chunk.iter().map(|entry| (entry["ReceiptHandle"].as_str().unwrap(), &entry["VisibilityTimeout"])));
    }
    assert_eq!((calls.len(), entries.len()), (2, 12));
    assert!(entries.contains(&("h-0", &json!(2))), "rounded up");
    assert!(entries.contains(&("h-1", &json!(42_000))), "within what SQS allows");
}

#[tokio::test]
async fn a_reject_is_copied_with_its_reason_and_the_redrive_policy_is_fetched_once() {
    let (consumer, calls) = sqs(Some("arn:aws:sqs:eu-west-1:123456789012:orders-dlq.fifo"), true).await;
    let own: serde_json::Map<_, _> =
        (0..9).map(|n| (format!("a{n}"), json!({ "stringValue": "v", "dataType": "String" }))).collect();
    let more =
        json!({ "messageAttributes": own, "attributes": { "MessageGroupId": "c-1", "ApproximateReceiveCount": "2" } });
    let batch = || records("orders.fifo", &["reject", "done", "unknown.type"], &more);
    assert_eq!(response(&consumer, batch()).await, r#"{"batchItemFailures":[]}"#);
    response(&consumer, batch()).await;

    let calls = calls.lock().unwrap();
    assert_eq!(calls.iter().filter(|(action, _)| action == "GetQueueAttributes").count(), 1);
    let sent: Vec<_> = calls.iter().filter(|(action, _)| action == "SendMessage").map(|(_, body)| body).collect();
    assert_eq!(sent.len(), 4);
    assert!(sent[0]["QueueUrl"].as_str().unwrap().ends_with("/123456789012/orders-dlq.fifo"));
    assert_eq!(sent[0]["MessageBody"], body("reject"));
    assert_eq!((&sent[0]["MessageGroupId"], &sent[0]["MessageDeduplicationId"]), (&json!("c-1"), &json!("m-0-2")));
    let attributes = sent[0]["MessageAttributes"].as_object().unwrap();
    assert_eq!(attributes.len(), 10, "three that the runtime adds and the first seven of the message, and no code");
    assert_eq!(attributes["sluicegate-reason"]["StringValue"], "bad\u{FFFD} card");
    assert_eq!(attributes["sluicegate-source"]["StringValue"], "arn:aws:sqs:eu-west-1:123456789012:orders.fifo");
    assert!(attributes.contains_key("a6") && !attributes.contains_key("a7"));
    assert_eq!(sent[1]["MessageAttributes"]["sluicegate-reason"]["StringValue"], "no handler for type unknown.type");
}

/// <https://github.com/aws-powertools/powertools-lambda-python/issues/3716>
#[tokio::test]
async fn a_batch_in_which_all_fail_is_reported_and_the_function_does_not_fail() {
    let all = |count: usize| {
        let listed = (0..count).map(|index| json!({ "itemIdentifier": format!("m-{index}") }));
        json!({ "batchItemFailures": listed.collect::<Vec<_>>() }).to_string()
    };
    let groups = json!({ "attributes": { "MessageGroupId": "c-1", "ApproximateReceiveCount": "1" } });
    for (queue, more) in [("orders", json!({})), ("orders.fifo", groups)] {
        let (consumer, _) = sqs_with(None, true, |builder| {
            builder.on("panic", async |_| -> Outcome { panic!("planted") }).on("failed", async |_| Err::<(), _>("gone"))
        })
        .await;
        for types in [&["retry"; 12][..], &["panic"; 2], &["failed", "panic", "retry", "reject", "unknown.type"]] {
            assert_eq!(response(&consumer, records(queue, types, &more)).await, all(types.len()), "{queue} {types:?}");
        }
    }
}

/// The `maxReceiveCount` of the queue is 5.
#[tokio::test]
async fn a_failure_in_the_last_receive_is_dead_lettered_with_its_reason() {
    let dead_letters = Some("arn:aws:sqs:eu-west-1:123456789012:orders-dlq");
    for (receive_count, dead_letters, is_stored, expected) in [
        (4, dead_letters, true, None),
        (5, dead_letters, true, Some("receives exhausted after 5: the handler returned a retry")),
        (6, dead_letters, true, Some("receives exhausted after 6: the handler returned a retry")),
        // It goes back, and SQS dead-letters it at its next receive.
        (5, dead_letters, false, None),
        (5, None, true, None),
    ] {
        let (consumer, calls) = sqs(dead_letters, is_stored).await;
        let more = json!({ "attributes": { "ApproximateReceiveCount": receive_count.to_string() } });
        let response = consumer.handle(records("orders", &["retry", "done"], &more)).await.unwrap();
        let returned: Vec<_> = response.failures().collect();
        assert_eq!(returned, if expected.is_none() { vec!["m-0"] } else { Vec::new() }, "{receive_count}");
        let calls = calls.lock().unwrap();
        let sent = calls.iter().find(|(action, _)| action == "SendMessage" && is_stored).map(|(_, body)| body);
        let reason = sent.map(|body| &body["MessageAttributes"]["sluicegate-reason"]["StringValue"]);
        assert_eq!(reason, expected.map(Value::from).as_ref(), "{receive_count}");
        let code = sent.map(|body| &body["MessageAttributes"]["sluicegate-code"]["StringValue"]);
        assert_eq!(code, expected.map(|_| json!("receives_exhausted")).as_ref(), "{receive_count}");
    }
}

/// Another program redrove the message, and left the attributes of its first rejection.
#[tokio::test]
async fn a_reject_is_copied_with_its_code_and_without_that_of_an_earlier_one() {
    let (consumer, calls) = sqs(Some("arn:aws:sqs:eu-west-1:123456789012:orders-dlq"), true).await;
    let text = |value: &str| json!({ "stringValue": value, "dataType": "String" });
    let own = json!({ "sluicegate-code": text("old"), "sluicegate-reason": text("old"), "tenant": text("acme") });
    let batch = records("orders", &["reject", "unknown.type"], &json!({ "messageAttributes": own }));
    assert_eq!(response(&consumer, batch).await, r#"{"batchItemFailures":[]}"#);
    let calls = calls.lock().unwrap();
    let sent = calls.iter().filter(|(action, _)| action == "SendMessage");
    let value = |body: &Value, name: &str| body["MessageAttributes"][name]["StringValue"].as_str().unwrap().to_owned();
    let names = ["sluicegate-code", "sluicegate-reason", "tenant"];
    let mut sent: Vec<_> = sent.map(|(_, body)| names.map(|name| value(body, name))).collect();
    sent.sort();
    let expected =
        [["card_bad", "bad\u{FFFD} card", "acme"], ["no_handler", "no handler for type unknown.type", "acme"]];
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_reject_that_is_not_provably_stored_is_returned() {
    for (dead_letter, honest) in
        [(None, true), (Some("arn:aws:sqs:eu-west-1:123456789012:dlq"), false), (Some("no arn"), true)]
    {
        let (consumer, _) = sqs(dead_letter, honest).await;
        let answer = response(&consumer, records("orders", &["done", "reject"], &json!({}))).await;
        assert_eq!(answer, r#"{"batchItemFailures":[{"itemIdentifier":"m-1"}]}"#, "{dead_letter:?}");
    }
}

#[test]
fn queue_urls_follow_the_arn() {
    let config = |endpoint: &'static str| {
        let lookup = move |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { endpoint } else { "x" }.to_owned());
        AwsEnvironment::read(lookup).unwrap()
    };
    for (endpoint, arn, expected) in [
        ("", "arn:aws:sqs:eu-west-1:1:q", Some("https://sqs.eu-west-1.amazonaws.com/1/q")),
        ("", "arn:aws-us-gov:sqs:us-gov-west-1:1:q", Some("https://sqs.us-gov-west-1.amazonaws.com/1/q")),
        ("", "arn:aws-cn:sqs:cn-north-1:1:q.fifo", Some("https://sqs.cn-north-1.amazonaws.com.cn/1/q.fifo")),
        ("http://127.0.0.1:4566/", "arn:aws:sqs:eu-west-1:1:q", Some("http://127.0.0.1:4566/1/q")),
        ("", "arn:aws:sns:eu-west-1:1:q", None),
        ("", "arn:aws:sqs:eu-west-1::q", None),
        ("", "", None),
    ] {
        assert_eq!(queue_url(config(endpoint).endpoint(Service::Sqs), arn).ok().as_deref(), expected, "{arn}");
    }
}
