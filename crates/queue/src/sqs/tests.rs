//! The result of a send for each behaviour of a server, on real sockets.

pub(super) mod server;

use std::time::Duration;

use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};

use super::{AwsConfigError, AwsEnvironment, SqsProducer};
use crate::{Message, Producer, SendError};
use sluicegate_envelope::Envelope;
use tokio::time::Instant;

use server::{Entry, Request, Server, Step};

pub(super) const AMPLE: Duration = Duration::from_secs(20);

pub(super) fn config(endpoint: &str) -> AwsEnvironment {
    let endpoint = endpoint.to_owned();
    let lookup = move |name: &str| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        "AWS_ENDPOINT_URL_SQS" => Some(endpoint.clone()),
        _ => None,
    };
    AwsEnvironment::read(lookup).unwrap()
}

/// A configuration whose attempts time out after 100 ms.
fn short_timeout_config(endpoint: &str) -> AwsEnvironment {
    config(endpoint).with_attempt_timeout(Duration::from_millis(100))
}

fn envelope() -> Envelope {
    let payload = r#"{"b":1.10,"a":"ü"}"#;
    Envelope::builder("id-1", "/orders", "order.placed").payload(Some("application/json"), payload).build().unwrap()
}

async fn send(producer: &SqsProducer, within: Duration) -> Result<String, SendError> {
    let envelope = envelope();
    let receipt = producer.send(&Message::new(&envelope), Instant::now() + within).await?;
    assert_eq!(receipt.id, "id-1");
    Ok(receipt.broker_id)
}

pub(super) fn conclusion(result: &Result<String, SendError>) -> &'static str {
    match result {
        Ok(_) => "receipt",
        Err(SendError::NotSent { .. } | SendError::PayloadNotStored { .. }) => "not sent",
        Err(SendError::Unknown { .. }) => "unknown",
        Err(SendError::Refused { message_at_fault: true, .. }) => "refused: message",
        Err(SendError::Refused { message_at_fault: false, .. }) => "refused: queue",
        Err(SendError::TooLarge { .. }) => "too large",
        Err(SendError::Unroutable { .. }) => "unroutable",
    }
}

/// Sends once to a server that does `steps` in turn, one to each attempt, and uses up all of them.
async fn check(steps: &[Step], expected: &str) {
    let server = Server::start(steps).await;
    let result = send(&SqsProducer::new(&short_timeout_config(&server.endpoint()), "http://q/1/orders"), AMPLE).await;
    assert_eq!(conclusion(&result), expected, "{steps:?} gave {result:?}");
    assert_eq!(server.requests().len(), steps.len(), "{steps:?}: {result:?}");
}

#[tokio::test]
async fn a_receipt_needs_the_right_md5_and_a_message_id() {
    check(&[Step::Store], "receipt").await;
    check(&[Step::WrongMd5], "unknown").await;
    check(&[Step::NoMd5], "unknown").await;
    check(&[Step::NoMessageId], "unknown").await;
    check(&[Step::Garbage], "unknown").await;
}

#[tokio::test]
async fn transient_errors_are_tried_three_times() {
    let throttled = Step::Error(400, "RequestThrottled");
    check(&[throttled, Step::Store], "receipt").await;
    check(&[Step::Error(500, "InternalFailure"), Step::Error(503, "ServiceUnavailable"), Step::Store], "receipt").await;
    check(&[Step::Close, Step::Store], "receipt").await;
    check(&[Step::Hang, Step::Store], "receipt").await;
    check(&[throttled, throttled, throttled], "not sent").await;
    check(&[Step::Error(503, "ThrottlingException"), throttled, throttled], "not sent").await;
}

#[tokio::test]
async fn a_later_attempt_does_not_hide_a_lost_answer() {
    let throttled = Step::Error(400, "RequestThrottled");
    check(&[Step::Close, Step::Close, Step::Close], "unknown").await;
    check(&[Step::Error(500, "InternalFailure"); 3], "unknown").await;
    check(&[Step::Hang; 3], "unknown").await;
    check(&[Step::Close, throttled, throttled], "unknown").await;
    check(&[Step::Hang, Step::Error(400, "com.amazonaws.sqs#QueueDoesNotExist")], "unknown").await;
    check(&[Step::CloseAndStopListening], "unknown").await;
}

