//! [`RabbitmqProducer`]: puts envelopes on an exchange.

use std::borrow::Cow;

use tokio::time::Instant;

use super::broker::{Broker, Publication};
use super::properties;
use crate::names::{self, Ladder};
use crate::{Message, Producer, Receipt, RoutingKey, SendError};

/// Publishes to one exchange. On the default exchange (the empty name) the routing key is the name of the queue.
///
/// A delay is a detour: through the exchange `<exchange>.delay.<n>s`, or on the default exchange through the queue
/// `<queue>.retry.<n>s`, whichever step of the ladder is the shortest that is long enough.
#[derive(Clone)]
pub struct RabbitmqProducer {
    broker: Broker,
    exchange: String,
    routing_key: RoutingKey,
    ladder: Ladder,
}

impl RabbitmqProducer {
    /// A producer for `exchange`; all producers of one broker share its connection.
    #[must_use]
    pub fn new(broker: Broker, exchange: impl Into<String>, routing_key: RoutingKey, ladder: Ladder) -> Self {
        Self { broker, exchange: exchange.into(), routing_key, ladder }
    }

    /// The exchange and the key that lead to the queue, by the detour the delay asks for.
    fn way(&self, message: &Message<'_>) -> Result<(Cow<'_, str>, String), SendError> {
        let key = self.routing_key.render(message)?;
        if message.delay.is_zero() {
            return Ok((Cow::Borrowed(&self.exchange), key));
        }
        let unfit = |reason: String| SendError::Refused { reason, message_at_fault: true };
        let step_s = self.ladder.step_s(message.delay).ok_or_else(|| {
            let longest = self.ladder.steps_s().last().copied().unwrap_or_default();
            let reason =
                format!("the delay {:?} is longer than the longest step of the ladder, {longest} s", message.delay);
            // The delay is the route's and not the message's.
            SendError::Refused { reason, message_at_fault: false }
        })?;
        let (exchange, key) = if self.exchange.is_empty() {
            (Cow::Borrowed(""), names::retry_queue(&key, step_s))
        } else {
            (Cow::Owned(names::delay_exchange(&self.exchange, step_s)), key)
        };
        if exchange.len().max(key.len()) > properties::SHORT_BYTES_MAX {
            return Err(unfit("the name of the delay queue has more than 255 bytes".to_owned()));
        }
        Ok((exchange, key))
    }
}

impl Producer for RabbitmqProducer {
    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let (exchange, routing_key) = self.way(message)?;
        let body = message.envelope.encode();
        let properties = properties::of(message.envelope);
        let publication =
            Publication { exchange: &exchange, routing_key: &routing_key, properties, body: body.as_bytes() };
        self.broker.publish(&publication, deadline).await?;
        Ok(Receipt { id: message.envelope.id().to_owned(), broker_id: String::new() })
    }
}
