//! Message ids: an idempotency key identifies one request of one caller.

use aws_sdk_sqs::types::{Message, QueueAttributeName};
use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_envelope::Envelope;
use sluicegate_ingress::Ingress;
use sluicegate_queue::sqs::{AwsEnvironment, SqsProducer};

use super::{Broker, ORDER_HEADERS, Store, answer, http_api, secret_text};
use crate::support::service::{Service, emulator};
use crate::support::webhook;

/// The client chooses the key of `putItem`, the provider that of `hook`. Both accept an API key, or a signature whose
/// secret has the name of a principal.
const CONTRACT: &str = "openapi: 3.1.0
info: { title: Test, version: '1' }
paths:
  /items/{item_id}:
    post:
      operationId: putItem
      security: [{ key: [] }, { signature: [] }]
      parameters:
        - { name: item_id, in: path, required: true, schema: { type: string } }
      requestBody: { content: { application/json: {}, text/plain: {} } }
      x-sluicegate:
        queue: items
        type: item.{header.x-kind}
        subject: '{query.about}'
        group: '{header.x-group}'
        idempotency: { key: '{header.idempotency-key}', required: true }
  /hook:
    post:
      operationId: hook
      security: [{ key: [] }, { signature: [] }]
      requestBody: { content: { application/json: {} } }
      x-sluicegate:
        queue: items
        type: hook.{header.x-kind}
        idempotency: { key: '{header.idempotency-key}', required: true, fingerprint: none }
  /signed:
    post:
      operationId: signed
      security: [{ signature: [] }]
      requestBody: { content: { application/json: {} } }
      x-sluicegate:
        queue: items
        type: hook.{body#/type}
        idempotency: { key: '{body#/id}', required: true, fingerprint: none }
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: x-api-key, x-secret: api-keys }
    signature: { type: apiKey, in: header, name: x-hub-signature-256, x-secret: acme, x-signature: github }
";

fn ingress(broker: &Broker) -> Ingress<Broker, Store> {
    let contract = Box::leak(Box::new(Contract::parse("openapi.yaml", CONTRACT).unwrap()));
    let producers = contract.queues().into_iter().map(|queue| (queue.to_owned(), broker.clone())).collect();
    let mut secrets: Value = serde_json::from_str(&secret_text()).unwrap();
    secrets["acme"] = secrets["github"].clone();
    Ingress::new(contract, producers, Store::with(&secrets.to_string()))
}

#[derive(Clone)]
struct Request {
    path: &'static str,
    query: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

impl Request {
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Whether to sign with the secret `acme` instead of sending the key of the principal `acme`.
    fn signed(mut self) -> Self {
        self.headers.retain(|(name, _)| *name != "x-api-key");
        self.headers.push(("x-hub-signature-256", webhook::github_signature("first-secret", self.body.as_bytes())));
        self
    }
}

/// Sends the request. Returns the id of its message.
async fn id(ingress: &Ingress<Broker, Store>, request: &Request) -> String {
    let headers: Vec<_> = request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut event = http_api("POST", request.path, &headers, request.body);
    event["rawQueryString"] = request.query.into();
    let answer = answer(ingress, &event).await;
    assert_eq!(answer["statusCode"], 202, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_identifies_one_request_of_one_caller() {
    let ingress = ingress(&Broker::default());
    let headers = [
        ("x-api-key", "reader"),
        ("x-kind", "new"),
        ("x-group", "g"),
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
    let item = Request { path: "/items/1", query: "about=tea", headers: headers.clone(), body: "{\"n\":1}" };
    let hook = Request { path: "/hook", query: "", headers, body: "{\"n\":1}" };
    for (what, first, second, same) in [
        ("the same again", &item, item.clone(), true),
        ("a quoted key", &item, item.clone().header("idempotency-key", "\"k\""), true),
        ("another key of the same principal", &item, item.clone().header("x-api-key", "writer"), true),
        ("another idempotency key", &item, item.clone().header("idempotency-key", "l"), false),
        ("another payload", &item, Request { body: "{\"n\":2}", ..item.clone() }, false),
        ("a payload with a blank more", &item, Request { body: "{\"n\":1} ", ..item.clone() }, false),
        ("another path", &item, Request { path: "/items/2", ..item.clone() }, false),
        ("another query", &item, Request { query: "about=coffee", ..item.clone() }, false),
        ("another type", &item, item.clone().header("x-kind", "old"), false),
        ("another group", &item, item.clone().header("x-group", "h"), false),
        ("another principal", &item, item.clone().header("x-api-key", "old"), false),
        ("a principal of another kind", &item, item.clone().signed(), false),
        ("another operation", &item, hook.clone(), false),
        ("the provider's key, the same again", &hook, hook.clone(), true),
        ("the provider's key, another payload", &hook, Request { body: "{\"n\":2}", ..hook.clone() }, true),
        ("the provider's key, another principal", &hook, hook.clone().header("x-api-key", "old"), false),
        ("the provider's key, a principal of another kind", &hook, hook.clone().signed(), false),
    ] {
        let ids = (id(&ingress, first).await, id(&ingress, &second).await);
        assert_eq!(ids.0 == ids.1, same, "{what}: {ids:?}");
    }
}

/// A signed body that contains its id and type gives the same message under any headers.
#[tokio::test]
async fn a_signed_body_sent_again_under_other_headers_is_the_same_message() {
    let broker = Broker::default();
    let ingress = ingress(&broker);
    let headers = vec![("content-type", "application/json".to_owned())];
    let first = Request { path: "/signed", query: "", headers, body: r#"{"id":"d-1","type":"paid"}"# }.signed();
    let replay = first.clone().header("idempotency-key", "d-2").header("x-kind", "refunded");
    assert_eq!(id(&ingress, &first).await, id(&ingress, &replay).await);
    assert_eq!(broker.last().unwrap().0.event_type(), "hook.paid");
}

/// A FIFO queue deduplicates by id, so two payloads under one key are two messages.
#[tokio::test]
async fn a_fifo_queue_keeps_both_payloads_of_one_key() {
    let url = emulator().await;
    let service = Service::at(&url);
    let queue = service.queue(&[(QueueAttributeName::FifoQueue, "true")]).await;
    let lookup = |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { url.clone() } else { "test".to_owned() });
    let producer = SqsProducer::new(&AwsEnvironment::read(lookup).unwrap(), &queue);
    let contract = crate::support::contract();
    let producers = contract.queues().into_iter().map(|name| (name.to_owned(), producer.clone())).collect();
    let ingress = Ingress::new(contract, producers, Store::with(&secret_text()));
    for order_id in ["o-1", "o-2", "o-1"] {
        let order = json!({ "order_id": order_id, "customer_id": "c", "items": [{ "sku": "tea", "quantity": 1 }] });
        let event = http_api("POST", "/orders", &ORDER_HEADERS, &order.to_string());
        assert_eq!(answer(&ingress, &event).await["statusCode"], 202);
    }
    let stored = service.receive_count(&queue, 2).await;
    let subject = |message: &Message| {
        let envelope = Envelope::decode(message.body().unwrap()).unwrap();
        envelope.subject().unwrap().to_owned()
    };
    assert_eq!(
        stored.iter().map(subject).collect::<Vec<_>>(),
        ["o-1", "o-2"],
        "the repeat is dropped, the other is not"
    );
}
