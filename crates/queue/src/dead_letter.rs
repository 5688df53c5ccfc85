//! What the consumer notes on a message that it gives up, by the same names on every broker: message attributes on SQS, headers on
//! RabbitMQ. Whoever looks after dead letters reads them.

/// Why the message was dead-lettered, at most [`REASON_CHARS_MAX`] characters. Only on messages in a dead-letter queue.
pub const REASON: &str = "sluicegate-reason";
/// See [`REASON`].
pub const REASON_CHARS_MAX: usize = 1_024;
/// How often the message had been received: a Number on SQS, a 32-bit integer on RabbitMQ, where copies that wait for a retry have it
/// too.
pub const RECEIVE_COUNT: &str = "sluicegate-receive-count";
/// The queue it was received from: its ARN on SQS, `queue::vhost` on RabbitMQ. Only on messages in a dead-letter queue.
pub const SOURCE: &str = "sluicegate-source";
