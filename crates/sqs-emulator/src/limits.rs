//! The limits of Amazon SQS, each with its source.
//!
//! "API" is <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>, "guide" is
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/>.

use std::ops::RangeInclusive;

use crate::clock::EpochMs;

/// Largest number of entries of one batch call. API SendMessageBatch.
pub const BATCH_ENTRIES_MAX: usize = 10;
/// Largest sum of all bodies and attributes of one `SendMessageBatch`, in bytes. API SendMessageBatch.
pub const BATCH_BYTES_MAX: usize = 1_048_576;
/// Longest id of a batch entry, in characters. API SendMessageBatchRequestEntry.
pub const BATCH_ENTRY_ID_CHARS_MAX: usize = 80;
/// Attribute `MaximumMessageSize`, which is also the limit of a message. API CreateQueue.
pub const MESSAGE_BYTES: RangeInclusive<u32> = 1_024..=1_048_576;
/// Largest number of attributes of one message. Guide sqs-message-metadata.
pub const MESSAGE_ATTRIBUTES_MAX: usize = 10;
/// Longest name of a message attribute, and longest data type, in characters. Guide sqs-message-metadata.
pub const MESSAGE_ATTRIBUTE_NAME_CHARS_MAX: usize = 256;
/// Largest number of digits of a `Number` attribute. Guide sqs-message-metadata.
pub const NUMBER_DIGITS_MAX: usize = 38;
/// Number of messages of one `ReceiveMessage`. API ReceiveMessage.
pub const RECEIVE_MESSAGES: RangeInclusive<i64> = 1..=10;
/// Longest `MessageGroupId` and `MessageDeduplicationId`, in characters. API SendMessage.
pub const FIFO_ID_CHARS_MAX: usize = 128;
/// Longest `ReceiveRequestAttemptId`, in characters. API ReceiveMessage.
pub const ATTEMPT_ID_CHARS_MAX: usize = 128;
/// Visibility timeout, in seconds; a change may not exceed the maximum, counted from the receive. API
/// ChangeMessageVisibility.
pub const VISIBILITY_S: RangeInclusive<u32> = 0..=43_200;
/// Delay of a queue or a message, in seconds. API CreateQueue.
pub const DELAY_S: RangeInclusive<u32> = 0..=900;
/// Wait of a long poll, in seconds. API ReceiveMessage.
pub const WAIT_S: RangeInclusive<u32> = 0..=20;
/// Retention of messages, in seconds. API CreateQueue.
pub const RETENTION_S: RangeInclusive<u32> = 60..=1_209_600;
/// Lifetime of a KMS data key, in seconds. API CreateQueue.
pub const KMS_DATA_KEY_REUSE_S: RangeInclusive<u32> = 60..=86_400;
/// Default lifetime of a KMS data key, in seconds. API CreateQueue.
pub const KMS_DATA_KEY_REUSE_S_DEFAULT: u32 = 300;
/// `maxReceiveCount` of a redrive policy. API CreateQueue.
pub const RECEIVE_COUNT: RangeInclusive<u32> = 1..=1_000;
/// Default `maxReceiveCount` of a redrive policy. API CreateQueue.
pub const RECEIVE_COUNT_DEFAULT: u32 = 10;
/// Largest number of `sourceQueueArns` of a redrive allow policy. API CreateQueue.
pub const REDRIVE_SOURCES_MAX: usize = 10;
/// Largest number of messages in flight per queue, standard and FIFO alike. API ChangeMessageVisibility.
pub const IN_FLIGHT_MAX: usize = 120_000;
/// Time for which a FIFO queue keeps a deduplication id or a receive attempt. API SendMessage, ReceiveMessage.
pub const DEDUPLICATION_WINDOW_MS: EpochMs = 300_000;
/// Time between two purges of one queue. API PurgeQueue.
pub const PURGE_INTERVAL_MS: EpochMs = 60_000;
/// Time for which the name of a deleted queue cannot be used. API CreateQueue.
pub const DELETED_NAME_BLOCKED_MS: EpochMs = 60_000;
/// Longest name of a queue, in characters, `.fifo` included. API CreateQueue.
pub const QUEUE_NAME_CHARS_MAX: usize = 80;
/// Largest number of tags of one queue. Guide sqs-queue-tags.
pub const TAGS_MAX: usize = 50;
/// Number of queues of one `ListQueues` or `ListDeadLetterSourceQueues` page. API ListQueues.
pub const LIST_RESULTS: RangeInclusive<i64> = 1..=1_000;
/// Number of tasks of one `ListMessageMoveTasks`. API ListMessageMoveTasks.
pub const MOVE_TASKS_LISTED: RangeInclusive<i64> = 1..=10;
/// Messages per second of a message move task; the maximum is also the default. API StartMessageMoveTask.
pub const MOVES_PER_S: RangeInclusive<i64> = 1..=500;
