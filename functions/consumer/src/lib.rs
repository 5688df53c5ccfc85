//! What the consumer function does with the messages it receives: the handlers, and which event type goes to which.

mod handlers;
mod serve;

use std::sync::Arc;

use sluicegate_batch::{Builder, Consumer};

pub use handlers::forward::{Forward, UrlError};
pub use handlers::log::log;
pub use serve::serve;

/// Registers the handlers. Give an event type of yours a handler of its own here, with a file in `handlers`:
/// `.on_json("order.placed", handlers::order_placed::handle)`. All others are forwarded to `forward_url`, or logged if that
/// is empty.
///
/// Messages of RabbitMQ go the same way. One that is no CloudEvent (a plain `basic_publish` of `Order ID: 12345`) has the type its
/// publisher set, or `rabbitmq.message`, and its bytes as payload: `.on("rabbitmq.message", handlers::legacy_order::handle)`.
///
/// # Errors
/// `forward_url` is not an http(s) URL.
pub fn consumer(forward_url: &str) -> Result<Builder, UrlError> {
    if forward_url.is_empty() {
        return Ok(Consumer::builder().otherwise(log));
    }
    let forward = Arc::new(Forward::to(forward_url)?);
    Ok(Consumer::builder().otherwise(move |delivery| {
        let forward = Arc::clone(&forward);
        async move { forward.handle(delivery.envelope()).await }
    }))
}