#[tokio::test]
async fn permanent_errors_are_refused_without_a_retry() {
    check(&[Step::Error(400, "com.amazonaws.sqs#InvalidMessageContents")], "refused: message").await;
    let (code, long_code) = ("InvalidParameterValue", "com.amazonaws.sqs#InvalidParameterValueException");
    let too_large = "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.";
    check(&[Step::Refusal(code, too_large)], "too large").await;
    check(&[Step::Refusal(long_code, too_large)], "too large").await;
    // Other mistakes of an operator have the same code.
    for text in [
        "Value c-1 for parameter MessageGroupId is invalid. Reason: The request include parameter that is not valid.",
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        "Value 7 for parameter DelaySeconds is invalid. Reason: not valid for this queue type.",
        "Value AWSTraceHeader for parameter MessageSystemAttributeName is invalid.",
        "",
    ] {
        check(&[Step::Refusal(code, text)], "refused: queue").await;
        check(&[Step::Refusal(long_code, text)], "refused: queue").await;
    }
    check(&[Step::Refusal("InvalidAddress", too_large)], "refused: queue").await;
    for code in
        ["QueueDoesNotExist", "UnsupportedOperation", "KmsAccessDenied", "AccessDeniedException", "ExpiredToken"]
    {
        check(&[Step::Error(400, code)], "refused: queue").await;
    }
    check(&[Step::Error(403, "AccessDenied")], "refused: queue").await;
}

#[tokio::test]
async fn a_refused_connection_means_not_sent() {
    let server = Server::start(&[]).await;
    let endpoint = server.endpoint();
    server.stop().await;
    let result = send(&SqsProducer::new(&config(&endpoint), "http://q/1/orders"), AMPLE).await;
    assert_eq!(conclusion(&result), "not sent", "{result:?}");
    assert!(result.unwrap_err().to_string().contains("refused"), "the log has the cause");
}

#[tokio::test]
async fn the_deadline_is_kept_while_the_server_is_silent() {
    let server = Server::start(&[Step::Hang]).await;
    let producer = SqsProducer::new(&config(&server.endpoint()), "http://q/1/orders");
    let (started, within) = (Instant::now(), Duration::from_millis(150));
    let result = send(&producer, within).await;
    assert_eq!(conclusion(&result), "unknown", "{result:?}");
    assert!(started.elapsed() >= within && started.elapsed() < within + Duration::from_millis(500));
}

#[tokio::test]
async fn a_deadline_that_has_passed_sends_nothing() {
    let server = Server::start(&[]).await;
    let result = send(&SqsProducer::new(&config(&server.endpoint()), "http://q/1/orders"), Duration::ZERO).await;
    assert_eq!(conclusion(&result), "not sent", "{result:?}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn connections_are_reused_and_a_dead_one_costs_one_quick_retry() {
    let server = Server::start(&[Step::Store, Step::StoreThenClose, Step::Store, Step::Close, Step::Store]).await;
    let producer = SqsProducer::new(&config(&server.endpoint()), "http://q/1/orders");
    send(&producer, AMPLE).await.unwrap();
    send(&producer, AMPLE).await.unwrap();
    assert_eq!(server.connections(), 1, "the second send reuses the connection");
    server.closed().await;
    let started = Instant::now();
    send(&producer, AMPLE).await.unwrap();
    // The fourth step closes the connection during the request, like a peer that dropped it while the function was
    // frozen.
    send(&producer, AMPLE).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!((server.requests().len(), server.connections()), (5, 3));
}

async fn request(url: &str, message: &Message<'_>) -> Request {
    let server = Server::start(&[Step::Store]).await;
    SqsProducer::new(&config(&server.endpoint()), url).send(message, Instant::now() + AMPLE).await.unwrap();
    server.requests().remove(0)
}

#[tokio::test]
async fn a_standard_queue_gets_body_group_delay_and_trace() {
    let envelope = envelope();
    let plain = Message::new(&envelope);
    let sent = request("http://q/1/orders", &plain).await;
    assert_eq!(sent.target, "AmazonSQS.SendMessage");
    let expected = serde_json::json!({ "QueueUrl": "http://q/1/orders", "MessageBody": envelope.encode() });
    assert_eq!(sent.body, expected, "and nothing else");

    let trace = Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1");
    let delay = Duration::from_millis(1_500);
    let sent =
        request("http://q/1/orders", &Message { group: Some("tenant 7"), delay, trace_header: trace, ..plain }).await;
    assert_eq!(sent.body["DelaySeconds"], 2);
    assert_eq!(sent.body["MessageGroupId"].as_str().unwrap().len(), 71, "a space is not allowed: hashed");
    assert_eq!(sent.body["MessageDeduplicationId"], serde_json::Value::Null);
    let attribute = serde_json::json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": trace } });
    assert_eq!(sent.body["MessageSystemAttributes"], attribute);
}

#[tokio::test]
async fn a_fifo_queue_gets_a_group_and_the_envelopes_id_for_deduplication() {
    let envelope = envelope();
    for (group, expected) in [(Some("c-1"), "c-1"), (None, "id-1"), (Some(""), "id-1")] {
        let sent = request("http://q/1/orders.fifo", &Message { group, ..Message::new(&envelope) }).await;
        assert_eq!(
            (&sent.body["MessageGroupId"], &sent.body["MessageDeduplicationId"]),
            (&expected.into(), &"id-1".into())
        );
    }
}

#[tokio::test]
async fn a_fifo_queue_does_not_take_a_replay_for_a_repeat() {
    let deduplication_id = async |replay: Option<&str>| {
        let envelope = envelope().into_builder("id-1").replay_id(replay).unwrap().build().unwrap();
        let sent = request("http://q/1/orders.fifo", &Message::new(&envelope)).await;
        sent.body["MessageDeduplicationId"].as_str().unwrap().to_owned()
    };
    assert_eq!(deduplication_id(None).await, "id-1");
    assert_eq!(deduplication_id(Some("r-1")).await, "id-1/r-1");
    assert_eq!(deduplication_id(Some("r-2")).await, "id-1/r-2");
}

pub(super) fn numbered(payload: &str) -> impl Fn(usize) -> Envelope {
    let payload = payload.to_owned();
    move |n| Envelope::builder(format!("id-{n}"), "/", "t").payload(None, payload.clone()).build().unwrap()
}

/// Sends envelopes as a batch to a server that does `steps`; returns the conclusions, and the entries of each request.
async fn send_all(url: &str, envelopes: &[Envelope], steps: &[Step]) -> (Vec<&'static str>, Vec<usize>) {
    let server = Server::start(steps).await;
    let messages: Vec<_> = envelopes.iter().map(Message::new).collect();
    let producer = SqsProducer::new(&config(&server.endpoint()), url);
    let results = producer.send_all(&messages, Instant::now() + AMPLE).await;
    for (envelope, result) in envelopes.iter().zip(&results) {
        assert!(result.as_ref().is_ok_and(|receipt| receipt.id == envelope.id()) || result.is_err());
    }
    let results = results.into_iter().map(|result| conclusion(&result.map(|receipt| receipt.broker_id))).collect();
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.target == "AmazonSQS.SendMessageBatch"), "{requests:?}");
    (results, requests.iter().map(|request| request.body["Entries"].as_array().unwrap().len()).collect())
}

