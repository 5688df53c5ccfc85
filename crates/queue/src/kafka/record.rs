//! [`Record`], and [`batch`], the record batch of format 2 with the identity of an idempotent producer.
//!
//! <https://kafka.apache.org/documentation/#recordbatch>

use std::time::{SystemTime, UNIX_EPOCH};

use super::wire::Encoder;

/// The format of record batches since Kafka 0.11.
pub(super) const MAGIC: i8 = 2;

/// The bytes of a batch before its records.
pub(super) const BATCH_HEAD_BYTES: usize = 61;

/// The most bytes that a record has around its key, value and headers.
pub(super) const RECORD_HEAD_BYTES_MAX: usize = 20;

/// A record: its key, value and headers as they are written.
#[derive(Clone, Debug)]
pub(super) struct Record(Vec<u8>);

impl Record {
    pub(super) fn new<'h>(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> Self {
        let mut encoder = Encoder(Vec::with_capacity(value.map_or(0, <[u8]>::len) + 512));
        encoder.varint_bytes(key);
        encoder.varint_bytes(value);
        encoder.varint(i64::try_from(headers.len()).unwrap_or_default());
        for (name, value) in headers {
            encoder.varint_bytes(Some(name.as_bytes()));
            encoder.varint_bytes(value);
        }
        Self(encoder.0)
    }

    /// Returns an upper limit of the bytes that the record takes in a batch.
    pub(super) fn bytes_max(&self) -> usize {
        self.0.len() + RECORD_HEAD_BYTES_MAX
    }
}

/// The identity of an idempotent producer for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerIdentity {
    pub(super) id: i64,
    pub(super) epoch: i16,
    /// The sequence number of its next record.
    pub(super) next_sequence: i32,
}

impl ProducerIdentity {
    /// Counts the records of a stored batch. Sequence numbers continue with 0 after the largest.
    pub(super) fn advance(&mut self, records: usize) {
        let next = i64::from(self.next_sequence) + i64::try_from(records).unwrap_or_default();
        self.next_sequence = i32::try_from(next % (i64::from(i32::MAX) + 1)).unwrap_or_default();
    }
}

/// Encodes records as one batch. Its timestamp is `now`, because a broker deletes records by their age, and the time of
/// an event is the client's.
pub(super) fn batch<'r>(
    records: impl ExactSizeIterator<Item = &'r Record>,
    producer: ProducerIdentity,
    now: SystemTime,
) -> Vec<u8> {
    let now_ms = now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
    let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);

    let mut checked = Encoder::default();
    // Neither compressed nor transactional; the timestamp is the producer's.
    checked.i16(0);
    checked.i32(count - 1);
    checked.i64(now_ms);
    checked.i64(now_ms);
    checked.i64(producer.id);
    checked.i16(producer.epoch);
    checked.i32(producer.next_sequence);
    checked.i32(count);
    let mut head = Encoder::default();
    for (offset, record) in (0..).zip(records) {
        head.0.clear();
        // Attributes, which are unused, and the difference from the timestamp of the batch.
        head.i8(0);
        head.varint(0);
        head.varint(offset);
        checked.varint(i64::try_from(head.0.len() + record.0.len()).unwrap_or(i64::MAX));
        checked.0.extend(&head.0);
        checked.0.extend(&record.0);
    }

    let mut batch = Encoder(Vec::with_capacity(checked.0.len() + 21));
    // The broker assigns the offset and the epoch of the leader.
    batch.i64(0);
    batch.length(checked.0.len() + 9);
    batch.i32(-1);
    batch.i8(MAGIC);
    batch.u32(crc32c(&checked.0));
    batch.0.extend(checked.0);
    batch.0
}

/// Returns the CRC-32C (Castagnoli) of bytes (RFC 3720, appendix B.4).
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let (mut table, mut index) = ([0; 256], 0_u32);
        while index < 256 {
            let (mut value, mut bit) = (index, 0);
            while bit < 8 {
                value = if value & 1 == 1 { 0x82f6_3b78 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[index as usize] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_batch_has_the_layout_of_format_2() {
        let headers = [("h", Some(&b"1"[..])), ("n", None)];
        let records = [
            Record::new(Some(b"k"), Some(b"value"), headers.into_iter()),
            Record::new(None, Some(b""), std::iter::empty()),
        ];
        let producer = ProducerIdentity { id: 7, epoch: 2, next_sequence: 9 };
        let batch = batch(records.iter(), producer, UNIX_EPOCH + Duration::from_millis(1_000));
        let expected = [
            &[0, 0, 0, 0, 0, 0, 0, 0][..],
            &[0, 0, 0, 76],
            &[255, 255, 255, 255],
            &[2],
            &crc32c(&batch[21..]).to_be_bytes(),
            &[0, 0],
            &[0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 3, 232],
            &[0, 0, 0, 0, 0, 0, 3, 232],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 2],
            &[0, 0, 0, 9],
            &[0, 0, 0, 2],
            // Length 19, attributes, timestamp, offset, key, value, a header, and one without a value.
            &[38, 0, 0, 0, 2, b'k', 10, b'v', b'a', b'l', b'u', b'e', 4, 2, b'h', 2, b'1', 2, b'n', 1],
            // Length 6, offset 1, no key, an empty value, no headers.
            &[12, 0, 0, 2, 1, 0, 0],
        ];
        assert_eq!(batch, expected.concat());
        assert_eq!(batch.len(), BATCH_HEAD_BYTES + 20 + 7);
        assert!(records.iter().map(Record::bytes_max).sum::<usize>() >= 20 + 7);
    }

    #[test]
    fn sequence_numbers_continue_with_0_after_the_largest() {
        let mut producer = ProducerIdentity { id: 1, epoch: 0, next_sequence: i32::MAX - 1 };
        for expected in [i32::MAX, 0, 1] {
            producer.advance(1);
            assert_eq!(producer.next_sequence, expected);
        }
    }
}
