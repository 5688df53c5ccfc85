//! The kinds of requests, and those of a producer with their responses
//! (<https://kafka.apache.org/protocol.html#protocol_messages>).

use super::error_code::ErrorCode;
use super::wire::{Decoder, Encoder, Malformed};

/// The name of this client in the broker's logs and quotas.
const CLIENT_ID: &str = "sluicegate";

/// The bytes of the size that precedes each request and each response.
pub(super) const SIZE_BYTES: usize = 4;

/// A request with its key and version. None is of a flexible version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Produce,
    Metadata,
    SaslHandshake,
    Versions,
    InitProducerId,
    SaslAuthenticate,
    /// A request of a reader: its key and version.
    #[cfg(feature = "kafka-reader")]
    Reader(i16, i16),
}

impl Api {
    const fn key_and_version(self) -> (i16, i16) {
        match self {
            // With the reason of a refusal.
            Self::Produce => (0, 8),
            // The first that can ask not to create a topic.
            Self::Metadata => (3, 4),
            Self::SaslHandshake => (17, 1),
            // ApiVersions, without a body.
            Self::Versions => (18, 0),
            Self::InitProducerId => (22, 1),
            // With the lifetime of the session.
            Self::SaslAuthenticate => (36, 1),
            #[cfg(feature = "kafka-reader")]
            Self::Reader(key, version) => (key, version),
        }
    }
}

/// Returns the frame of a request. Its correlation id is that of the response.
pub(super) fn frame(api: Api, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let (key, version) = api.key_and_version();
    let mut frame = Encoder(Vec::with_capacity(body.len() + 32));
    frame.length(2 + 2 + 4 + 2 + CLIENT_ID.len() + body.len());
    frame.i16(key);
    frame.i16(version);
    frame.i32(correlation_id);
    frame.string(CLIENT_ID);
    frame.0.extend(body);
    frame.0
}

/// Returns a request to append `batch` to one partition on all in-sync replicas.
pub(super) fn produce(topic: &str, partition: i32, batch: &[u8], timeout_ms: i32) -> Vec<u8> {
    const ACKS_ALL: i16 = -1;
    let mut body = Encoder(Vec::with_capacity(batch.len() + topic.len() + 32));
    body.null_string();
    body.i16(ACKS_ALL);
    body.i32(timeout_ms);
    body.length(1);
    body.string(topic);
    body.length(1);
    body.i32(partition);
    body.bytes(batch);
    body.0
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Produced {
    pub(super) error: ErrorCode,
    /// The broker's reason, empty if it gives none.
    pub(super) reason: String,
    /// The offset of the first record, negative if the broker does not know it.
    pub(super) offset: i64,
}

/// Reads the response to [`produce`].
pub(super) fn produced(response: &[u8]) -> Result<Produced, Malformed> {
    let topics = Decoder(response).elements(|topic| {
        topic.string()?;
        topic.elements(|partition| {
            partition.i32()?;
            let (error, offset) = (ErrorCode(partition.i16()?), partition.i64()?);
            // The time and the start of the log.
            partition.skip(8 + 8)?;
            let records = partition.elements(|record| {
                record.i32()?;
                Ok(record.nullable_string()?.unwrap_or_default())
            })?;
            let whole = partition.nullable_string()?;
            let reason = records.iter().copied().chain(whole).find(|reason| !reason.is_empty());
            Ok(Produced { error, reason: reason.unwrap_or_default().to_owned(), offset })
        })
    })?;
    topics.into_iter().flatten().next().ok_or(Malformed)
}

/// Returns a request for the brokers and the partitions of a topic. It does not create the topic.
pub(super) fn metadata(topic: &str) -> Vec<u8> {
    let mut body = Encoder::default();
    body.length(1);
    body.string(topic);
    body.i8(0);
    body.0
}

/// The brokers of a cluster and the partitions of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The id, host and port of each broker.
    pub(super) brokers: Vec<(i32, String, i32)>,
    pub(super) topics: Vec<TopicMetadata>,
}

/// The partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicMetadata {
    pub(super) name: String,
    pub(super) error: ErrorCode,
    /// The index of each partition and the broker that leads it, negative for none.
    pub(super) partitions: Vec<(i32, i32)>,
}

