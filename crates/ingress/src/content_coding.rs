//! Content codings of a request (RFC 9110, section 8.4): a body is decoded only where its route accepts the coding.
//!
//! A signature is checked on the bytes that arrived, before this. What is enqueued is the decoded body. A decoder stops
//! at the limit of the route, and at [`RATIO_MAX`]; a Zstandard frame may not ask for a window over 8 MiB (RFC 9659).
//! Each decoder is behind a cargo feature: `gzip` (with deflate), `brotli` and `zstd`.

#[cfg(any(feature = "brotli", feature = "gzip", feature = "zstd"))]
use std::io::Read as _;

use sluicegate_contract::{Body, ContentCoding};

use crate::{
    event::Arrival,
    rejection::{Code, Rejection},
    route::ceiling,
};

/// The largest ratio of decoded to encoded bytes, beyond the first [`RATIO_FREE_BYTES`]. JSON seldom passes 30.
pub(crate) const RATIO_MAX: usize = 100;

/// Decoded bytes whose ratio does not matter.
const RATIO_FREE_BYTES: usize = 64 * 1024;

/// The largest window of a Zstandard frame (RFC 9659, section 3).
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Returns whether this build decodes the coding.
pub(crate) const fn is_built_in(coding: ContentCoding) -> bool {
    match coding {
        ContentCoding::Br => cfg!(feature = "brotli"),
        ContentCoding::Deflate | ContentCoding::Gzip => cfg!(feature = "gzip"),
        ContentCoding::Zstd => cfg!(feature = "zstd"),
    }
}

/// Returns the decoded body; `None` if it has no content coding.
///
/// # Errors
/// 415 for a coding that the route does not accept, 400 for a body that is not in it, 413 for one that is too large.
pub(crate) fn decode(
    arrival: &Arrival,
    body: &Body,
    bytes: &[u8],
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, Rejection> {
    let sent = arrival.headers.get_all("content-encoding").iter();
    let names = sent.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names =
        names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    let names: Vec<_> = names.take(2).collect();
    let coding = match names[..] {
        [] => return Ok(None),
        [name] => body.content_codings.iter().copied().find(|coding| is_named(*coding, name)),
        _ => None,
    };
    let Some(coding) = coding else { return Err(unsupported(body)) };
    let ratio_bytes_max = bytes.len().saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
    let limit = bytes_max.min(ratio_bytes_max);
    let decoded = read(coding, bytes, limit)?;
    if decoded.len() <= limit {
        return Ok(Some(decoded));
    }
    let detail = match limit == bytes_max {
        true => format!(
            "The decoded body has more than {bytes_max} bytes, which is the limit of this route{}.",
            ceiling(bytes_max)
        ),
        false => format!("The decoded body is more than {RATIO_MAX} times as large as what was sent."),
    };
    Err(Rejection::new(Code::PayloadTooLarge, detail))
}

fn is_named(coding: ContentCoding, name: &[u8]) -> bool {
    // RFC 9110, section 8.4.1.3.
    let is_old_name = coding == ContentCoding::Gzip && name.eq_ignore_ascii_case(b"x-gzip");
    is_old_name || name.eq_ignore_ascii_case(coding.name().as_bytes())
}

fn unsupported(body: &Body) -> Rejection {
    let names: Vec<_> = body.content_codings.iter().map(|coding| coding.name()).chain(["identity"]).collect();
    let detail = match body.content_codings.is_empty() {
        true => "Send the body without a content coding (identity).".to_owned(),
        false => format!("Send the body in one of these content codings: {}.", names.join(", ")),
    };
    // RFC 9110, section 12.5.3: Accept-Encoding in a 415 answer lists the accepted codings.
    Rejection::new(Code::ContentEncodingUnsupported, detail).header("accept-encoding", names.join(", "))
}

/// Decodes until the end, or one byte more than the limit.
fn read(coding: ContentCoding, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Rejection> {
    let mut decoded = Vec::new();
    let is_whole = match coding {
        ContentCoding::Br => brotli(&mut decoded, limit, bytes),
        ContentCoding::Deflate => deflate(&mut decoded, limit, bytes),
        ContentCoding::Gzip => gzip(&mut decoded, limit, bytes),
        ContentCoding::Zstd => zstd(&mut decoded, limit, bytes),
    };
    match is_whole {
        Some(true) => Ok(decoded),
        Some(false) => {
            let detail = format!("The body is not in the content coding {}.", coding.name());
            Err(Rejection::new(Code::ContentEncodingInvalid, detail))
        }
        // The start of the function has reported it.
        None => Err(Rejection::new(Code::Internal, "This body cannot be decoded.").log("the decoder is not built in")),
    }
}

#[cfg(not(feature = "brotli"))]
use self::without as brotli;
#[cfg(not(feature = "zstd"))]
use self::without as zstd;
#[cfg(not(feature = "gzip"))]
use self::{without as deflate, without as gzip};

/// Stands for a decoder that is not built in.
#[cfg(not(all(feature = "brotli", feature = "gzip", feature = "zstd")))]
fn without(_decoded: &mut Vec<u8>, _limit: usize, _bytes: &[u8]) -> Option<bool> {
    None
}

#[cfg(feature = "brotli")]
fn brotli(decoded: &mut Vec<u8>, limit: usize, bytes: &[u8]) -> Option<bool> {
    const BUFFER_BYTES: usize = 4 * 1024;
    Some(fill(decoded, limit, brotli_decompressor::Decompressor::new(bytes, BUFFER_BYTES)))
}

/// Some clients send the bare format of RFC 1951 (RFC 9110, section 8.4.1.2), without the header.
#[cfg(feature = "gzip")]
fn deflate(decoded: &mut Vec<u8>, limit: usize, bytes: &[u8]) -> Option<bool> {
    Some(match bytes {
        [method, flags, ..] if method & 0x0F == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0 => {
            fill(decoded, limit, flate2::bufread::ZlibDecoder::new(bytes))
        }
        _ => fill(decoded, limit, flate2::bufread::DeflateDecoder::new(bytes)),
    })
}

#[cfg(feature = "gzip")]
fn gzip(decoded: &mut Vec<u8>, limit: usize, bytes: &[u8]) -> Option<bool> {
    Some(fill(decoded, limit, flate2::bufread::MultiGzDecoder::new(bytes)))
}

/// Decodes every frame.
#[cfg(feature = "zstd")]
fn zstd(decoded: &mut Vec<u8>, limit: usize, bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    while !rest.is_empty() && decoded.len() <= limit {
        let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut rest, ZSTD_WINDOW_BYTES_MAX);
        if !decoder.is_ok_and(|decoder| fill(decoded, limit, decoder)) {
            return Some(false);
        }
    }
    Some(true)
}

/// Reads up to one byte more than the limit. Returns false for what is not in the coding.
#[cfg(any(feature = "brotli", feature = "gzip", feature = "zstd"))]
fn fill(decoded: &mut Vec<u8>, limit: usize, reader: impl std::io::Read) -> bool {
    let at_most = limit.saturating_add(1).saturating_sub(decoded.len());
    reader.take(u64::try_from(at_most).unwrap_or(u64::MAX)).read_to_end(decoded).is_ok()
}
