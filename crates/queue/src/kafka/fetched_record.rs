//! [`FetchedRecord`], and the record batches of format 2 that a broker returns.
//!
//! <https://kafka.apache.org/documentation/#recordbatch>

use super::compression::Compression;
use super::record::{MAGIC, crc32c};
use super::wire::{Decoder, Malformed};

/// The bits of the attributes of a batch.
const COMPRESSION_BITS: i16 = 0b111;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const CONTROL_BIT: i16 = 1 << 5;

/// A record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRecord {
    /// Its offset in its partition.
    pub offset: i64,
    /// Its time, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Whether the broker set the time when it appended the record; otherwise the producer set it.
    pub is_append_time: bool,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in their order. A name may be there several times.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl FetchedRecord {
    /// Returns the value of the last header with this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(own, _)| own == name)?.1.as_deref()
    }
}

/// Why a batch is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BatchError {
    /// The batch is not one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its checksum is wrong.
    #[error("the batch at offset {0} has a wrong checksum")]
    Checksum(i64),
    /// It is from before Kafka 0.11.
    #[error("the batch at offset {offset} has format {magic}, and only format 2 is read")]
    Format { offset: i64, magic: i8 },
    /// Its records cannot be decompressed.
    #[error("the batch at offset {offset} cannot be decompressed: {reason}")]
    Compressed { offset: i64, reason: String },
}

