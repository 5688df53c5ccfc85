//! Mappings on emulated queues, with tokio's clock paused: a test that waits an hour takes no time.

mod stack;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sqs_emulator::ApiError;
use tokio::time::{Instant, sleep};

use self::stack::{ARN, Flaky, Stack, answer, failure, script};
use super::*;
use crate::environment::Invocation;

fn step(step: &'static str, body: &str, receive_count: u32) -> (&'static str, String, u32) {
    (step, body.to_owned(), receive_count)
}

#[tokio::test(start_paused = true)]
async fn the_event_equals_lambdas() {
    let stack = Stack::new(json!({})).await;
    let attributes = json!({
        "tenant": { "DataType": "String", "StringValue": "blue" },
        "raw": { "DataType": "Binary", "BinaryValue": "AAE=" },
    });
    let sent = stack
        .call(
            "SendMessage",
            json!({ "MessageBody": "{\"a\": \"ü\"}", "MessageAttributes": attributes, "MessageGroupId": "g" }),
        )
        .await;
    let seen = Arc::new(Mutex::new(Value::Null));
    let function = script({
        let seen = Arc::clone(&seen);
        move |event, _| {
            *seen.lock().unwrap() = event;
            async { answer("null") }
        }
    });
    let mapping = stack.start(stack.spec(), &function);
    stack.seen("done", 1).await;
    mapping.stop().await;
    let mut event = seen.lock().unwrap().clone();
    let record = &mut event["Records"][0];
    assert!(record["receiptHandle"].take().as_str().is_some_and(|handle| !handle.is_empty()));
    assert!(record["attributes"]["SenderId"].take().is_string());
    let expected = json!({ "Records": [{
        "messageId": sent["MessageId"],
        "receiptHandle": null,
        "body": "{\"a\": \"ü\"}",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1700000000000",
            "SenderId": null,
            "ApproximateFirstReceiveTimestamp": "1700000000000",
            "MessageGroupId": "g",
        },
        "messageAttributes": {
            "tenant": { "stringValue": "blue", "stringListValues": [], "binaryListValues": [], "dataType": "String" },
            "raw": { "binaryValue": "AAE=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary" },
        },
        "md5OfMessageAttributes": sent["MD5OfMessageAttributes"],
        "md5OfBody": sent["MD5OfMessageBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": ARN,
        "awsRegion": "us-east-1",
    }]});
    assert_eq!(event, expected);
}

