//! The output of the functions for accepted, refused and failed requests and messages: fields of the log lines and
//! metrics, without payloads and secrets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluicegate_envelope::Envelope;
use sluicegate_sam::{Settings, StackPlan};

use super::functions::{Running, XRAY_TRACE};
use crate::ingress::http_api;
use crate::support::forward::ForwardServer;
use crate::support::outage::Outage;
use crate::support::root;
use crate::support::service::{Service, emulator_with};
use crate::support::webhook;

/// A text in every payload and every secret. It must not appear in the output.
const MARK: &str = "hush";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Returns the metric lines, each checked against the specification, and the fields of the log lines with this message.
/// Every line must be JSON.
fn read(lines: &[String], message: &str) -> (Vec<Value>, Vec<Value>) {
    let schema = include_str!("../../../crates/telemetry/fixtures/emf.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let (mut metrics, mut logged) = (Vec::new(), Vec::new());
    for text in lines {
        assert!(!text.contains(MARK), "the output has a payload or a secret: {text}");
        let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        if !line["_aws"].is_null() {
            let faults: Vec<_> = schema.iter_errors(&line).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{faults:#?}\n{line:#}");
            metrics.push(line);
        } else if line["fields"]["message"] == message {
            logged.push(line["fields"].clone());
        }
    }
    (metrics, logged)
}

fn names(fields: &Value) -> Vec<&str> {
    fields.as_object().unwrap().keys().map(String::as_str).collect()
}

fn secrets() -> String {
    let sha256: String = Sha256::digest(format!("{MARK}-key")).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "api-keys": [{ "sha256": sha256, "principal": "acme", "scopes": ["*"] }],
        "github": [format!("{MARK}-github")],
        "standard-webhooks": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    })
    .to_string()
}

