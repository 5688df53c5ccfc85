//! The archive of everything admitted: CloudEvents in S3, one a line, by the hour and the type.
//!
//! A route with `archive: true` sends each message to the queue `archive` too. A function with [`serve`] (feature
//! `archiver`) takes them from there in large batches and writes an object for each hour and type of a batch:
//!
//! ```text
//! archive/date=2026-11-29/hour=10/event_type=order.placed/0f6a….jsonl.zst
//! ```
//!
//! - **Format.** Each line is an envelope as it was on the queue: a CloudEvent in JSON. Line breaks between the tokens
//!   of a payload are spaces, because a line is an event. The file is one zstd frame with a checksum. Date and hour are
//!   those of the event's `time` in UTC; the folders are partitions as Athena, Spark and DuckDB read them.
//! - **No loss.** A message is deleted from its queue after PutObject has succeeded for its line.
//! - **Repeats.** A batch that is delivered again is written again. With the same messages it has the same name and the
//!   same bytes; with others, an event is in two objects, with the same `id` and `source`. So is one that a
//!   repeated request has sent in another hour. A reader drops the second.
//!
//! [`Archive`] lists and reads the objects, in S3 or in a folder with a copy of them.

#[cfg(feature = "archiver")]
mod archiver;
mod hour;
mod key;
mod object;
mod reader;

#[cfg(feature = "archiver")]
pub use archiver::{Archiver, serve};
pub use hour::Hour;
pub use key::{ObjectKey, PREFIX};
pub use object::{OBJECT_BYTES_MAX, ObjectError, line, read, write};
pub use reader::{Archive, ArchiveError};
pub use sluicegate_aws_client::AwsEnvironment;
