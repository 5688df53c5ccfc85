//! Names of the attributes that describe a dead letter: message attributes on SQS, headers on RabbitMQ and Kafka. The
//! consumer writes them when it dead-letters a message, and the dead-letter tool reads them.

/// Receives after which a message is dead-lettered by default, as on the queues of `template.yaml`.
pub const RECEIVE_COUNT_MAX_DEFAULT: u32 = 5;

/// The reason for dead-lettering, at most [`REASON_CHARS_MAX`] characters. Only on messages in a dead-letter queue.
pub const REASON: &str = "sluicegate-reason";
/// See [`REASON`].
pub const REASON_CHARS_MAX: usize = 1_024;
/// The code of the rejection, at most [`CODE_CHARS_MAX`] characters: ASCII letters, digits, `_`, `-` and `.`. Only on
/// messages in a dead-letter queue. Absent on those of earlier versions, and on SQS if the message has as many
/// attributes as SQS allows without it.
pub const CODE: &str = "sluicegate-code";
/// See [`CODE`]. Chosen here: twice the longest code in use, and short enough for a column.
pub const CODE_CHARS_MAX: usize = 64;
/// How often the message had been received: a Number on SQS, a signed 32-bit integer on RabbitMQ, where copies in retry
/// queues have it too, and digits on Kafka.
pub const RECEIVE_COUNT: &str = "sluicegate-receive-count";
/// The queue the message was received from: its ARN on SQS, `queue::vhost` on RabbitMQ, `topic:partition:offset` on
/// Kafka. Only on messages in a dead-letter queue.
pub const SOURCE: &str = "sluicegate-source";
/// The attributes that describe why and from where a message was dead-lettered. A redriven one does not have them.
pub const OF_DEAD_LETTER: [&str; 4] = [REASON, CODE, RECEIVE_COUNT, SOURCE];
/// The id that SQS gave the message before it was first sent again, to a dead-letter queue or from one, at most
/// [`MESSAGE_ID_CHARS_MAX`] characters; on Kafka the place of a record before it was first redriven. Only on messages
/// whose body is not an event, which has an id itself: the key of such a message stays the same. A redriven message
/// keeps it, unless its body was edited.
pub const MESSAGE_ID: &str = "sluicegate-message-id";
/// See [`MESSAGE_ID`]: on SQS.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>
pub const MESSAGE_ID_CHARS_MAX: usize = 100;
/// How often the message was redriven: a Number on SQS, a signed 32-bit integer on RabbitMQ, and digits on Kafka.
pub const REDRIVES: &str = "sluicegate-redrives";
