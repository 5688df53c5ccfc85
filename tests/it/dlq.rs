//! Operations on dead-letter queues: no message is lost, duplicated without need or sent to a wrong queue.

pub(crate) mod binary;
mod faults;
mod kafka;
mod rabbitmq;
mod sqs;
