//! Spans from an HTTP request to a handled message: through the ingress, the emulated SQS and the consumer to a
//! receiver of OTLP.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use lambda_http::LambdaEvent;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluicegate_batch::{Consumer, Delivery, Outcome, Tracer};
use sluicegate_contract::Contract;

use crate::support::service::{Service, emulator};
use crate::support::{context, root};
use crate::webhook_peers::from_run;

const FUNCTION_TIMEOUT: Duration = Duration::from_secs(60);

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The receiver of the Python package.
struct Receiver {
    process: Child,
    url: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Receiver {
    fn start() -> Self {
        let mut command = Command::new(from_run("SLUICEGATE_PYTHON_BIN").join("python"));
        command.arg(root().join("tests/peers/otlp_receiver.py")).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the receiver starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let url = lines.next().expect("a line").expect("UTF-8");
        Self { process, url, lines }
    }

    /// Returns the next spans.
    fn spans<const N: usize>(&mut self) -> [Value; N] {
        std::array::from_fn(|_| serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

/// Both functions with a queue between them.
struct Functions {
    service: Service,
    queue_url: String,
    otlp_url: String,
}

impl Functions {
    async fn start(otlp_url: &str) -> Self {
        let service = Service::at(&emulator().await);
        let queue_url = service.queue(&[]).await;
        Self { service, queue_url, otlp_url: otlp_url.to_owned() }
    }

    fn variable(&self, function: &str, name: &str) -> Option<String> {
        Some(match name {
            "AWS_ENDPOINT_URL" => self.service.url.clone(),
            "AWS_REGION" => "us-east-1".to_owned(),
            "AWS_LAMBDA_FUNCTION_NAME" => function.to_owned(),
            "OTEL_EXPORTER_OTLP_ENDPOINT" => self.otlp_url.clone(),
            "QUEUE_ORDERS" => self.queue_url.clone(),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "SECRET_ARN" => "test".to_owned(),
            _ => return None,
        })
    }

    /// Returns the status of a POST of a JSON array, each item an order.
    async fn post(&self, orders: &str, traceparent: Option<&str>) -> u64 {
        let ingress = sluicegate_ingress::from_env(contract(), |name| self.variable("ingress", name)).await.unwrap();
        let event = json!({
            "version": "2.0",
            "routeKey": "POST /orders",
            "rawPath": "/orders",
            "rawQueryString": "",
            "headers": {
                "content-type": "application/json",
                "host": "example.com",
                "traceparent": traceparent,
                "tracestate": "vendor=7",
            },
            "requestContext": {
                "http": { "method": "POST", "path": "/orders", "protocol": "HTTP/1.1", "sourceIp": "1.2.3.4" },
                "stage": "$default",
            },
            "body": orders,
            "isBase64Encoded": false,
        });
        let arrival = serde_json::from_value(event).unwrap();
        let answer = ingress.handle(LambdaEvent::new(arrival, context(FUNCTION_TIMEOUT))).await;
        serde_json::to_value(answer).unwrap()["statusCode"].as_u64().unwrap()
    }

    /// Gives the messages of the queue to a consumer in one batch, and returns the bodies and how many it returned.
    async fn consume(&self, count: usize) -> (Vec<Value>, usize) {
        let messages = self.service.receive_count(&self.queue_url, count).await;
        let arn = self.service.arn(&self.queue_url).await;
        let record = |message: &aws_sdk_sqs::types::Message| {
            let trace =
                message.attributes.as_ref().and_then(|all| all.get(&MessageSystemAttributeName::AwsTraceHeader));
            json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt_handle,
                "body": message.body,
                "attributes": { "ApproximateReceiveCount": "1", "AWSTraceHeader": trace },
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
            })
        };
        let event = json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() }).to_string();
        let sdk = sluicegate_queue::sqs::sdk_config(|name| self.variable("consumer", name)).unwrap();
        let tracer = Tracer::from_env(|name| self.variable("consumer", name)).unwrap().unwrap();
        let handler = async |order: u32, _: Arc<Delivery>| if order == 0 { Outcome::Retry } else { Outcome::Done };
        let consumer = Consumer::builder().sdk_config(sdk).tracer(tracer).on_json("order.placed", handler);
        let event = LambdaEvent::new(RawValue::from_string(event).unwrap(), context(FUNCTION_TIMEOUT));
        let response = consumer.build().unwrap().handle(event).await.unwrap();
        let body = |message: &aws_sdk_sqs::types::Message| serde_json::from_str(message.body().unwrap()).unwrap();
        (messages.iter().map(body).collect(), response.failures().count())
    }
}

/// Returns a contract with one route, which takes batches.
fn contract() -> &'static Contract {
    let yaml = "openapi: 3.1.1\ninfo: { title: t, version: '1' }\npaths:\n  /orders:\n    post:\n      operationId: place\n      \
                security: []\n      requestBody: { content: { application/json: {} } }\n      \
                x-sluicegate: { queue: orders, type: order.placed, batch: true }\n";
    Box::leak(Box::new(Contract::parse("openapi.yaml", yaml).unwrap()))
}

fn traceparent(span: &Value, flags: &str) -> String {
    format!("00-{}-{}-{flags}", span["trace"].as_str().unwrap(), span["id"].as_str().unwrap())
}

