//! [`RabbitmqProducer`]: publishes envelopes to an exchange.

use std::borrow::Cow;

use tokio::time::Instant;

use super::broker::{Broker, Publication};
use super::properties;
use crate::queue_names::{self, RetryDelays};
use crate::{Destination, Message, Producer, Receipt, RoutingKey, SendError};

/// A producer for one exchange. On the default exchange (the empty name) the routing key is the name of the queue.
///
/// A delayed message goes through the exchange `<exchange>.delay.<n>s`, or on the default exchange through the queue
/// `<queue>.retry.<n>s`, where `n` is the shortest of the [`RetryDelays`] that is long enough.
#[derive(Clone)]
pub struct RabbitmqProducer {
    broker: Broker,
    exchange: String,
    routing_key: RoutingKey,
    retry_delays: RetryDelays,
}

impl RabbitmqProducer {
    /// Creates a producer for `exchange`. All producers of one broker share its connection.
    #[must_use]
    pub fn new(
        broker: Broker,
        exchange: impl Into<String>,
        routing_key: RoutingKey,
        retry_delays: RetryDelays,
    ) -> Self {
        Self { broker, exchange: exchange.into(), routing_key, retry_delays }
    }

    /// Returns the exchange and the routing key to publish with, given the message's delay.
    fn route(&self, message: &Message<'_>) -> Result<(Cow<'_, str>, String), SendError> {
        let key = self.routing_key.render(message)?;
        if message.delay.is_zero() {
            return Ok((Cow::Borrowed(&self.exchange), key));
        }
        let unfit = |reason: String| SendError::Refused { reason, message_at_fault: true };
        let delay_s = self.retry_delays.at_least_s(message.delay).ok_or_else(|| {
            let longest = self.retry_delays.delays_s().last().copied().unwrap_or_default();
            let reason = format!("the delay {:?} is longer than the longest retry delay, {longest} s", message.delay);
            // The route sets the delay, not the message.
            SendError::Refused { reason, message_at_fault: false }
        })?;
        let (exchange, key) = if self.exchange.is_empty() {
            (Cow::Borrowed(""), queue_names::retry_queue(&key, delay_s))
        } else {
            (Cow::Owned(queue_names::delay_exchange(&self.exchange, delay_s)), key)
        };
        if exchange.len().max(key.len()) > properties::SHORT_BYTES_MAX {
            return Err(unfit("the name of the delay queue has more than 255 bytes".to_owned()));
        }
        Ok((exchange, key))
    }
}

impl Producer for RabbitmqProducer {
    fn destination(&self) -> Option<Destination<'_>> {
        let exchange = Some(self.exchange.as_str()).filter(|exchange| !exchange.is_empty());
        Some(Destination { system: "rabbitmq", name: exchange })
    }

    fn check(&self, message: &Message<'_>) -> Result<(), SendError> {
        // The largest body that a request can have is within the limit of a publication.
        self.route(message).map(drop)
    }

    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let (exchange, routing_key) = self.route(message)?;
        let body = message.envelope.encode();
        let properties = properties::of(message.envelope);
        let publication =
            Publication { exchange: &exchange, routing_key: &routing_key, properties, body: body.as_bytes() };
        self.broker.publish(&publication, deadline).await?;
        Ok(Receipt { id: message.envelope.id().to_owned(), broker_id: String::new() })
    }

    /// Publishes messages one after the other and awaits their confirms together.
    async fn send_all(&self, messages: &[Message<'_>], deadline: Instant) -> Vec<Result<Receipt, SendError>> {
        futures_util::future::join_all(messages.iter().map(|message| self.send(message, deadline))).await
    }
}