/// Sends two messages to one invocation; checks the messages left and the last step of each.
async fn check(report: bool, end: impl Fn(&Value) -> Invocation + Send + Sync + 'static, expected: [&'static str; 2]) {
    let stack = Stack::new(json!({ "VisibilityTimeout": "43200" })).await;
    stack.send("first").await;
    stack.send("second").await;
    let function = script(move |event, _| {
        let end = end(&event["Records"]);
        async { end }
    });
    let mapping = stack.start(SqsMappingSpec { report_batch_item_failures: report, ..stack.spec() }, &function);
    stack.seen("delivered", 2).await;
    mapping.stop().await;
    let last = |body: &str| stack.steps().iter().rev().find(|step| step.1 == body).unwrap().0;
    assert_eq!([last("first"), last("second")], expected);
    let left = expected.iter().filter(|step| **step != "done").count();
    assert_eq!(stack.counts().await, ("0".to_owned(), left.to_string()));
    assert_eq!(function.invoked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_answer_decides_what_is_deleted() {
    check(true, |_| answer("null"), ["done", "done"]).await;
    check(true, |records| failure(&[&records[0]["messageId"]]), ["returned", "done"]).await;
    check(true, |_| failure(&[&json!("unknown")]), ["failed", "failed"]).await;
    check(true, |_| answer("no JSON"), ["failed", "failed"]).await;
    check(true, |_| Invocation::TimedOut, ["failed", "failed"]).await;
    check(true, |_| Invocation::FunctionError { payload: Bytes::new() }, ["failed", "failed"]).await;
    check(false, |records| failure(&[&records[0]["messageId"]]), ["done", "done"]).await;
    check(false, |_| answer("no JSON"), ["done", "done"]).await;
    check(false, |_| Invocation::TimedOut, ["failed", "failed"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_reported_as_failed_is_delivered_again_until_it_is_done() {
    let stack = Stack::new(json!({})).await;
    stack.send("poison").await;
    let function = script(|event, before| async move {
        if before < 2 { failure(&[&event["Records"][0]["messageId"]]) } else { answer("{}") }
    });
    let mapping = stack.start(stack.spec(), &function);
    stack.seen("done", 1).await;
    mapping.stop().await;
    let expected =
        [("delivered", 1), ("returned", 1), ("delivered", 2), ("returned", 2), ("delivered", 3), ("done", 3)];
    assert_eq!(stack.steps(), expected.map(|(name, count)| step(name, "poison", count)));
}

/// Sends the messages; returns the batch sizes and the time from the first message to the first invocation.
async fn batches(bodies: Vec<String>, batch_size: usize, window_s: u64) -> (Vec<usize>, Duration) {
    let stack = Stack::new(json!({})).await;
    for body in &bodies {
        stack.send(body).await;
    }
    let start = Instant::now();
    let seen = Arc::new(Mutex::new((Vec::new(), None)));
    let function = script({
        let seen = Arc::clone(&seen);
        move |event, _| {
            let mut seen = seen.lock().unwrap();
            seen.0.push(event["Records"].as_array().unwrap().len());
            seen.1.get_or_insert(start.elapsed());
            async { answer("{}") }
        }
    });
    let spec = SqsMappingSpec { batch_size, batching_window: Duration::from_secs(window_s), ..stack.spec() };
    let mapping = stack.start(spec, &function);
    stack.seen("done", bodies.len()).await;
    mapping.stop().await;
    assert_eq!(stack.counts().await, ("0".to_owned(), "0".to_owned()));
    let seen = seen.lock().unwrap();
    (seen.0.clone(), seen.1.unwrap())
}

#[tokio::test(start_paused = true)]
async fn batches_end_by_size_window_or_payload() {
    let bodies = |count: usize, length: usize| (0..count).map(|_| "x".repeat(length)).collect::<Vec<_>>();
    let sum = |sizes: &[usize]| sizes.iter().sum::<usize>();

    let (sizes, waited) = batches(bodies(25, 1), 10, 0).await;
    assert_eq!((sum(&sizes), sizes.iter().max(), waited), (25, Some(&10), Duration::ZERO));

    let (sizes, _) = batches(bodies(3, 1), 1, 0).await;
    assert_eq!(sizes, [1, 1, 1]);

    // Five pollers share the messages; each waits for more until its window closes.
    let (sizes, waited) = batches(bodies(25, 1), 1_000, 2).await;
    assert!(sum(&sizes) == 25 && sizes.len() <= 3, "{sizes:?}");
    assert_eq!(waited, Duration::from_secs(2));

    let (sizes, _) = batches(bodies(8, 1_000_000), 1_000, 1).await;
    assert!(sum(&sizes) == 8 && sizes.iter().all(|size| *size <= 6), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_that_no_filter_matches_are_deleted() {
    let stack = Stack::new(json!({})).await;
    stack.send("{\"kind\":\"a\"}").await;
    stack.send("{\"kind\":\"b\"}").await;
    stack.send("plain").await;
    let function = script(|_, _| async { answer("{}") });
    let spec = SqsMappingSpec { filters: vec![json!({ "body": { "kind": ["b"] } })], ..stack.spec() };
    let mapping = stack.start(spec, &function);
    stack.seen("filtered", 2).await;
    stack.seen("done", 1).await;
    mapping.stop().await;
    assert!(stack.steps().contains(&step("done", "{\"kind\":\"b\"}", 1)));
    assert!(stack.steps().iter().all(|(name, body, _)| *name != "delivered" || body.contains('b')));
    assert_eq!(stack.counts().await, ("0".to_owned(), "0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_batch_is_tried_until_its_messages_become_visible() {
    let stack = Stack::new(json!({ "VisibilityTimeout": "60" })).await;
    stack.send("order").await;
    let start = Instant::now();
    // Throttled for a while: the same receive succeeds.
    let function = script(move |_, _| async move {
        if start.elapsed() < Duration::from_secs(40) { Invocation::Throttled } else { answer("{}") }
    });
    let mapping = stack.start(stack.spec(), &function);
    stack.seen("done", 1).await;
    mapping.stop().await;
    assert_eq!(stack.steps(), [step("delivered", "order", 1), step("done", "order", 1)]);
    assert!(function.invoked.load(Ordering::SeqCst) > 5);

    // Throttled for too long: the receive is used up.
    let stack = Stack::new(json!({ "VisibilityTimeout": "60" })).await;
    stack.send("order").await;
    let start = Instant::now();
    let function = script(move |_, _| async move {
        if start.elapsed() < Duration::from_secs(61) { Invocation::Throttled } else { answer("{}") }
    });
    let mapping = stack.start(stack.spec(), &function);
    stack.seen("done", 1).await;
    mapping.stop().await;
    let expected = [("delivered", 1), ("failed", 1), ("delivered", 2), ("done", 2)];
    assert_eq!(stack.steps(), expected.map(|(name, count)| step(name, "order", count)));
}

#[tokio::test(start_paused = true)]
async fn concurrent_batches_are_limited() {
    for (maximum, expected) in [(None, 5), (Some(2), 2), (Some(7), 7)] {
        let stack = Stack::new(json!({ "VisibilityTimeout": "3600" })).await;
        for _ in 0..20 {
            stack.send("order").await;
        }
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let function = script({
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            move |_, _| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(Duration::from_secs(10)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    answer("{}")
                }
            }
        });
        let spec = SqsMappingSpec { batch_size: 1, maximum_concurrency: maximum, ..stack.spec() };
        let mapping = stack.start(spec, &function);
        stack.seen("done", 20).await;
        mapping.stop().await;
        assert_eq!(most.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_slow_down_polling_unless_items_are_reported() {
    let mut invoked = [0, 0];
    for (index, report) in [false, true].into_iter().enumerate() {
        let stack = Stack::new(json!({ "VisibilityTimeout": "1" })).await;
        stack.send("poison").await;
        let function = script(|_, _| async { Invocation::FunctionError { payload: Bytes::new() } });
        let spec = SqsMappingSpec { report_batch_item_failures: report, maximum_concurrency: Some(2), ..stack.spec() };
        let mapping = stack.start(spec, &function);
        sleep(Duration::from_secs(100)).await;
        mapping.stop().await;
        invoked[index] = function.invoked.load(Ordering::SeqCst);
    }
    assert!(invoked[0] < 50 && invoked[1] >= 90, "{invoked:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_the_invocations_in_flight() {
    let stack = Stack::new(json!({})).await;
    let function = script(|_, _| async {
        sleep(Duration::from_secs(3)).await;
        answer("{}")
    });
    let mapping = stack.start(stack.spec(), &function);
    sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    mapping.stop().await;
    assert_eq!(start.elapsed(), Duration::ZERO, "nothing in flight");

    stack.send("order").await;
    let mapping = stack.start(stack.spec(), &function);
    stack.seen("delivered", 1).await;
    let start = Instant::now();
    stack.send("later").await;
    mapping.stop().await;
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert!(stack.steps().contains(&step("done", "order", 1)));
    let start = Instant::now();
    let mapping = stack.start(stack.spec(), &function);
    stack.seen("done", 2).await;
    mapping.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4), "the other messages were not polled");
}

#[tokio::test(start_paused = true)]
async fn a_fifo_group_is_processed_in_order_one_batch_at_a_time() {
    let stack = Stack::new(json!({ "FifoQueue": "true", "ContentBasedDeduplication": "true" })).await;
    for number in 0..6 {
        for group in ["a", "b"] {
            let body = format!("{group}{number}");
            stack.call("SendMessage", json!({ "MessageBody": body, "MessageGroupId": group })).await;
        }
    }
    let function = script(|_, _| async {
        sleep(Duration::from_secs(1)).await;
        answer("{}")
    });
    let mapping = stack.start(SqsMappingSpec { fifo: true, batch_size: 2, ..stack.spec() }, &function);
    stack.seen("done", 12).await;
    mapping.stop().await;
    for group in ["a", "b"] {
        let steps: Vec<_> =
            stack.steps().into_iter().filter(|(name, body, _)| *name == "done" && body.starts_with(group)).collect();
        assert_eq!(steps, (0..6).map(|number| step("done", &format!("{group}{number}"), 1)).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fifo_receive_too_large_for_one_event_stays_in_order() {
    let stack = Stack::new(json!({ "FifoQueue": "true", "ContentBasedDeduplication": "true" })).await;
    for number in 0..9 {
        let body = format!("{number}{}", "x".repeat(1_000_000));
        stack.call("SendMessage", json!({ "MessageBody": body, "MessageGroupId": "a" })).await;
    }
    let seen = Arc::new(Mutex::new(String::new()));
    let function = script({
        let seen = Arc::clone(&seen);
        move |event, before| {
            let records = event["Records"].as_array().unwrap();
            seen.lock()
                .unwrap()
                .extend(records.iter().map(|record| record["body"].as_str().unwrap().chars().next().unwrap()));
            async move { if before == 0 { Invocation::TimedOut } else { answer("{}") } }
        }
    });
    let mapping = stack.start(SqsMappingSpec { fifo: true, ..stack.spec() }, &function);
    stack.seen("done", 9).await;
    mapping.stop().await;
    assert_eq!(*seen.lock().unwrap(), "012345012345678");
}

#[tokio::test(start_paused = true)]
async fn a_failed_delete_is_tried_again_and_an_expired_receipt_is_not() {
    let failed = |sender_fault: bool| {
        let entry = json!({ "Id": "0", "Code": "Oops", "Message": "no", "SenderFault": sender_fault });
        Ok(json!({ "Successful": [], "Failed": [entry] }))
    };
    let cases = [
        (vec![failed(false), Err(ApiError::no_such_queue())], "done"),
        (vec![failed(false), failed(false), failed(false), failed(false)], "failed"),
        (vec![failed(true)], "failed"),
    ];
    for (answers, expected) in cases {
        let stack = Stack::new(json!({ "VisibilityTimeout": "43200" })).await;
        stack.send("order").await;
        let flaky = Flaky { queue: stack.queue.clone(), answers: Arc::new(Mutex::new(answers.into())) };
        let function = script(|_, _| async { answer("{}") });
        let mapping = stack.start_on(stack.spec(), flaky, &function);
        stack.seen(expected, 1).await;
        mapping.stop().await;
        assert_eq!(stack.steps(), [step("delivered", "order", 1), step(expected, "order", 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_exist_yet_is_polled_until_it_does() {
    let stack = Stack::new(json!({})).await;
    stack.call("DeleteQueue", json!({})).await;
    let function = script(|_, _| async { answer("{}") });
    let mapping = stack.start(stack.spec(), &function);
    sleep(Duration::from_secs(60)).await;
    stack.queue.call("CreateQueue", json!({ "QueueName": "orders" })).await.unwrap();
    stack.send("order").await;
    stack.seen("done", 1).await;
    mapping.stop().await;
}