#[tokio::test]
async fn each_entry_of_a_batch_has_its_proof_or_its_reason() {
    use Entry::{Failed, Stored, Unnamed, WrongMd5};
    let entries = &[
        Stored,
        WrongMd5,
        Failed("InternalError", false),
        Failed("InvalidMessageContents", true),
        Failed("InvalidParameterValue", true),
        Failed("AccessDenied", true),
        Unnamed,
        Stored,
    ];
    let envelopes: Vec<_> = (0..entries.len()).map(numbered("{}")).collect();
    let (results, _) = send_all("http://q/1/orders", &envelopes, &[Step::Batch(entries)]).await;
    let expected =
        ["receipt", "unknown", "not sent", "refused: message", "too large", "refused: queue", "unknown", "receipt"];
    assert_eq!(results, expected);
}

#[tokio::test]
async fn a_batch_is_cut_at_ten_entries_and_at_its_bytes() {
    let stored = |n: usize| Step::Batch(&[Entry::Stored; 10][..n]);
    let small: Vec<_> = (0..23).map(numbered("{}")).collect();
    let sent = send_all("http://q/1/orders", &small, &[stored(10), stored(10), stored(3)]).await;
    assert_eq!(sent, (vec!["receipt"; 23], vec![10, 10, 3]));
    let large: Vec<_> = (0..3).map(numbered(&"x".repeat(300_000))).collect();
    let sent = send_all("http://q/1/orders", &large, &[stored(2), stored(1)]).await;
    assert_eq!(sent, (vec!["receipt"; 3], vec![2, 1]), "400,000 bytes each, in base64");
    // One that is too large by itself does not affect the others.
    let mixed = [numbered("{}")(0), numbered(&"x".repeat(800_000))(1), numbered("{}")(2)];
    let sent = send_all("http://q/1/orders", &mixed, &[stored(2)]).await;
    assert_eq!(sent, (vec!["receipt", "too large", "receipt"], vec![2]));
    assert_eq!(send_all("http://q/1/orders", &[], &[]).await, (vec![], vec![]));
}

#[tokio::test]
async fn a_failed_call_of_a_batch_is_the_result_of_its_entries_alone() {
    let small: Vec<_> = (0..12).map(numbered("{}")).collect();
    let stored = Step::Batch(&[Entry::Stored; 2]);
    for (step, result) in [
        (Step::Garbage, "unknown"),
        (Step::Refusal("QueueDoesNotExist", "gone"), "refused: queue"),
        (Step::StoreThenClose, "unknown"),
    ] {
        let (results, _) = send_all("http://q/1/orders", &small, &[step, stored]).await;
        let expected: Vec<_> = [[result; 10].as_slice(), &["receipt"; 2]].concat();
        assert_eq!(results, expected, "{step:?}");
    }
}

