//! Messages whose payload is in S3: which failures are retried, and which are dead-lettered.

use sluicegate_idempotency::{AnyStore, MemoryStore, MessageState, StatusStore as _};
use sluicegate_queue::sqs::{OBJECT_BYTES_MAX, Pointer};
use tokio::time::Instant;

use super::*;

const DEAD_LETTERS: &str = "arn:aws:sqs:us-east-1:000000000000:dlq";

/// Starts an S3 that answers by the key; returns its endpoint and the keys that were asked for.
async fn s3() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let keys = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&keys);
    tokio::spawn(async move {
        loop {
            let stream = listener.accept().await.unwrap().0;
            tokio::spawn(serve_objects(stream, Arc::clone(&kept)));
        }
    });
    (endpoint, keys)
}

async fn serve_objects(stream: TcpStream, keys: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (head, _) = read_request(&mut stream).await?;
        let key = head.strip_prefix("GET /payloads/")?.split(' ').next()?.to_owned();
        keys.lock().unwrap().push(key.clone());
        let error = |code: &str| format!("<Error><Code>{code}</Code></Error>").into_bytes();
        let (status, body) = match key.as_str() {
            "done" | "retry" | "counted" => ("200 OK", body(&key).into_bytes()),
            "no-utf8" => ("200 OK", b"\xff".to_vec()),
            "no-event" => ("200 OK", b"{}".to_vec()),
            "too-large" => ("200 OK", vec![b' '; OBJECT_BYTES_MAX + 1]),
            "forbidden" => ("403 Forbidden", error("AccessDenied")),
            "broken" => ("500 Internal Server Error", error("InternalError")),
            "silent" => std::future::pending().await,
            _ => ("404 Not Found", error("NoSuchKey")),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(&body).await.ok()?;
    }
}

fn pointer(bucket: &str, key: &str) -> String {
    Pointer { bucket: bucket.to_owned(), key: key.to_owned() }.body()
}

/// Returns an event with one message.
fn message(body: &str, attributes: &Value) -> String {
    messages(1, body, attributes)
}

/// Returns an event with this message under several ids.
fn messages(count: usize, body: &str, attributes: &Value) -> String {
    let record = |n| {
        json!({
            "messageId": format!("m-{n}"),
            "receiptHandle": "h-0",
            "body": body,
            "messageAttributes": attributes,
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:q",
        })
    };
    json!({ "Records": (0..count).map(record).collect::<Vec<_>>() }).to_string()
}

fn marker() -> Value {
    json!({ "ExtendedPayloadSize": { "dataType": "Number", "stringValue": "5" } })
}

/// A consumer that reads the bucket `payloads`; with the calls of SQS and the keys that S3 was asked for.
async fn consumer() -> (Consumer, Calls, Arc<Mutex<Vec<String>>>) {
    consumer_with(|builder, _| builder).await
}

async fn consumer_with(
    settings: impl FnOnce(ConsumerBuilder, Arc<Mutex<Vec<String>>>) -> ConsumerBuilder,
) -> (Consumer, Calls, Arc<Mutex<Vec<String>>>) {
    let (endpoint, keys) = s3().await;
    let lookup = |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { endpoint.clone() } else { "x".to_owned() });
    let environment = AwsEnvironment::read(lookup).unwrap();
    let settings = |builder: ConsumerBuilder| {
        settings(builder.payload_buckets(&environment, ["other", "payloads"]), Arc::clone(&keys))
    };
    let (consumer, calls) = sqs_with(Some(DEAD_LETTERS), true, settings).await;
    (consumer, calls, keys)
}

/// Returns the code and the reason of the dead letter, if there is one.
fn dead_letter(calls: &Calls) -> Option<(String, String)> {
    let calls = calls.lock().unwrap();
    let (_, sent) = calls.iter().find(|(action, _)| action == "SendMessage")?;
    let text = |name: &str| sent["MessageAttributes"][name]["StringValue"].as_str().map(str::to_owned);
    text("sluicegate-code").zip(text("sluicegate-reason"))
}

