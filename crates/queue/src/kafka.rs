//! Kafka, on Amazon MSK or elsewhere. A receipt requires `acks=all` from an idempotent producer.
//!
//! [`Cluster`] has the addresses, the login and the connections; [`KafkaProducer`] turns an envelope into a record of a
//! topic, and a [`Publication`] is a record as it is. A record is appended by the task of its partition, one batch at a
//! time and under a sequence number, so that a batch that is sent again after a lost answer is stored once.
//!
//! The client speaks the five requests of a producer and no more, in versions that brokers accept since Kafka 2.4 and
//! that Kafka 4 did not remove (<https://cwiki.apache.org/confluence/display/KAFKA/KIP-896>). It does not compress,
//! does not use transactions and does not create topics.

mod cluster;
mod config;
mod connection;
mod error_code;
mod partition_writer;
mod partitioner;
mod producer;
mod publication;
mod record;
mod requests;
mod sasl;
mod wire;

pub use self::cluster::Cluster;
pub use self::config::{ClusterConfig, ClusterConfigError};
pub use self::producer::{ATTRIBUTE_PREFIX, CONTENT_TYPE_HEADER, KafkaProducer, RECORD_BYTES_MAX};
pub use self::publication::Publication;
