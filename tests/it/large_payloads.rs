//! Payloads over the limit of SQS: from an HTTP request through the ingress, the emulated SQS and S3, and the consumer
//! to a handler; and the Python Extended Client on either side.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, QueueAttributeName};
use bytes::Bytes;
use lambda_http::LambdaEvent;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluicegate_aws_client::{AwsEnvironment, S3Client, S3Error};
use sluicegate_batch::{BatchResponse, Consumer, Delivery, Outcome};
use sluicegate_contract::Contract;
use sluicegate_envelope::Envelope;
use sluicegate_ingress::{AnyProducer, Config, Ingress, SecretsManager};
use sluicegate_queue::Producer as _;
use sluicegate_queue::sqs::{PayloadStore, SqsProducer};
use tokio::time::Instant;

use crate::dlq::binary::{Ran, dlq, ran};
use crate::support::outage::Outage;
use crate::support::service::{Service, emulator, unique};
use crate::support::{context, root};
use crate::webhook_peers::from_run;

/// The folder of programs with the Python client.
const PYTHON_BIN: &str = "SLUICEGATE_PYTHON_BIN";

/// The bytes of the first payload, which is over the 1 MiB of SQS.
const LARGE_BYTES: usize = 1_500_000;

const FUNCTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The emulated services, with a bucket and a queue.
struct Peer {
    url: String,
    service: Service,
    queue_url: String,
    bucket: String,
}

impl Peer {
    async fn start(attributes: &[(QueueAttributeName, &str)]) -> Self {
        let url = emulator().await;
        let service = Service::at(&url);
        let queue_url = service.queue(attributes).await;
        let peer = Self { url, service, queue_url, bucket: unique("payloads", "") };
        let created = reqwest::Client::new().put(format!("{}/{}", peer.url, peer.bucket)).header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=test/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        );
        assert_eq!(created.send().await.unwrap().status(), 200);
        peer
    }

    fn variable(&self, name: &str) -> Option<String> {
        Some(match name {
            "AWS_ENDPOINT_URL" => self.url.clone(),
            "AWS_REGION" => "us-east-1".to_owned(),
            "QUEUE_ORDERS" => self.queue_url.clone(),
            "PAYLOAD_BUCKET" => self.bucket.clone(),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "SECRET_ARN" => "test".to_owned(),
            _ => return None,
        })
    }

    fn environment(&self) -> AwsEnvironment {
        AwsEnvironment::read(|name| self.variable(name)).unwrap()
    }

    fn s3(&self) -> S3Client {
        S3Client::new(&self.environment(), &*self.bucket)
    }

    async fn ingress(&self, large_payloads: &str) -> Ingress<AnyProducer, SecretsManager> {
        let contract = Box::leak(Box::new(contract(large_payloads)));
        sluicegate_ingress::from_env(contract, |name| self.variable(name)).await.unwrap()
    }

    /// Receives every message that is visible, with its attributes.
    async fn receive(&self) -> Vec<Message> {
        let request = self.service.sqs.receive_message().queue_url(&self.queue_url).max_number_of_messages(10);
        let answer = request.message_attribute_names("All").send().await.unwrap();
        answer.messages.unwrap_or_default()
    }

    /// Gives messages to a consumer as Lambda does; returns its response and the payloads that its handler got.
    async fn consume(&self, messages: &[Message]) -> (BatchResponse, Vec<Vec<u8>>) {
        let payloads = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&payloads);
        let handler = move |delivery: Arc<Delivery>| {
            kept.lock().unwrap().push(delivery.envelope().payload().into_owned());
            std::future::ready(Outcome::Done)
        };
        let environment = self.environment();
        let consumer = Consumer::builder().payload_buckets(&environment, [&*self.bucket]).aws_environment(environment);
        let consumer = consumer.otherwise(handler).build().unwrap();
        let arn = self.service.arn(&self.queue_url).await;
        let record = |message: &Message| {
            let attributes = message.message_attributes.iter().flatten().map(|(name, value)| {
                let value = json!({ "dataType": value.data_type, "stringValue": value.string_value });
                (name.clone(), value)
            });
            json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt_handle,
                "body": message.body,
                "attributes": { "ApproximateReceiveCount": "1" },
                "messageAttributes": attributes.collect::<BTreeMap<_, _>>(),
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
            })
        };
        let event = json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() }).to_string();
        let response = consumer
            .handle(LambdaEvent::new(RawValue::from_string(event).unwrap(), context(FUNCTION_TIMEOUT)))
            .await
            .unwrap();
        let payloads = payloads.lock().unwrap().clone();
        (response, payloads)
    }
}

