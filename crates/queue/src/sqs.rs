//! Amazon SQS, standard and FIFO. A receipt needs an answer with a message id and the MD5 of the body.
//!
//! [`SqsProducer`] sends an envelope, and [`SqsClient`] a message as it is. With the feature `sdk`, `store` sends one
//! through a client of the SDK, with the same proof.
//!
//! [`CoalescingProducer`] sends the messages of concurrent callers in common calls.
//!
//! On a FIFO queue the envelope's id is the deduplication id, so a repeated send is stored once within five minutes.
//! For a replayed event, the name of the replay is part of it. SQS answers a repeat with the MD5 of the sent body, not
//! of the stored one: two different messages must not share an id. On a standard queue a repeated send may be stored
//! twice, under one envelope id.
//!
//! The group is passed on to both kinds: it orders a FIFO queue and shares a standard queue fairly. A FIFO message
//! without a group becomes a group by itself, because a shared default group would make all such messages wait for each
//! other.

mod batch_entry;
mod change_visibility;
mod client;
mod coalescing_producer;
mod limits;
#[cfg(feature = "s3")]
mod payload_store;
mod pointer;
mod producer;
#[cfg(feature = "sdk")]
mod progress;
mod proof;
mod redrive_policy;
mod send_message;
mod send_message_batch;
#[cfg(feature = "sdk")]
mod store;
#[cfg(test)]
mod tests;

pub use self::batch_entry::{BATCH_ENTRIES_MAX, FailedEntry};
pub use self::change_visibility::VisibilityEntry;
pub use self::client::{SqsClient, SqsError};
pub use self::coalescing_producer::{COALESCE_DELAY_MAX, CoalescingProducer};
pub use self::limits::{ATTRIBUTES_MAX, DELAY_S_MAX, MESSAGE_BYTES_MAX, TOKEN_CHARS_MAX, is_sendable};
#[cfg(feature = "s3")]
pub use self::payload_store::PayloadStore;
pub use self::pointer::{MARKERS, OBJECT_BYTES_MAX, Pointer, PointerError, STATUS_ID};
pub use self::producer::SqsProducer;
#[cfg(feature = "sdk")]
pub use self::progress::is_throttled;
pub use self::proof::body_md5;
pub use self::send_message::{AttributeValue, SendMessage, SystemAttributes};
#[cfg(feature = "sdk")]
pub use self::store::{RawMessage, error_text, store};
#[cfg(feature = "sdk")]
pub use crate::aws::{SdkConfig, sdk_config};
#[cfg(feature = "s3")]
pub use sluicegate_aws_client::S3Error;
pub use sluicegate_aws_client::{AwsConfigError, AwsEnvironment, CallError};
