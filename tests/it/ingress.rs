//! The ingress, called with the events of each service: its answers and the messages it stores.

mod answers;
mod authenticate;
mod bodies;
mod breaker;
mod brokers;
mod config;
mod content;
mod copies;
mod events;
mod hostile;
mod ids;
mod kafka;
mod limits;
mod repeats;
mod secrets;
mod shared_limits;
mod status;
mod store;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lambda_http::LambdaEvent;
use serde_json::Value;
use sluicegate_contract::Contract;
use sluicegate_envelope::Envelope;
use sluicegate_ingress::{Arrival, FetchError, Ingress, SecretSource};
use sluicegate_queue::{Message, Producer, Receipt, SendError};
use tokio::time::Instant;

/// A confirmed envelope and its group.
type Stored = (Envelope, Option<String>);

/// A broker in memory that keeps what it confirmed, or fails with the given error.
#[derive(Clone, Default)]
pub(crate) struct Broker {
    stored: Arc<Mutex<Vec<Stored>>>,
    sick: Option<SendError>,
    /// What a check of a payload with this text finds.
    unfit: Option<(&'static str, SendError)>,
    /// The position of a message of a batch that fails.
    fails_at: Option<(usize, SendError)>,
}

impl Broker {
    pub(crate) fn last(&self) -> Option<Stored> {
        self.stored.lock().unwrap().last().cloned()
    }

    /// Returns every envelope, the oldest first.
    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        self.stored.lock().unwrap().iter().map(|(envelope, _)| envelope.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.stored.lock().unwrap().len()
    }
}

impl Producer for Broker {
    fn check(&self, message: &Message<'_>) -> Result<(), SendError> {
        let is_it = |text: &str| message.envelope.encode().contains(text);
        self.unfit.iter().find(|(text, _)| is_it(text)).map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    async fn send(&self, message: &Message<'_>, _deadline: Instant) -> Result<Receipt, SendError> {
        if let Some(error) = &self.sick {
            return Err(error.clone());
        }
        let mut stored = self.stored.lock().unwrap();
        stored.push((message.envelope.clone(), message.group.map(str::to_owned)));
        Ok(Receipt { id: message.envelope.id().to_owned(), broker_id: stored.len().to_string() })
    }

    async fn send_all(&self, messages: &[Message<'_>], deadline: Instant) -> Vec<Result<Receipt, SendError>> {
        let mut results = Vec::new();
        for (position, message) in messages.iter().enumerate() {
            let fails = self.fails_at.as_ref().filter(|(at, _)| *at == position);
            results.push(match fails {
                Some((_, error)) => Err(error.clone()),
                None => self.send(message, deadline).await,
            });
        }
        results
    }
}

/// A secret store in memory that counts its calls.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) text: Arc<Mutex<Result<String, String>>>,
    pub(crate) calls: Arc<Mutex<usize>>,
}

impl Store {
    pub(crate) fn with(text: &str) -> Self {
        Self { text: Arc::new(Mutex::new(Ok(text.to_owned()))), calls: Arc::default() }
    }

    pub(crate) fn set(&self, text: Result<&str, &str>) {
        *self.text.lock().unwrap() = text.map(str::to_owned).map_err(str::to_owned);
    }

    pub(crate) fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }
}

impl SecretSource for Store {
    async fn fetch(&self) -> Result<String, FetchError> {
        *self.calls.lock().unwrap() += 1;
        self.text.lock().unwrap().clone().map_err(FetchError)
    }
}

/// Keys: `reader` has no scope, `writer` may write orders, `old` and `new` are one principal's two live keys.
pub(crate) fn secret_text() -> String {
    use sha2::{Digest, Sha256};
    let key = |key: &str, principal: &str, scopes: &[&str]| {
        let sha256: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        serde_json::json!({ "sha256": sha256, "principal": principal, "scopes": scopes })
    };
    serde_json::json!({
        "api-keys": [
            key("reader", "acme", &[]),
            key("writer", "acme", &["orders.write"]),
            key("old", "globex", &["*"]),
            key("new", "globex", &["*"]),
        ],
        "github": ["first-secret", "It's a Secret to Everybody"],
        "standard-webhooks": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    })
    .to_string()
}

pub(crate) fn ingress(broker: &Broker, store: &Store) -> Ingress<Broker, Store> {
    ingress_of(crate::support::contract(), broker, store)
}

pub(crate) fn ingress_of(contract: &'static Contract, broker: &Broker, store: &Store) -> Ingress<Broker, Store> {
    let producers = contract.queues().into_iter().map(|queue| (queue.to_owned(), broker.clone())).collect();
    Ingress::new(contract, producers, store.clone())
}

/// Returns the shipped contract with each of these texts replaced by another.
pub(crate) fn shipped_with(changes: &[(&str, &str)]) -> &'static Contract {
    let mut yaml = std::fs::read_to_string(crate::support::root().join("functions/ingress/openapi.yaml")).unwrap();
    for (from, to) in changes {
        assert!(yaml.contains(from), "the shipped contract has {from}");
        yaml = yaml.replace(from, to);
    }
    Box::leak(Box::new(Contract::parse("openapi.yaml", &yaml).unwrap()))
}

pub(crate) fn lambda(event: &Value) -> serde_json::Result<LambdaEvent<Arrival>> {
    let context = crate::support::context(Duration::from_secs(10));
    Ok(LambdaEvent::new(serde_json::from_str(&event.to_string())?, context))
}

/// Returns the Lambda answer as JSON.
pub(crate) async fn answer<P: Producer, S: SecretSource>(ingress: &Ingress<P, S>, event: &Value) -> Value {
    serde_json::to_value(ingress.handle(lambda(event).unwrap()).await).unwrap()
}

/// Returns the captured HTTP API event with this request.
pub(crate) fn http_api(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../events/http-api-v2.json")).unwrap();
    event["rawPath"] = path.into();
    event["requestContext"]["http"]["path"] = path.into();
    event["requestContext"]["http"]["method"] = method.into();
    for (name, value) in headers {
        event["headers"][*name] = (*value).into();
    }
    event["body"] = body.into();
    event
}

pub(crate) const ORDER: &str =
    r#"{"order_id": "o-1", "customer_id": "c-1", "items": [{"sku": "tea", "quantity": 2}], "note": "1.10"}"#;

pub(crate) const ORDER_HEADERS: [(&str, &str); 3] =
    [("x-api-key", "writer"), ("content-type", "application/json"), ("idempotency-key", "\"k-1\"")];