#[tokio::test]
async fn what_may_pass_is_retried_and_what_cannot_is_dead_lettered() {
    let class = r#"["a.B",{"s3BucketName":"payloads","s3Key":"done"}]"#;
    let (done, returned) = (r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":[{"itemIdentifier":"m-0"}]}"#);
    for (body, response, reason, requests) in [
        (pointer("payloads", "done"), done, None, 1),
        (pointer("payloads", "retry"), returned, None, 1),
        (pointer("payloads", "forbidden"), returned, None, 1),
        (pointer("payloads", "broken"), returned, None, 3),
        (pointer("payloads", "absent"), done, Some("\"absent\" in bucket payloads: NoSuchKey"), 1),
        (pointer("payloads", "too-large"), done, Some("the object has more than 16777216 bytes"), 1),
        (pointer("payloads", "no-utf8"), done, Some("it is not UTF-8"), 1),
        (pointer("payloads", "no-event"), done, Some("it is not an event: "), 1),
        (pointer("mine", "done"), done, Some("PAYLOAD_BUCKET does not name its bucket \"mine\""), 0),
        ("{}".to_owned(), done, Some("the body is not [class, "), 0),
        (class.to_owned(), done, Some("names the class \"a.B\""), 0),
    ] {
        let (consumer, calls, keys) = consumer().await;
        assert_eq!(super::response(&consumer, event(message(&body, &marker()))).await, response, "{body}");
        let found = dead_letter(&calls);
        assert_eq!(found.is_some(), reason.is_some(), "{body}: {found:?}");
        if let Some((reason, (code, found))) = reason.zip(found) {
            assert_eq!(code, "payload_unavailable");
            assert!(found.starts_with("payload not available: ") && found.contains(reason), "{found}");
        }
        assert_eq!(keys.lock().unwrap().len(), requests, "{body}");
    }
}

#[tokio::test]
async fn only_a_marked_message_is_a_pointer() {
    let (consumer, calls, keys) = consumer().await;
    let none = r#"{"batchItemFailures":[]}"#;
    assert_eq!(response(&consumer, event(message(&pointer("payloads", "done"), &json!({})))).await, none);
    let (code, reason) = dead_letter(&calls).unwrap();
    assert!(code == "undecodable" && reason.starts_with("undecodable: "), "{code}: {reason}");
    assert_eq!(response(&consumer, event(message(&body("done"), &json!({ "a": {} })))).await, none);
    assert_eq!(keys.lock().unwrap().len(), 0);
    // The old name of the marker.
    let old = json!({ "SQSLargePayloadSize": null });
    assert_eq!(response(&consumer, event(message(&pointer("payloads", "done"), &old))).await, none);
    assert_eq!(*keys.lock().unwrap(), ["done"]);
}

#[tokio::test]
async fn a_dead_letter_with_many_attributes_keeps_its_marker() {
    for marker in ["ExtendedPayloadSize", "SQSLargePayloadSize"] {
        let (consumer, calls, _) = consumer().await;
        let value = json!({ "dataType": "Number", "stringValue": "5" });
        let mut attributes = json!({ marker: value });
        (0..9).for_each(|n| attributes[format!("A{n}")] = value.clone());
        let body = pointer("payloads", "absent");
        response(&consumer, event(message(&body, &attributes))).await;
        let calls = calls.lock().unwrap();
        let (_, sent) = calls.iter().find(|(action, _)| action == "SendMessage").unwrap();
        let kept = sent["MessageAttributes"].as_object().unwrap();
        assert_eq!((kept.len(), &kept[marker]["StringValue"]), (10, &json!("5")), "{kept:?}");
        assert_eq!(sent["MessageBody"], body);
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_costs_no_more_than_the_time_of_the_handlers() {
    let (consumer, calls, _) = consumer().await;
    let mut event = event(message(&pointer("payloads", "silent"), &marker()));
    let deadline = SystemTime::now() + Duration::from_millis(800);
    event.context.deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    assert_eq!(response(&consumer, event).await, r#"{"batchItemFailures":[{"itemIdentifier":"m-0"}]}"#);
    assert!(SystemTime::now() < deadline && dead_letter(&calls).is_none());
}

#[tokio::test]
async fn a_batch_has_no_more_payloads_in_memory_than_the_function_has_room_for() {
    /// Of a function whose memory is unknown.
    const ROOM: usize = 2;
    // How many handlers have ended, and the most payloads that were fetched and not yet handled.
    let counts = Arc::<Mutex<(usize, usize)>>::default();
    let both = Arc::new(tokio::sync::Barrier::new(ROOM));
    let (consumer, _, keys) = consumer_with(|builder, keys| {
        let counts = Arc::clone(&counts);
        builder.on("counted", move |_| {
            let (counts, keys, both) = (Arc::clone(&counts), Arc::clone(&keys), Arc::clone(&both));
            async move {
                let (fetched, (ended, most)) = (keys.lock().unwrap().len(), *counts.lock().unwrap());
                counts.lock().unwrap().1 = most.max(fetched - ended);
                both.wait().await;
                counts.lock().unwrap().0 += 1;
                Outcome::Done
            }
        })
    })
    .await;
    let event = event(messages(10, &pointer("payloads", "counted"), &marker()));
    assert_eq!(response(&consumer, event).await, r#"{"batchItemFailures":[]}"#);
    assert_eq!((*counts.lock().unwrap(), keys.lock().unwrap().len()), ((10, ROOM), 10));
}

#[tokio::test]
async fn a_payload_without_room_before_the_deadline_is_returned_untouched() {
    let (consumer, calls, keys) =
        consumer_with(|builder, _| builder.on("counted", async |_| std::future::pending::<Outcome>().await)).await;
    let mut event = event(messages(3, &pointer("payloads", "counted"), &marker()));
    let deadline = SystemTime::now() + Duration::from_millis(800);
    event.context.deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    let response = response(&consumer, event).await;
    assert_eq!(response.matches("itemIdentifier").count(), 3, "{response}");
    assert_eq!(keys.lock().unwrap().len(), 2, "the third was not fetched");
    assert!(SystemTime::now() < deadline && dead_letter(&calls).is_none());
}

#[tokio::test]
async fn a_message_whose_payload_cannot_be_read_has_its_status() {
    for (body, is_marked, expected) in [
        (pointer("payloads", "absent"), true, "dead"),
        ("{}".to_owned(), true, "dead"),
        (pointer("payloads", "forbidden"), true, "retrying"),
        // The attribute of a message that is not a pointer says nothing.
        ("{}".to_owned(), false, "accepted"),
    ] {
        let (store, deadline) = (MemoryStore::default(), Instant::now() + Duration::from_secs(20));
        store.open_status("e-1", "owner", SystemTime::now(), deadline).await.unwrap();
        let kept = AnyStore::Memory(store.clone());
        let (consumer, _, _) = consumer_with(|builder, _| builder.store(kept)).await;
        let mut attributes = if is_marked { marker() } else { json!({}) };
        attributes["sluicegate-status-id"] = json!({ "dataType": "String", "stringValue": "e-1" });
        response(&consumer, event(message(&body, &attributes))).await;
        let status = store.status("e-1", SystemTime::now(), deadline).await.unwrap().unwrap();
        let found = match &status.state {
            MessageState::Dead { code, .. } => {
                assert_eq!(code.as_deref(), Some("payload_unavailable"));
                "dead"
            }
            MessageState::Retrying { .. } => "retrying",
            MessageState::Accepted => "accepted",
            _ => "another",
        };
        assert_eq!(found, expected, "{body}");
    }
}
