//! The settings of an SQS event source mapping.

use std::time::Duration;

use serde_json::Value;

/// The number of concurrent batches with which Lambda starts; here also the limit without `MaximumConcurrency`.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
pub const CONCURRENT_BATCHES_START: u16 = 5;

/// The settings of a mapping. The values must be within Lambda's limits.
#[derive(Debug, Clone)]
pub struct SqsMappingSpec {
    /// The function's name.
    pub function: String,
    /// The queue's name.
    pub queue_name: String,
    /// Its ARN; the Region is read from it.
    pub queue_arn: String,
    /// Its URL.
    pub queue_url: String,
    /// The largest number of messages per invocation.
    pub batch_size: usize,
    /// The time to gather messages after the first; zero for a FIFO queue.
    pub batching_window: Duration,
    /// The largest number of concurrent batches; [`CONCURRENT_BATCHES_START`] if not set.
    pub maximum_concurrency: Option<u16>,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`; otherwise the response is ignored.
    pub report_batch_item_failures: bool,
    /// The parsed `Pattern` of each filter.
    pub filters: Vec<Value>,
    /// Whether the queue is FIFO. Its group lock separates the batches of a group; this flag separates the parts of
    /// one receive.
    pub fifo: bool,
}
