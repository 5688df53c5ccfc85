//! Producers as the ingress has them: one connection, many sends at once.

use std::time::Duration;

use sluicegate_envelope::Envelope;
use sluicegate_queue::names::Ladder;
use sluicegate_queue::rabbitmq::{Broker, Config, RabbitmqProducer};
use sluicegate_queue::{Binding, Message, Producer, Receipt, SendError};
use tokio::time::Instant;

/// One connection to a broker, and the queue `orders` behind it. Clones share both.
#[derive(Clone)]
pub(super) struct Sender(std::sync::Arc<RabbitmqProducer>);

/// A producer on the queue `orders` of the broker at `url`, configured as a function is: by its environment.
pub(super) fn producer(url: &str) -> Sender {
    let lookup = |name: &str| match name {
        "RABBITMQ_URL" => Some(url.to_owned()),
        "QUEUE_ORDERS" => Some("rabbitmq:/orders".to_owned()),
        _ => None,
    };
    let config = Config::from_env(lookup).expect("a configuration").expect("RABBITMQ_URL is set");
    let mut bindings = Binding::from_env(["orders"].into_iter(), lookup).expect("a binding");
    let Some(Binding::Rabbitmq { exchange, routing_key }) = bindings.remove("orders") else { panic!("RabbitMQ") };
    let producer = RabbitmqProducer::new(Broker::new(config), exchange, routing_key, Ladder::default());
    Sender(std::sync::Arc::new(producer))
}

/// A small order with an id that says who made it.
pub(super) fn envelope(who: &str, n: usize) -> Envelope {
    let payload = format!(r#"{{"order_id":"{who} {n}"}}"#);
    let envelope = Envelope::builder(format!("{who} {n}"), "/orders", "order.placed");
    envelope.payload(Some("application/json"), payload).build().expect("an envelope")
}

impl Sender {
    /// One attempt of the producer, with all it repeats by itself.
    pub(super) async fn send(&self, envelope: &Envelope, time_max: Duration) -> Result<Receipt, SendError> {
        self.0.send(&Message::new(envelope), Instant::now() + time_max).await
    }
}
