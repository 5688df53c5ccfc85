//! Dead-letter queues worked on: nothing is lost, and nothing is where it should not be.

mod binary;
mod faults;
mod rabbitmq;
mod sqs;
