//! What a copy of a message that goes to another queue cannot have as the message had it.

/// Where the user id goes that the message was published with: RabbitMQ refuses one that is not the publisher's own
/// (<https://www.rabbitmq.com/docs/validated-user-id>).
pub const USER_ID: &str = "sluicegate-user-id";

/// A reply-to that closes the channel when somebody publishes with it who does not consume from it
/// (<https://www.rabbitmq.com/docs/direct-reply-to>).
pub const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// The delivery mode of a message that survives a restart of its broker, in a classic queue too.
pub const PERSISTENT: u8 = 2;

/// The name that a header goes by on a copy, if another: `CC` and `BCC` would send it to the queues that they name once more
/// (<https://www.rabbitmq.com/docs/sender-selected>).
#[must_use]
pub fn moved(header: &str) -> Option<&'static str> {
    match header {
        "CC" => Some("sluicegate-cc"),
        "BCC" => Some("sluicegate-bcc"),
        _ => None,
    }
}

/// Whether RabbitMQ wrote the header, about ways of the message that are over. An `x-death` that names the queue would make it see
/// a cycle, and drop the message (<https://www.rabbitmq.com/docs/dlx#automatic-dead-letter-cycles>).
#[must_use]
pub fn is_of_the_broker(header: &str) -> bool {
    ["x-first-death-", "x-last-death-"].iter().any(|prefix| header.starts_with(prefix))
        || ["x-death", "x-delivery-count", "x-acquired-count"].contains(&header)
}