#[tokio::test]
async fn an_entry_that_fails_may_be_stored_by_an_earlier_attempt() {
    let envelopes: Vec<_> = (0..2).map(numbered("{}")).collect();
    let answer = Step::Batch(&[Entry::Stored, Entry::Failed("InternalError", false)]);
    for (first, expected) in [
        (Step::Error(500, "InternalError"), ["receipt", "unknown"]),
        (Step::Error(400, "RequestThrottled"), ["receipt", "not sent"]),
    ] {
        let (results, _) = send_all("http://q/1/orders", &envelopes, &[first, answer]).await;
        assert_eq!(results, expected, "{first:?}");
    }
}

#[tokio::test]
async fn an_entry_for_a_fifo_queue_has_group_and_deduplication_id() {
    let server = Server::start(&[Step::Batch(&[Entry::Stored; 2])]).await;
    let envelopes: Vec<_> = (0..2).map(numbered("{}")).collect();
    let messages = [Message { group: Some("g"), ..Message::new(&envelopes[0]) }, Message::new(&envelopes[1])];
    let producer = SqsProducer::new(&config(&server.endpoint()), "http://q/1/orders.fifo");
    let results = producer.send_all(&messages, Instant::now() + AMPLE).await;
    assert_eq!(results.iter().flatten().map(|receipt| &*receipt.broker_id).collect::<Vec<_>>(), ["m-0", "m-1"]);
    let sent = &server.requests()[0].body;
    let expected = serde_json::json!({ "QueueUrl": "http://q/1/orders.fifo", "Entries": [
        { "Id": "0", "MessageBody": envelopes[0].encode(), "MessageGroupId": "g", "MessageDeduplicationId": "id-0" },
        { "Id": "1", "MessageBody": envelopes[1].encode(), "MessageGroupId": "id-1", "MessageDeduplicationId": "id-1" },
    ] });
    assert_eq!(*sent, expected);
}

#[tokio::test]
async fn limits_are_checked_before_anything_is_sent() {
    let big = Envelope::builder("id-1", "/", "t").payload(None, vec![0; 800_000]).build().unwrap();
    let small = envelope();
    let second = Duration::from_secs(1);
    for (url, envelope, delay, at_fault, reason) in [
        ("http://q/1/orders", &big, Duration::ZERO, true, "the queue accepts 1048576"),
        ("http://q/1/orders", &small, 901 * second, false, "longer than 900 s"),
        ("http://q/1/orders.fifo", &small, second, false, "FIFO"),
    ] {
        let server = Server::start(&[]).await;
        let message = Message { delay, ..Message::new(envelope) };
        let producer = SqsProducer::new(&config(&server.endpoint()), url);
        let error = producer.send(&message, Instant::now() + AMPLE).await.unwrap_err();
        assert_eq!(producer.check(&message), Err(error.clone()));
        assert!(
            match &error {
                SendError::TooLarge { .. } => at_fault,
                SendError::Refused { message_at_fault, .. } => *message_at_fault == at_fault,
                _ => false,
            },
            "{error:?}"
        );
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.client_text().contains(reason));
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_configuration_names_what_is_missing() {
    let missing = AwsEnvironment::read(|name| (name == "AWS_ACCESS_KEY_ID").then(|| "k".to_owned())).unwrap_err();
    assert_eq!(missing.to_string(), "not set: AWS_REGION, AWS_SECRET_ACCESS_KEY");
    let not_a_url = |name: &str| Some(if name == "AWS_ENDPOINT_URL_SQS" { "" } else { "localhost:4566" }.to_owned());
    assert_eq!(AwsEnvironment::read(not_a_url).unwrap_err(), AwsConfigError::Endpoint("AWS_ENDPOINT_URL_SQS"));
}

#[tokio::test]
async fn endpoints_are_those_of_the_sdk() {
    for region in [
        "eu-west-1",
        "us-east-1",
        "ap-southeast-7",
        "mx-central-1",
        "us-gov-west-1",
        "cn-north-1",
        "cn-northwest-1",
        "us-iso-east-1",
        "us-isob-east-1",
        "us-isof-south-1",
        "eu-isoe-west-1",
        "eusc-de-east-1",
    ] {
        let lookup = |name: &str| match name {
            "AWS_REGION" => Some(region.to_owned()),
            _ => (!name.starts_with("AWS_ENDPOINT")).then(|| "x".to_owned()),
        };
        let params = Params::builder().region(region).use_dual_stack(false).use_fips(false).build().unwrap();
        let expected = DefaultResolver::new().resolve_endpoint(&params).await.unwrap();
        assert_eq!(
            AwsEnvironment::read(lookup).unwrap().endpoint_url(sluicegate_aws_client::Service::Sqs),
            expected.url()
        );
    }
}