/// Reads the records from `offset` on. Returns them with the offset after the last batch, which may be larger than that
/// of the last record.
pub(super) fn records(batches: &[u8], offset: i64) -> Result<(Vec<FetchedRecord>, i64), BatchError> {
    let (mut records, mut next) = (Vec::new(), offset);
    let mut rest = Decoder(batches);
    // The last batch may be cut off.
    while let Some((base_offset, body)) = batch(&mut rest) {
        match read_batch(base_offset, body, offset, &mut records) {
            Ok(after) => next = next.max(after),
            // What is before it is delivered first.
            Err(_) if !records.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok((records, next))
}

/// Returns the offset and the body of the next batch.
fn batch<'b>(rest: &mut Decoder<'b>) -> Option<(i64, &'b [u8])> {
    Some((rest.i64().ok()?, rest.bytes().ok()?))
}

/// Appends the records of a batch from `offset` on; returns the offset after the batch.
fn read_batch(base_offset: i64, body: &[u8], offset: i64, records: &mut Vec<FetchedRecord>) -> Result<i64, BatchError> {
    let mut body = Decoder(body);
    // The epoch of the leader.
    body.i32()?;
    let magic = body.i8()?;
    if magic != MAGIC {
        return Err(BatchError::Format { offset: base_offset, magic });
    }
    if body.u32()? != crc32c(body.0) {
        return Err(BatchError::Checksum(base_offset));
    }
    let attributes = body.i16()?;
    let last_offset_delta = body.i32()?;
    let (base_ms, max_ms) = (body.i64()?, body.i64()?);
    // The identity of the producer: id, epoch, sequence number.
    body.skip(8 + 2 + 4)?;
    let count = body.i32()?;
    let after = base_offset.saturating_add(i64::from(last_offset_delta)).saturating_add(1);
    if attributes & CONTROL_BIT != 0 || after <= offset {
        return Ok(after);
    }
    let broken = |reason: String| BatchError::Compressed { offset: base_offset, reason };
    let decompressed;
    match Compression::of(attributes & COMPRESSION_BITS) {
        Ok(None) => {}
        Ok(Some(compression)) => {
            decompressed =
                compression.decompress(body.0).map_err(|error| broken(format!("{compression:?}: {error}")))?;
            body = Decoder(&decompressed);
        }
        Err(number) => return Err(broken(format!("compression {number} is not known"))),
    }
    let start = records.len();
    for _ in 0..count {
        let record = body.varint_bytes().and_then(|record| read_record(record.ok_or(Malformed)?, base_offset, base_ms));
        match record {
            Ok(record) if record.offset >= offset => records.push(record),
            Ok(_) => {}
            Err(malformed) => {
                records.truncate(start);
                return Err(malformed.into());
            }
        }
    }
    if attributes & LOG_APPEND_TIME_BIT != 0 {
        for record in &mut records[start..] {
            (record.timestamp_ms, record.is_append_time) = (max_ms, true);
        }
    }
    Ok(after)
}

fn read_record(record: &[u8], base_offset: i64, base_ms: i64) -> Result<FetchedRecord, Malformed> {
    let mut record = Decoder(record);
    // Attributes, which are unused.
    record.skip(1)?;
    let timestamp_ms = base_ms.saturating_add(record.varint()?);
    let offset = base_offset.saturating_add(record.varint()?);
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let (key, value) = (owned(record.varint_bytes()?), owned(record.varint_bytes()?));
    let headers = (0..record.varint()?).map(|_| {
        let name = record.varint_bytes()?.ok_or(Malformed)?;
        Ok((String::from_utf8_lossy(name).into_owned(), owned(record.varint_bytes()?)))
    });
    let headers = headers.collect::<Result<_, _>>()?;
    Ok(FetchedRecord { offset, timestamp_ms, is_append_time: false, key, value, headers })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::record::{ProducerIdentity, Record, batch};
    use super::*;

    fn encoded(values: &[&[u8]], base_offset: i64) -> Vec<u8> {
        let record = |value: &&[u8]| Record::new(Some(b"k"), Some(value), std::iter::empty());
        let records: Vec<_> = values.iter().map(record).collect();
        let producer = ProducerIdentity { id: 7, epoch: 0, next_sequence: 0 };
        let mut batch = batch(records.iter(), producer, UNIX_EPOCH + Duration::from_secs(5));
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        batch
    }

    fn offsets(read: &(Vec<FetchedRecord>, i64)) -> (Vec<i64>, i64) {
        (read.0.iter().map(|record| record.offset).collect(), read.1)
    }

    /// Changes the attributes of a batch, and its checksum with them.
    fn with_attributes(mut batch: Vec<u8>, attributes: i16) -> Vec<u8> {
        batch[21..23].copy_from_slice(&attributes.to_be_bytes());
        let checksum = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
        batch
    }

    #[test]
    fn what_the_producer_writes_is_read_from_any_offset_on() {
        let batches = [encoded(&[b"a", b"b", b"c"], 10), encoded(&[b"d"], 13)].concat();
        let read = records(&batches, 11).unwrap();
        assert_eq!(offsets(&read), (vec![11, 12, 13], 14));
        let expected = FetchedRecord {
            offset: 11,
            timestamp_ms: 5_000,
            is_append_time: false,
            key: Some(b"k".to_vec()),
            value: Some(b"b".to_vec()),
            headers: Vec::new(),
        };
        assert_eq!(read.0[0], expected);
        assert_eq!(offsets(&records(&batches, 14).unwrap()), (vec![], 14));
        assert_eq!(offsets(&records(&[], 4).unwrap()), (vec![], 4));
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_out() {
        let first = encoded(&[b"a"], 0);
        let batches = [first.clone(), encoded(&[b"b"], 1)].concat();
        for end in first.len()..batches.len() {
            assert_eq!(offsets(&records(&batches[..end], 0).unwrap()), (vec![0], 1), "{end}");
        }
    }

    #[test]
    fn control_batches_are_skipped_and_the_time_may_be_that_of_the_broker() {
        let control = with_attributes(encoded(&[b"commit"], 0), CONTROL_BIT);
        assert_eq!(offsets(&records(&control, 0).unwrap()), (vec![], 1));
        let appended = with_attributes(encoded(&[b"a"], 0), LOG_APPEND_TIME_BIT);
        assert!(records(&appended, 0).unwrap().0[0].is_append_time);
    }

    #[test]
    fn what_is_not_read_is_an_error_after_the_records_before_it() {
        let zipped = with_attributes(encoded(&[b"z"], 1), 5);
        let reason = "compression 5 is not known".to_owned();
        assert_eq!(records(&zipped, 0), Err(BatchError::Compressed { offset: 1, reason }));
        let both = [encoded(&[b"a"], 0), zipped].concat();
        assert_eq!(offsets(&records(&both, 0).unwrap()), (vec![0], 1));
        let mut wrong = encoded(&[b"a"], 0);
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(records(&wrong, 0), Err(BatchError::Checksum(0)));
        wrong[16] = 1;
        assert_eq!(records(&wrong, 0), Err(BatchError::Format { offset: 0, magic: 1 }));
    }

    #[test]
    fn a_batch_with_hostile_lengths_is_malformed() {
        let whole = encoded(&[b"value"], 0);
        for place in BATCH_RECORDS_START..whole.len() {
            let mut batch = whole.clone();
            batch[place] = 0xff;
            // The checksum fits, so the records are read.
            let _ = records(&with_attributes(batch, 0), 0);
        }
        let mut many = whole;
        many[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(records(&with_attributes(many, 0), 0), Err(BatchError::Malformed(Malformed)));
    }

    /// The bytes of a batch before its records.
    const BATCH_RECORDS_START: usize = super::super::record::BATCH_HEAD_BYTES;
}