/// Returns a contract with one route, and these members of its `x-sluicegate`.
fn contract(large_payloads: &str) -> Contract {
    let yaml = format!(
        "openapi: 3.1.1\ninfo: {{ title: t, version: '1' }}\npaths:\n  /orders:\n    post:\n      operationId: place\n      \
         security: []\n      requestBody: {{ content: {{ application/json: {{}}, application/octet-stream: {{}} }} }}\n      \
         x-sluicegate: {{ queue: orders, type: order.placed, payloadBytes: 6291456{large_payloads} }}\n"
    );
    Contract::parse("openapi.yaml", &yaml).unwrap()
}

/// Returns the answer to a POST, with its status.
async fn post(ingress: &Ingress<AnyProducer, SecretsManager>, body: &str) -> (u64, Value) {
    let event = json!({
        "version": "2.0",
        "routeKey": "POST /orders",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "example.com" },
        "requestContext": {
            "http": { "method": "POST", "path": "/orders", "protocol": "HTTP/1.1", "sourceIp": "1.2.3.4" },
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": false,
    });
    let arrival = serde_json::from_value(event).unwrap();
    let answer =
        serde_json::to_value(ingress.handle(LambdaEvent::new(arrival, context(FUNCTION_TIMEOUT))).await).unwrap();
    let body = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    (answer["statusCode"].as_u64().unwrap(), body)
}

/// Returns a JSON document of so many bytes.
fn document(bytes: usize) -> String {
    format!("{{\"text\": \"{}\"}}", "ä".repeat(bytes / 2 - 6))
}

#[tokio::test]
async fn a_large_request_reaches_its_handler_through_s3() {
    let peer = Peer::start(&[]).await;
    let ingress = peer.ingress(", largePayloads: s3").await;
    let (large, small) = (document(LARGE_BYTES), document(1_000));
    for body in [&large, &small] {
        let (status, answer) = post(&ingress, body).await;
        assert_eq!(status, 202, "{answer}");
    }
    let mut messages = peer.receive().await;
    messages.sort_by_key(|message| message.body.as_ref().map(String::len));
    let [pointer, whole] = &messages[..] else { panic!("{messages:?}") };
    assert!(whole.body.as_ref().unwrap().contains("specversion") && whole.message_attributes.is_none(), "{whole:?}");
    let body: Value = serde_json::from_str(pointer.body.as_ref().unwrap()).unwrap();
    assert_eq!(body[0], "software.amazon.payloadoffloading.PayloadS3Pointer");
    assert_eq!(body[1]["s3BucketName"], *peer.bucket);
    let key = body[1]["s3Key"].as_str().unwrap();
    let object = peer.s3().get(key, usize::MAX, Instant::now() + Duration::from_secs(20)).await.unwrap();
    let attributes = pointer.message_attributes.as_ref().unwrap();
    let marker = &attributes["ExtendedPayloadSize"];
    assert_eq!((attributes.len(), marker.data_type.as_str()), (1, "Number"));
    assert_eq!(marker.string_value.as_deref(), Some(&*object.len().to_string()), "the bytes of the body in S3");

    let (response, payloads) = peer.consume(&messages).await;
    assert_eq!(response.failures().count(), 0, "{response:?}");
    assert_eq!(payloads.len(), 2);
    assert!(payloads.iter().any(|payload| *payload == large.as_bytes()), "byte for byte");
    assert!(payloads.iter().any(|payload| *payload == small.as_bytes()));
}

