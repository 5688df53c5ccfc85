//! The settings of an SQS event source mapping.

use std::time::Duration;

use serde_json::Value;

/// With how many concurrent batches Lambda starts, and with how many a mapping without `MaximumConcurrency` works here.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
pub const CONCURRENT_BATCHES_START: u16 = 5;

/// What is fed from which queue, and how. The values are expected within Lambda's limits; the template reader checks them.
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
    /// The most messages per invocation.
    pub batch_size: usize,
    /// How long to gather messages after the first; zero for a FIFO queue.
    pub batching_window: Duration,
    /// The most batches at a time; [`CONCURRENT_BATCHES_START`] if not set.
    pub maximum_concurrency: Option<u16>,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`; otherwise the response is ignored.
    pub report_batch_item_failures: bool,
    /// The parsed `Pattern` of each filter.
    pub filters: Vec<Value>,
    /// Is it a FIFO queue? Its group lock keeps batches of one group apart; this keeps the parts of one receive apart.
    pub fifo: bool,
}
