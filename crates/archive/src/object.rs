//! The text of an object: a line for each event, compressed with zstd.

use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sluicegate_envelope::{DecodeError, Envelope};

/// Largest text of an object, in bytes. An event with its payload in S3 has at most 16 MiB, and makes an object by
/// itself then.
pub const OBJECT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Largest window of a frame that is read, in bytes: that of zstd's own default.
const WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An object that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is not a zstd frame, or is damaged.
    #[error("is not compressed with zstd, or is damaged: {0}")]
    Compression(String),
    /// It is larger than any that the archiver writes.
    #[error("has more than {OBJECT_BYTES_MAX} bytes")]
    TooLarge,
    /// A line is not a CloudEvent.
    #[error("line {line} is not a CloudEvent: {source}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// Why it is not.
        source: DecodeError,
    },
    /// It is not text.
    #[error("is not UTF-8")]
    Encoding,
}

/// Returns the line of an event, with its line break. JSON allows line breaks between its tokens, where a space means
/// the same, and not within them.
#[must_use]
pub fn line(envelope: &Envelope) -> String {
    let mut line = envelope.encode();
    if line.contains(['\n', '\r']) {
        line = line.replace(['\n', '\r'], " ");
    }
    line.push('\n');
    line
}

/// Returns the object with these lines.
#[must_use]
pub fn write(text: &str) -> Vec<u8> {
    compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
}

/// Returns the events of an object, in their order. An event may be among them more than once.
///
/// # Errors
/// The object is not one that [`write()`] returned.
pub fn read(object: &[u8]) -> Result<Vec<Envelope>, ObjectError> {
    let mut rest = object;
    let decoder = StreamingDecoder::new_with_max_window_size(&mut rest, WINDOW_BYTES_MAX);
    let decoder = decoder.map_err(|error| ObjectError::Compression(error.to_string()))?;
    let mut text = Vec::new();
    let limit = OBJECT_BYTES_MAX as u64 + 1;
    decoder.take(limit).read_to_end(&mut text).map_err(|error| ObjectError::Compression(error.to_string()))?;
    if text.len() > OBJECT_BYTES_MAX {
        return Err(ObjectError::TooLarge);
    }
    let text = std::str::from_utf8(&text).map_err(|_| ObjectError::Encoding)?;
    let lines = text.split_terminator('\n').zip(1..);
    lines.map(|(text, line)| Envelope::decode(text).map_err(|source| ObjectError::Line { line, source })).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(id: &str, payload: &str) -> Envelope {
        Envelope::builder(id, "/a", "t").payload(Some("application/json"), payload).build().unwrap()
    }

    #[test]
    fn a_payload_of_several_lines_is_one_line() {
        let payload = "{\r\n  \"text\": \"a\\nb\"\n}";
        let written = line(&event("e-1", payload));
        assert_eq!(written.matches('\n').count(), 1, "{written}");
        let read = Envelope::decode(written.trim_end()).unwrap();
        assert_eq!(read.payload(), payload.replace(['\r', '\n'], " ").as_bytes());
        let bytes = Envelope::builder("e-1", "/a", "t").payload(Some("text/plain"), "a\r\nb").build().unwrap();
        assert_eq!(Envelope::decode(line(&bytes).trim_end()).unwrap(), bytes, "text keeps its lines");
    }

    #[test]
    fn a_damaged_object_is_an_error() {
        let check = |object: &[u8], expected: &str| {
            let error = read(object).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let good = write(&line(&event("e-1", "{\"n\": 1}")));
        check(b"", "not compressed");
        check(b"{}\n", "not compressed");
        check(&good[..good.len() / 2], "damaged");
        check(&write("{}\n"), "line 1 is not a CloudEvent");
        check(&write(&(line(&event("e-1", "1")) + "\n")), "line 2");
        check(&compress_to_vec(&[0xff][..], CompressionLevel::Fastest), "UTF-8");
        check(&write(&" ".repeat(OBJECT_BYTES_MAX + 1)), "more than");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(texts in prop::collection::vec("\\PC{0,100}", 0..40), repeats in 1..8_usize) {
            let payloads = texts.iter().map(|text| format!("{{\"text\": {:?}}}", text.repeat(repeats)));
            let bytes = |(n, payload): (usize, String)| {
                let event = Envelope::builder(n.to_string(), "/a", "t").payload(Some("text/plain"), payload);
                event.build().unwrap()
            };
            let events: Vec<_> = payloads.enumerate().map(bytes).collect();
            let text: String = events.iter().map(line).collect();
            prop_assert_eq!(read(&write(&text)).unwrap(), events);
        }

        #[test]
        fn any_bytes_are_read_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read(&[&[0x28, 0xb5, 0x2f, 0xfd], &*bytes].concat());
        }
    }
}
