//! How the body of a request is read: its content codings, and whether it is a payload, a CloudEvent or a batch.

use serde::{Deserialize, Serialize};

use crate::{Body, Contract, is_json};

/// One CloudEvent in the structured mode of the HTTP binding.
pub const CLOUDEVENT_MEDIA_TYPE: &str = "application/cloudevents+json";

/// A list of CloudEvents, the batched mode of the HTTP binding.
pub const CLOUDEVENTS_BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";

/// Media types of one JSON document a line.
pub const LINES_MEDIA_TYPES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// The most items of a batch. Chosen here: the answer to as many has at most 16 KiB.
pub const BATCH_ITEMS_MAX: usize = 100;

/// A content coding that a route may accept (RFC 9110, section 8.4.1; RFC 7932; RFC 9659).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentCoding {
    /// Brotli.
    Br,
    /// The zlib format.
    Deflate,
    /// The gzip format.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl ContentCoding {
    /// Every coding.
    pub const ALL: [Self; 4] = [Self::Br, Self::Deflate, Self::Gzip, Self::Zstd];

    /// Returns the name in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Deflate => "deflate",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the feature of `sluicegate-ingress` that has the decoder.
    #[must_use]
    pub fn feature(self) -> &'static str {
        match self {
            Self::Br => "brotli",
            Self::Deflate | Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What a body of one media type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The payload of one message.
    Payload,
    /// A JSON array; each item is the payload of a message.
    Array,
    /// A JSON document on each line; each is the payload of a message.
    Lines,
    /// The data of a CloudEvent whose attributes are in headers (binary mode).
    BinaryEvent,
    /// A CloudEvent (structured mode).
    Event,
    /// A JSON array of CloudEvents (batched mode).
    Events,
}

impl Mode {
    /// Returns whether the body has several messages.
    #[must_use]
    pub fn is_batch(self) -> bool {
        matches!(self, Self::Array | Self::Lines | Self::Events)
    }

    /// Returns whether each message is a CloudEvent of its sender.
    #[must_use]
    pub fn is_event(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::Event | Self::Events)
    }
}

impl Body {
    /// Returns what a body of this media type of [`content`](Self::content) is.
    #[must_use]
    pub fn mode(&self, media_type: &str) -> Mode {
        match media_type {
            CLOUDEVENT_MEDIA_TYPE => Mode::Event,
            CLOUDEVENTS_BATCH_MEDIA_TYPE => Mode::Events,
            _ if self.is_batch && is_lines(media_type) => Mode::Lines,
            _ if self.is_batch => Mode::Array,
            _ if self.has_binary_events => Mode::BinaryEvent,
            _ => Mode::Payload,
        }
    }

    /// Returns whether a body may have several messages.
    #[must_use]
    pub fn may_be_batch(&self) -> bool {
        self.content.iter().any(|(media_type, _)| self.mode(media_type).is_batch())
    }

    /// Returns whether each message of this media type is a JSON document.
    #[must_use]
    pub fn is_document(&self, media_type: &str) -> bool {
        is_json(media_type) || self.mode(media_type) == Mode::Lines
    }
}

/// Returns whether a media type is one JSON document a line.
pub(crate) fn is_lines(media_type: &str) -> bool {
    LINES_MEDIA_TYPES.contains(&media_type)
}

impl Contract {
    /// Returns why a function with this `Cargo.toml` cannot serve the contract: the features of `sluicegate-ingress`,
    /// of its content codings and its large payloads, that the text does not name.
    #[must_use]
    pub fn missing_features(&self, manifest: &str) -> Vec<String> {
        let codings =
            self.operations.iter().flat_map(|operation| &operation.body).flat_map(|body| &body.content_codings);
        let mut missing: Vec<_> = codings
            .filter(|coding| !manifest.contains(&format!("\"{}\"", coding.feature())))
            .map(|coding| {
                format!(
                    "contentEncodings has {}: add the feature \"{}\" to sluicegate-ingress in the Cargo.toml of the function",
                    coding.name(),
                    coding.feature()
                )
            })
            .collect();
        missing.sort();
        missing.dedup();
        if self.first_with_large_payloads().is_some() && !manifest.contains("\"s3\"") {
            missing.push(
                "largePayloads is s3: add the feature \"s3\" to sluicegate-ingress in the Cargo.toml of the function"
                    .to_owned(),
            );
        }
        missing
    }
}
