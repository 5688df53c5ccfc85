//! Spans from an HTTP request to a handled message: through the ingress, the emulated SQS or RabbitMQ, and the consumer
//! to a receiver of OTLP.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use lambda_http::LambdaEvent;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluicegate_batch::{Consumer, ConsumerBuilder, Delivery, Outcome, Tracer};
use sluicegate_contract::Contract;
use sluicegate_queue::queue_names::RetryDelays;

use crate::rabbitmq::consumer::{self, Handled};
use crate::support::rabbitmq::Vhost;
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

/// The queue between the functions.
enum Queue {
    Sqs {
        service: Service,
        url: String,
    },
    /// The queue `q`, and its exchange `orders`.
    Rabbitmq(Box<Vhost>),
}

/// Both functions with a queue between them.
struct Functions {
    queue: Queue,
    otlp_url: String,
}

impl Functions {
    async fn on_sqs(otlp_url: &str) -> Self {
        let service = Service::at(&emulator().await);
        let url = service.queue(&[]).await;
        Self { queue: Queue::Sqs { service, url }, otlp_url: otlp_url.to_owned() }
    }

    async fn on_rabbitmq(otlp_url: &str) -> Self {
        let vhost = consumer::vhost().await;
        vhost.declare_exchange("orders", "topic").await;
        vhost.bind("orders", "q", "#").await;
        Self { queue: Queue::Rabbitmq(Box::new(vhost)), otlp_url: otlp_url.to_owned() }
    }

    /// Returns the broker, what ingress sends to and what the consumer receives from, as the spans name them.
    fn names(&self) -> [&str; 3] {
        match &self.queue {
            Queue::Sqs { url, .. } => {
                let queue = url.rsplit('/').next().unwrap();
                ["aws_sqs", queue, queue]
            }
            Queue::Rabbitmq(_) => ["rabbitmq", "orders", "q"],
        }
    }

