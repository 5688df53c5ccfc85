//! [`Settled`]: the records of a partition that were redriven or deleted, in the form of a commit.
//!
//! A consumer group has one offset for a partition: the records before it are settled. Those of the later ones that are
//! settled are in the metadata of the commit, where clients that handle records out of order keep them
//! (<https://github.com/confluentinc/parallel-consumer>): the lengths of the runs of open and settled records, one after
//! the other from the offset on, as integers of seven bits a byte, compressed (deflate) and in base64.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sluicegate_queue::kafka::Commit;

/// The most bytes of the metadata of a commit: the default of `offset.metadata.max.bytes`
/// (<https://kafka.apache.org/documentation/#brokerconfigs_offset.metadata.max.bytes>).
const METADATA_BYTES_MAX: usize = 4_096;

/// What is left free of it, for the other records of a run that are in progress: twice ten lengths of up to ten bytes.
const METADATA_BYTES_FREE: usize = 300;

/// The start of the metadata, with the version of its form.
const METADATA_START: &str = "sluicegate-dlq/1:";

/// The most bytes of lengths that are read. Those of [`METADATA_BYTES_MAX`] are shorter, unless they are not ours.
const LENGTHS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Settled records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// The first record that is not settled, or may not be.
    next: i64,
    /// The start and the end of each run of settled records after it.
    later: BTreeMap<i64, i64>,
}

impl Settled {
    /// Reads a commit. Metadata of another program counts as none.
    pub(super) fn of(commit: &Commit) -> Self {
        let mut settled = Self { next: commit.offset, later: BTreeMap::new() };
        // The lengths are those of an open run, a settled one, and so on.
        let mut end = commit.offset;
        for (index, length) in lengths(&commit.metadata).unwrap_or_default().into_iter().enumerate() {
            let start = end;
            end = start.saturating_add(length);
            if index % 2 == 1 {
                settled.insert(start..end);
            }
        }
        settled
    }

    /// Returns the commit.
    pub(super) fn commit(&self) -> Commit {
        let mut lengths = Vec::new();
        let mut end = self.next;
        for (start, until) in &self.later {
            varint(&mut lengths, start - end);
            varint(&mut lengths, until - start);
            end = *until;
        }
        let metadata = if lengths.is_empty() { String::new() } else { METADATA_START.to_owned() + &packed(&lengths) };
        Commit { offset: self.next, metadata }
    }

    /// Returns the offset of the first record that may be open.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        let run = self.later.range(..=offset).next_back();
        offset < self.next || run.is_some_and(|(_, end)| offset < *end)
    }

    /// Returns how many of these records are settled.
    pub(super) fn count_in(&self, range: &Range<i64>) -> i64 {
        let overlap = |start: i64, end: i64| (end.min(range.end) - start.max(range.start)).max(0);
        let later: i64 = self.later.iter().map(|(start, end)| overlap(*start, *end)).sum();
        overlap(i64::MIN / 2, self.next) + later
    }

    /// Adds records.
    pub(super) fn insert(&mut self, range: Range<i64>) {
        let (mut start, mut end) = (range.start.max(self.next), range.end);
        if start >= end {
            return;
        }
        // The runs that it touches become one.
        while let Some((before, until)) = self.later.range(..=end).next_back().map(|(start, end)| (*start, *end)) {
            if until < start {
                break;
            }
            self.later.remove(&before);
            (start, end) = (start.min(before), end.max(until));
        }
        if start == self.next {
            self.next = end;
        } else {
            self.later.insert(start, end);
        }
    }

    /// Adds every record before `offset`.
    pub(super) fn advance(&mut self, offset: i64) {
        self.insert(self.next..offset);
    }

    /// Returns whether a commit has room for this record too.
    pub(super) fn has_room_for(&self, offset: i64) -> bool {
        let mut with = self.clone();
        with.insert(offset..offset + 1);
        with.later.len() <= self.later.len() || with.commit().metadata.len() <= METADATA_BYTES_MAX - METADATA_BYTES_FREE
    }
}

fn packed(lengths: &[u8]) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let packed = encoder.write_all(lengths).and_then(|()| encoder.finish()).unwrap_or_default();
    STANDARD.encode(packed)
}

/// Reads the lengths of the runs; `None` if the metadata is not ours.
fn lengths(metadata: &str) -> Option<Vec<i64>> {
    let packed = STANDARD.decode(metadata.strip_prefix(METADATA_START)?).ok()?;
    let mut bytes = Vec::new();
    DeflateDecoder::new(packed.as_slice()).take(LENGTHS_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let (mut lengths, mut length, mut shift) = (Vec::new(), 0_i64, 0_u32);
    for byte in bytes {
        length |= i64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte < 0x80 {
            lengths.push(Some(length).filter(|length| *length >= 0)?);
            (length, shift) = (0, 0);
        }
    }
    Some(lengths)
}

/// Appends an integer that is not negative.
fn varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = value.cast_unsigned();
    while rest >= 0x80 {
        bytes.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    bytes.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_commit_has_exactly_the_settled_records(
            offset in 0_i64..5, ranges in proptest::collection::vec((0_i64..400, 0_i64..9), 0..60)
        ) {
            let mut settled = Settled { next: offset, later: BTreeMap::new() };
            let mut expected: BTreeSet<i64> = (0..offset).collect();
            for (start, length) in ranges {
                settled.insert(start..start + length);
                expected.extend(start..start + length);
            }
            let read = Settled::of(&settled.commit());
            prop_assert_eq!(&read, &settled);
            for offset in 0..420 {
                prop_assert_eq!(read.contains(offset), expected.contains(&offset), "{}", offset);
            }
            let counted = expected.range(20..300).count();
            prop_assert_eq!(read.count_in(&(20..300)), i64::try_from(counted).unwrap());
            prop_assert!(!read.contains(read.next) && read.later.keys().all(|start| *start > read.next));
        }

        #[test]
        fn any_metadata_is_read_without_a_panic(text in "\\PC*", bytes in any::<Vec<u8>>()) {
            for metadata in [text, format!("{METADATA_START}{}", packed(&bytes))] {
                let read = Settled::of(&Commit { offset: 7, metadata });
                prop_assert!(read.contains(6));
            }
        }
    }

    #[test]
    fn a_commit_has_room_for_8_000_single_records_in_no_order_and_for_the_oldest_open_one() {
        let mut settled = Settled::default();
        // Half of the records, by a generator of Marsaglia's.
        let mut random = 7_u32;
        let mut chosen = (1..).filter(|_| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random.is_multiple_of(2)
        });
        for offset in chosen.by_ref().take(8_000) {
            settled.insert(offset..offset + 1);
        }
        let next = chosen.next().unwrap();
        assert!(settled.has_room_for(next));
        for offset in chosen.by_ref().take(4_000) {
            settled.insert(offset..offset + 1);
        }
        let next = chosen.next().unwrap() + 1;
        assert!(!settled.has_room_for(next), "{}", settled.commit().metadata.len());
        assert!(settled.has_room_for(settled.next()));
        settled.advance(i64::MAX - 1);
        assert_eq!(settled.commit(), Commit { offset: i64::MAX - 1, metadata: String::new() });
    }
}
