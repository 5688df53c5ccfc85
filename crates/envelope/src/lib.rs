//! The wire format of the queue: an [`Envelope`] is a CloudEvents 1.0 JSON event that keeps its payload byte for byte.
//!
//! - [`Envelope::payload`] returns exactly the bytes that arrived, for any media type.
//! - [`Envelope::encode`] writes only characters that SQS accepts, for every envelope.
//! - [`Envelope::decode`] reads everything that an older release wrote, and any other CloudEvents 1.0 JSON event. It
//!   never panics, and its errors name the attribute at fault. Unknown extension attributes are kept and written again.
//!
//! The payload has no limit here: the contract sets one for each route, and the broker has its own. A payload that is
//! not JSON is a third longer on the wire, in base64.
//!
//! ```
//! use sluicegate_envelope::{Envelope, deterministic_id};
//!
//! let id = deterministic_id(["dev", "placeOrder", "key-1"]);
//! let order = r#"{"order_id": "o-1", "price": 1.10}"#;
//! let sent = Envelope::builder(id, "/orders", "order.placed").payload(Some("application/json"), order).build()?;
//!
//! let received = Envelope::decode(&sent.encode())?;
//! assert_eq!(received.payload(), order.as_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
mod builder;
mod decode;
mod encode;
mod envelope;
mod id;
pub mod json;
mod payload;

pub use attribute::{
    ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, EXTENSIONS_MAX, REPLAY_ATTRIBUTE, STATUS_ATTRIBUTE,
    refused_character,
};
pub use builder::{EnvelopeBuildError, EnvelopeBuilder};
pub use decode::DecodeError;
pub use envelope::Envelope;
pub use id::{deterministic_id, fresh_id};
pub use payload::{PayloadError, with_integers};