fn order(key: &str, body: &str) -> Value {
    let (api_key, idempotency_key) = (format!("{MARK}-{key}"), format!("{MARK}-idempotency"));
    let headers = [
        ("x-api-key", api_key.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", idempotency_key.as_str()),
    ];
    http_api("POST", "/orders", &headers, body)
}

fn ping(secret: &str) -> Value {
    let body = format!(r#"{{"zen": "{MARK}"}}"#);
    let signature = webhook::github_signature(secret, body.as_bytes());
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", "ping"),
        ("x-github-delivery", "d-1"),
        ("x-hub-signature-256", signature.as_str()),
        ("traceparent", TRACEPARENT),
    ];
    http_api("POST", "/webhooks/github", &headers, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingress_writes_one_log_line_and_one_metric_line_for_each_request() {
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secrets))).await;
    let orders = Service::at(&endpoint).queue(&[]).await;
    let gone = format!("{endpoint}/000000000000/gone");
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("SECRET_ARN", "ingress"),
        ("QUEUE_ORDERS", &orders),
        ("QUEUE_WEBHOOKS", &gone),
    ];
    let ingress = Running::start("my-ingress", "functions/ingress", "ingress", &environment).await;
    let good =
        json!({ "order_id": MARK, "customer_id": MARK, "items": [{ "sku": MARK, "quantity": 2 }], "note": MARK });
    let bad = good.to_string().replace(":2", &format!(":\"{MARK}\""));
    let mut query = http_api("GET", "/nowhere", &[], "");
    query["rawQueryString"] = format!("token={MARK}").into();
    let all = ["message", "request_id", "route", "status", "trace_id"];
    let stored = ["broker_id", "enqueue_ms", "event_type", "message_id", "queue"];
    // Each request with its status, code and route, and the fields beside the common ones.
    let cases = [
        (order("key", &good.to_string()), 202, "", "POST /orders", &stored[..]),
        (order("guess", &good.to_string()), 401, "credentials_invalid", "POST /orders", &["queue", "code", "reason"]),
        (order("key", &bad), 422, "schema_violated", "POST /orders", &["queue", "code"]),
        (order("key", &format!("{{\"{MARK}")), 400, "json_invalid", "POST /orders", &["queue", "code"]),
        (
            ping(&format!("{MARK}-guess")),
            401,
            "credentials_invalid",
            "POST /webhooks/github",
            &["queue", "code", "reason"],
        ),
        (
            ping(&format!("{MARK}-github")),
            503,
            "queue_unavailable",
            "POST /webhooks/github",
            &["queue", "event_type", "code", "reason", "enqueue_ms"],
        ),
        (query, 404, "route_unknown", "GET /nowhere", &["code"]),
        (http_api("DELETE", "/openapi.json", &[], ""), 405, "method_not_allowed", "DELETE /openapi.json", &["code"]),
    ];
    for (event, status, ..) in &cases {
        let answer = ingress.invoke(event).await;
        assert_eq!(answer["statusCode"], *status, "{answer:#}");
    }
    // Requests that are not admissions have no metrics.
    let descriptions = [
        ("GET", "/openapi.json", 200),
        ("HEAD", "/openapi.json", 200),
        ("OPTIONS", "/openapi.json", 204),
        ("OPTIONS", "/orders", 204),
    ];
    for (method, path, status) in descriptions {
        assert_eq!(ingress.invoke(&http_api(method, path, &[], "")).await["statusCode"], status);
    }
    let lines = ingress.stop().await;
    let (_, described) = read(&lines, "described");
    let expected = descriptions.map(|(method, path, status)| (json!(format!("{method} {path}")), json!(status)));
    let logged: Vec<_> = described.iter().map(|line| (line["route"].clone(), line["status"].clone())).collect();
    assert_eq!(logged, expected);
    assert!(described.iter().all(|line| names(line) == all), "{described:#?}");
    let (metrics, accepted) = read(&lines, "accepted");
    let (_, refused) = read(&lines, "refused");
    assert_eq!((metrics.len(), accepted.len(), refused.len()), (cases.len(), 1, cases.len() - 1));
    for ((event, status, code, route, fields), (logged, counted)) in
        cases.iter().zip(accepted.iter().chain(&refused).zip(&metrics))
    {
        let mut expected: Vec<_> = all.iter().chain(*fields).copied().collect();
        expected.sort_unstable();
        assert_eq!(names(logged), expected, "{logged:#}");
        assert_eq!((&logged["status"], &logged["route"]), (&json!(status), &json!(route)), "{logged:#}");
        assert_eq!(logged["request_id"], event["requestContext"]["requestId"]);
        let trace = if event["headers"]["traceparent"].is_null() { XRAY_TRACE } else { TRACE };
        assert_eq!(logged["trace_id"], trace, "{logged:#}");
        assert_eq!(counted["function"], "my-ingress");
        assert_eq!(counted["enqueue_ms"], logged["enqueue_ms"], "the log line and the metrics have the same duration");
        if code.is_empty() {
            assert_eq!((&counted["accepted"], &counted["refused"]), (&json!(1), &Value::Null));
            assert_eq!((&logged["queue"], &logged["event_type"]), (&json!("orders"), &json!("order.placed")));
        } else {
            assert_eq!(
                (&logged["code"], &counted["code"], &counted["refused"]),
                (&json!(code), &json!(code), &json!(1))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_outage_is_one_warning_and_one_line_at_its_end() {
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secrets))).await;
    let orders = Service::at(&endpoint).queue(&[]).await;
    let broker = Outage::start(&endpoint).await;
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ENDPOINT_URL_SQS", broker.url()),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("SECRET_ARN", "ingress"),
        ("QUEUE_ORDERS", &orders),
        ("QUEUE_WEBHOOKS", &orders),
    ];
    let ingress = Running::start("my-ingress", "functions/ingress", "ingress", &environment).await;
    let order = order("key", r#"{"order_id": "o", "customer_id": "c", "items": [{"sku": "s", "quantity": 2}]}"#);
    broker.stop();
    let mut codes = Vec::new();
    for _ in 0..4 {
        let answer = ingress.invoke(&order).await;
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        codes.push((answer["statusCode"].clone(), body["code"].clone()));
    }
    let refused = |code: &str| (json!(503), json!(code));
    let [tried, not_tried] = [refused("queue_unavailable"), refused("broker_unavailable")];
    assert_eq!(codes, [&tried, &tried, &tried, &not_tried].map(Clone::clone));
    broker.start_again();
    let started_at = Instant::now();
    while ingress.invoke(&order).await["statusCode"] != 202 {
        assert!(started_at.elapsed() < Duration::from_secs(10), "no request was accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lines = ingress.stop().await;
    let level = |message: &str| {
        let mut lines = lines.iter().filter(|line| line.contains(message));
        let line: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert!(lines.next().is_none(), "{message:?} once");
        assert_eq!(line["fields"]["queue"], "orders", "{line:#}");
        (line["level"].as_str().unwrap().to_owned(), line["fields"]["reason"].is_string())
    };
    assert_eq!(level("the queue does not answer"), ("WARN".to_owned(), true));
    assert_eq!(level("the queue accepts messages again"), ("INFO".to_owned(), false));
    let (metrics, logged) = read(&lines, "refused");
    for line in logged.iter().chain(&metrics).filter(|line| line["code"] == "broker_unavailable") {
        assert!(line["enqueue_ms"].is_null(), "no send was tried: {line:#}");
    }
    let counted = metrics.iter().filter(|line| line["code"] == "broker_unavailable" && line["refused"] == 1);
    assert_eq!(counted.count(), logged.len() - 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_level_of_the_template_logs_a_payload_or_drops_the_metrics() {
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secrets))).await;
    let orders = Service::at(&endpoint).queue(&[]).await;
    let good =
        json!({ "order_id": MARK, "customer_id": MARK, "items": [{ "sku": MARK, "quantity": 2 }], "note": MARK });
    for (level, lines_about_it) in [("TRACE", 1), ("INFO", 1), ("WARN", 0), ("ERROR", 0)] {
        let filter = filter_of_the_template(level);
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
            ("RUST_LOG", &filter),
            ("SECRET_ARN", "ingress"),
            ("QUEUE_ORDERS", &orders),
            ("QUEUE_WEBHOOKS", &orders),
        ];
        let ingress = Running::start("my-ingress", "functions/ingress", "ingress", &environment).await;
        assert_eq!(ingress.invoke(&order("key", &good.to_string())).await["statusCode"], 202);
        let (metrics, accepted) = read(&ingress.stop().await, "accepted");
        assert_eq!((metrics.len(), accepted.len()), (1, lines_about_it), "at {level}");
    }
}

