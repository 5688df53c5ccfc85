//! Decompression of the records of a batch.
//!
//! The numbers are those of the attributes of a batch (<https://kafka.apache.org/documentation/#recordbatch>).

use std::io::{self, Read};

use flate2::read::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::wire::Decoder;

/// The most bytes of decompressed records: the default of `socket.request.max.bytes`, which is the largest batch that a
/// producer sends without compression.
const RECORDS_BYTES_MAX: usize = 100 * 1024 * 1024;

/// The start of snappy blocks as Java's client writes them, each after its length.
/// <https://github.com/xerial/snappy-java/blob/v1.1.10.8/src/main/java/org/xerial/snappy/SnappyCodec.java>
const SNAPPY_BLOCKS: &[u8] = b"\x82SNAPPY\0";
/// The versions after that start.
const SNAPPY_VERSIONS_BYTES: usize = 8;

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// Returns the compression with this number; `None` for 0, which is none, and an error for one that Kafka has not.
    pub(super) fn of(number: i16) -> Result<Option<Self>, i16> {
        match number {
            0 => Ok(None),
            1 => Ok(Some(Self::Gzip)),
            2 => Ok(Some(Self::Snappy)),
            3 => Ok(Some(Self::Lz4)),
            4 => Ok(Some(Self::Zstd)),
            other => Err(other),
        }
    }

    /// Returns the decompressed records.
    pub(super) fn decompress(self, records: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => read(GzDecoder::new(records)),
            Self::Snappy => snappy(records),
            Self::Lz4 => read(FrameDecoder::new(records)),
            Self::Zstd => read(StreamingDecoder::new(records).map_err(io::Error::other)?),
        }
    }
}

fn read(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    let limit = u64::try_from(RECORDS_BYTES_MAX).unwrap_or(u64::MAX);
    decoder.take(limit + 1).read_to_end(&mut records)?;
    if records.len() > RECORDS_BYTES_MAX { Err(too_large()) } else { Ok(records) }
}

fn snappy(records: &[u8]) -> io::Result<Vec<u8>> {
    let Some(blocks) = records.strip_prefix(SNAPPY_BLOCKS) else {
        return snappy_block(records, 0);
    };
    let mut blocks = Decoder(blocks);
    blocks.skip(SNAPPY_VERSIONS_BYTES).map_err(io::Error::other)?;
    let mut records = Vec::new();
    while !blocks.0.is_empty() {
        let block = blocks.bytes().map_err(io::Error::other)?;
        records.extend(snappy_block(block, records.len())?);
    }
    Ok(records)
}

/// Returns a decompressed block, if it has room after this many bytes.
fn snappy_block(block: &[u8], before: usize) -> io::Result<Vec<u8>> {
    if snap::raw::decompress_len(block)? > RECORDS_BYTES_MAX - before {
        return Err(too_large());
    }
    Ok(snap::raw::Decoder::new().decompress_vec(block)?)
}

fn too_large() -> io::Error {
    io::Error::other(format!("the records have more than {RECORDS_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn compressed(compression: Compression, records: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(records).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(records).unwrap(),
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(records).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => {
                ruzstd::encoding::compress_to_vec(records, ruzstd::encoding::CompressionLevel::Fastest)
            }
        }
    }

    #[test]
    fn every_compression_is_read_and_a_part_of_it_never_panics() {
        let records: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for number in 1..=4 {
            let compression = Compression::of(number).unwrap().unwrap();
            let bytes = compressed(compression, &records);
            assert_eq!(compression.decompress(&bytes).unwrap(), records, "{compression:?}");
            for end in (0..bytes.len()).step_by(97) {
                assert_ne!(compression.decompress(&bytes[..end]).ok(), Some(records.clone()), "{compression:?} {end}");
            }
        }
        assert_eq!(Compression::of(0), Ok(None));
        assert_eq!(Compression::of(5), Err(5));
    }

    #[test]
    fn snappy_blocks_of_javas_client_are_read() {
        let blocks = [&b"first "[..], b"second"].map(|block| compressed(Compression::Snappy, block));
        let mut records = [SNAPPY_BLOCKS, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for block in &blocks {
            records.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            records.extend(block);
        }
        assert_eq!(Compression::Snappy.decompress(&records).unwrap(), b"first second");
        assert!(Compression::Snappy.decompress(&records[..records.len() - 1]).is_err());
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        // The length that a snappy block claims: 4 GiB less one byte.
        assert!(Compression::Snappy.decompress(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        let zeros = compressed(Compression::Gzip, &vec![0; RECORDS_BYTES_MAX + 1]);
        assert!(Compression::Gzip.decompress(&zeros).is_err());
    }
}
