//! The one value that crosses the queue: an [`Envelope`], written as a CloudEvents 1.0 JSON event.
//!
//! The caller may rely on this:
//! - [`Envelope::payload`] gives back exactly the bytes that arrived, whatever their media type.
//! - [`Envelope::encode`] stays inside the alphabet SQS accepts, for every envelope that exists.
//! - [`Envelope::decode`] reads everything an older release wrote, and any other CloudEvents 1.0 JSON event; it never
//!   panics, and what it refuses it names. Extension attributes it does not know are kept and written again.
//!
//! Absent on purpose: a limit on the payload. The contract sets one for each route and the broker has its own; base64
//! makes a payload that is not JSON a third longer on the wire.
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

pub use attribute::{ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, EXTENSIONS_MAX, is_text};
pub use builder::{BuildError, Builder};
pub use decode::DecodeError;
pub use envelope::Envelope;
pub use id::{deterministic_id, fresh_id};
pub use payload::{PayloadError, with_integers};