/// Returns the log filter that the template sets at this `LogLevel`.
fn filter_of_the_template(level: &str) -> String {
    let settings = Settings {
        parameters: [("LogLevel".to_owned(), level.to_owned())].into(),
        queue_url_base: "http://127.0.0.1:4566".into(),
        ..Settings::default()
    };
    let text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let plan = StackPlan::read(&root().join("template.yaml").display().to_string(), &text, &settings).unwrap();
    plan.functions[0].environment["RUST_LOG"].clone()
}

/// Returns an event with messages of one queue, each a body and its age.
fn batch(queue_arn: &str, messages: &[(String, u64)]) -> Value {
    let now_ms = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let record = |(index, (body, age_ms)): (usize, &(String, u64))| {
        json!({
            "messageId": format!("broker-{index}"),
            "receiptHandle": "handle",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "2",
                "SentTimestamp": (now_ms - age_ms).to_string(),
                "AWSTraceHeader": "Root=1-67891233-abcdef012345678912345678;Sampled=1",
            },
            "eventSource": "aws:sqs",
            "eventSourceARN": queue_arn,
        })
    };
    json!({ "Records": messages.iter().enumerate().map(record).collect::<Vec<_>>() })
}

fn envelope(id: &str, event_type: &str, trace: bool) -> String {
    let builder = Envelope::builder(id, "/", event_type).subject(MARK).group(MARK).idempotency_key(MARK);
    let builder = if trace { builder.traceparent(TRACEPARENT) } else { builder };
    builder.payload(Some("text/plain"), MARK).build().unwrap().encode()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_writes_one_log_line_for_each_delivery_and_one_metric_line_for_each_queue() {
    let forward = ForwardServer::start(|event| match (event.says("order.refused"), event.says("order.retried")) {
        (true, _) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, true) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    })
    .await;
    let endpoint = emulator_with(Arc::new(|_: &str| None)).await;
    let sqs = Service::at(&endpoint);
    let dead_letters = sqs.arn(&sqs.queue(&[]).await).await;
    let policy = json!({ "deadLetterTargetArn": dead_letters, "maxReceiveCount": 5 }).to_string();
    let queue = sqs.arn(&sqs.queue(&[(QueueAttributeName::RedrivePolicy, &policy)]).await).await;
    let alone = sqs.arn(&sqs.queue(&[]).await).await;
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("FORWARD_URL", forward.url.as_str()),
    ];
    let consumer = Running::start("my-consumer", "functions/consumer", "consumer", &environment).await;
    let messages = [
        (envelope("e-0", "order.placed", true), 60_000),
        (envelope("e-1", "order.refused", false), 0),
        (envelope("e-2", "order.retried", false), 1_000),
        (format!("{{\"{MARK}\": \"{MARK}"), 90_000),
    ];
    let answer = consumer.invoke(&batch(&queue, &messages)).await;
    assert_eq!(answer["batchItemFailures"], json!([{ "itemIdentifier": "broker-2" }]));
    // Without a dead-letter queue the message is returned.
    let answer = consumer.invoke(&batch(&alone, &messages[1..2])).await;
    assert_eq!(answer["batchItemFailures"], json!([{ "itemIdentifier": "broker-0" }]));
    let lines = consumer.stop().await;
    let (metrics, mut logged) = read(&lines, "delivery");

    let failed = logged.pop().unwrap();
    assert_eq!(failed["outcome"], "reject_failed", "{failed:#}");
    logged.sort_by_key(|line| line["broker_id"].to_string());
    let all = ["broker_id", "message", "outcome", "queue", "receive_count", "request_id", "trace_id"];
    let read_ones = ["event_type", "handler_ms", "message_id"];
    for (index, (line, (outcome, more))) in logged
        .iter()
        .zip([
            ("done", &read_ones[..]),
            ("rejected", &["code", "event_type", "handler_ms", "message_id", "reason"]),
            ("retry", &read_ones[..]),
            ("undecodable", &["code", "reason"]),
        ])
        .enumerate()
    {
        let mut expected: Vec<_> = all.iter().chain(more).copied().collect();
        expected.sort_unstable();
        assert_eq!(names(line), expected, "{line:#}");
        assert_eq!((&line["outcome"], &line["receive_count"]), (&json!(outcome), &json!(2)));
        assert_eq!(line["broker_id"], format!("broker-{index}"));
        assert_eq!(line["trace_id"], if index == 0 { TRACE } else { "1-67891233-abcdef012345678912345678" });
        assert!(outcome == "undecodable" || line["message_id"] == format!("e-{index}"), "{line:#}");
        assert!(queue.ends_with(line["queue"].as_str().unwrap()), "{line:#}");
    }
    assert!(logged.iter().all(|line| line["request_id"] == logged[0]["request_id"]), "one invocation");

    let counts = |line: &Value| {
        let count = |name: &str| line[name].as_u64().unwrap();
        ["received", "done", "retried", "rejected", "undecodable", "returned"].map(count)
    };
    assert_eq!(metrics.iter().map(counts).collect::<Vec<_>>(), [[4, 1, 1, 1, 1, 0], [1, 0, 1, 0, 0, 0]]);
    let first = &metrics[0];
    assert_eq!((&first["function"], &first["queue"]), (&json!("my-consumer"), &logged[0]["queue"]));
    let oldest_ms = first["oldest_ms"].as_f64().unwrap();
    assert!((90_000.0..150_000.0).contains(&oldest_ms), "{oldest_ms} ms, and 90 s was the oldest");
    assert_eq!(first["handler_ms"].as_array().unwrap().len(), 3, "a handler was called for each decodable message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_rabbitmq_are_logged_and_counted_the_same() {
    // The address is unused: a batch without failures needs no broker.
    let environment = [("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:9/%2F"), ("AWS_LAMBDA_LOG_FORMAT", "JSON")];
    let consumer = Running::start("my-consumer", "functions/rabbitmq", "consumer-rabbitmq", &environment).await;
    let event: Value = serde_json::from_str(include_str!("../../events/rabbitmq-guide.json")).unwrap();
    assert_eq!(consumer.invoke(&event).await["batchItemFailures"], json!([]));
    let (metrics, logged) = read(&consumer.stop().await, "delivery");
    assert_eq!((metrics.len(), logged.len()), (1, 1));
    assert_eq!((&logged[0]["outcome"], &logged[0]["trace_id"]), (&json!("done"), &json!(XRAY_TRACE)));
    assert_eq!((&metrics[0]["queue"], &metrics[0]["received"]), (&logged[0]["queue"], &json!(1)));
    let fifty_years_ms = 50.0 * 365.0 * 86_400_000.0;
    assert!(metrics[0]["oldest_ms"].as_f64().unwrap() > fifty_years_ms, "the message in the guide is of 1970");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_json_format_log_lines_are_text_and_metrics_are_json() {
    let environment = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9")];
    let consumer = Running::start("my-consumer", "functions/consumer", "consumer", &environment).await;
    consumer
        .invoke(&batch("arn:aws:sqs:us-east-1:000000000000:q", &[(envelope("e-0", "order.placed", false), 0)]))
        .await;
    let lines = consumer.stop().await;
    assert!(lines.iter().all(|line| !line.contains(MARK)), "{lines:#?}");
    let (metrics, log): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("{\"_aws\":"));
    assert_eq!((metrics.len(), log.len()), (1, 2), "{lines:#?}");
    assert!(
        log[1].contains(r#"message_id="e-0" broker_id="broker-0" event_type="order.placed" queue="q""#),
        "{log:#?}"
    );
}
