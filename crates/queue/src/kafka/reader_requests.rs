//! The requests of a reader and their responses (<https://kafka.apache.org/protocol.html#protocol_messages>), each for
//! one partition.

use super::error_code::ErrorCode;
use super::requests::Api;
use super::wire::{Decoder, Encoder, Malformed};

// In versions that Kafka 4 kept.
pub(super) const FETCH: Api = Api::Reader(1, 4);
pub(super) const LIST_OFFSETS: Api = Api::Reader(2, 1);
pub(super) const OFFSET_COMMIT: Api = Api::Reader(8, 2);
pub(super) const OFFSET_FETCH: Api = Api::Reader(9, 1);
pub(super) const FIND_COORDINATOR: Api = Api::Reader(10, 1);
/// The first version that takes the broker's numbers of partitions and replicas.
pub(super) const CREATE_TOPICS: Api = Api::Reader(19, 4);

/// The replica id of a client.
const NO_REPLICA: i32 = -1;

/// Returns a request for the records of a partition from `offset` on, for which the broker waits up to `wait_ms`.
pub(super) fn fetch(topic: &str, partition: i32, offset: i64, wait_ms: i32, bytes_max: i32) -> Vec<u8> {
    let mut body = Encoder::default();
    body.i32(NO_REPLICA);
    body.i32(wait_ms);
    // At least one byte, and the most of the response.
    body.i32(1);
    body.i32(bytes_max);
    // Records of open transactions too.
    body.i8(0);
    of_partition(&mut body, topic, partition);
    body.i64(offset);
    body.i32(bytes_max);
    body.0
}

/// A part of the log of a partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FetchedBatches<'r> {
    pub(super) error: ErrorCode,
    /// Record batches, the last of which may be cut off.
    pub(super) batches: &'r [u8],
}

/// Reads the response to [`fetch`].
pub(super) fn fetched(response: &[u8]) -> Result<FetchedBatches<'_>, Malformed> {
    let mut response = Decoder(response);
    // The time by which the broker delayed the response.
    response.i32()?;
    first(&mut response, |partition| {
        partition.i32()?;
        let error = ErrorCode(partition.i16()?);
        // The ends of the log: of all records, and of those of finished transactions.
        partition.skip(8 + 8)?;
        partition.elements(|aborted| aborted.skip(8 + 8))?;
        Ok(FetchedBatches { error, batches: partition.nullable_bytes()?.unwrap_or_default() })
    })
}

/// Returns a request for the first offset whose record is not older than a time; -1 and -2 are the end and the start of
/// the log.
pub(super) fn list_offset(topic: &str, partition: i32, timestamp_ms: i64) -> Vec<u8> {
    let mut body = Encoder::default();
    body.i32(NO_REPLICA);
    of_partition(&mut body, topic, partition);
    body.i64(timestamp_ms);
    body.0
}

/// Reads the response to [`list_offset`]; the offset is negative if no record is that new.
pub(super) fn listed_offset(response: &[u8]) -> Result<(ErrorCode, i64), Malformed> {
    first(&mut Decoder(response), |partition| {
        partition.i32()?;
        let error = ErrorCode(partition.i16()?);
        partition.i64()?;
        Ok((error, partition.i64()?))
    })
}

/// Returns a request for the broker that keeps the offsets of a group.
pub(super) fn find_coordinator(group: &str) -> Vec<u8> {
    let mut body = Encoder::default();
    body.string(group);
    // The key is that of a group.
    body.i8(0);
    body.0
}

/// Reads the host and the port in the response to [`find_coordinator`].
pub(super) fn coordinator(response: &[u8]) -> Result<Result<(String, i32), ErrorCode>, Malformed> {
    let mut response = Decoder(response);
    response.i32()?;
    let error = ErrorCode(response.i16()?);
    response.nullable_string()?;
    response.i32()?;
    let address = (response.string()?.to_owned(), response.i32()?);
    Ok(if error == ErrorCode::NONE { Ok(address) } else { Err(error) })
}

/// Returns a request for the committed offset of a group.
pub(super) fn offset_fetch(group: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut body = Encoder::default();
    body.string(group);
    of_partition(&mut body, topic, partition);
    body.0
}

