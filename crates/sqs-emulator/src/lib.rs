//! Amazon SQS in memory: standard and FIFO queues that follow AWS's rules, on an injected clock.
//!
//! [`Sqs`] is the service: it takes an action with its AWS JSON input and returns its output, long polling included.
//! [`serve`] puts it behind HTTP for any AWS SDK, in AWS JSON 1.0 and in the Query protocol. The `sqs-emulator`
//! binary does the same from a shell: `sqs-emulator --port 4566`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use serde_json::json;
//! use sqs_emulator::{Clock, Sqs, SqsConfig, serve};
//!
//! let sqs = Sqs::new(Clock::system(), SqsConfig::default());
//!
//! // For an AWS SDK: its endpoint URL is `url`, and any credentials are accepted.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}", listener.local_addr()?);
//! sqs.set_base_url(&url);
//! tokio::spawn(serve(listener, sqs.clone()));
//!
//! // Or without HTTP:
//! let queue = sqs.call("CreateQueue", json!({ "QueueName": "orders" })).await?;
//! sqs.call("SendMessage", json!({ "QueueUrl": queue["QueueUrl"], "MessageBody": "hello" })).await?;
//! let received = sqs.call("ReceiveMessage", json!({ "QueueUrl": queue["QueueUrl"] })).await?;
//! assert_eq!(received["Messages"][0]["Body"], "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//!
//! Every timeout, delay and window follows a [`Clock`], which follows tokio's: under `tokio::time::pause`, a test of a
//! visibility timeout takes no time. [`Sqs::observe`] reports each step of each message as a [`QueueEvent`].
//!
//! # Limits
//!
//! Messages live in memory until the process ends. Every error has Amazon's name and every quota in [`limits`] its
//! source. Not implemented: propagation delays, throttling, access control (`Policy` is stored but has no effect,
//! `AddPermission` and `RemovePermission` are refused), encryption (its attributes are stored without effect), a set of
//! queues per account and Region (a queue's ARN and URL name those of the caller that created it, and every caller sees
//! it), and empty answers to short polls of queues that have messages.

mod actions;
mod caller;
mod clock;
mod config;
mod engine;
mod error;
mod event;
mod fifo;
pub mod limits;
mod message;
mod message_attribute;
mod move_task;
mod queue;
mod queue_attributes;
mod receipt;
mod redrive;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod text;

pub use caller::Caller;
pub use clock::{Clock, EpochMs};
pub use config::SqsConfig;
pub use error::{ApiError, ErrorKind};
pub use event::QueueEvent;
pub use server::{answer, serve, serve_with};
pub use service::{QueueObserver, Sqs};