/// Asserts the members of `expected` alone.
fn check(span: &Value, expected: &Value) {
    let (span, expected) = (span.as_object().unwrap(), expected.as_object().unwrap());
    for (name, value) in expected {
        assert_eq!(&span[name], value, "{name} of {span:?}");
    }
}

/// <https://github.com/open-telemetry/opentelemetry-lambda/issues/1787>
#[tokio::test]
#[ignore = "needs opentelemetry-proto, which ./tests/run installs"]
async fn opentelemetry_reads_a_trace_from_the_request_to_each_handler() {
    let mut receiver = Receiver::start();
    let functions = Functions::start(&receiver.url).await;
    let queue = functions.queue_url.rsplit('/').next().unwrap();

    assert_eq!(functions.post("[1, 0]", Some(&format!("00-{TRACE}-{CALLER}-01"))).await, 202);
    let [send, server] = receiver.spans();
    check(
        &server,
        &json!({
            "service": "ingress", "trace": TRACE, "parent": CALLER, "name": "POST /orders", "kind": "SPAN_KIND_SERVER",
            "links": [], "status": "STATUS_CODE_UNSET",
        }),
    );
    check(
        &server["attributes"],
        &json!({
            "http.request.method": "POST", "http.route": "/orders", "http.response.status_code": 202, "faas.trigger": "http",
        }),
    );
    check(
        &send,
        &json!({
            "trace": TRACE, "parent": server["id"], "name": format!("send {queue}"), "kind": "SPAN_KIND_PRODUCER",
        }),
    );
    let sent = json!({
        "messaging.system": "aws_sqs", "messaging.operation.name": "send", "messaging.operation.type": "send",
        "messaging.destination.name": queue, "messaging.batch.message_count": 2,
    });
    assert_eq!(send["attributes"], sent);
    assert!(send["ns"].as_u64() <= server["ns"].as_u64(), "{send} {server}");

    let (events, returned) = functions.consume(2).await;
    assert_eq!(returned, 1);
    for event in &events {
        assert_eq!(
            (&event["traceparent"], &event["tracestate"]),
            (&json!(traceparent(&send, "01")), &json!("vendor=7"))
        );
    }
    let [first, second, receive] = receiver.spans();
    let link = json!([send["trace"], send["id"]]);
    check(
        &receive,
        &json!({
            "service": "consumer", "name": format!("receive {queue}"), "kind": "SPAN_KIND_CLIENT", "links": [link, link],
        }),
    );
    assert_eq!(receive["attributes"]["messaging.batch.message_count"], 2);
    assert_ne!(receive["trace"], TRACE, "a batch has a trace by itself");
    for process in [&first, &second] {
        check(
            process,
            &json!({
                "trace": receive["trace"], "parent": receive["id"], "name": format!("process {queue}"),
                "kind": "SPAN_KIND_CONSUMER", "links": [link],
            }),
        );
        let attributes = &process["attributes"];
        let event = events.iter().find(|event| event["id"] == attributes["cloudevents.event_id"]).unwrap();
        let is_done = event["data"] == 1;
        assert_eq!(attributes["sluicegate.outcome"], if is_done { "done" } else { "retry" });
        assert_eq!(attributes.get("error.type"), (!is_done).then_some(&json!("retry")));
        assert_eq!(process["status"], if is_done { "STATUS_CODE_UNSET" } else { "STATUS_CODE_ERROR" });
        check(
            attributes,
            &json!({
                "messaging.system": "aws_sqs", "cloudevents.event_type": "order.placed", "sluicegate.receive_count": 1,
            }),
        );
    }
}

#[tokio::test]
#[ignore = "needs opentelemetry-proto, which ./tests/run installs"]
async fn a_request_that_its_caller_does_not_record_is_recorded_nowhere() {
    let mut receiver = Receiver::start();
    let functions = Functions::start(&receiver.url).await;
    assert_eq!(functions.post("[1]", Some(&format!("00-{TRACE}-{CALLER}-00"))).await, 202);
    let (events, _) = functions.consume(1).await;
    let carried = events[0]["traceparent"].as_str().unwrap();
    assert!(carried.starts_with(&format!("00-{TRACE}-")) && carried.ends_with("-00"), "{carried}");
    // The batch is in a trace of its own, which the default sampler records. The message is not in it.
    let [receive] = receiver.spans();
    assert!(receive["name"].as_str().unwrap().starts_with("receive "), "{receive}");
    assert_eq!(functions.post("[1]", None).await, 202);
    let [send, server] = receiver.spans();
    assert_eq!((&server["parent"], &send["trace"]), (&json!(""), &server["trace"]), "a trace begins");
}

#[tokio::test]
async fn without_a_receiver_requests_are_accepted_and_messages_handled() {
    // Nothing listens there: discard, RFC 863.
    let functions = Functions::start("http://127.0.0.1:9").await;
    assert_eq!(functions.post("[1, 0]", None).await, 202);
    let (events, returned) = functions.consume(2).await;
    assert_eq!((events.len(), returned), (2, 1));
    assert!(events.iter().all(|event| event["traceparent"].is_string()), "{events:?}");
}