/// Reads the offset and the metadata in the response to [`offset_fetch`]; the offset is negative if none is committed.
pub(super) fn committed_offset(response: &[u8]) -> Result<(ErrorCode, (i64, String)), Malformed> {
    first(&mut Decoder(response), |partition| {
        partition.i32()?;
        let offset = partition.i64()?;
        let metadata = partition.nullable_string()?.unwrap_or_default().to_owned();
        Ok((ErrorCode(partition.i16()?), (offset, metadata)))
    })
}

/// Returns a request to commit an offset with metadata for a group without members. The retention is that of the broker
/// if it is negative.
pub(super) fn offset_commit(
    group: &str,
    (topic, partition): (&str, i32),
    offset: i64,
    metadata: &str,
    retention_ms: i64,
) -> Vec<u8> {
    let mut body = Encoder::default();
    body.string(group);
    // Neither a generation nor a member.
    body.i32(-1);
    body.string("");
    body.i64(retention_ms);
    of_partition(&mut body, topic, partition);
    body.i64(offset);
    body.string(metadata);
    body.0
}

/// Reads the response to [`offset_commit`].
pub(super) fn offset_committed(response: &[u8]) -> Result<ErrorCode, Malformed> {
    first(&mut Decoder(response), |partition| {
        partition.i32()?;
        partition.i16().map(ErrorCode)
    })
}

/// Returns a request for every topic that the user may see.
pub(super) fn all_topics() -> Vec<u8> {
    let mut body = Encoder::default();
    // No array in place of the names.
    body.i32(-1);
    // Creates no topic.
    body.i8(0);
    body.0
}

/// Returns a request to create a topic with the broker's numbers of partitions and replicas.
pub(super) fn create_topic(topic: &str, timeout_ms: i32) -> Vec<u8> {
    let mut body = Encoder::default();
    body.length(1);
    body.string(topic);
    body.i32(-1);
    body.i16(-1);
    // Neither assignments nor settings.
    body.length(0);
    body.length(0);
    body.i32(timeout_ms);
    // Not only a validation.
    body.i8(0);
    body.0
}

/// Reads the error and its reason in the response to [`create_topic`].
pub(super) fn topic_created(response: &[u8]) -> Result<(ErrorCode, String), Malformed> {
    let mut response = Decoder(response);
    response.i32()?;
    let topics = response.elements(|topic| {
        topic.string()?;
        let error = ErrorCode(topic.i16()?);
        Ok((error, topic.nullable_string()?.unwrap_or_default().to_owned()))
    })?;
    topics.into_iter().next().ok_or(Malformed)
}

/// Appends the start of an array of one topic with one partition.
fn of_partition(body: &mut Encoder, topic: &str, partition: i32) {
    body.length(1);
    body.string(topic);
    body.length(1);
    body.i32(partition);
}

/// Reads topics with partitions, and returns the first partition.
fn first<'r, T>(
    response: &mut Decoder<'r>,
    read: impl Fn(&mut Decoder<'r>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let topics = response.elements(|topic| {
        topic.string()?;
        topic.elements(&read)
    })?;
    topics.into_iter().flatten().next().ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_any_response_is_malformed_and_never_a_success() {
        let mut fetch = Encoder::default();
        fetch.i32(0);
        of_partition(&mut fetch, "orders", 3);
        fetch.i16(1);
        fetch.i64(7);
        fetch.i64(7);
        fetch.length(0);
        fetch.bytes(b"batch");
        assert_eq!(fetched(&fetch.0), Ok(FetchedBatches { error: ErrorCode(1), batches: b"batch" }));
        let mut committed = Encoder::default();
        of_partition(&mut committed, "orders", 3);
        committed.i64(42);
        committed.null_string();
        committed.i16(0);
        assert_eq!(committed_offset(&committed.0), Ok((ErrorCode::NONE, (42, String::new()))));
        for end in 0..fetch.0.len() {
            assert_eq!(fetched(&fetch.0[..end]), Err(Malformed), "{end}");
        }
        for end in 0..committed.0.len() {
            assert_eq!(committed_offset(&committed.0[..end]), Err(Malformed), "{end}");
        }
        // A response without the partition.
        assert_eq!(offset_committed(&[0, 0, 0, 0]), Err(Malformed));
        assert_eq!(topic_created(&[0; 8]), Err(Malformed));
    }
}
