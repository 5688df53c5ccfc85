//! The consumer function: calls a handler for each message, by the type of its event.

mod handlers;

use std::{env, process::ExitCode};

use sluicegate_batch::{Consumer, ConsumerBuilder, Forward, UrlError, log};

// One thread: a batch waits for other services far more than it computes, and a second worker costs start-up time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let forward_url = env::var("FORWARD_URL").unwrap_or_default();
    sluicegate_batch::serve(consumer(forward_url.trim())).await
}

/// Returns the handlers by event type. Register yours here.
fn registered() -> ConsumerBuilder {
    Consumer::builder()
}

/// Adds the handler of all other events: forwards them to `forward_url`, or logs them if that is empty.
///
/// RabbitMQ messages are handled the same. One that is not a CloudEvent (a plain `basic_publish` of `Order ID: 12345`)
/// has the type that its publisher set, or `rabbitmq.message`, and its bytes as payload. Its handler is registered with
/// `.on("rabbitmq.message", handlers::legacy_order::handle)`. On SQS such a message is dead-lettered, unless
/// `sqs.message` has a handler.
fn consumer(forward_url: &str) -> Result<ConsumerBuilder, UrlError> {
    if forward_url.is_empty() {
        return Ok(registered().otherwise(log));
    }
    Ok(registered().otherwise(Forward::to(forward_url)?.into_handler()))
}

#[cfg(test)]
mod tests {
    use sluicegate_batch::testing;

    use super::{consumer, handlers, log, registered};

    /// The code that docs/develop.md shows compiles in the files that the page names.
    #[test]
    fn the_handler_of_the_docs_is_registered_with_the_others() {
        drop(registered().on_json("order.placed", handlers::order_placed::handle).otherwise(log));
    }

    /// The second order is rejected. It is returned to its queue, because a test has no dead-letter queue.
    #[tokio::test]
    async fn a_captured_batch_is_handled() {
        let event = include_str!("../../../tests/events/orders-placed.json");
        let consumer = registered().on_json("order.placed", handlers::order_placed::handle);
        let response = testing::run(consumer, event).await.unwrap();
        let returned: Vec<_> = response.failures().collect();
        assert_eq!(returned, ["3c0ad1d4-6f6d-4a3c-9f0d-6b5d7f3c1e22"]);
    }

    #[test]
    fn an_address_to_forward_to_is_a_url() {
        for (url, is_good) in [("", true), ("http://127.0.0.1:9/events", true), ("orders", false)] {
            assert_eq!(consumer(url).is_ok(), is_good, "{url:?}");
        }
    }
}