#[tokio::test]
async fn a_payload_over_the_own_maximum_of_a_queue_goes_to_s3() {
    let peer = Peer::start(&[(QueueAttributeName::MaximumMessageSize, "2048")]).await;
    let body = document(3_000);
    let (status, answer) = post(&peer.ingress("").await, &body).await;
    assert_eq!((status, &answer["code"]), (413, &json!("payload_too_large")), "{answer}");
    let (status, answer) = post(&peer.ingress(", largePayloads: s3").await, &body).await;
    assert_eq!(status, 202, "{answer}");
    let (response, payloads) = peer.consume(&peer.receive().await).await;
    assert_eq!((response.failures().count(), payloads), (0, vec![body.into_bytes()]));
}

#[tokio::test]
async fn without_its_bucket_a_large_request_is_answered_503_and_nothing_is_enqueued() {
    let mut peer = Peer::start(&[]).await;
    peer.bucket = "absent".to_owned();
    let ingress = peer.ingress(", largePayloads: s3").await;
    let (status, answer) = post(&ingress, &document(LARGE_BYTES)).await;
    assert_eq!((status, &answer["code"]), (503, &json!("queue_unavailable")), "{answer}");
    assert!(!answer.to_string().contains("absent"), "{answer}");
    let (status, answer) = post(&ingress, &document(6_291_458)).await;
    assert_eq!((status, &answer["code"]), (413, &json!("payload_too_large")), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("the most that Lambda accepts"), "{answer}");
    assert!(peer.receive().await.is_empty());
}

#[tokio::test]
async fn while_s3_fails_messages_that_need_no_object_are_accepted() {
    let peer = Peer::start(&[]).await;
    let s3 = Outage::start(&peer.url).await;
    s3.stop();
    let contract = Box::leak(Box::new(contract(", largePayloads: s3")));
    let variable = |name: &str| match name {
        "AWS_ENDPOINT_URL_S3" => Some(s3.url().to_owned()),
        _ => peer.variable(name),
    };
    let ingress = sluicegate_ingress::from_env(contract, variable).await.unwrap();
    for _ in 0..4 {
        let (status, answer) = post(&ingress, &document(LARGE_BYTES)).await;
        assert_eq!((status, &answer["code"]), (503, &json!("queue_unavailable")), "{answer}");
        assert!(answer["id"].is_null(), "{answer}");
    }
    assert!(s3.refused() >= 4, "each was tried");
    let (status, answer) = post(&ingress, &document(1_000)).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(peer.receive().await.len(), 1);
}

#[tokio::test]
async fn a_pointer_names_its_event_if_that_has_a_status() {
    let peer = Peer::start(&[]).await;
    let payloads = PayloadStore::new(&peer.environment(), &peer.bucket);
    let producer = SqsProducer::new(&peer.environment(), &*peer.queue_url).with_payloads(Some(payloads));
    let deadline = Instant::now() + Duration::from_secs(20);
    for (id, has_status) in [("with", true), ("without", false)] {
        let event = Envelope::builder(id, "/", "t").has_status(has_status).unwrap();
        let event = event.payload(Some("application/json"), document(LARGE_BYTES)).build().unwrap();
        let message = sluicegate_queue::Message { may_be_pointer: true, ..sluicegate_queue::Message::new(&event) };
        producer.send(&message, deadline).await.unwrap();
        let sent = peer.service.receive_one(&peer.queue_url).await;
        peer.service.delete(&peer.queue_url, &sent).await;
        let named = sent.message_attributes.unwrap_or_default().remove("sluicegate-status-id");
        let named = named.and_then(|attribute| attribute.string_value);
        assert_eq!(named.as_deref(), has_status.then_some(id));
    }
}

