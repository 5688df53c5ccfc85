//! Kafka, on Amazon MSK or elsewhere. A receipt requires `acks=all` from an idempotent producer.
//!
//! [`Cluster`] has the addresses, the login and the connections; [`KafkaProducer`] turns an envelope into a record of a
//! topic, and a [`Publication`] is a record as it is. A record is appended by the task of its partition, one batch at a
//! time and under a sequence number, so that a batch that is sent again after a lost answer is stored once.
//! With the feature `kafka-reader`, `PartitionReader` and `GroupOffsets` read topics: for `cargo local`, in the place
//! of Lambda, and for the dead-letter tool.
//!
//! The client speaks the requests of a producer, and of a reader that is not a member of its group, in versions that
//! brokers accept since Kafka 2.4 and that Kafka 4 did not remove
//! (<https://cwiki.apache.org/confluence/display/KAFKA/KIP-896>). It does not compress and does not use
//! transactions.

mod client_certificate;
mod cluster;
#[cfg(feature = "kafka-reader")]
mod compression;
mod config;
mod connection;
mod error_code;
#[cfg(feature = "kafka-reader")]
mod fetched_record;
mod msk_iam;
mod partition_writer;
mod partitioner;
mod producer;
mod publication;
#[cfg(feature = "kafka-reader")]
mod reader;
#[cfg(feature = "kafka-reader")]
mod reader_requests;
mod record;
mod requests;
mod sasl;
mod wire;

pub use self::cluster::Cluster;
pub use self::config::{ClusterConfig, ClusterConfigError};
#[cfg(feature = "kafka-reader")]
pub use self::fetched_record::FetchedRecord;
pub use self::producer::{ATTRIBUTE_PREFIX, CONTENT_TYPE_HEADER, KafkaProducer, RECORD_BYTES_MAX, event_headers};
pub use self::publication::Publication;
#[cfg(feature = "kafka-reader")]
pub use self::reader::{Commit, FETCH_WAIT_MAX, GroupOffsets, PartitionReader, Position, ReadError};
