//! Checks of queues: type, size, encryption.

use super::{Check, Findings, Model, Severity};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "fifo-throughput",
        severity: Severity::Warning,
        title: "a FIFO queue is not in high throughput mode",
        why: "The whole queue is limited to 300 calls a second (3,000 messages in batches); beyond that SQS throttles, and requests wait or get a 503. One of the two settings alone has no effect.",
        fix: "Set both DeduplicationScope: messageGroup and FifoThroughputLimit: perMessageGroupId.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/high-throughput-fifo.html",
        find: fifo_throughput,
    },
    Check {
        id: "fifo-dead-letter-order",
        severity: Severity::Info,
        title: "a FIFO queue has a dead-letter queue, so a dead letter loses its place in the order",
        why: "Once a message is in the dead-letter queue, the later ones of its group are delivered. When it is redriven, it comes after them.",
        fix: "Nothing, if the consumer tolerates that. Otherwise stop the group's later messages in the consumer.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html",
        find: fifo_dead_letter_order,
    },
    Check {
        id: "message-size",
        severity: Severity::Error,
        title: "a queue accepts only smaller messages than its routes admit",
        why: "SQS refuses a larger message, so requests that the contract admits are never stored.",
        fix: "Raise the queue's MaximumMessageSize (1048576 at most, the default), lower payloadBytes of the routes, or send what is larger to S3 with largePayloads: s3.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html",
        find: message_size,
    },
    Check {
        id: "encryption-off",
        severity: Severity::Warning,
        title: "a queue is not encrypted at rest",
        why: "SQS stores payloads in clear text. Encryption with SQS's own keys is the default and costs nothing.",
        fix: "Remove SqsManagedSseEnabled: false, or set KmsMasterKeyId.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html",
        find: encryption_off,
    },
];

fn fifo_throughput(model: &Model<'_>, findings: &mut Findings) {
    for queue in model.queues.iter().filter(|queue| queue.is_fifo() && !model.is_dead_letter_queue(queue)) {
        if let (Some(scope), Some(limit)) = (queue.deduplication_scope.as_str(), queue.throughput_limit.as_str())
            && (scope != "messageGroup" || limit != "perMessageGroupId")
        {
            let what = format!("DeduplicationScope is {scope}, FifoThroughputLimit is {limit}");
            findings.add(&queue.origin, "FifoThroughputLimit", what);
        }
    }
}

fn fifo_dead_letter_order(model: &Model<'_>, findings: &mut Findings) {
    for (queue, _, target) in model.redriven().filter(|(queue, _, target)| queue.is_fifo() && target.is_fifo()) {
        findings.add(&queue.origin, "RedrivePolicy", format!("messages leave their group for {}", target.origin.id));
    }
}

fn message_size(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    // What the queue does not accept goes to S3 on a route with large payloads.
    for operation in contract.operations().iter().filter(|operation| !operation.enqueue.large_payloads) {
        for queue in operation.enqueue.queues().flat_map(|queue| model.bound(queue)) {
            let admitted = operation.enqueue.payload_bytes_max as u64;
            // The envelope around the payload takes a few more bytes.
            if let Some(stored) = queue.message_bytes_max.copied().filter(|stored| *stored <= admitted) {
                let what = format!("accepts {stored} bytes, {} admits payloads of {admitted}", operation.id);
                findings.add(&queue.origin, "MaximumMessageSize", what);
            }
        }
    }
}

fn encryption_off(model: &Model<'_>, findings: &mut Findings) {
    for queue in model.queues.iter().filter(|queue| queue.kms_key.is_absent() && queue.managed_encryption.is(&false)) {
        findings.add(&queue.origin, "SqsManagedSseEnabled", "is false, and there is no key");
    }
}