#[test]
fn a_route_with_large_payloads_needs_a_bucket_and_a_queue_at_sqs() {
    let check = |variables: &[(&str, &str)], expected: &[&str]| {
        let lookup = |name: &str| {
            let set = variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            set.or_else(|| (name == "SECRET_ARN").then(|| "s".to_owned()))
        };
        let errors = Config::from_env(&contract(", largePayloads: s3"), lookup).err().unwrap_or_default();
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        assert!(errors.iter().zip(expected).all(|(error, part)| error.contains(part)), "{errors:?}");
    };
    let sqs = ("QUEUE_ORDERS", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders");
    let rabbitmq = [("QUEUE_ORDERS", "rabbitmq:orders/new"), ("RABBITMQ_URL", "amqp://a:b@127.0.0.1:5672")];
    check(&[sqs, ("PAYLOAD_BUCKET", "b")], &[]);
    check(&[sqs], &["PAYLOAD_BUCKET is not set; it names the bucket of operation place; run `sluicegate sync`"]);
    check(&[sqs, ("PAYLOAD_BUCKET", "")], &["PAYLOAD_BUCKET is not set"]);
    check(&[&rabbitmq[..], &[("PAYLOAD_BUCKET", "b")]].concat(), &["queue orders is bound to RabbitMQ"]);
}

#[tokio::test]
async fn pointers_of_the_java_client_are_read_in_both_its_forms() {
    let peer = Peer::start(&[]).await;
    let event = Envelope::builder("e-1", "/", "t").payload(Some("text/plain"), "hi").build();
    let deadline = Instant::now() + Duration::from_secs(20);
    peer.s3().put("a key/ü", Bytes::from(event.unwrap().encode()), deadline).await.unwrap();
    for (class, marker) in [
        ("software.amazon.payloadoffloading.PayloadS3Pointer", "SQSLargePayloadSize"),
        ("com.amazon.sqs.javamessaging.MessageS3Pointer", "SQSLargePayloadSize"),
        ("software.amazon.payloadoffloading.PayloadS3Pointer", "ExtendedPayloadSize"),
    ] {
        let body = json!([class, { "s3BucketName": peer.bucket, "s3Key": "a key/ü" }]).to_string();
        let value = aws_sdk_sqs::types::MessageAttributeValue::builder().data_type("Number").string_value("9");
        let request = peer.service.sqs.send_message().queue_url(&peer.queue_url).message_body(body);
        request.message_attributes(marker, value.build().unwrap()).send().await.unwrap();
    }
    let (response, payloads) = peer.consume(&peer.receive().await).await;
    assert_eq!((response.failures().count(), payloads), (0, vec![b"hi".to_vec(); 3]));
}

#[tokio::test]
async fn an_object_larger_than_the_caller_accepts_is_not_read() {
    let peer = Peer::start(&[]).await;
    let (s3, deadline) = (peer.s3(), Instant::now() + Duration::from_secs(20));
    s3.put("k", Bytes::from_static(b"four"), deadline).await.unwrap();
    assert_eq!(s3.get("k", 4, deadline).await.unwrap(), "four");
    let refused = s3.get("k", 3, deadline).await.unwrap_err();
    assert!(matches!(refused, S3Error::TooLarge { bytes_max: 3 }), "{refused:?}");
    let missing = s3.get("other", 4, deadline).await.unwrap_err().to_string();
    assert_eq!(missing, "NoSuchKey: The specified key does not exist.");
}

/// Puts a message with a pointer into a queue, as the consumer dead-letters it; returns its id.
async fn dead_letter(peer: &Peer, dead: &str, body: &str, bytes: &str) -> String {
    let attribute = |kind: &str, text: &str| {
        aws_sdk_sqs::types::MessageAttributeValue::builder().data_type(kind).string_value(text).build().unwrap()
    };
    let source = peer.service.arn(&peer.queue_url).await;
    let request = peer.service.sqs.send_message().queue_url(dead).message_body(body);
    let request = request.message_attributes("ExtendedPayloadSize", attribute("Number", bytes));
    let request = request.message_attributes("sluicegate-reason", attribute("String", "no stock"));
    let sent = request.message_attributes("sluicegate-source", attribute("String", &source)).send().await.unwrap();
    sent.message_id.unwrap()
}

/// A dead letter of an order with this text, whose payload is in S3; returns the pointer, and the id of the message.
async fn dead_order(peer: &Peer, dead: &str, text: &str) -> (String, String) {
    let (status, answer) = post(&peer.ingress(", largePayloads: s3").await, text).await;
    assert_eq!(status, 202, "{answer}");
    let message = peer.service.receive_one(&peer.queue_url).await;
    peer.service.delete(&peer.queue_url, &message).await;
    let bytes = message.message_attributes.as_ref().unwrap()["ExtendedPayloadSize"].string_value.clone().unwrap();
    let pointer = message.body.unwrap();
    let id = dead_letter(peer, dead, &pointer, &bytes).await;
    (pointer, id)
}

impl Peer {
    /// Runs `sluicegate dlq`.
    async fn dlq(&self, arguments: &[&str]) -> Ran {
        ran(dlq(&[arguments, &["--endpoint-url", &self.url]].concat())).await
    }

    /// Takes the only message, which a consumer accepts; returns its body, its marker and its payload.
    async fn taken(&self) -> (String, Option<String>, Vec<u8>) {
        let message = self.service.receive_one(&self.queue_url).await;
        let (response, mut payloads) = self.consume(std::slice::from_ref(&message)).await;
        assert_eq!((response.failures().count(), payloads.len()), (0, 1), "{response:?}");
        self.service.delete(&self.queue_url, &message).await;
        let marker = message.message_attributes.unwrap_or_default().remove("ExtendedPayloadSize");
        (message.body.unwrap(), marker.and_then(|marker| marker.string_value), payloads.remove(0))
    }
}

fn queue_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_dead_letter_with_its_payload_in_s3_is_shown_and_redriven_with_its_pointer() {
    let peer = Peer::start(&[]).await;
    let dead = peer.service.queue(&[]).await;
    let order = document(LARGE_BYTES);
    let (pointer, id) = dead_order(&peer, &dead, &order).await;
    let key = serde_json::from_str::<Value>(&pointer).unwrap()[1]["s3Key"].as_str().unwrap().to_owned();
    let place = format!("s3://{}/{key}", peer.bucket);
    let dead = queue_name(&dead);
    peer.dlq(&["list", dead, "--each"]).await.expect(0, &[&id, "(payload in S3)"]);
    peer.dlq(&["list", dead, "--each", "--json"]).await.expect(0, &[&place]);
    let size = format!("payload ({} bytes)", order.len());
    let shown = peer.dlq(&["show", dead, &id]).await.expect(0, &[&place, "order.placed", "no stock", &size]);
    assert!(shown.out.contains(&order) && shown.err.is_empty(), "{}", shown.err);
    let deadline = Instant::now() + Duration::from_secs(20);
    let object = peer.s3().get(&key, usize::MAX, deadline).await.unwrap();
    assert!(peer.dlq(&["show", dead, &id, "--body"]).await.expect(0, &[]).out.as_bytes() == object, "byte for byte");

    peer.dlq(&["redrive", dead, "--one-by-one"]).await.expect(0, &["1 redriven"]);
    let (body, marker, payload) = peer.taken().await;
    assert_eq!((body, marker), (pointer, Some(object.len().to_string())));
    assert!(payload == order.as_bytes());
}

#[tokio::test]
async fn an_edited_payload_is_what_the_consumer_reads() {
    let peer = Peer::start(&[]).await;
    let dead = peer.service.queue(&[]).await;
    let order = document(LARGE_BYTES);

    // Small enough for a message.
    let (_, id) = dead_order(&peer, &dead, &order).await;
    let edited = peer.dlq(&["edit", queue_name(&dead), &id, "--set", r#"/text="fine""#]).await;
    edited.expect(0, &["corrected and redriven"]);
    let (body, marker, payload) = peer.taken().await;
    assert!(body.contains("specversion") && marker.is_none(), "{body}");
    assert_eq!(String::from_utf8(payload).unwrap(), r#"{"text": "fine"}"#);

    // Still too large: another object of the same bucket, and the first is unchanged.
    let (pointer, id) = dead_order(&peer, &dead, &order).await;
    peer.dlq(&["edit", queue_name(&dead), &id, "--set", "/more=1"]).await.expect(0, &["corrected and redriven"]);
    let (body, marker, payload) = peer.taken().await;
    let [old, new] = [&pointer, &body].map(|body| serde_json::from_str::<Value>(body).unwrap()[1].clone());
    assert_eq!(old["s3BucketName"], new["s3BucketName"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    let get =
        async |place: &Value| peer.s3().get(place["s3Key"].as_str().unwrap(), usize::MAX, deadline).await.unwrap();
    let (old, new) = (get(&old).await, get(&new).await);
    assert_eq!((marker, new.len()), (Some(new.len().to_string()), old.len() + r#","more":1"#.len()));
    assert!(payload == order.replace('}', r#","more":1}"#).as_bytes());
    assert!(peer.service.receive(&dead, 0).await.is_empty());
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_named_and_can_be_replaced() {
    let peer = Peer::start(&[]).await;
    let dead = peer.service.queue(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.json");
    let file = file.to_str().unwrap();
    for (bucket, reason) in [(&*peer.bucket, "NoSuchKey"), ("evil.example/a", "is not the name of a bucket")] {
        let body = json!(["com.amazon.sqs.javamessaging.MessageS3Pointer", { "s3BucketName": bucket, "s3Key": "k" }]);
        let id = dead_letter(&peer, &dead, &body.to_string(), "9").await;
        let dead = queue_name(&dead);
        let place = format!("its payload is in s3://{bucket}/k, and could not be read: ");
        peer.dlq(&["show", dead, &id]).await.expect(0, &["s3BucketName", &place, reason, "aws s3 cp"]);
        peer.dlq(&["show", dead, &id, "--body"]).await.expect(1, &[&place, reason]);
        peer.dlq(&["edit", dead, &id, "--set", "/a=1"]).await.expect(1, &[&place, "pass --body with a whole envelope"]);
        std::fs::write(file, "{}").unwrap();
        peer.dlq(&["edit", dead, &id, "--body", file]).await.expect(1, &["the corrected body is not one"]);
        std::fs::write(file, r#"{"specversion":"1.0","id":"i","source":"/s","type":"t","data":[1]}"#).unwrap();
        peer.dlq(&["edit", dead, &id, "--body", file]).await.expect(0, &["corrected and redriven"]);
        let (_, marker, payload) = peer.taken().await;
        assert_eq!((marker, &*payload), (None, &b"[1]"[..]), "{bucket}");
    }
}

/// Runs the Python client: `send` sends standard input as a message, `receive` writes the body of one to standard
/// output and deletes it.
fn python(peer: &Peer, command: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(from_run(PYTHON_BIN).join("python"))
        .arg(root().join("tests/peers/extended_client.py"))
        .args([command, &peer.url, &peer.queue_url, &peer.bucket])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("./tests/run installs the packages");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    output.stdout
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Python Extended Client, which ./tests/run installs"]
async fn the_python_client_reads_our_pointer_and_we_read_its() {
    let peer = Peer::start(&[]).await;
    let body = document(LARGE_BYTES);
    let (status, answer) = post(&peer.ingress(", largePayloads: s3").await, &body).await;
    assert_eq!(status, 202, "{answer}");
    let received = tokio::task::block_in_place(|| python(&peer, "receive", b""));
    let event = sluicegate_envelope::Envelope::decode(std::str::from_utf8(&received).unwrap()).unwrap();
    assert_eq!((event.event_type(), &*event.payload()), ("order.placed", body.as_bytes()));

    let sent = event.into_builder("e-2").build().unwrap().encode();
    tokio::task::block_in_place(|| python(&peer, "send", sent.as_bytes()));
    let messages = peer.receive().await;
    assert!(messages[0].body.as_ref().unwrap().starts_with("[\"software.amazon"), "{messages:?}");
    let (response, payloads) = peer.consume(&messages).await;
    assert_eq!(
        (response.failures().count(), payloads),
        (0, vec![body.into_bytes()]),
        "the message is deleted, so one is left"
    );
}