    fn variable(&self, function: &str, name: &str) -> Option<String> {
        let of_queue = match (&self.queue, name) {
            (Queue::Sqs { service, .. }, "AWS_ENDPOINT_URL") => Some(service.url.clone()),
            (Queue::Sqs { url, .. }, "QUEUE_ORDERS") => Some(url.clone()),
            (Queue::Rabbitmq(vhost), "RABBITMQ_URL") => Some(vhost.url()),
            (Queue::Rabbitmq(_), "QUEUE_ORDERS") => Some("rabbitmq:orders/{type}".to_owned()),
            _ => None,
        };
        let of_all = || match name {
            "AWS_REGION" => Some("us-east-1".to_owned()),
            "AWS_LAMBDA_FUNCTION_NAME" => Some(function.to_owned()),
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(self.otlp_url.clone()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "SECRET_ARN" => Some("test".to_owned()),
            _ => None,
        };
        of_queue.or_else(of_all)
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

    /// Gives the messages of the queue to a consumer in one batch, and returns the events that were handled. The order
    /// 0 fails the first time.
    async fn consume(&self, count: usize) -> Vec<Value> {
        let (handled, tracer) = (Handled::default(), Tracer::from_env(|name| self.variable("consumer", name)));
        let events = Arc::clone(&handled);
        let fails = |delivery: &Delivery| *delivery.envelope().payload() == *b"0" && delivery.receive_count() == 1;
        let handler = move |delivery: Arc<Delivery>| {
            events.lock().unwrap().push(Arc::clone(&delivery));
            std::future::ready(if fails(&delivery) { Outcome::Retry } else { Outcome::Done })
        };
        let consumer = Consumer::builder().tracer(tracer.unwrap().unwrap()).otherwise(handler);
        let returned = match &self.queue {
            Queue::Sqs { service, url } => {
                let aws = sluicegate_batch::AwsEnvironment::read(|name| self.variable("consumer", name)).unwrap();
                consume_sqs(consumer.aws_environment(aws), service, url, count).await
            }
            Queue::Rabbitmq(vhost) => {
                vhost.until_ready("q", u32::try_from(count).unwrap()).await;
                let broker = consumer::broker(&vhost.url());
                let consumer = consumer.broker(broker).retry_delays(RetryDelays::new(vec![1]).unwrap());
                let consumer = consumer.aws_environment(consumer::no_aws()).build().unwrap();
                consumer::turn(vhost, &vhost.channel().await, &consumer).await.expect("messages").expect("settled");
                usize::try_from(vhost.ready("q.retry.1s").await).unwrap()
            }
        };
        let handled = handled.lock().unwrap();
        assert_eq!(returned, handled.iter().filter(|delivery| fails(delivery)).count());
        let events = handled.iter().map(|delivery| delivery.envelope().encode());
        events.map(|event| serde_json::from_str(&event).unwrap()).collect()
    }
}

/// Gives the messages of an SQS queue to a consumer in one batch, and returns how many it returned.
async fn consume_sqs(consumer: ConsumerBuilder, service: &Service, url: &str, count: usize) -> usize {
    let messages = service.receive_count(url, count).await;
    let arn = service.arn(url).await;
    let record = |message: &aws_sdk_sqs::types::Message| {
        let trace = message.attributes.as_ref().and_then(|all| all.get(&MessageSystemAttributeName::AwsTraceHeader));
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
    let event = LambdaEvent::new(RawValue::from_string(event).unwrap(), context(FUNCTION_TIMEOUT));
    consumer.build().unwrap().handle(event).await.unwrap().failures().count()
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
    let functions = Functions::on_sqs(&receiver.url).await;
    traced(&mut receiver, &functions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ and opentelemetry-proto, which ./tests/run brings"]
async fn opentelemetry_reads_a_trace_through_rabbitmq_and_its_retries() {
    let mut receiver = Receiver::start();
    let functions = Functions::on_rabbitmq(&receiver.url).await;
    let sent = traced(&mut receiver, &functions).await;

    // The copy in the retry queue belongs to the same sender.
    assert_eq!(functions.consume(1).await.len(), 1);
    let [process, receive] = receiver.spans();
    for span in [&process, &receive] {
        assert_eq!(span["links"], sent, "{span}");
    }
    assert_eq!(process["attributes"]["sluicegate.receive_count"], 2);

    // A message of another program, which has no event: the span of its sender is in the header.
    let Queue::Rabbitmq(vhost) = &functions.queue else { panic!("on RabbitMQ") };
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(format!("00-{TRACE}-{CALLER}-01").into()));
    vhost.publish("", "q", BasicProperties::default().with_headers(headers), b"Order ID: 12345").await;
    functions.consume(1).await;
    let [process, _] = receiver.spans();
    check(&process, &json!({ "name": "process q", "kind": "SPAN_KIND_CONSUMER", "links": [[TRACE, CALLER]] }));
    let Queue::Rabbitmq(vhost) = functions.queue else { panic!("on RabbitMQ") };
    vhost.delete().await;
}

/// Sends two orders, of which one is retried, and checks every span. Returns the links to their sender.
async fn traced(receiver: &mut Receiver, functions: &Functions) -> Value {
    let [system, destination, queue] = functions.names();
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
            "trace": TRACE, "parent": server["id"], "name": format!("send {destination}"), "kind": "SPAN_KIND_PRODUCER",
        }),
    );
    let sent = json!({
        "messaging.system": system, "messaging.operation.name": "send", "messaging.operation.type": "send",
        "messaging.destination.name": destination, "messaging.batch.message_count": 2,
    });
    assert_eq!(send["attributes"], sent);
    assert!(send["ns"].as_u64() <= server["ns"].as_u64(), "{send} {server}");

    let events = functions.consume(2).await;
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
                "messaging.system": system, "cloudevents.event_type": "order.placed", "sluicegate.receive_count": 1,
            }),
        );
    }
    json!([link])
}

#[tokio::test]
#[ignore = "needs opentelemetry-proto, which ./tests/run installs"]
async fn a_request_that_its_caller_does_not_record_is_recorded_nowhere() {
    let mut receiver = Receiver::start();
    let functions = Functions::on_sqs(&receiver.url).await;
    assert_eq!(functions.post("[1]", Some(&format!("00-{TRACE}-{CALLER}-00"))).await, 202);
    let events = functions.consume(1).await;
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
    let functions = Functions::on_sqs("http://127.0.0.1:9").await;
    assert_eq!(functions.post("[1, 0]", None).await, 202);
    let events = functions.consume(2).await;
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event["traceparent"].is_string()), "{events:?}");
}