/// Reads the response to [`metadata`].
pub(super) fn read_metadata(response: &[u8]) -> Result<Metadata, Malformed> {
    let mut response = Decoder(response);
    // The time by which the broker delayed the response.
    response.i32()?;
    let brokers = response.elements(|broker| {
        let broker_id = broker.i32()?;
        let (host, port) = (broker.string()?.to_owned(), broker.i32()?);
        broker.nullable_string()?;
        Ok((broker_id, host, port))
    })?;
    // The cluster's id and its controller.
    response.nullable_string()?;
    response.i32()?;
    let topics = response.elements(|topic| {
        let error = ErrorCode(topic.i16()?);
        let name = topic.string()?.to_owned();
        topic.skip(1)?;
        let partitions = topic.elements(|partition| {
            partition.i16()?;
            let (index, leader) = (partition.i32()?, partition.i32()?);
            partition.elements(Decoder::i32)?;
            partition.elements(Decoder::i32)?;
            Ok((index, leader))
        })?;
        Ok(TopicMetadata { name, error, partitions })
    })?;
    Ok(Metadata { brokers, topics })
}

/// Returns a request for the identity of a producer without transactions.
pub(super) fn init_producer_id() -> Vec<u8> {
    let mut body = Encoder::default();
    body.null_string();
    // The timeout of a transaction.
    body.i32(0);
    body.0
}

/// Reads the id and the epoch in the response to [`init_producer_id`].
pub(super) fn producer_id(response: &[u8]) -> Result<Result<(i64, i16), ErrorCode>, Malformed> {
    let mut response = Decoder(response);
    response.i32()?;
    let error = ErrorCode(response.i16()?);
    let identity = (response.i64()?, response.i16()?);
    Ok(if error == ErrorCode::NONE { Ok(identity) } else { Err(error) })
}

/// Returns a request to log in by a mechanism.
pub(super) fn sasl_handshake(mechanism: &str) -> Vec<u8> {
    let mut body = Encoder::default();
    body.string(mechanism);
    body.0
}

/// Reads the response to [`sasl_handshake`]: the error and the mechanisms that the broker offers.
pub(super) fn sasl_mechanisms(response: &[u8]) -> Result<(ErrorCode, Vec<String>), Malformed> {
    let mut response = Decoder(response);
    let error = ErrorCode(response.i16()?);
    Ok((error, response.elements(|mechanism| mechanism.string().map(str::to_owned))?))
}

/// Returns a request with one message of a mechanism.
pub(super) fn sasl_authenticate(message: &[u8]) -> Vec<u8> {
    let mut body = Encoder::default();
    body.bytes(message);
    body.0
}

/// The response to one message of a mechanism.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authenticated {
    pub(super) error: ErrorCode,
    pub(super) reason: String,
    pub(super) message: Vec<u8>,
    /// The time until the broker closes the connection, in milliseconds; 0 for none.
    pub(super) lifetime_ms: i64,
}

/// Reads the response to [`sasl_authenticate`].
pub(super) fn authenticated(response: &[u8]) -> Result<Authenticated, Malformed> {
    let mut response = Decoder(response);
    let error = ErrorCode(response.i16()?);
    let reason = response.nullable_string()?.unwrap_or_default().to_owned();
    Ok(Authenticated { error, reason, message: response.bytes()?.to_vec(), lifetime_ms: response.i64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_size_key_version_correlation_and_client() {
        let expected = [&[0, 0, 0, 23, 0, 3, 0, 4, 0, 0, 0, 9, 0, 10][..], b"sluicegate", b"abc"].concat();
        assert_eq!(frame(Api::Metadata, 9, b"abc"), expected);
    }

    #[test]
    fn a_part_of_any_response_is_malformed_and_never_a_success() {
        let mut produce = Encoder::default();
        produce.length(1);
        produce.string("orders");
        produce.length(1);
        produce.i32(0);
        produce.i16(87);
        produce.i64(-1);
        produce.i64(-1);
        produce.i64(0);
        produce.length(1);
        produce.i32(0);
        produce.string("no key");
        produce.null_string();
        let refused = Produced { error: ErrorCode(87), reason: "no key".to_owned(), offset: -1 };
        assert_eq!(produced(&produce.0), Ok(refused));
        for end in 0..produce.0.len() {
            assert_eq!(produced(&produce.0[..end]), Err(Malformed), "{end}");
        }
        // A response without the partition.
        assert_eq!(produced(&[0, 0, 0, 0]), Err(Malformed));
    }
}
