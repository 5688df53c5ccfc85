//! What the consumer function does with the messages it receives: the handlers, and which event type goes to which.

mod handlers;
mod serve;

use std::sync::Arc;

use sluicegate_batch::{Builder, Consumer};

pub use handlers::forward::{Forward, UrlError};
pub use handlers::log::log;
pub use serve::serve;

/// The handlers by event type, whether or not the other events are forwarded. Register yours here.
fn registered() -> Builder {
    Consumer::builder()
}

/// The consumer: registered handlers, and for all other events one that forwards them to `forward_url`, or logs them if that is
/// empty.
///
/// Messages of RabbitMQ go the same way. One that is no CloudEvent (a plain `basic_publish` of `Order ID: 12345`) has the type its
/// publisher set, or `rabbitmq.message`, and its bytes as payload: `.on("rabbitmq.message", handlers::legacy_order::handle)`.
///
/// # Errors
/// `forward_url` is not an http(s) URL.
pub fn consumer(forward_url: &str) -> Result<Builder, UrlError> {
    if forward_url.is_empty() {
        return Ok(registered().otherwise(log));
    }
    let forward = Arc::new(Forward::to(forward_url)?);
    Ok(registered().otherwise(move |delivery| {
        let forward = Arc::clone(&forward);
        async move { forward.handle(delivery.envelope()).await }
    }))
}

#[cfg(test)]
mod tests {
    use super::{handlers, log, registered};

    /// What docs/develop.md would have you write compiles where it says so.
    #[test]
    fn the_handler_of_the_docs_is_registered_with_the_others() {
        drop(registered().on_json("order.placed", handlers::order_placed::handle).otherwise(log));
    }
}
